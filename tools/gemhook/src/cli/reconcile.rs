//! `gemhook reconcile`: finds jobs that ended without an event, now and as far back as is asked.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;

use super::{
    filter::duration,
    render::{plain, print_json, print_line},
    target::TargetArgs,
};
use gemhook::{
    clock::{Millis, millis},
    reconcile::{Batches, Plan, Reconciler},
};

#[derive(clap::Args)]
pub struct Args {
    /// Batches that ended within that time are looked for
    #[arg(long, value_name = "TIME", default_value = "48h", value_parser = duration)]
    since: Duration,
    /// Says what would be entered, and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Switches the webhook on again where Gemini has switched it off
    #[arg(long)]
    reenable: bool,
    /// Writes what was found as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let target = args.target.open().await?;
    let gemini = target.gemini()?;
    let now = target.clock.now();
    let plan = Plan {
        batches: Some(Batches { from: now - millis(args.since), to: Millis::MAX, ..Batches::default() }),
        webhook_url: target.get("WEBHOOK_URL").map(str::to_owned),
        bound: target.get("BINDING_KEY").or_else(|| target.get("BINDING_KEY_SECRET_ID")).is_some(),
        reenable: args.reenable,
        all_watched: true,
        dry_run: args.dry_run,
        end: Millis::MAX,
    };
    let ledger = target.ledger()?;
    let reconciler = Reconciler { gemini: &gemini, ledger: &ledger, clock: &target.clock, plan };
    let found = reconciler.run().await;
    if args.json {
        print_json(&found)?;
    } else {
        print_line(&format!(
            "{} batches listed, {} ended in time; {} followed jobs looked at",
            found.listed, found.ended, found.looked_at
        ))?;
        let did = if args.dry_run { "would be entered" } else { "entered" };
        for job in &found.entered {
            print_line(&format!("{did}: {}", plain(job)))?;
        }
        if found.entered.is_empty() {
            print_line("nothing is missing here")?;
        }
        for uri in &found.disabled_webhooks {
            let on = if found.reenabled_webhooks.contains(uri) { ", and is on again" } else { "" };
            print_line(&format!("switched off by Gemini: the webhook to {}{on}", plain(uri)))?;
        }
        for error in &found.errors {
            print_line(&format!("not done: {}", plain(error)))?;
        }
    }
    let off = found.disabled_webhooks.len() > found.reenabled_webhooks.len();
    Ok(if off || !found.errors.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
