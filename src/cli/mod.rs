//! The command line, a command a file.

mod deliveries;
mod demo;
mod dev;
mod doctor;
mod filter;
mod jobs;
mod local;
mod place;
mod reconcile;
mod show;
mod stack;
mod token;
mod trigger;
mod verify;
mod webhook;
mod webhooks_api;

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

/// Gemini's webhooks, verified, recorded exactly once, results archived.
#[derive(Parser)]
#[command(name = "gemhook", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What arrived and what became of it: list, show, watch, redrive
    Deliveries(deliveries::Args),
    /// Shows the whole way of an event on this machine, in a temporary folder, and checks what came of it
    Demo(demo::Args),
    /// Runs the functions, their stores and a simulated Gemini API on this machine until Ctrl-C
    Dev(dev::Args),
    /// Checks a deployment, or the local machine, and says what mends it
    Doctor(doctor::Args),
    /// What came of the jobs, and their results: list, show, fetch, wait, watch, delete
    Jobs(jobs::Args),
    /// Finds jobs that ended without an event
    Reconcile(reconcile::Args),
    /// Binds a job to us: a token for its user_metadata, which a dynamic webhook has to prove
    Token(token::Args),
    /// Signs an event, and sends or shows it
    Trigger(trigger::Args),
    /// Says step by step why a captured delivery is accepted or refused
    Verify(verify::Args),
    /// Registers, shows, pings and deletes webhooks at the Gemini API
    Webhook(webhook::Args),
}

/// Exit status 0 where all was well, 1 where something was not, 2 for a wrong call.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The demo provokes refusals and shows them itself.
    log_to_stderr(if matches!(cli.command, Command::Demo(_)) { "error" } else { "warn" });
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Deliveries(args) => deliveries::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Dev(args) => dev::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Jobs(args) => jobs::run(args).await,
            Command::Reconcile(args) => reconcile::run(args).await,
            Command::Token(args) => token::run(args).await,
            Command::Trigger(args) => trigger::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Webhook(args) => webhook::run(args).await,
        }
    });
    match result {
        Ok(code) => code,
        // Whoever read our output has gone away: an end like any other.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("gemhook: {error:#}");
    ExitCode::FAILURE
}

/// By default only what a person should see.
fn log_to_stderr(level: &str) {
    let levels = crate::log::levels(&format!("{level},{}", crate::dev::stores::QUIET.join(",")));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .compact()
        .with_filter(filter_fn(move |about| crate::log::is_written(&levels, about)));
    tracing_subscriber::registry().with(layer).init();
}
