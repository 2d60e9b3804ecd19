//! Names of resources. Whatever an event or an answer says becomes a path only by way of here.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const LONGEST: usize = 256;

/// What may stand in a segment as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A resource's name with its collection, for example `batches/b123`, safe to be part of a path or an object key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// A name as the API writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let safe = text.len() <= LONGEST
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
