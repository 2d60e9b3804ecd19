//! The operation that makes a video: whether it is done, and where its samples are ([`Operation`]).
//!
//! Samples and the reasons for filtered ones are read from `response.generateVideoResponse` and from `response` itself,
//! under each of the names that public clients were seen to read. The first of the two places that has samples counts.

use serde_json::{Map, Value};

use super::{
    Document,
    interaction::{Media, MediaAt},
    metadata::UserMetadata,
};
use crate::{
    error::ProcessingError,
    json::{ITEM, Kind, Reader, Scanned, Span},
};

/// The longest error and the longest reasons that are kept as a value, in bytes. Longer ones are cut and kept as text.
const MAX_VALUE_BYTES: u64 = 4 * 1024;
/// How many samples are read. Each takes room in the job's row, which DynamoDB limits to 400 KB.
const MAX_SAMPLES: usize = 200;

/// The names of the lists of samples, as a pattern.
macro_rules! LIST {
    () => {
        "generatedSamples" | "generatedVideos" | "videos"
    };
}

/// An operation as one answer shows it. Inline samples are still in `document`.
#[derive(Debug)]
pub struct Operation {
    /// Whether it has ended, with an error or with a response (Google AIP-151, "Long-running operations").
    pub done: bool,
    pub error: Option<Value>,
    pub user_metadata: Option<Map<String, Value>>,
    pub samples: Vec<Media>,
    /// How many more there are than `samples` has.
    pub more_samples: usize,
    /// How many were filtered, and why (`raiMediaFilteredCount`, `raiMediaFilteredReasons`).
    pub filtered: u64,
    pub filtered_reasons: Option<Value>,
    /// Why the answer cannot be read to its end. What stands before that has been read.
    pub flaw: Option<String>,
    /// What of the metadata was left out.
    pub cut: Option<String>,
    pub document: Document,
}

/// What one of the places for samples holds.
#[derive(Default)]
struct Samples {
    found: Vec<Media>,
    more: usize,
    filtered: Option<u64>,
    reasons: Option<Span>,
}

/// A sample that has not ended.
#[derive(Default)]
struct Sample {
    uri: Option<String>,
    data: Option<Span>,
    mime_type: Option<String>,
}

/// What the answer says, with values that are still in it.
#[derive(Default)]
struct Answer {
    is_done: bool,
    error: Option<Span>,
    user_metadata: UserMetadata,
    sample: Sample,
    /// In `generateVideoResponse`.
    inner: Samples,
    /// In `response`.
    outer: Samples,
}

impl Operation {
    /// Reads the whole answer. It blocks. An error means that the temporary folder could not be read.
    pub fn read(document: Document) -> Result<Self, ProcessingError> {
        let mut answer = Answer::default();
        let flaw = document.scan(&mut answer)?;
        let (user_metadata, cut) = answer.user_metadata.read(&document)?;
        let value = |span: Option<Span>| span.map(|span| document.value(span, MAX_VALUE_BYTES)).transpose();
        let (inner, outer) = (answer.inner, answer.outer);
        let error = value(answer.error)?;
        let filtered_reasons = value(inner.reasons.or(outer.reasons))?;
        let samples =
            if inner.found.is_empty() { (outer.found, outer.more) } else { (inner.found, inner.more) };
        Ok(Self {
            done: answer.is_done,
            error,
            user_metadata,
            samples: samples.0,
            more_samples: samples.1,
            filtered: inner.filtered.or(outer.filtered).unwrap_or(0),
            filtered_reasons,
            flaw,
            cut,
            document,
        })
    }

    /// Whether it says that samples were filtered.
    pub fn has_filtered(&self) -> bool {
        self.filtered > 0 || self.filtered_reasons.is_some()
    }
}

impl Reader for Answer {
    fn wants(&mut self, path: &[&str]) -> bool {
        match path {
            ["metadata" | "response"] => true,
            ["metadata", "webhookConfig"] | ["metadata", "webhookConfig", "userMetadata"] => true,
            ["response", "generateVideoResponse", rest @ ..] | ["response", rest @ ..] => {
                matches!(rest, [] | [LIST!()] | [LIST!(), ITEM] | [LIST!(), ITEM, "video"])
            }
            _ => false,
        }
    }

    fn value(&mut self, path: &[&str], value: &Scanned<'_>) {
        match path {
            ["done"] => self.is_done = value.is_true(),
            ["error"] => self.error = (!value.is_null()).then_some(value.span),
            ["metadata", "webhookConfig", "userMetadata", _] => self.user_metadata.take(value),
            ["response", "generateVideoResponse", rest @ ..] => {
                self.inner.take(rest, value, &mut self.sample)
            }
            ["response", rest @ ..] => self.outer.take(rest, value, &mut self.sample),
            _ => {}
        }
    }
}

