//! Counts an object's bytes while they pass: length, SHA-256 and, for results in lines, the sums of the requests.
//!
//! A count can be interrupted at any byte and continued by another process ([`Mark`]): the mark has the state of the
//! digest and of the sums, also in the middle of a line.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{
    Digest, Sha256,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use super::line_counter::LineCounter;
use crate::job::Summary;

/// Everything known of an object once all its bytes have passed.
pub struct Meter {
    digest: Sha256,
    pub bytes: u64,
    lines: Option<LineCounter>,
}

/// A count that was interrupted after `bytes` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub bytes: u64,
    /// The state of the SHA-256 in base64. It is readable by every 0.11 version of the crate `sha2`.
    digest: String,
    lines: Option<LineCounter>,
}

impl Meter {
    /// Of results in lines, or of bytes that are not looked into.
    pub fn new(lines: bool) -> Self {
        Self { digest: Sha256::new(), bytes: 0, lines: lines.then(LineCounter::default) }
    }

    pub fn take(&mut self, piece: &[u8]) {
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        if let Some(lines) = &mut self.lines {
            lines.take(piece);
        }
    }

    pub fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes,
            digest: BASE64_STANDARD.encode(SerializableState::serialize(&self.digest)),
            lines: self.lines.clone(),
        }
    }

    /// Continues a count at its mark. None where the mark is not a state of this digest.
    pub fn resume(mark: &Mark) -> Option<Self> {
        let state = BASE64_STANDARD.decode(&mark.digest).ok()?;
        let state = SerializedState::<Sha256>::try_from(state.as_slice()).ok()?;
        Some(Self {
            digest: SerializableState::deserialize(&state).ok()?,
            bytes: mark.bytes,
            lines: mark.lines.clone(),
        })
    }

    pub fn finish(self) -> (u64, [u8; 32], Option<Summary>) {
        (self.bytes, self.digest.finalize().into(), self.lines.map(LineCounter::finish))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"{\"response\":{}}\n{\"error\":{}}\n\nbroken\n{\"response\":{\"tokenCount\":7}}";

    /// The SHA-256 of `TEXT` by `sha256sum`.
    const SUM: &str = "cb5760eaa22b3cdc76ac04b364856fe9c023f9f2b564565ff3cec11af8ca4fdb";

    #[test]
    fn a_count_that_is_interrupted_anywhere_ends_like_one_that_is_not() {
        let whole =
            Summary { requests: 4, failed: 1, empty: 2, unreadable: 1, tokens_in: 7, ..Summary::default() };
        for cut in 0..=TEXT.len() {
            let mut before = Meter::new(true);
            before.take(&TEXT[..cut]);
            let mark = serde_json::to_string(&before.mark()).unwrap();
            let mark: Mark = serde_json::from_str(&mark).unwrap();
            let mut after = Meter::resume(&mark).unwrap();
            after.take(&TEXT[cut..]);
            let (bytes, digest, lines) = after.finish();
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(
                (bytes, digest.as_str(), lines),
                (TEXT.len() as u64, SUM, Some(whole)),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_state_that_is_none_is_not_taken_up() {
        let mark = Meter::new(false).mark();
        for digest in ["", "AAAA", "no base64"] {
            assert!(Meter::resume(&Mark { digest: digest.to_owned(), ..mark.clone() }).is_none());
        }
    }
}
