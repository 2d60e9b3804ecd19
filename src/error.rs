//! Why a job could not be archived in this attempt, in the classes by which the row is retried.
//!
//! [`ProcessingError`] is made where an answer is read: `gemini::error_response` for the Gemini API, `archive` for S3,
//! `announce` for EventBridge. `retry` turns each class into a wait or an end.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcessingError {
    /// It passes by itself: load, timeouts, a result that is not there yet.
    #[error("{why}")]
    Transient {
        why: String,
        /// How long the other side asked us to wait.
        after: Option<Duration>,
    },
    /// Our API key does not work, so nothing said about a job counts.
    #[error("the API key was rejected: {0}")]
    Unauthorized(String),
    /// Our API key works, but for another project than the one whose webhook is ours, so nothing it says about a job
    /// counts. The address is the one that no webhook of the key's project has.
    #[error("the key's project has no webhook at our URL {0}: it may be the key of another project")]
    OtherProject(String),
    /// The API understood the request and rejects it (400, 402 or 403): billing, permission, a retired schema. That
    /// says nothing about whether the job is there.
    #[error("request rejected: {0}")]
    Rejected(String),
    /// The API answers 404 or 410: it knows no such job or file, or not yet.
    #[error("{0}")]
    NotFound(String),
    /// The job is there and has ended, but an output of it is not, or not any more.
    #[error("{0}")]
    OutputExpired(String),
    /// A job of somebody else's, reported by an event that Google signed.
    #[error("not our job: {0}")]
    Foreign(String),
    /// Trying again changes nothing.
    #[error("{0}")]
    Permanent(String),
    /// The invocation ends; another one goes on.
    #[error("the invocation ran out of time")]
    DeadlineExceeded,
}

impl ProcessingError {
    pub fn transient(why: impl Into<String>) -> Self {
        Self::Transient { why: why.into(), after: None }
    }
}
