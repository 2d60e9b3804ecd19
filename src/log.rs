//! Logs: JSON, one line per delivery, on standard output, from where Lambda collects them.

use std::{fmt::Display, process::ExitCode};

use tracing_subscriber::EnvFilter;

/// `RUST_LOG` chooses what is written; by default our own news and other crates' warnings.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,gemhook=info"));
    let logs = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false);
    // A second call finds the first one's work done.
    let _ = logs.with_span_list(false).with_env_filter(filter).try_init();
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
