//! The command line, a command a file.

mod check_receiver;
mod deliveries;
mod demo;
mod dev;
mod doctor;
mod env;
mod filter;
mod jobs;
mod local;
mod manual;
mod page;
mod reconcile;
mod render;
mod replay;
mod resend;
mod running;
mod sender;
mod stack;
mod table;
mod target;
mod token;
mod trigger;
mod verify;
mod webhook;
mod webhooks_api;

use std::{io::IsTerminal, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

/// Receives the webhooks of the Gemini API on AWS Lambda: run it here, deploy it, see what arrived
#[derive(Parser)]
#[command(name = "gemhook", version, max_term_width = 100, after_help = EXIT_STATUSES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// As in docs/command-line.md, which a test holds to this.
const EXIT_STATUSES: &str = "\
Exit status:
  0  It did what was asked, or what it checked is in order.
  1  It could not, or something that it checked is not in order.
  2  The command line is wrong: an unknown command, option or value.";

#[derive(Subcommand)]
enum Command {
    /// Shows which rules of Standard Webhooks a receiver breaks, ours or any other
    #[command(after_help = check_receiver::HELP)]
    CheckReceiver(check_receiver::Args),
    /// Prints the completions of a shell
    #[command(
        after_help = "Example: gemhook completions bash > ~/.local/share/bash-completion/completions/gemhook"
    )]
    Completions(manual::Completions),
    /// Shows what arrived and what became of it: list, show, watch, redrive
    Deliveries(deliveries::Args),
    /// Shows the whole way of an event on this machine, in a temporary folder, and checks the result
    #[command(after_help = "Example: gemhook demo")]
    Demo(demo::Args),
    /// Runs the functions, their stores and a simulated Gemini API on this machine until Ctrl-C
    #[command(after_help = "Example: gemhook dev --finish-after 0.5")]
    Dev(dev::Args),
    /// Checks a deployment, or the local machine, and says how to fix what is wrong
    #[command(after_help = DOCTOR_HELP)]
    Doctor(doctor::Args),
    /// Prints the variables with which both functions run on the local machine, for cargo lambda watch
    #[command(
        after_help = "Example: gemhook env > .gemhook/env && cargo lambda watch --env-file .gemhook/env"
    )]
    Env(env::Args),
    /// Shows what became of the jobs, and their results: list, show, fetch, wait, watch, delete
    Jobs(jobs::Args),
    /// Writes the manual pages
    #[command(after_help = "Example: gemhook man --to ~/.local/share/man/man1")]
    Man(manual::Man),
    /// Serves a page of a deployed stack on this machine: what arrives, what became of it, and the results
    #[command(after_help = page::HELP)]
    Page(page::Args),
    /// Finds jobs that ended without an event
    #[command(after_help = "Example: gemhook reconcile --stack my-hook --since 7d --dry-run")]
    Reconcile(reconcile::Args),
    /// Sends recorded deliveries once more, freshly signed, to the stack, this machine or any address
    #[command(after_help = replay::HELP)]
    Replay(replay::Args),
    /// Makes a token for the user_metadata of a job, which proves to a dynamic webhook that the job is ours
    #[command(after_help = "Example: gemhook token --metadata '{\"job_group\": \"nightly\"}'")]
    Token(token::Args),
    /// Signs an event and sends it, or shows it
    #[command(after_help = "Example: gemhook trigger batch.failed --job batch --repeat 100 --concurrency 10")]
    Trigger(trigger::Args),
    /// Explains step by step why a captured delivery is accepted or refused
    #[command(after_help = "Example: gemhook verify delivery.http --secret whsec_...")]
    Verify(verify::Args),
    /// Registers, shows, changes, rotates, pings and deletes webhooks at the Gemini API
    Webhook(webhook::Args),
}

const DOCTOR_HELP: &str = "\
The probe is a signed event that doctor sends to the real address and finds again in the table. A ping of the Gemini API \
proves nothing: the API answers it with success also when it cannot reach the address.

Example: gemhook doctor --stack my-hook";

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
            Command::CheckReceiver(args) => check_receiver::run(args).await,
            Command::Completions(args) => manual::completions(&args, &mut Cli::command()),
            Command::Man(args) => manual::man(&args, Cli::command()),
            Command::Deliveries(args) => deliveries::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Dev(args) => dev::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Env(args) => env::run(&args),
            Command::Jobs(args) => jobs::run(args).await,
            Command::Page(args) => page::run(args).await,
            Command::Reconcile(args) => reconcile::run(args).await,
            Command::Replay(args) => replay::run(args).await,
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
    let levels = gemhook::log::levels(&format!("{level},{}", crate::dev::stores::QUIET.join(",")));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .compact()
        .with_filter(filter_fn(move |about| gemhook::log::is_written(&levels, about)));
    tracing_subscriber::registry().with(layer).init();
}
