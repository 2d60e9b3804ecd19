//! What became of a row, and its line in the log.

use tokio::time::Instant;

use crate::{
    ledger::{Delivery, ErrorKind, Outcome},
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
