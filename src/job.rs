//! What is known of a job of the Gemini API, in types that the client, the archive and the ledger share: [`EndedJob`]
//! and [`OpenJob`], with [`Output`], [`Skipped`] and the sums of their results.

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
///
/// Each line is exactly one of `succeeded`, `failed`, `blocked`, `empty` and `unreadable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    pub requests: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Prompts that were blocked, so that there is no response: `promptFeedback.blockReason`.
    #[serde(skip_serializing_if = "is_zero")]
    pub blocked: u64,
    /// Responses without any content, for whatever `finishReason`.
    #[serde(skip_serializing_if = "is_zero")]
    pub empty: u64,
    /// Lines that are not a JSON object, or have neither a response nor an error. They are archived as they are.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// Tokens that tools added to the prompt are included.
    pub tokens_in: u64,
    /// Thoughts are included.
    pub tokens_out: u64,
    /// What the batch says of itself, where that is something else than what was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated: Option<Stated>,
}

/// What a batch says of its requests, in its `batchStats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stated {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
    /// Never begun, because the batch ended before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
}

impl Summary {
    /// With what the batch says of itself, if that differs from what was counted.
    ///
    /// Google does not say whether a blocked or empty response counts as successful, so each is taken for either.
    #[must_use]
    pub fn compared_with(self, stated: Stated) -> Self {
        let unclear = self.blocked + self.empty + self.unreadable;
        let fits = |counted: u64, stated: u64| (counted..=counted.saturating_add(unclear)).contains(&stated);
        let ended = match stated {
            Stated { succeeded: Some(succeeded), failed, .. } => {
                Some(succeeded.saturating_add(failed.unwrap_or(0)))
            }
            Stated { requests, pending, .. } => {
                requests.map(|requests| requests.saturating_sub(pending.unwrap_or(0)))
            }
        };
        let is_same = ended.is_none_or(|ended| ended == self.requests)
            && stated.succeeded.is_none_or(|succeeded| fits(self.succeeded, succeeded))
            && stated.failed.is_none_or(|failed| fits(self.failed, failed));
        Self { stated: (!is_same).then_some(stated), ..self }
    }
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
    /// How many samples there were, and how many were filtered.
    Video {
        samples: u64,
        filtered: u64,
    },
}

/// An output that was not stored, has no bytes or could not be read, or metadata that were left out: where, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
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
    /// The API's word for how it ended, for example `BATCH_STATE_SUCCEEDED`. Operations have none, so ours stands
    /// there.
    pub state: String,
    pub event_time: Option<Millis>,
    pub user_metadata: Option<Map<String, Value>>,
    pub model: Option<String>,
    pub display_name: Option<String>,
    pub outputs: Vec<Output>,
    pub skipped: Vec<Skipped>,
    pub summary: Option<Sums>,
    pub text: Option<Text>,
    pub error: Option<Value>,
}

impl EndedJob {
    /// A job that has ended, of which nothing else is known yet.
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
            skipped: Vec::new(),
            summary: None,
            text: None,
            error: None,
        }
    }

    /// Says that an answer, which is in the bucket as it came, could not be read to its end.
    pub fn cannot_read(&mut self, key: &str, why: &str) {
        let why = format!("the answer could not be read to its end: {why}");
        if self.error.is_none() {
            self.error = Some(serde_json::json!({ "message": why }));
        }
        self.skipped.push(Skipped { source: key.to_owned(), why });
    }

    /// For the log and for `last_error`: which of its outputs are not in the bucket.
    pub fn missed(&self) -> Option<String> {
        let first = self.skipped.first()?;
        // One that is there without any bytes is among the skipped ones already.
        let all = self.skipped.len() + self.outputs.iter().filter(|output| output.bytes > 0).count();
        let (skipped, why, source) = (self.skipped.len(), &first.why, &first.source);
        Some(format!("{skipped} of {all} outputs were not fetched: {why} ({source})"))
    }

    /// What was counted in the results of a batch, where the batch itself says something else.
    pub fn mismatch(&self) -> Option<Summary> {
        match self.summary {
            Some(Sums::Batch(summary)) if summary.stated.is_some() => Some(summary),
            _ => None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_from_what_the_batch_says_of_itself_is_kept() {
        let counted = Summary { requests: 4, succeeded: 2, failed: 1, blocked: 1, ..Summary::default() };
        let stated = |requests, succeeded, failed, pending| Stated { requests, succeeded, failed, pending };
        for (stated, differs) in [
            (Stated::default(), false),
            (stated(Some(4), None, None, None), false),
            (stated(Some(5), None, None, None), true),
            (stated(Some(3), None, None, None), true),
            (stated(Some(6), None, None, Some(2)), false),
            (stated(Some(4), Some(2), Some(2), None), false),
            (stated(Some(4), Some(3), Some(1), Some(0)), false),
            (stated(Some(4), Some(4), None, None), true),
            (stated(Some(4), Some(1), Some(3), None), true),
            (stated(Some(9), Some(3), Some(1), Some(5)), false),
            (stated(Some(9), Some(3), None, Some(6)), true),
        ] {
            assert_eq!(counted.compared_with(stated).stated, differs.then_some(stated), "{stated:?}");
        }
    }
}
