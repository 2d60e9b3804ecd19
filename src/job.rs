//! What is known of a job of the Gemini API, in words that the client, the archive and the ledger share.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Millis;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    Batch,
    Interaction,
    Video,
}

impl JobKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Interaction => "interaction",
            Self::Video => "video",
        }
    }
}

/// An object in the bucket that holds a job's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub bucket: String,
    pub key: String,
    pub bytes: u64,
    pub content_type: String,
    /// In hexadecimal, of the object as a whole.
    pub sha256: String,
    /// Where the bytes came from, in the API's own words.
    pub source: String,
}

/// What a batch's responses add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub requests: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Lines that are no JSON object or too long to look into. They are archived as they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// All that the ledger writes of a job when it has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndedJob {
    #[serde(skip)]
    pub name: String,
    pub kind: JobKind,
    /// The API's word for how it ended, for example `BATCH_STATE_SUCCEEDED`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_metadata: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// What the ledger writes of a job that is known and still open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenJob {
    #[serde(skip)]
    pub name: String,
    pub kind: JobKind,
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_metadata: Option<Map<String, Value>>,
}
