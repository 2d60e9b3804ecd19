//! What is particular to a batch. Its inputs and outputs lie in files of their own.

use serde::{Deserialize, Serialize};

use super::{
    directives::{Directives, Ending},
    job::{CANCELLED, DEADLINE_EXCEEDED, EventData, Failure, INTERNAL, Job, Kind},
};

/// Data beside the record of an inline batch.
pub(super) const REQUESTS: &str = "requests";
pub(super) const RESPONSES: &str = "responses";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub call: Call,
    /// With its prefix `models/`.
    pub model: String,
    pub display_name: Option<String>,
    pub input: Input,
    /// How many requests there are, unless the input cannot be read.
    pub requests: Option<u64>,
    /// How the batch as a whole is to end, out of its display name.
    pub directives: Directives,
}

/// What each request of the batch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call {
    GenerateContent,
    EmbedContent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Input {
    /// The id of a file.
    File(String),
    Inline,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Succeeded { requests: u64, failed: u64 },
    Failed(Failure),
    Cancelled,
    Expired,
}

impl Outcome {
    pub(super) fn failed(code: i32, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(code, message))
    }

    pub(super) fn succeeded(&self) -> bool {
        matches!(self, Self::Succeeded { .. })
    }

    pub(super) fn state(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "BATCH_STATE_SUCCEEDED",
            Self::Failed(_) => "BATCH_STATE_FAILED",
            Self::Cancelled => "BATCH_STATE_CANCELLED",
            Self::Expired => "BATCH_STATE_EXPIRED",
        }
    }

    /// What the API says instead of a response.
    pub(super) fn error(&self) -> Option<Failure> {
        match self {
            Self::Succeeded { .. } => None,
            Self::Failed(failure) => Some(failure.clone()),
            Self::Cancelled => Some(Failure::new(CANCELLED, "The batch was cancelled.")),
            Self::Expired => Some(Failure::new(DEADLINE_EXCEEDED, "The batch has expired.")),
        }
    }
}

impl Batch {
    /// How many requests are answered although the batch does not succeed.
    pub(super) fn partial(&self) -> Option<u64> {
        let partial = self.directives.partial.filter(|partial| *partial > 0)?;
        Some(partial.min(self.requests?))
    }

    /// Whether a batch with this end has an output.
    pub(super) fn has_output(&self, outcome: &Outcome) -> bool {
        outcome.succeeded() || self.partial().is_some()
    }

    /// The end that was wished for, whatever the requests are.
    pub(super) fn requested(&self) -> Option<Outcome> {
        match (&self.directives.fail, self.directives.state) {
            (Some(why), _) => Some(Outcome::failed(INTERNAL, why)),
            (None, Some(Ending::Expired)) => Some(Outcome::Expired),
            (None, Some(Ending::Cancelled)) => Some(Outcome::Cancelled),
            _ => None,
        }
    }
}

impl Job<Batch> {
    pub(super) fn name(&self) -> String {
        format!("batches/{}", self.id)
    }

    /// The id of the file that the responses of a file's requests are written to.
    pub(super) fn output_file(&self) -> String {
        format!("batch-{}", self.id)
    }
}

impl Kind for Batch {
    type Outcome = Outcome;

    const DATA: &'static [&'static str] = &[REQUESTS, RESPONSES];

    fn ending_event(job: &Job<Self>, outcome: &Outcome) -> Option<(&'static str, EventData)> {
        let data = EventData::of(job.name());
        Some(match outcome {
            Outcome::Succeeded { .. } if job.asked.input == Input::Inline => ("batch.succeeded", data),
            Outcome::Succeeded { .. } => {
                ("batch.succeeded", data.with_output(format!("files/{}", job.output_file())))
            }
            Outcome::Failed(failure) => ("batch.failed", data.with_failure(failure)),
            Outcome::Cancelled => ("batch.cancelled", data),
            Outcome::Expired => ("batch.expired", data),
        })
    }
}
