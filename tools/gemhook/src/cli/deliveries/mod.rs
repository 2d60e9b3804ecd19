//! `gemhook deliveries`: what arrived and what became of it.

mod forward;
pub mod stream;
mod watch;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use reqwest::Url;
use serde_json::Value;

use self::forward::Forwarder;
use super::{
    filter::{self, Filter},
    render::{agreed, as_json, at, field, plain, print_json, print_line, print_row, time},
    table::{Column, print_list, whole},
    target::{Target, TargetArgs},
};
use gemhook::ledger::{Fence, can_be_redriven, schema::attr};

const COLUMNS: [Column; 7] = [
    whole("RECEIVED").optional(),
    whole("END"),
    whole("TYPE").optional(),
    whole("JOB").cut_to(12),
    whole("ATTEMPT").optional(),
    whole("ID"),
    whole("LAST ERROR").cut_to(12).optional(),
];

/// What a command without a limit of its own takes.
pub(super) const MAX_LISTED: usize = 100_000;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the newest deliveries; reads the whole table, which costs about 0.02 USD for a million rows
    #[command(after_help = "Example: gemhook deliveries list --state failed --since 2h")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// The most rows that are shown
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
        /// Writes one JSON array of whole rows
        #[arg(long)]
        json: bool,
    },
    /// Shows everything that is recorded of a delivery
    #[command(after_help = "Example: gemhook deliveries show msg_0a1b2c3d")]
    Show {
        webhook_id: String,
        /// Writes one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Shows each change of a delivery as it happens, or hands new deliveries to a program, until Ctrl-C
    #[command(after_help = WATCH_HELP)]
    Watch {
        #[command(flatten)]
        filter: Filter,
        /// Sends each new delivery here, freshly signed, and shows the answers instead of the changes
        #[arg(long, value_name = "URL", conflicts_with = "state")]
        forward_to: Option<Url>,
        /// One or more secrets that sign what is forwarded, newest first [default: WEBHOOK_SECRET, else the
        /// stack's, else the running `gemhook dev`'s]
        #[arg(long, value_name = "whsec_...", requires = "forward_to")]
        secret: Option<String>,
        /// Writes a JSON object on a line for each change or answer
        #[arg(long)]
        json: bool,
    },
    /// Processes deliveries again that failed, that ended as gone or foreign, or that were only recorded
    #[command(after_help = REDRIVE_HELP)]
    Redrive {
        /// The ids of the deliveries; or give a filter, such as --state failed
        webhook_ids: Vec<String>,
        #[command(flatten)]
        filter: Filter,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
}

const WATCH_HELP: &str = "\
With --forward-to it hands each new delivery that the receiver has recorded to a program on this machine, under the id \
with which it came, with the present time and a signature by the same secret. It does not send it a second time when the \
program refuses it: `gemhook replay ID --to URL` does.

Example: gemhook deliveries watch --stack my-hook --forward-to http://localhost:3000/webhook";

const REDRIVE_HELP: &str = "\
A delivery can be redriven when it ended in one of these ways:
  failed         after its patience ended, or at once for a permanent error; first fix the cause in its last_error
  done/gone      its job was not found for too long; worth it when the job is there after all
  done/foreign   its job was not found with our API key; worth it when the key has been replaced
  done/recorded  it was only recorded, such as an event of a type that is not archived

Example: gemhook deliveries redrive --state gone --since 7d";

pub async fn run(args: Args) -> Result<ExitCode> {
    let target = args.target.open().await?;
    match args.command {
        Command::List { filter, limit, json } => list(&target, &filter, limit, json).await,
        Command::Show { webhook_id, json } => show(&target, &webhook_id, json).await,
        Command::Watch { filter, forward_to, secret, json } => {
            let target = Arc::new(target);
            let forwarder = match forward_to {
                Some(to) => Some(Forwarder::start(&target, to, secret, json).await?),
                None => None,
            };
            watch::run(&target, &filter, json, forwarder).await
        }
        Command::Redrive { webhook_ids, filter, yes } => redrive(&target, webhook_ids, &filter, yes).await,
    }
}

pub(super) async fn newest(target: &Target, filter: &Filter, most: usize) -> Result<Vec<Value>> {
    let ledger = target.ledger()?;
    let page = async |after| ledger.all_deliveries(after).await;
    Ok(filter::newest(filter, most, target.clock.now(), page).await?)
}

async fn list(target: &Target, filter: &Filter, limit: usize, json: bool) -> Result<ExitCode> {
    let rows = newest(target, filter, limit).await?;
    let none =
        "no deliveries: `gemhook trigger batch.succeeded` sends one, `gemhook doctor` checks the way of one";
    print_list(&rows, json, none, &COLUMNS, cells)
}

fn cells(row: &Value) -> Vec<String> {
    let job = if row.get(attr::JOB_ID).is_some() { attr::JOB_ID } else { attr::JOB_HINT };
    let cells = [
        &time(at(row, attr::RECEIVED_AT)),
        &end(row),
        field(row, attr::EVENT_TYPE),
        field(row, job),
        &at(row, attr::ATTEMPT).unwrap_or(0).to_string(),
        field(row, attr::WEBHOOK_ID),
        row.get(attr::LAST_ERROR).and_then(Value::as_str).unwrap_or_default(),
    ];
    cells.map(str::to_owned).to_vec()
}

/// `done/archived`, or the state alone.
fn end(row: &Value) -> String {
    match row.get(attr::OUTCOME).and_then(Value::as_str) {
        Some(outcome) => format!("{}/{outcome}", field(row, attr::STATE)),
        None => field(row, attr::STATE).to_owned(),
    }
}

/// All of a delivery's row.
pub(super) async fn delivery(target: &Target, webhook_id: &str) -> Result<Value> {
    let row = target.ledger()?.delivery(webhook_id).await?;
    row.map(as_json).with_context(|| {
        format!("there is no delivery {}: `gemhook deliveries list` shows those there are", plain(webhook_id))
    })
}

async fn show(target: &Target, webhook_id: &str, json: bool) -> Result<ExitCode> {
    let row = delivery(target, webhook_id).await?;
    if json {
        print_json(&row)?
    } else {
        print_row(&row)?
    }
    Ok(ExitCode::SUCCESS)
}

async fn redrive(target: &Target, named: Vec<String>, filter: &Filter, yes: bool) -> Result<ExitCode> {
    let keys = match (named.is_empty(), filter.is_empty()) {
        (false, true) => named,
        (true, false) => {
            let rows = newest(target, filter, MAX_LISTED).await?;
            let outcome = |row: &Value| row.get(attr::OUTCOME).and_then(Value::as_str).map(str::to_owned);
            let may =
                rows.iter().filter(|row| can_be_redriven(field(row, attr::STATE), outcome(row).as_deref()));
            may.map(|row| field(row, attr::WEBHOOK_ID).to_owned()).collect()
        }
        _ => bail!("which deliveries? Give their ids, or a filter such as --state failed, and not both"),
    };
    if keys.is_empty() {
        print_line("no delivery matches that can be redriven: `gemhook deliveries list` shows them all")?;
        return Ok(ExitCode::SUCCESS);
    }
    for key in keys.iter().take(10) {
        eprintln!("  {}", plain(key));
    }
    if keys.len() > 10 {
        eprintln!("  and {} more", keys.len() - 10);
    }
    if !agreed(&format!("Redrive {}", counted(keys.len())), yes)? {
        return Ok(ExitCode::FAILURE);
    }
    let mut redriven = 0;
    for key in &keys {
        match target.ledger()?.redrive(key).await? {
            Fence::Held => redriven += 1,
            Fence::Lost => {
                eprintln!(
                    "not redriven: {}; see `gemhook deliveries show {}`",
                    plain(&not_redriven(key)),
                    plain(key)
                )
            }
        }
    }
    print_line(&format!("redriven: {}", counted(redriven)))?;
    Ok(if redriven == keys.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why a redrive changed nothing.
pub(super) fn not_redriven(key: &str) -> String {
    format!("{key} did not end in a way that can be redriven")
}

pub(super) fn counted(count: usize) -> String {
    if count == 1 { "1 delivery".to_owned() } else { format!("{count} deliveries") }
}
