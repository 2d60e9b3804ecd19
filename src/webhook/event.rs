//! What an event says, read leniently: anything signed is kept, whether or not it is understood.

use serde_json::{Map, Value};

use crate::clock::{Millis, from_rfc3339};

/// The kind of job that an event reports. An event of any other kind is recorded, and nothing is looked up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Batch,
    Interaction,
    Video,
    Unknown,
}

impl EventKind {
    /// By the part before the dot, so that new types of a known kind are handled, too.
    pub fn of(event_type: Option<&str>) -> Self {
        match event_type.and_then(|name| name.split_once('.')).map(|(family, _)| family) {
            Some("batch") => Self::Batch,
            Some("interaction") => Self::Interaction,
            Some("video") => Self::Video,
            _ => Self::Unknown,
        }
    }
}

/// An event's content. It says where to look and is never trusted for more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// As sent, for example `batch.succeeded`.
    pub event_type: Option<String>,
    /// When it happened, by the event's own `timestamp`.
    pub time: Option<Millis>,
    /// The job in the event's own spelling.
    pub job_hint: Option<String>,
    pub user_metadata: Option<Map<String, Value>>,
    /// Whether the body was a JSON object at all.
    pub is_json: bool,
}

impl Event {
    pub fn parse(body: &[u8]) -> Self {
        members(body).map_or_else(Self::default, |members| Self::read(&members))
    }

    /// Reads the members of a body that is a JSON object.
    pub(super) fn read(event: &Map<String, Value>) -> Self {
        let data = event.get("data").and_then(Value::as_object);
        let in_data = |name: &str| data.and_then(|data| data.get(name));
        // Google does not document where the metadata are, so each place and each spelling counts.
        let metadata = ["user_metadata", "userMetadata"]
            .into_iter()
            .find_map(|name| event.get(name).or_else(|| in_data(name)))
            .and_then(Value::as_object);
        Self {
            event_type: text(event.get("type")),
            time: event.get("timestamp").and_then(time),
            job_hint: text(in_data("id")).filter(|id| !id.is_empty()),
            user_metadata: metadata.cloned(),
            is_json: true,
        }
    }

    pub fn kind(&self) -> EventKind {
        EventKind::of(self.event_type.as_deref())
    }

    /// Whether the event says that the job has ended. All types do, except `interaction.requires_action`.
    pub fn reports_an_end(&self) -> bool {
        self.event_type.as_deref() != Some("interaction.requires_action")
    }
}

/// The members of a body that is a JSON object. The parser limits the depth to 128.
pub(super) fn members(body: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

/// RFC 3339 as documented; seconds as a number are tolerated.
fn time(value: &Value) -> Option<Millis> {
    match value {
        Value::String(text) => from_rfc3339(text),
        Value::Number(seconds) => seconds.as_i64()?.checked_mul(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_documented_envelope() {
        let event = Event::parse(
            br#"{"type":"batch.succeeded","version":"v1","timestamp":"2026-01-22T12:00:00Z",
                "data":{"id":"batch_123456","output_file_uri":"gs://b/o"}}"#,
        );
        assert_eq!(event.kind(), EventKind::Batch);
        assert_eq!(event.time, Some(1_769_083_200_000));
        assert_eq!(event.job_hint.as_deref(), Some("batch_123456"));
    }

    #[test]
    fn a_time_in_seconds_is_read_too() {
        assert_eq!(Event::parse(br#"{"timestamp":1769083200}"#).time, Some(1_769_083_200_000));
    }

    #[test]
    fn nothing_signed_is_too_odd_to_read() {
        let deep = "[".repeat(100_000);
        for body in [&b""[..], b"[]", b"{", b"\xff\xfe", b"null", b"{\"data\":[]}", deep.as_bytes()] {
            let event = Event::parse(body);
            assert_eq!((event.kind(), event.job_hint), (EventKind::Unknown, None));
        }
    }

    #[test]
    fn metadata_is_found_in_either_place() {
        for body in [
            r#"{"type":"batch.succeeded","user_metadata":{"a":1},"data":{"id":"b"}}"#,
            r#"{"type":"batch.succeeded","data":{"id":"b","user_metadata":{"a":1}}}"#,
            r#"{"type":"batch.succeeded","data":{"id":"b","userMetadata":{"a":1}}}"#,
        ] {
            assert_eq!(Event::parse(body.as_bytes()).user_metadata.unwrap()["a"], 1, "{body}");
        }
    }
}
