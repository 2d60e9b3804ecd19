//! `gemhook check-receiver`: which rules of Standard Webhooks a receiver breaks, seen from outside.

mod rules;
mod verdict;

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use reqwest::Url;
use serde_json::{Value, json};

use self::{
    rules::{Maker, Rule, rules},
    verdict::{Seen, Verdict, judge},
};
use super::{
    filter::duration,
    render::{plain, print_json, print_line},
    sender::{Answer, Sender, by_secret, has_secret},
    table::{Column, print_table, whole},
    target::TargetArgs,
};
use gemhook::clock::{Clock, SystemClock};

pub const HELP: &str = "\
It sends about twenty deliveries of a job that does not exist. Some are right, so that the receiver processes them: name \
one that may do so, and the secret that it knows. It shows one table: each rule, whether it is kept, and what was \
answered.

Whether a duplicate is processed twice cannot be seen from outside; whether its answer differs can.

Example: gemhook check-receiver http://localhost:3000/webhook --secret whsec_...";

#[derive(clap::Args)]
pub struct Args {
    /// The receiver
    url: Url,
    /// One or more secrets that the receiver knows, newest first [default: WEBHOOK_SECRET, else the stack's, else
    /// the running `gemhook dev`'s]
    #[arg(long, value_name = "whsec_...")]
    secret: Option<String>,
    /// The type of the events, one that the receiver knows
    #[arg(long = "type", value_name = "TYPE", default_value = "batch.succeeded")]
    event_type: String,
    /// Within which time each answer must come
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    within: Duration,
    /// Writes one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

const COLUMNS: [Column; 3] = [whole("RULE"), whole("VERDICT"), whole("SEEN").cut_to(30)];

const SLOW: &str = "a sender waits for a few seconds only, and repeats what was not answered by then";

struct Judged {
    rule: &'static str,
    why: &'static str,
    verdict: Verdict,
    found: String,
    answers: Vec<Seen>,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let target = args.target.named_or_dev(!has_secret(args.secret.as_deref())).await?;
    let signer = by_secret(args.secret, target.as_ref()).await?;
    let sender = Sender::new(args.url)?;
    let make = Maker::new(signer, &args.event_type, SystemClock.now().div_euclid(1000))?;

    let mut judged: Vec<Judged> = Vec::new();
    for Rule { name, why, wanted, probes } in rules(&make)? {
        let mut answers = Vec::with_capacity(probes.len());
        for probe in probes {
            let answer = sender.send(&probe.event).await;
            if let (None, Some(error), true) = (answer.status, &answer.error, judged.is_empty()) {
                bail!("{error}: is it running?");
            }
            answers.push((probe.what, answer));
        }
        // The first rule says whether anything is accepted.
        let accepts = judged.first().is_none_or(|first| first.verdict == Verdict::Kept);
        let (verdict, found) = judge(wanted, &answers, accepts);
        judged.push(Judged { rule: name, why, verdict, found, answers });
    }
    judged.push(slowest(&judged, args.within));

    let broken = judged.iter().filter(|judged| judged.verdict == Verdict::Broken).count();
    if args.json {
        print_json(&json!({
            "url": sender.to.as_str(),
            "broken": broken,
            "rules": judged.iter().map(as_json).collect::<Vec<_>>(),
        }))?;
    } else {
        show(&judged, broken, &sender.to)?;
    }
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The one rule that is about all answers.
fn slowest(judged: &[Judged], within: Duration) -> Judged {
    let answers = judged.iter().flat_map(|judged| &judged.answers);
    let slowest = answers.max_by_key(|(_, answer)| answer.milliseconds);
    let (verdict, found) = match slowest {
        Some((what, Answer { milliseconds, .. })) => {
            let slow = u128::from(*milliseconds) > within.as_millis();
            let verdict = if slow { Verdict::Broken } else { Verdict::Kept };
            (verdict, format!("the slowest answer took {milliseconds} ms: {what}"))
        }
        None => (Verdict::Unclear, "nothing was sent".to_owned()),
    };
    Judged { rule: "quick answer", why: SLOW, verdict, found, answers: Vec::new() }
}

fn as_json(judged: &Judged) -> Value {
    let Judged { rule, why, verdict, found, answers } = judged;
    let answers = answers.iter().map(|(what, Answer { status, milliseconds, error, .. })| {
        json!({"sent": what, "status": status, "milliseconds": milliseconds, "error": error})
    });
    json!({"rule": rule, "why": why, "verdict": verdict, "found": found, "answers": answers.collect::<Vec<_>>()})
}

fn show(judged: &[Judged], broken: usize, url: &Url) -> Result<()> {
    let rows: Vec<Vec<String>> = judged
        .iter()
        .map(|judged| vec![judged.rule.to_owned(), judged.verdict.word().to_owned(), judged.found.clone()])
        .collect();
    print_table(&COLUMNS, &rows)?;
    print_line("")?;
    for judged in judged.iter().filter(|judged| judged.verdict == Verdict::Broken) {
        print_line(&plain(&format!("{}: {}", judged.rule, judged.why)))?;
    }
    print_line(&plain(&match broken {
        0 => format!("{url} breaks no rule that can be seen from outside"),
        1 => format!("{url} breaks 1 rule"),
        more => format!("{url} breaks {more} rules"),
    }))
}
