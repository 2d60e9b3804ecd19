//! `gemhook replay`: recorded deliveries, signed now, sent where one likes.

use std::process::ExitCode;

use anyhow::{Result, bail};
use reqwest::Url;

use super::{
    deliveries::{MAX_LISTED, counted, delivery, newest},
    filter::Filter,
    render::{plain, print_json, print_line},
    resend::{Recorded, Resender, as_json, line},
    target::{Target, TargetArgs},
};

pub const HELP: &str = "\
Each delivery is sent with the body that was recorded, the present time and a signature by the current secret. One that \
Google's keys signed keeps its form where a running `gemhook dev` plays Google's part; everywhere else the secret signs \
it, and a line says so.

The receiver knows the id of a delivery that it recorded, so it accepts it again as a duplicate and does nothing. With \
--new-id it is a delivery of its own, which is processed. `gemhook deliveries redrive` processes the recorded one again \
without sending anything.

Example: gemhook replay msg_0a1b2c3d --to http://localhost:3000/webhook";

#[derive(clap::Args)]
pub struct Args {
    /// The ids of the deliveries; or give a filter, such as --state failed --since 2h
    #[arg(value_name = "ID")]
    webhook_ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Where they go [default: the stack, else the running `gemhook dev`]
    #[arg(long, value_name = "URL")]
    to: Option<Url>,
    /// Gives each a new id, so that a receiver that knows the old one processes it
    #[arg(long)]
    new_id: bool,
    /// One or more signing secrets, newest first [default: WEBHOOK_SECRET, else the stack's, else the
    /// running `gemhook dev`'s]
    #[arg(long, value_name = "whsec_...")]
    secret: Option<String>,
    /// Writes one JSON array: the id that was replayed, the id that was sent, the status and the answer
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let named = match (args.webhook_ids.is_empty(), args.filter.is_empty()) {
        (false, true) => true,
        (true, false) => false,
        _ => bail!("which deliveries? Give their ids, or a filter such as --state failed, and not both"),
    };
    let target = args.target.open().await?;
    // Nothing is sent before everything was found.
    let recorded = if named {
        by_id(&target, &args.webhook_ids).await?
    } else {
        filtered(&target, &args.filter).await?
    };
    let to_itself = args.to.is_none();
    let resender = Resender::open(args.to, args.secret, &target).await?;

    let (mut answers, mut accepted) = (Vec::new(), 0);
    for one in &recorded {
        if !resender.keeps_form_of(one) {
            eprintln!(
                "note: Google's keys signed {}; it is sent with the webhook's own secret, which counts for more",
                plain(&one.webhook_id)
            );
        }
        let answer = resender.replay(one, args.new_id).await?;
        accepted += usize::from(answer.is_success());
        if args.json {
            answers.push(as_json(one, &answer)?);
        } else {
            print_line(&plain(&line(one, &answer)))?;
        }
    }
    if args.json {
        print_json(&answers)?;
    } else if recorded.is_empty() {
        print_line("no delivery matches: `gemhook deliveries list` shows those there are")?;
    } else {
        let all = counted(recorded.len());
        print_line(&plain(&format!("replayed {all} to {}, {accepted} accepted", resender.sender.to)))?;
        if to_itself && !args.new_id && accepted > 0 {
            eprintln!(
                "note: {} knows these ids, so it counts them as duplicates; --new-id has it process them",
                target.name
            );
        }
    }
    Ok(if accepted == recorded.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn by_id(target: &Target, ids: &[String]) -> Result<Vec<Recorded>> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.push(sendable(target, id).await?);
    }
    Ok(found)
}

/// A delivery that somebody sent, so that it can be sent once more.
pub(super) async fn sendable(target: &Target, id: &str) -> Result<Recorded> {
    let recorded = Recorded::read(&delivery(target, id).await?)?;
    if !recorded.was_sent() {
        bail!("{} was entered by `gemhook reconcile`: nobody sent it, so it cannot be replayed", plain(id));
    }
    Ok(recorded)
}

/// In the order in which they came.
async fn filtered(target: &Target, filter: &Filter) -> Result<Vec<Recorded>> {
    let rows = newest(target, filter, MAX_LISTED).await?;
    let recorded = rows.iter().rev().map(Recorded::read);
    recorded.filter(|recorded| recorded.as_ref().map_or(true, Recorded::was_sent)).collect()
}
