//! A batch, which the API shows as a long-running operation (Gemini API reference, `batches.get`): [`Batch`].
//!
//! Its results are in a file or inline, under `response` or under `metadata.output`. Both places are read, because not
//! every answer has both. An unknown state counts as open, so that a new word of the API never ends a job.

use serde_json::{Map, Value};

use super::{Document, Name, metadata::UserMetadata};
use crate::{
    error::ProcessingError,
    job::Stated,
    json::{ITEM, Reader, Scanned, Span},
};

/// The longest error that is kept as a value, in bytes. A longer one is cut and kept as a text.
const MAX_ERROR_BYTES: u64 = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    Open,
    Succeeded,
    /// Failed, cancelled or expired. It may carry the results that it had until then.
    EndedWithout,
}

impl BatchState {
    /// Of the API's word without its prefix. An unknown word counts as open.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "SUCCEEDED" | "PARTIALLY_SUCCEEDED" => Self::Succeeded,
            "FAILED" | "CANCELLED" | "EXPIRED" => Self::EndedWithout,
            _ => Self::Open,
        }
    }
}

/// Where the results of a batch are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOutput {
    /// In a file of the API, by its name (`files/batch-...`).
    File(String),
    /// In the answer itself.
    Inline(InlineAt),
}

/// Which of the two places in the answer has the inline results. Not every answer has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InlineAt {
    Response,
    Metadata,
}

/// A batch as one answer shows it. Inline results are still in `document`.
#[derive(Debug)]
pub struct Batch {
    /// As the answer spells it. None where the answer has none that is safe to use.
    pub name: Option<Name>,
    /// The API's own word, for example `BATCH_STATE_SUCCEEDED`.
    pub state_word: String,
    pub state: BatchState,
    pub model: Option<String>,
    pub display_name: Option<String>,
    pub user_metadata: Option<Map<String, Value>>,
    pub output: Option<BatchOutput>,
    /// Whether the list of inline results has none in it.
    pub is_empty: bool,
    pub error: Option<Value>,
    /// What the batch says of its own requests, in `batchStats`.
    pub stated: Stated,
    /// Why the answer cannot be read to its end. What stands before that has been read.
    pub flaw: Option<String>,
    /// What of the metadata was left out.
    pub cut: Option<String>,
    pub document: Document,
}

/// One of the two places for an output.
#[derive(Default)]
struct Output {
    file: Option<String>,
    has_list: bool,
    items: u64,
}

/// What the answer says, with values that are still in it.
#[derive(Default)]
struct Answer {
    name: Option<String>,
    name_within: Option<String>,
    is_done: bool,
    state: Option<String>,
    model: Option<String>,
    display_name: Option<String>,
    error: Option<Span>,
    user_metadata: UserMetadata,
    stated: Stated,
    response: Output,
    metadata: Output,
}

impl Batch {
    /// Reads the whole answer, which may be long. It blocks. An error means that the temporary folder was not readable.
    pub fn read(document: Document) -> Result<Self, ProcessingError> {
        let mut answer = Answer::default();
        let flaw = document.scan(&mut answer)?;
        let (user_metadata, cut) = answer.user_metadata.read(&document)?;
        let output = output(&answer.response, &answer.metadata);
        let is_empty = answer.response.items == 0 && answer.metadata.items == 0;
        let state_word = answer.state.unwrap_or_default();
        let state = match BatchState::of(word(&state_word)) {
            ended @ (BatchState::Succeeded | BatchState::EndedWithout) => ended,
            _ if answer.is_done && answer.error.is_some() => BatchState::EndedWithout,
            _ if answer.is_done && output.is_some() => BatchState::Succeeded,
            _ => BatchState::Open,
        };
        Ok(Self {
            name: answer.name.or(answer.name_within).as_deref().and_then(Name::parse),
            state_word,
            state,
            model: answer.model,
            display_name: answer.display_name,
            user_metadata,
            output,
            is_empty,
            error: answer.error.map(|span| document.value(span, MAX_ERROR_BYTES)).transpose()?,
            stated: answer.stated,
            flaw,
            cut,
            document,
        })
    }
}

impl Reader for Answer {
    fn wants(&mut self, path: &[&str]) -> bool {
        match path {
            ["metadata" | "response"] | ["metadata", "output" | "webhookConfig" | "batchStats"] => true,
            ["metadata", "webhookConfig", "userMetadata"] => true,
            _ => inline(path).is_some_and(|(_, rest)| rest.is_empty()),
        }
    }

    fn value(&mut self, path: &[&str], value: &Scanned<'_>) {
        match path {
            ["name"] => self.name = value.text(),
            ["done"] => self.is_done = value.is_true(),
            ["error"] => self.error = (!value.is_null()).then_some(value.span),
            ["metadata", "name"] => self.name_within = value.text(),
            ["metadata", "state"] => self.state = value.text(),
            ["metadata", "model"] => self.model = value.text(),
            ["metadata", "displayName"] => self.display_name = value.text(),
            ["metadata", "webhookConfig", "userMetadata", _] => self.user_metadata.take(value),
            ["metadata", "batchStats", "requestCount"] => self.stated.requests = value.count(),
            ["metadata", "batchStats", "successfulRequestCount"] => self.stated.succeeded = value.count(),
            ["metadata", "batchStats", "failedRequestCount"] => self.stated.failed = value.count(),
            ["metadata", "batchStats", "pendingRequestCount"] => self.stated.pending = value.count(),
            ["response", "responsesFile"] => self.response.file = value.text(),
            ["metadata", "output", "responsesFile"] => self.metadata.file = value.text(),
            _ => {
                let Some((at, rest)) = inline(path) else { return };
                let output = match at {
                    InlineAt::Response => &mut self.response,
                    InlineAt::Metadata => &mut self.metadata,
                };
                match rest {
                    [] => output.has_list |= !value.is_null(),
                    [ITEM] => output.items += 1,
                    _ => {}
                }
            }
        }
    }
}