impl Samples {
    fn take(&mut self, path: &[&str], value: &Scanned<'_>, sample: &mut Sample) {
        match path {
            [LIST!(), ITEM, "video", member] | [LIST!(), ITEM, member] => sample.take(member, value),
            [LIST!(), ITEM] => self.push(std::mem::take(sample)),
            ["raiMediaFilteredCount"] => self.filtered = value.count(),
            ["raiMediaFilteredReasons"] => {
                let is_empty = value.is_null() || value.kind == Kind::List && value.span.length() == 2;
                self.reasons = (!is_empty).then_some(value.span);
            }
            _ => {}
        }
    }

    /// The same sample may stand under two names.
    fn push(&mut self, sample: Sample) {
        let Some(at) = sample.uri.map(MediaAt::Uri).or(sample.data.map(MediaAt::Inline)) else { return };
        if self.found.iter().any(|known| known.at == at) {
            return;
        }
        if self.found.len() == MAX_SAMPLES {
            self.more += 1;
            return;
        }
        self.found.push(Media { kind: "video".to_owned(), mime_type: sample.mime_type, at });
    }
}

impl Sample {
    fn take(&mut self, member: &str, value: &Scanned<'_>) {
        match member {
            "uri" | "gcsUri" => self.uri = value.text().or(self.uri.take()),
            "encodedVideo" | "videoBytes" | "bytesBase64Encoded" if value.kind == Kind::Text => {
                self.data = Some(value.span);
            }
            "encoding" | "mimeType" => self.mime_type = value.text(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gemini::SpooledBody;

    fn read(json: &str) -> Operation {
        Operation::read(Document::new(SpooledBody::from_bytes(json.as_bytes()))).unwrap()
    }

    #[test]
    fn samples_filters_and_errors_are_found() {
        let done = read(
            r#"{"name":"models/m/operations/o","done":true,"metadata":{"webhookConfig":{"userMetadata":{"a":1}}},
            "response":{"@type":"x","generateVideoResponse":{"raiMediaFilteredCount":"2","raiMediaFilteredReasons":["r"],
            "generatedSamples":[{"video":{"uri":"u"}},{"video":{"encodedVideo":"AA==","encoding":"video/webm"}},{}]}}}"#,
        );
        assert!(done.done);
        assert_eq!((done.filtered, done.filtered_reasons), (2, Some(json!(["r"]))));
        assert_eq!(done.user_metadata.unwrap()["a"], 1);
        assert_eq!(done.samples[0].at, MediaAt::Uri("u".into()));
        assert!(matches!(done.samples[1].at, MediaAt::Inline(_)));
        assert_eq!((done.samples.len(), done.samples[1].mime_type.as_deref()), (2, Some("video/webm")));

        let failed = read(r#"{"done":true,"error":{"code":3,"message":"blocked"}}"#);
        assert_eq!(failed.error.unwrap()["message"], "blocked");
        assert!(!read(r#"{"name":"models/m/operations/o"}"#).done);
    }

    #[test]
    fn samples_and_reasons_are_read_wherever_they_have_been_met() {
        for response in [
            r#"{"generateVideoResponse":{"generatedSamples":[{"video":{"uri":"u"}}]}}"#,
            r#"{"generatedSamples":[{"video":{"uri":"u"}}],"generateVideoResponse":{}}"#,
            r#"{"generatedVideos":[{"video":{"uri":"u","mimeType":"video/mp4"}}]}"#,
            r#"{"generated_videos":[{"video":{"uri":"u"}}],"generatedVideos":[{"video":{"uri":"u"}}]}"#,
            r#"{"generate_video_response":{"generated_samples":[{"video":{"uri":"u"}}]}}"#,
            r#"{"videos":[{"gcsUri":"u","mimeType":"video/mp4"}]}"#,
        ] {
            let operation = read(&format!(r#"{{"done":true,"response":{response}}}"#));
            assert_eq!(operation.samples.len(), 1, "{response}");
            assert_eq!(operation.samples[0].at, MediaAt::Uri("u".into()), "{response}");
        }
        let filtered = read(
            r#"{"done":true,"response":{"raiMediaFilteredCount":1,"rai_media_filtered_reasons":["r"]}}"#,
        );
        assert_eq!((filtered.filtered, filtered.filtered_reasons), (1, Some(json!(["r"]))));
        assert!(
            !read(r#"{"response":{"generateVideoResponse":{"raiMediaFilteredReasons":[]}}}"#).has_filtered()
        );
    }
}
