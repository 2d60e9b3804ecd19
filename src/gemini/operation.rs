//! The operation that makes a video: whether it is done, and where its samples are.

use serde_json::{Map, Value};

use super::{
    document::{Document, Json, Spot, Walked, items, members, short, spot, text_spot, truth},
    interaction::{Media, MediaAt},
};
use crate::trouble::Trouble;

const LONGEST_WORD: u64 = 256;
const LONGEST_URI: u64 = 8 * 1024;
const LONGEST_VALUE: u64 = 4 * 1024;
/// A row of the Jobs table has to hold a word on each of them.
const MOST_SAMPLES: usize = 200;

#[derive(Debug)]
pub struct Operation {
    pub done: bool,
    pub error: Option<Value>,
    pub user_metadata: Option<Map<String, Value>>,
    pub samples: Vec<Media>,
    /// How many were held back, and why.
    pub filtered: u64,
    pub filtered_reasons: Option<Value>,
    pub document: Document,
}

#[derive(Default)]
struct Told {
    done: bool,
    error: Option<Spot>,
    config: Option<Spot>,
    samples: Vec<Media>,
    filtered: Option<Spot>,
    reasons: Option<Spot>,
}

impl Operation {
    /// Parsing walks the whole answer. It blocks.
    pub fn read(document: Document) -> Result<Self, Trouble> {
        let mut told = Told::default();
        document.walk(|json| {
            members(json, |name, json| match name {
                "done" => {
                    told.done = truth(json)?;
                    Ok(())
                }
                "error" => {
                    told.error = Some(spot(json)?);
                    Ok(())
                }
                "metadata" => members(json, |name, json| told.metadata(name, json)),
                "response" => members(json, |name, json| match name {
                    "generateVideoResponse" => members(json, |name, json| told.response(name, json)),
                    _ => spot(json).map(drop),
                }),
                _ => spot(json).map(drop),
            })
        })?;
        let value = |spot: Option<Spot>| spot.map(|spot| document.value(spot, LONGEST_VALUE)).transpose();
        let config = value(told.config)?.unwrap_or_default();
        let metadata = config.get("userMetadata").or_else(|| config.get("user_metadata"));
        let filtered = value(told.filtered)?.unwrap_or_default();
        let text = filtered.as_str().and_then(|text| text.parse().ok());
        Ok(Self {
            done: told.done,
            error: value(told.error)?,
            user_metadata: metadata.and_then(Value::as_object).cloned(),
            samples: told.samples,
            filtered: filtered.as_u64().or(text).unwrap_or(0),
            filtered_reasons: value(told.reasons)?,
            document,
        })
    }
}

impl Told {
    fn metadata(&mut self, name: &str, json: &mut Json) -> Walked {
        let at = spot(json)?;
        if matches!(name, "webhookConfig" | "webhook_config") {
            self.config = Some(at);
        }
        Ok(())
    }

    fn response(&mut self, name: &str, json: &mut Json) -> Walked {
        match name {
            "generatedSamples" => items(json, |json| {
                members(json, |name, json| match name {
                    "video" => self.sample(json),
                    _ => spot(json).map(drop),
                })
            })?,
            "raiMediaFilteredCount" => self.filtered = Some(spot(json)?),
            "raiMediaFilteredReasons" => self.reasons = Some(spot(json)?),
            _ => drop(spot(json)?),
        }
        Ok(())
    }

    fn sample(&mut self, json: &mut Json) -> Walked {
        let (mut uri, mut data, mut mime_type) = (None, None, None);
        members(json, |name, json| {
            match name {
                "uri" => uri = short(json, LONGEST_URI)?,
                "encodedVideo" => data = text_spot(json)?,
                "encoding" => mime_type = short(json, LONGEST_WORD)?,
                _ => drop(spot(json)?),
            }
            Ok(())
        })?;
        let at = uri.map(MediaAt::Uri).or(data.map(MediaAt::Inline));
        if let Some(at) = at
            && self.samples.len() < MOST_SAMPLES
        {
            self.samples.push(Media { kind: "video".to_owned(), mime_type, at });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::Spilled;

    fn read(json: &str) -> Operation {
        Operation::read(Document::new(Spilled::from_bytes(json.as_bytes()))).unwrap()
    }

    #[test]
    fn samples_filters_and_errors_are_found() {
        let done = read(
            r#"{"name":"models/m/operations/o","done":true,"metadata":{"webhookConfig":{"userMetadata":{"a":1}}},
            "response":{"@type":"x","generateVideoResponse":{"raiMediaFilteredCount":"2","raiMediaFilteredReasons":["r"],
            "generatedSamples":[{"video":{"uri":"u"}},{"video":{"encodedVideo":"AA==","encoding":"video/webm"}},{}]}}}"#,
        );
        assert!(done.done);
        assert_eq!((done.filtered, done.filtered_reasons), (2, Some(serde_json::json!(["r"]))));
        assert_eq!(done.user_metadata.unwrap()["a"], 1);
        assert_eq!(done.samples[0].at, MediaAt::Uri("u".into()));
        assert!(matches!(done.samples[1].at, MediaAt::Inline(_)));
        assert_eq!((done.samples.len(), done.samples[1].mime_type.as_deref()), (2, Some("video/webm")));

        let failed = read(r#"{"done":true,"error":{"code":3,"message":"blocked"}}"#);
        assert_eq!(failed.error.unwrap()["message"], "blocked");
        assert!(!read(r#"{"name":"models/m/operations/o"}"#).done);
    }
}