/// The API writes `BATCH_STATE_`, the samples in Google's batch guide `JOB_STATE_`.
pub(super) fn word(state: &str) -> &str {
    state.strip_prefix("BATCH_STATE_").or_else(|| state.strip_prefix("JOB_STATE_")).unwrap_or(state)
}

/// Which of the two lists of inline results a path leads to, and the rest of the path within the list. The list is in
/// an object of the same name. For embeddings that object has another name.
pub(super) fn inline<'a>(path: &'a [&'a str]) -> Option<(InlineAt, &'a [&'a str])> {
    let (at, rest) = match path {
        ["response", rest @ ..] => (InlineAt::Response, rest),
        ["metadata", "output", rest @ ..] => (InlineAt::Metadata, rest),
        _ => return None,
    };
    let ["inlinedResponses" | "inlinedEmbedContentResponses", rest @ ..] = rest else { return None };
    Some((at, rest.strip_prefix(&["inlinedResponses"]).unwrap_or(rest)))
}

/// A file, or a list with results in it, in either place. Without those, a list that is empty.
fn output(response: &Output, metadata: &Output) -> Option<BatchOutput> {
    let places = [(response, InlineAt::Response), (metadata, InlineAt::Metadata)];
    let full = places.iter().find_map(|(output, at)| match &output.file {
        Some(file) => Some(BatchOutput::File(file.clone())),
        None => (output.items > 0).then_some(BatchOutput::Inline(*at)),
    });
    full.or_else(|| places.iter().find(|(output, _)| output.has_list).map(|(_, at)| BatchOutput::Inline(*at)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gemini::SpooledBody;

    fn batch(json: &Value) -> Batch {
        Batch::read(Document::new(SpooledBody::from_bytes(json.to_string().as_bytes()))).unwrap()
    }

    #[test]
    fn output_is_found_in_either_place_and_where_it_is_not_empty() {
        let file = json!({"responsesFile": "files/batch-b"});
        let metadata = json!({"state": "BATCH_STATE_SUCCEEDED", "output": file});
        let both = batch(&json!({"name": "batches/b", "done": true, "metadata": metadata}));
        assert_eq!(both.output, Some(BatchOutput::File("files/batch-b".into())));
        assert_eq!(both.name.unwrap().as_str(), "batches/b");
        let response = batch(&json!({"done": true, "response": file}));
        assert_eq!((response.state, response.output), (BatchState::Succeeded, both.output));

        let (empty, full) = (json!({"inlinedResponses": []}), json!({"inlinedResponses": [{}]}));
        for (response, metadata, output) in [
            (json!({"inlinedResponses": empty}), json!({"inlinedResponses": full}), Some(InlineAt::Metadata)),
            (json!({"inlinedResponses": {}}), json!({"inlined_responses": full}), Some(InlineAt::Metadata)),
            (json!({"inlinedEmbedContentResponses": full}), json!({}), Some(InlineAt::Response)),
            (json!({"inlinedResponses": empty}), json!({}), Some(InlineAt::Response)),
            (json!({"inlinedResponses": [{}]}), json!({}), Some(InlineAt::Response)),
            (json!({"inlinedResponses": null}), json!({}), None),
        ] {
            let answer = json!({"response": response, "metadata": {"output": metadata}});
            assert_eq!(batch(&answer).output, output.map(BatchOutput::Inline), "{answer}");
        }
    }

    #[test]
    fn states_are_read_with_both_prefixes() {
        for (word, state) in [
            ("BATCH_STATE_PENDING", BatchState::Open),
            ("BATCH_STATE_RUNNING", BatchState::Open),
            ("JOB_STATE_SUCCEEDED", BatchState::Succeeded),
            ("JOB_STATE_PARTIALLY_SUCCEEDED", BatchState::Succeeded),
            ("BATCH_STATE_EXPIRED", BatchState::EndedWithout),
            ("JOB_STATE_CANCELLED", BatchState::EndedWithout),
            ("BATCH_STATE_NEW_WORD", BatchState::Open),
        ] {
            assert_eq!(batch(&json!({"metadata": {"state": word}})).state, state, "{word}");
        }
        let failed = batch(&json!({"done": true, "error": {"code": 3}}));
        assert_eq!(failed.state, BatchState::EndedWithout);
    }

    #[test]
    fn of_an_answer_that_breaks_off_the_beginning_is_read_and_the_flaw_is_said() {
        let broken =
            b"{\"name\": \"batches/b\", \"metadata\": {\"state\": \"BATCH_STATE_SUCCEEDED\"}, \"respo";
        let batch = Batch::read(Document::new(SpooledBody::from_bytes(broken))).unwrap();
        assert_eq!((batch.state, batch.output), (BatchState::Succeeded, None));
        assert_eq!(batch.flaw.as_deref(), Some("it breaks off after 76 bytes"));
    }
}
