//! Logs: one line of JSON for each delivery, on standard output, from where Lambda takes them to CloudWatch Logs.

use std::{fmt::Display, process::ExitCode};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt,
    layer::{Filter, SubscriberExt},
    util::SubscriberInitExt,
};

pub fn init() {
    // A second call changes nothing.
    let _ = tracing_subscriber::registry()
        .with(
            fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_filter(filter("warn,gemhook=info")),
        )
        .try_init();
}

/// Which lines are written: those that `RUST_LOG` selects, by default `INFO` and above. Other crates never log below
/// `INFO`, whatever it says: the SDK's traces contain whole answers, with secrets and bodies.
pub fn filter(usual: &str) -> impl Filter<Registry> + use<> {
    let chosen = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    chosen.and(filter_fn(|about: &Metadata<'_>| {
        *about.level() <= Level::INFO || about.target().split("::").next() == Some("gemhook")
    }))
}

/// The exit code of a function's process, with one line in the log if it could not start or had to stop.
pub fn exit<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped");
            ExitCode::FAILURE
        }
    }
}
