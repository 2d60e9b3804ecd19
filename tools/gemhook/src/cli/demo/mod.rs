//! `gemhook demo`: the main job on the local machine, from a batch to its archived result, with the deliveries
//! that must not count. What came of it is read from the stores and checked, not assumed.

mod observed;
mod report;
mod script;

use std::process::ExitCode;

use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {
    /// Writes what was seen as one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let report = script::play(!args.json).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
