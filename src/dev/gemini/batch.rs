//! A batch as it is kept: what was asked for, and how it ended. Inputs and outputs lie in files of their own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rfc3339;
use crate::clock::Millis;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub id: String,
    /// With its prefix `models/`.
    pub model: String,
    pub display_name: Option<String>,
    pub input: Input,
    /// How many requests there are, unless the input cannot be read.
    pub requests: Option<u64>,
    pub webhook: WebhookConfig,
    /// Of the event that tells of the end. Chosen beforehand, so that no crash makes two of it.
    pub webhook_id: String,
    pub created: Millis,
    pub end: Option<End>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Input {
    /// The id of a file.
    File(String),
    Inline,
}

/// Where the job's own events go, and what they carry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct WebhookConfig {
    #[serde(default)]
    pub uris: Vec<String>,
    #[serde(default, alias = "userMetadata")]
    pub user_metadata: Option<Map<String, Value>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct End {
    pub at: Millis,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Succeeded { requests: u64, failed: u64 },
    Failed(Failure),
    Cancelled,
}

/// An error in the words of `google.rpc.Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub code: i32,
    pub message: String,
}

pub(super) const INVALID_ARGUMENT: i32 = 3;
pub(super) const NOT_FOUND: i32 = 5;

impl Outcome {
    pub(super) fn failed(code: i32, message: impl Into<String>) -> Self {
        Self::Failed(Failure { code, message: message.into() })
    }

    pub(super) fn succeeded(&self) -> bool {
        matches!(self, Self::Succeeded { .. })
    }

    pub(super) fn state(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "BATCH_STATE_SUCCEEDED",
            Self::Failed(_) => "BATCH_STATE_FAILED",
            Self::Cancelled => "BATCH_STATE_CANCELLED",
        }
    }

    pub(super) fn event_type(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "batch.succeeded",
            Self::Failed(_) => "batch.failed",
            Self::Cancelled => "batch.cancelled",
        }
    }
}

impl Batch {
    pub(super) fn name(&self) -> String {
        format!("batches/{}", self.id)
    }

    /// The id of the file that the responses of a file's requests are written to.
    pub(super) fn output_file(&self) -> String {
        format!("batch-{}", self.id)
    }

    /// The event that tells of this end, the same whenever it is asked for.
    pub(super) fn event<'a>(&'a self, end: &'a End) -> Event<'a> {
        let file = end.outcome.succeeded() && self.input != Input::Inline;
        let failure = match &end.outcome {
            Outcome::Failed(failure) => Some(failure),
            _ => None,
        };
        Event {
            event_type: end.outcome.event_type(),
            version: "v1",
            timestamp: rfc3339(end.at),
            data: EventData {
                id: self.name(),
                output_file_uri: file.then(|| format!("files/{}", self.output_file())),
                error_code: failure.map(Failure::name),
                error_message: failure.map(|failure| failure.message.as_str()),
            },
            user_metadata: self.webhook.user_metadata.as_ref(),
        }
    }
}

/// As sent. It says little: who wants more asks for the batch.
#[derive(Serialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type")]
    event_type: &'static str,
    version: &'static str,
    timestamp: String,
    data: EventData<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_metadata: Option<&'a Map<String, Value>>,
}

#[derive(Serialize)]
struct EventData<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
}

impl Failure {
    fn name(&self) -> &'static str {
        match self.code {
            INVALID_ARGUMENT => "INVALID_ARGUMENT",
            NOT_FOUND => "NOT_FOUND",
            _ => "INTERNAL",
        }
    }
}
