//! `gemhook reconcile`: finds jobs that ended without an event, now and as far back as is asked.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;

use super::{
    filter::duration,
    place::PlaceArgs,
    show::{plain, print_json, print_line},
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
    place: PlaceArgs,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let place = args.place.open().await?;
    let gemini = place.gemini()?;
    let now = place.clock.now();
    let plan = Plan {
        batches: Some(Batches { from: now - millis(args.since), to: Millis::MAX, ..Batches::default() }),
        webhook_url: place.get("WEBHOOK_URL").map(str::to_owned),
        bound: place.get("BINDING_KEY").or_else(|| place.get("BINDING_KEY_SECRET_ID")).is_some(),
        reenable: args.reenable,
        all_watched: true,
        dry_run: args.dry_run,
        end: Millis::MAX,
    };
    let ledger = place.ledger()?;
    let reconciler = Reconciler { gemini: &gemini, ledger: &ledger, clock: &place.clock, plan };
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
        for uri in &found.switched_off {
            let on = if found.switched_on.contains(uri) { ", and is on again" } else { "" };
            print_line(&format!("switched off by Gemini: the webhook to {}{on}", plain(uri)))?;
        }
        for trouble in &found.troubles {
            print_line(&format!("not done: {}", plain(trouble)))?;
        }
    }
    let off = found.switched_off.len() > found.switched_on.len();
    Ok(if off || !found.troubles.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
