//! What the event of a delivery says about its job, read once for each attempt: [`EventReport`].

use serde_json::{Map, Value};

use super::Report;
use crate::{
    error::ProcessingError,
    gemini::Name,
    job::{EndedJob, JobKind, OpenJob},
    ledger::Delivery,
    webhook::Event,
};

/// The event, and the error in it.
pub(super) struct EventReport {
    pub event: Event,
    error: Option<Value>,
}

impl EventReport {
    pub fn of(row: &Delivery) -> Self {
        Self { event: Event::parse(&row.body), error: error(&row.body) }
    }

    /// A job that has ended, with what its event says of it.
    pub fn ended(&self, row: &Delivery, name: &Name, kind: JobKind, state: &str) -> EndedJob {
        EndedJob {
            event_time: row.event_time,
            user_metadata: self.event.user_metadata.clone(),
            error: self.error.clone(),
            ..EndedJob::new(name.as_str(), kind, state)
        }
    }

    /// A job that is still open. If the event reports an end, the API is only not up to date yet, so that is a
    /// transient error: the event of an end must not be spent on the record of an open job.
    pub fn open(&self, job: OpenJob) -> Result<Report, ProcessingError> {
        if self.event.reports_an_end() {
            return Err(ProcessingError::transient(format!(
                "the event says that it ended, but the job is {}",
                job.state
            )));
        }
        Ok(Report::Open(job))
    }
}

/// The error in the event, for jobs whose error the API does not show.
fn error(body: &[u8]) -> Option<Value> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let data = event.get("data")?;
    let said: Map<String, Value> = [("code", "error_code"), ("message", "error_message")]
        .into_iter()
        .filter_map(|(name, said)| Some((name.to_owned(), data.get(said)?.clone())))
        .collect();
    if said.is_empty() {
        data.get("error").or_else(|| data.get("errors")).cloned()
    } else {
        Some(Value::Object(said))
    }
}
