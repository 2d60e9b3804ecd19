//! A batch, as a long-running operation of the API tells of it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use super::{Name, Spilled, off_the_loop};
use crate::trouble::Trouble;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    Open,
    Succeeded,
    /// Failed, cancelled or expired: there is nothing to fetch.
    EndedWithout,
}

impl BatchState {
    /// By its word, without a prefix. A word that nobody knows is no end.
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
    File(String),
    Inline(InlineAt),
}

/// The answer carries its output twice, and not always both are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InlineAt {
    Response,
    Metadata,
}

#[derive(Debug)]
pub struct Batch {
    pub name: Option<Name>,
    /// The API's own word, for example `BATCH_STATE_SUCCEEDED`.
    pub state_word: String,
    pub state: BatchState,
    pub model: Option<String>,
    pub display_name: Option<String>,
    pub user_metadata: Option<Map<String, Value>>,
    pub output: Option<BatchOutput>,
    pub error: Option<Value>,
    answer: Spilled,
}

#[derive(Deserialize)]
struct Operation {
    name: Option<String>,
    #[serde(default)]
    done: bool,
    metadata: Option<Metadata>,
    response: Option<Output>,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    state: Option<String>,
    model: Option<String>,
    display_name: Option<String>,
    output: Option<Output>,
    #[serde(alias = "webhook_config")]
    webhook_config: Option<WebhookConfig>,
}

#[derive(Deserialize)]
struct WebhookConfig {
    #[serde(alias = "userMetadata")]
    user_metadata: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    responses_file: Option<String>,
    #[serde(alias = "inlinedEmbedContentResponses")]
    inlined_responses: Option<IgnoredAny>,
}

impl Batch {
    /// Parsing walks the whole answer, which may be long: off the event loop.
    pub(super) async fn read(spilled: Spilled) -> Result<Self, Trouble> {
        off_the_loop(move || Self::read_now(spilled)).await
    }

    fn read_now(mut answer: Spilled) -> Result<Self, Trouble> {
        let operation: Operation = serde_json::from_reader(answer.read()?)
            .map_err(|error| Trouble::passing(format!("read the batch: unreadable answer: {error}")))?;
        let metadata = operation.metadata.unwrap_or_default();
        let state_word = metadata.state.unwrap_or_default();
        let output = place(operation.response.as_ref(), InlineAt::Response)
            .or_else(|| place(metadata.output.as_ref(), InlineAt::Metadata));
        let state = match BatchState::of(word(&state_word)) {
            ended @ (BatchState::Succeeded | BatchState::EndedWithout) => ended,
            _ if operation.done && operation.error.is_some() => BatchState::EndedWithout,
            _ if operation.done && output.is_some() => BatchState::Succeeded,
            _ => BatchState::Open,
        };
        Ok(Self {
            name: operation.name.or(metadata.name).as_deref().and_then(Name::parse),
            state_word,
            state,
            model: metadata.model,
            display_name: metadata.display_name,
            user_metadata: metadata.webhook_config.and_then(|config| config.user_metadata),
            output,
            error: operation.error,
            answer,
        })
    }

