//! `gemhook verify`: why a delivery is accepted or not, step by step. The verdict is the receiver's own; what is here
//! finds the words for it.

mod anchors;
mod bodies;
mod captured;
mod explain;
mod partial_capture;
mod readings;
mod report;
mod times;
mod token;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use reqwest::Url;
use serde_json::Value;

use self::captured::{Captured, seconds};
pub use self::report::Report;
use super::{
    render::as_json,
    target::{Target, TargetArgs},
    trigger::read,
};
use gemhook::{
    clock::{Clock, SystemClock},
    webhook::Tolerance,
};

#[derive(clap::Args)]
pub struct Args {
    /// A raw HTTP request, the event of a Lambda function or a record of first-deliveries; `-` reads standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["headers", "delivery"])]
    captured: Option<PathBuf>,
    /// The headers of a request, a line each, where its body is in a file of its own
    #[arg(long, value_name = "FILE", conflicts_with = "captured", requires = "body")]
    headers: Option<PathBuf>,
    /// The body that goes with --headers, byte for byte
    #[arg(long, value_name = "FILE", requires = "headers")]
    body: Option<PathBuf>,
    /// What is left of a delivery in its row
    #[arg(long, value_name = "WEBHOOK_ID", conflicts_with_all = ["captured", "headers"])]
    delivery: Option<String>,
    /// One or more signing secrets [default: WEBHOOK_SECRET, else those of the place]
    #[arg(long, value_name = "whsec_...")]
    secret: Option<String>,
    /// Google's public keys, as a file or an address
    #[arg(long, value_name = "FILE|URL")]
    jwks: Option<String>,
    /// Whom a token must be meant for
    #[arg(long, value_name = "URL")]
    audience: Option<String>,
    /// What the clock says: seconds since the epoch or RFC 3339 [default: when it arrived, where the capture tells
    /// it, else now]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    at: Option<i64>,
    /// How old a delivery may be [default: the place's, else 300]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
    tolerance: Option<i64>,
    /// Writes one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// Exit status 0 for a delivery that verifies, 1 for any other.
pub async fn run(args: Args) -> Result<ExitCode> {
    if args.headers.as_deref().is_some_and(is_stdin) && args.body.as_deref().is_some_and(is_stdin) {
        bail!("only one of --headers and --body can be standard input");
    }
    let captured = captured(&args).await?;
    let anchors = anchors::find(&args, &captured).await?;
    let at = args.at.or(captured.arrived).unwrap_or_else(|| SystemClock.now().div_euclid(1000));
    let past_seconds = args.tolerance.or(anchors.tolerance).unwrap_or(300);
    let tolerance = Tolerance { past_seconds, future_seconds: 300 };
    let report = explain::explain(&captured, &anchors, tolerance, at);
    report.print(args.json)?;
    Ok(if report.verified { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What can still be checked of a delivery by its row, with the place's own secrets and keys.
pub async fn of_row(target: &Target, row: Value) -> Result<Report> {
    let captured = Captured::json(row)?;
    let anchors = anchors::of_place(target, &captured).await?;
    let at = captured.arrived.unwrap_or_else(|| SystemClock.now().div_euclid(1000));
    let tolerance = Tolerance { past_seconds: anchors.tolerance.unwrap_or(300), future_seconds: 300 };
    Ok(explain::explain(&captured, &anchors, tolerance, at))
}

fn is_stdin(path: &std::path::Path) -> bool {
    path.as_os_str() == "-"
}

async fn captured(args: &Args) -> Result<Captured> {
    if let Some(id) = &args.delivery {
        let target = args.target.open().await?;
        let row = target.ledger()?.delivery(id).await?;
        return Captured::json(as_json(row.with_context(|| format!("no delivery {id}"))?));
    }
    match (&args.captured, &args.headers, &args.body) {
        (Some(path), ..) => {
            Captured::whole(&read(path)?).with_context(|| format!("cannot make use of {}", path.display()))
        }
        (None, Some(headers), Some(body)) => Ok(Captured::apart(&read(headers)?, Bytes::from(read(body)?))),
        _ => bail!("a FILE, --headers with --body, or --delivery is needed"),
    }
}

/// An address, where the text is one and not the name of a file.
fn address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()))
}
