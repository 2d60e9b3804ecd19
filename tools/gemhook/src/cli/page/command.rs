//! `gemhook page`: the page of a deployed stack, on this machine, with the credentials of whoever starts it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::{
    net::TcpListener,
    select,
    signal::unix::{SignalKind, signal},
};

use super::{News, Served};
use crate::cli::{
    render::{plain, print_json, print_line},
    target::TargetArgs,
};

pub const HELP: &str = "\
The page shows the stack's tables and outputs, read with your own AWS credentials, and changes as the table's stream \
reports them. A list reads the whole table, at most every ten seconds. It listens on this machine only and changes nothing, \
unless --allow-writes lets its buttons redrive and replay.

Example: gemhook page --stack my-hook";

#[derive(clap::Args)]
pub struct Args {
    /// Where the page is served on this machine; 0 picks a free port
    #[arg(long, default_value_t = 8793)]
    port: u16,
    /// Lets the page redrive and replay deliveries
    #[arg(long)]
    allow_writes: bool,
    /// Writes one JSON object with the address
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let target = args.target.open().await?;
    if let Some(url) = target.dev.as_ref().and_then(|at| at.page_url.as_ref()) {
        bail!("`gemhook dev` serves its page itself, at {url}; name a stack with --stack NAME");
    }
    // A stack of another version would show a page that can do nothing.
    target.ledger()?;
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await.with_context(|| {
        format!("cannot listen on port {}; choose another with --port, or --port 0 for a free one", args.port)
    })?;
    let page = Served::new(listener)?;
    if args.json {
        print_json(&json!({"page_url": page.url, "of": target.name, "writes": args.allow_writes}))?;
    } else {
        let may = if args.allow_writes { "it may redrive and replay" } else { "it changes nothing" };
        print_line(&plain(&format!("{}: {}; {may}; Ctrl-C stops it", target.name, page.url)))?;
    }
    io::stdout().flush()?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    select! {
        served = page.run(target, News::Table, args.allow_writes) => served.map(|()| ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::SUCCESS),
        _ = terminate.recv() => Ok(ExitCode::SUCCESS),
    }
}
