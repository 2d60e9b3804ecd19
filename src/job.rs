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

/// What a job adds up to, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Sums {
    Batch(Summary),
    Interaction {
        tokens_in: u64,
        tokens_out: u64,
    },
    /// How many samples there were, and how many were held back.
    Video {
        samples: u64,
        filtered: u64,
    },
}

/// An output, or one that might have been, that stays where it is or is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    pub source: String,
    pub why: String,
}

/// The beginning of a final text, for a person who reads the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    /// Whether there is more of it in the bucket.
    pub cut: bool,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// All that the ledger writes of a job when it has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedJob {
    pub name: String,
    pub kind: JobKind,
    /// The API's word for how it ended, for example `BATCH_STATE_SUCCEEDED`. Operations have none, so ours stands there.
    pub state: String,
    pub event_time: Option<Millis>,
    pub user_metadata: Option<Map<String, Value>>,
    pub model: Option<String>,
    pub display_name: Option<String>,
    pub outputs: Vec<Output>,
    pub left: Vec<Left>,
    pub summary: Option<Sums>,
    pub text: Option<Text>,
    pub error: Option<Value>,
}

impl EndedJob {
    /// Of which nothing is known yet but that it has ended.
    pub fn new(name: impl Into<String>, kind: JobKind, state: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            state: state.into(),
            event_time: None,
            user_metadata: None,
            model: None,
            display_name: None,
            outputs: Vec::new(),
            left: Vec::new(),
            summary: None,
            text: None,
            error: None,
        }
    }

    /// In words, what of its outputs is not in the bucket.
    pub fn missed(&self) -> Option<String> {
        let first = self.left.first()?;
        let all = self.left.len() + self.outputs.len();
        let (left, why, source) = (self.left.len(), &first.why, &first.source);
        Some(format!("{left} of {all} outputs were not fetched: {why} ({source})"))
    }
}

/// What the ledger writes of a job that is known and still open.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenJob {
    pub name: String,
    pub kind: JobKind,
    pub state: String,
    pub user_metadata: Option<Map<String, Value>>,
    /// The calls that it waits for, each with name, id and arguments.
    pub calls: Vec<Value>,
}
