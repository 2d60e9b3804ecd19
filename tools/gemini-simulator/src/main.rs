//! The simulator alone: `gemini-simulator --webhook-url http://127.0.0.1:8080/ --secret whsec_...`

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use clap::Parser;
use gemini_simulator::{Settings, Simulator};
use tokio::net::TcpListener;

/// A Gemini API on this machine, which sends a webhook the events of jobs that ended.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to listen, on this machine only; 0 takes a free port
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where the registered webhook is
    #[arg(long)]
    webhook_url: String,
    /// What its events are signed with, whsec_...
    #[arg(long)]
    secret: String,
    /// The folder of its files, jobs and events
    #[arg(long, default_value = ".gemini-simulator")]
    data: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gemini-simulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints its address and serves until Ctrl-C.
async fn run(args: Args) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await.context("cannot listen")?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let Args { webhook_url, secret, data, .. } = args;
    let simulator = Simulator::open(&data, &base_url, &webhook_url, &secret, Settings::default()).await?;
    println!("{base_url}");
    let router = simulator.router();
    let ctrl_c = || async { _ = tokio::signal::ctrl_c().await };
    let serve = axum::serve(listener, router).with_graceful_shutdown(ctrl_c());
    let (served, ()) = tokio::join!(serve.into_future(), Arc::clone(&simulator).run(ctrl_c()));
    served.context("cannot serve")
}
