//! Names of resources. A text of an event or an answer becomes a path or an object key only as a [`Name`].
//!
//! A name has letters, digits, `.`, `_`, `-` and `/` only, at most 256 bytes, and no segment that is empty or made of
//! dots. So it cannot leave its collection at the API or its folder in the bucket.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const MAX_NAME_BYTES: usize = 256;

/// What is not percent-encoded in a segment of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A resource's name with its collection, for example `batches/b123`, safe to be part of a path or an object key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// A name as the API writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let safe = text.len() <= MAX_NAME_BYTES
            && text.contains('/')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte))
            && text.split('/').all(|segment| !segment.is_empty() && segment.bytes().any(|byte| byte != b'.'));
        safe.then(|| Self(text.to_owned()))
    }

    /// A batch in any of the spellings that events were seen with: `batches/x`, `x`, and the guide's `batch_x`,
    /// whose prefix may be part of the id: it is left alone.
    pub fn batch(hint: &str) -> Option<Self> {
        let id = hint.strip_prefix("batches/").unwrap_or(hint);
        if id.contains('/') { None } else { Self::parse(&format!("batches/{id}")) }
    }

    /// An interaction, with or without its collection.
    pub fn interaction(hint: &str) -> Option<Self> {
        let id = hint.strip_prefix("interactions/").unwrap_or(hint);
        if id.contains('/') { None } else { Self::parse(&format!("interactions/{id}")) }
    }

    /// What makes a video: the operation of a model by its full name, or an interaction, whose ids begin with a
    /// version. The API reads no operation by its bare id.
    pub fn video(hint: &str) -> Option<Self> {
        if hint.starts_with("interactions/") || (!hint.contains('/') && has_version(hint)) {
            return Self::interaction(hint);
        }
        let is_operation = matches!(
            hint.split('/').collect::<Vec<_>>().as_slice(),
            ["models" | "tunedModels", _, "operations", _]
        );
        if is_operation { Self::parse(hint) } else { None }
    }

    /// Whether it is in this collection, for example `batches`.
    pub fn is_in(&self, collection: &str) -> bool {
        self.0.split('/').next() == Some(collection)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn id(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn path(&self) -> String {
        let segments: Vec<String> =
            self.0.split('/').map(|segment| utf8_percent_encode(segment, PLAIN).to_string()).collect();
        segments.join("/")
    }
}

/// For example `v1_Chd...`.
fn has_version(id: &str) -> bool {
    let version = id.strip_prefix('v').and_then(|rest| rest.split_once('_')).map(|(version, _)| version);
    version.is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_found_in_every_spelling() {
        for (hint, name) in [
            ("batches/b1", "batches/b1"),
            ("b1", "batches/b1"),
            ("batch_123456", "batches/batch_123456"),
            ("o08hk76gv328ihxcssjsgwt3g6omtfysxi46", "batches/o08hk76gv328ihxcssjsgwt3g6omtfysxi46"),
        ] {
            assert_eq!(Name::batch(hint).unwrap().as_str(), name);
        }
    }

    #[test]
    fn videos_are_made_by_operations_and_by_interactions() {
        for (hint, name) in [
            ("models/veo/operations/op1", Some("models/veo/operations/op1")),
            ("interactions/x", Some("interactions/x")),
            ("v1_ChdO..", Some("interactions/v1_ChdO..")),
            ("op1", None),
            ("operations/op1", None),
            ("models/veo", None),
            ("models/veo/operations/..", None),
            ("interactions/a/b", None),
            ("vx_1", None),
            ("files/vid1", None),
        ] {
            assert_eq!(Name::video(hint).as_ref().map(Name::as_str), name, "{hint}");
        }
    }

    #[test]
    fn nothing_that_could_leave_its_place_is_a_name() {
        for text in [
            "",
            "..",
            "batches/..",
            "a/b",
            "batches/a/b",
            "batches/",
            "/b",
            "b?x=1",
            "b#",
            "b:cancel",
            "b c",
            "b%2e",
            "b\n",
            "é",
            "https://example.com/b",
            &"x".repeat(300),
        ] {
            assert_eq!(Name::batch(text), None, "{text:?}");
        }
        assert_eq!(Name::parse("files/batch-b1").unwrap().id(), "batch-b1");
        assert_eq!(Name::parse("files"), None);
        assert_eq!(Name::parse("files//a"), None);
    }
}
