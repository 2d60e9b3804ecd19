//! The application's own `user_metadata`, as a job shows them: at most 64 KiB, the binding token always included.

use serde_json::{Map, Value};

use super::Document;
use crate::{
    error::ProcessingError,
    json::{Kind, Scanned, Span},
    webhook::binding::TOKEN,
};

/// All members together, with their names. The API's own limit is not published; a row holds a few times this.
const MAX_BYTES: u64 = 64 * 1024;

/// Where the members stand in an answer.
#[derive(Debug, Default)]
pub(super) struct UserMetadata {
    members: Vec<(String, Span)>,
    bytes: u64,
    /// How many there was no room for.
    left_out: u64,
}

/// The metadata, where there are any, and a word on what of them was not kept.
type Found = (Option<Map<String, Value>>, Option<String>);

impl UserMetadata {
    /// A member. The binding token is found however much stands beside it.
    pub fn take(&mut self, value: &Scanned<'_>) {
        let bytes = value.name.len() as u64 + value.span.length();
        let is_token = value.name == TOKEN && value.kind == Kind::Text && value.text().is_some();
        if self.bytes + bytes <= MAX_BYTES {
            self.bytes += bytes;
        } else if !is_token {
            self.left_out += 1;
            return;
        }
        self.members.retain(|(name, _)| name != value.name || !is_token);
        self.members.push((value.name.to_owned(), value.span));
    }

    /// The members, or None where there are none, and a word on those that were left out.
    pub fn read(self, document: &Document) -> Result<Found, ProcessingError> {
        let mut metadata = Map::new();
        for (name, span) in self.members {
            metadata.insert(name, document.value(span, MAX_BYTES)?);
        }
        let cut = (self.left_out > 0).then(|| {
            format!(
                "{} members of user_metadata are left out: all are longer than {MAX_BYTES} bytes",
                self.left_out
            )
        });
        Ok(((!metadata.is_empty()).then_some(metadata), cut))
    }
}