    /// Hands over every inline result in order. One result at a time is in memory. It blocks.
    pub fn walk_inline(
        &mut self,
        at: InlineAt,
        mut each: impl FnMut(&RawValue) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let path: &[&[&str]] = match at {
            InlineAt::Response => &[&["response"], INLINED, &["inlinedResponses"]],
            InlineAt::Metadata => &[&["metadata"], &["output"], INLINED, &["inlinedResponses"]],
        };
        let mut stopped = None;
        let mut reader = serde_json::Deserializer::from_reader(self.answer.read()?);
        let walk = Walk { path, each: &mut each, stopped: &mut stopped };
        let walked = walk.deserialize(&mut reader);
        match (stopped, walked) {
            (Some(trouble), _) => Err(trouble),
            (None, Err(error)) => Err(Trouble::passing(format!("unreadable inline results: {error}"))),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// Embeddings have a field of their own.
const INLINED: &[&str] = &["inlinedResponses", "inlinedEmbedContentResponses"];

/// The wire says `BATCH_STATE_`, the guide's samples `JOB_STATE_`.
pub(super) fn word(state: &str) -> &str {
    state.strip_prefix("BATCH_STATE_").or_else(|| state.strip_prefix("JOB_STATE_")).unwrap_or(state)
}

fn place(output: Option<&Output>, at: InlineAt) -> Option<BatchOutput> {
    let output = output?;
    match &output.responses_file {
        Some(file) => Some(BatchOutput::File(file.clone())),
        None => output.inlined_responses.map(|_| BatchOutput::Inline(at)),
    }
}

/// Goes down a path of keys, each in any of its spellings, to a list, ignores all else, and hands over the list's items one by one.
struct Walk<'a, F> {
    path: &'a [&'a [&'a str]],
    each: &'a mut F,
    stopped: &'a mut Option<Trouble>,
}

impl<'de, F: FnMut(&RawValue) -> Result<(), Trouble>> DeserializeSeed<'de> for Walk<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&RawValue) -> Result<(), Trouble>> Visitor<'de> for Walk<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.path.is_empty() { "a list of results" } else { "an object" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.path.split_first() else {
            return Err(A::Error::custom("no list of results"));
        };
        while let Some(key) = map.next_key::<String>()? {
            if step.contains(&key.as_str()) {
                map.next_value_seed(Walk { path: rest, each: self.each, stopped: self.stopped })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element::<Box<RawValue>>()? {
            if let Err(trouble) = (self.each)(&item) {
                *self.stopped = Some(trouble);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(json: &Value) -> Batch {
        Batch::read_now(Spilled::from_bytes(json.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn output_is_found_in_either_place() {
        let file = serde_json::json!({"responsesFile": "files/batch-b"});
        let metadata = serde_json::json!({"state": "BATCH_STATE_SUCCEEDED", "output": file});
        let both = batch(&serde_json::json!({"name": "batches/b", "done": true, "metadata": metadata}));
        assert_eq!(both.output, Some(BatchOutput::File("files/batch-b".into())));
        assert_eq!(both.name.unwrap().as_str(), "batches/b");
        let response = batch(&serde_json::json!({"done": true, "response": file}));
        assert_eq!((response.state, response.output), (BatchState::Succeeded, both.output));
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
            assert_eq!(batch(&serde_json::json!({"metadata": {"state": word}})).state, state, "{word}");
        }
        let failed = batch(&serde_json::json!({"done": true, "error": {"code": 3}}));
        assert_eq!(failed.state, BatchState::EndedWithout);
    }

    #[test]
    fn inline_results_come_in_order_and_as_they_are() {
        let items = serde_json::json!([{"response": {"a": [1, {"b": "x\ny"}]}}, {"error": {"code": 3}}]);
        for (at, json) in [
            (
                InlineAt::Response,
                serde_json::json!({"response": {"inlinedResponses": {"inlinedResponses": items}}}),
            ),
            (
                InlineAt::Metadata,
                serde_json::json!({"metadata": {"output": {"inlinedResponses": {"inlinedResponses": items}}}}),
            ),
            (
                InlineAt::Response,
                serde_json::json!({"response": {"inlinedEmbedContentResponses": {"inlinedResponses": items}}}),
            ),
        ] {
            let mut batch = batch(&json);
            assert_eq!(batch.output, Some(BatchOutput::Inline(at)));
            let mut seen = Vec::new();
            batch
                .walk_inline(at, |item| {
                    seen.push(serde_json::from_str::<Value>(item.get()).unwrap());
                    Ok(())
                })
                .unwrap();
            assert_eq!(Value::Array(seen), items);
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_passing_trouble() {
        let error = Batch::read_now(Spilled::from_bytes(b"{\"name\": \"bat")).unwrap_err();
        assert!(matches!(error, Trouble::Passing { .. }), "{error:?}");
    }
}
