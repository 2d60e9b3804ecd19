//! What jobs of every kind have in common, and the event that reports how one ended.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::rfc3339;
use crate::clock::Millis;

/// What one kind of job does not share with the others.
pub(super) trait Kind: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    type Outcome: Clone + Serialize + DeserializeOwned + Send + Sync;

    /// What the data beside a record is called.
    const DATA: &'static [&'static str];

    /// The type of the event that reports this outcome, and what it says. Not every end has an event.
    fn ending_event(job: &Job<Self>, outcome: &Self::Outcome) -> Option<(&'static str, EventData)>;
}

/// A job as it is kept: what was asked for, and how it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Job<K: Kind> {
    pub id: String,
    pub asked: K,
    pub webhook: WebhookConfig,
    /// Of the event that reports the end. Chosen beforehand, so that no crash makes two of it.
    pub webhook_id: String,
    pub created: Millis,
    pub end: Option<End<K::Outcome>>,
}

/// Where the job's own events go, and what they carry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct WebhookConfig {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    #[serde(default, alias = "userMetadata", skip_serializing_if = "Option::is_none")]
    pub user_metadata: Option<Map<String, Value>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct End<O> {
    pub at: Millis,
    pub outcome: O,
}

impl<K: Kind> Job<K> {
    pub(super) fn new(id: String, asked: K, webhook: WebhookConfig, created: Millis) -> Self {
        let webhook_id = format!("msg_{}", Uuid::new_v4());
        Self { id, asked, webhook, webhook_id, created, end: None }
    }

    pub(super) fn outcome(&self) -> Option<&K::Outcome> {
        self.end.as_ref().map(|end| &end.outcome)
    }

    /// When it was changed last.
    pub(super) fn updated(&self) -> Millis {
        self.end.as_ref().map_or(self.created, |end| end.at)
    }

    /// The event that is pending, the same whenever it is asked for.
    pub(super) fn event(&self) -> Option<Event<'_>> {
        let end = self.end.as_ref()?;
        let (event_type, data) = K::ending_event(self, &end.outcome)?;
        Some(Event {
            event_type,
            version: "v1",
            timestamp: rfc3339(end.at),
            data,
            user_metadata: self.webhook.user_metadata.as_ref(),
        })
    }
}

/// As sent. It says little: who wants more asks for the job.
#[derive(Serialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type")]
    pub event_type: &'static str,
    version: &'static str,
    timestamp: String,
    data: EventData,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_metadata: Option<&'a Map<String, Value>>,
}

#[derive(Serialize)]
pub(super) struct EventData {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

impl EventData {
    pub(super) fn of(id: String) -> Self {
        Self { id, output_file_uri: None, file_name: None, error_code: None, error_message: None }
    }

    pub(super) fn with_output(self, file: String) -> Self {
        Self { output_file_uri: Some(file), ..self }
    }

    pub(super) fn with_file(self, file: String) -> Self {
        Self { file_name: Some(file.clone()), ..self.with_output(file) }
    }

    pub(super) fn with_failure(self, failure: &Failure) -> Self {
        Self { error_code: Some(failure.name()), error_message: Some(failure.message.clone()), ..self }
    }
}

/// An error in the words of `google.rpc.Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub code: i32,
    pub message: String,
}

pub(super) const CANCELLED: i32 = 1;
pub(super) const INVALID_ARGUMENT: i32 = 3;
pub(super) const DEADLINE_EXCEEDED: i32 = 4;
pub(super) const NOT_FOUND: i32 = 5;
pub(super) const INTERNAL: i32 = 13;

impl Failure {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(INVALID_ARGUMENT, message)
    }

    pub(super) fn name(&self) -> &'static str {
        match self.code {
            CANCELLED => "CANCELLED",
            INVALID_ARGUMENT => "INVALID_ARGUMENT",
            DEADLINE_EXCEEDED => "DEADLINE_EXCEEDED",
            NOT_FOUND => "NOT_FOUND",
            _ => "INTERNAL",
        }
    }
}
