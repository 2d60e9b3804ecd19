//! What became of a row, and its line in the log.

use std::{any::Any, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::{
    ledger::{Delivery, ErrorKind, LedgerError, Outcome},
    metrics,
};

/// What happened to a row in one call of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowResult {
    /// Somebody else has it, it is not due, it has ended, or there is no time left to begin it.
    NotOurs,
    /// It has cost a worker before, so it was put back to be worked alone.
    PutBack,
    /// It is `done`, with this outcome.
    Ended(Outcome),
    /// It waits for a retry, for an error of this class.
    Waiting(ErrorKind),
    /// It is `failed`.
    Failed,
    /// The lease was lost on the way: another worker has taken the row over, and nothing was written.
    Lost,
}

/// Why a row was not worked. It keeps its lease until that runs out. Then it is taken over, and a crash is counted.
#[derive(Debug, thiserror::Error)]
pub enum NotWorked {
    /// The tables could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the worker panicked: {0}")]
    Panicked(String),
}

/// Runs the work on one row. A panic ends this work and not that on other rows. For that, panics must unwind: Cargo.toml
/// says so, because `cargo lambda build` would choose otherwise.
pub(crate) async fn caught(
    work: impl Future<Output = Result<RowResult, LedgerError>>,
) -> Result<RowResult, NotWorked> {
    // What outlives the work is behind locks that are taken whether they are poisoned or not.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => Ok(result?),
        Err(panic) => Err(NotWorked::Panicked(message(panic.as_ref()))),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl RowResult {
    /// Writes the row's line of the log and its metric. `why` is what is missing or wrong.
    pub(crate) fn log(self, row: &Delivery, why: Option<&str>, started: Instant) {
        let (webhook_id, event_type) = (row.key.as_str(), row.event_type.as_deref());
        let (job, attempt, ms) = (row.job_hint.as_deref(), row.attempt, started.elapsed().as_millis());
        match self {
            Self::Failed => {
                metrics::failed();
                tracing::error!(webhook_id, event_type, job, attempt, ms, why, "failed");
            }
            Self::Waiting(kind) => {
                metrics::waiting(kind);
                tracing::warn!(
                    webhook_id,
                    event_type,
                    job,
                    attempt,
                    ms,
                    why,
                    error_kind = kind.name(),
                    "waiting"
                );
            }
            Self::Ended(outcome) => {
                metrics::ended(outcome);
                tracing::info!(webhook_id, event_type, job, attempt, ms, why, "{}", outcome.name());
            }
            other => tracing::info!(webhook_id, event_type, job, attempt, ms, "{other:?}"),
        }
    }
}
