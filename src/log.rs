//! Logs: JSON, one line per delivery, on standard output, from where Lambda collects them.

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
    // A second call finds the first one's work done.
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

/// What is written: what `RUST_LOG` chooses, or else the usual. Of other crates never more than their news, whatever
/// it says: the SDK's traces hold whole answers, with the secrets and bodies in them.
pub fn filter(usual: &str) -> impl Filter<Registry> + use<> {
    let chosen = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    chosen.and(filter_fn(|about: &Metadata<'_>| {
        *about.level() <= Level::INFO || about.target().split("::").next() == Some("gemhook")
    }))
}

/// The end of a function's process: one message where it could not start or go on.
pub fn exit<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped");
            ExitCode::FAILURE
        }
    }
}
