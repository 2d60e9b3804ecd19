//! `gemhook env`: the environment in which both functions run on the local machine, for `cargo lambda watch`.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::{
    local::Local,
    render::{print_json, print_line},
};

#[derive(clap::Args)]
pub struct Args {
    /// Prints one JSON object instead of a line for each variable
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    local: Local,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let found = args.local.or_running()?;
    let addresses =
        found.context("no `gemhook dev` runs here: start one, or name its data folder with --local=DIR")?;
    let variables = addresses.environment();
    if args.json {
        print_json(&variables)?;
    } else {
        for (name, value) in variables {
            // Quoted, because both a shell and cargo-lambda read it. No value has a quote, a backslash or a dollar sign.
            print_line(&format!("{name}=\"{value}\""))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
