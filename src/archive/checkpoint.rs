//! A transfer that outlasts its invocation: what the next one has to know in order to go on.
//!
//! A [`Checkpoint`] is in the delivery's row, as JSON of at most 4 KiB, while the row waits. It names an open upload,
//! the parts that have landed without a gap from the first one on, and the count at the end of the last of them. What
//! S3 lists and what the source answers are compared with it. If they differ, the output is begun anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{buffers::PART_BYTES, meter::Mark};
use crate::gemini::Resume;

/// A checkpoint of another version is not read.
const VERSION: u32 = 1;

/// In bytes. The ledger's rows are small, so a longer one is not kept.
const LONGEST: usize = 4 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    version: u32,
    pub key: String,
    /// S3's id of the upload.
    pub upload: String,
    /// In bytes, of every part but the last one of the object.
    part_size: usize,
    /// Parts 1 to this one have landed.
    pub parts: i32,
    /// In hexadecimal: SHA-256 over the SHA-256 of these parts, in order.
    pub parts_sha256: String,
    /// At the end of the last of these parts.
    pub mark: Mark,
    pub source: Fingerprint,
}

/// Shows whether a source has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// In bytes.
    pub length: u64,
    /// A strong one. A source may have none: then the bytes of the last part decide alone.
    pub etag: Option<String>,
}

impl Checkpoint {
    pub fn new(
        key: &str,
        upload: &str,
        (parts, parts_sha256): (i32, String),
        mark: Mark,
        source: Fingerprint,
    ) -> Self {
        let (key, upload) = (key.to_owned(), upload.to_owned());
        Self { version: VERSION, key, upload, part_size: PART_BYTES, parts, parts_sha256, mark, source }
    }

    /// The last part is read again, to see that the source still has the same bytes.
    pub fn resume(&self) -> Resume<'_> {
        let from = self.part_from();
        Resume { from, length: self.source.length, etag: self.source.etag.as_deref() }
    }

    /// Where the last part that has landed begins.
    fn part_from(&self) -> u64 {
        self.mark.bytes.saturating_sub(PART_BYTES as u64)
    }

    /// Whether this code cuts an output in the same way, and the numbers agree with each other.
    fn is_sound(&self) -> bool {
        let bytes = u64::try_from(self.parts).ok().and_then(|parts| parts.checked_mul(PART_BYTES as u64));
        self.version == VERSION
            && self.part_size == PART_BYTES
            && self.parts > 0
            && bytes == Some(self.mark.bytes)
            && self.mark.bytes <= self.source.length
    }
}

/// Where an attempt leaves its checkpoint after every part that has landed, and where its worker finds the newest one
/// at whatever moment the attempt is ended.
#[derive(Debug, Default)]
pub struct Checkpoints {
    /// How many bytes had landed when the attempt began, if the row has a checkpoint.
    begun_at: Option<u64>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    newest: Option<Checkpoint>,
    obstacle: Option<String>,
}

impl Checkpoints {
    /// With what the row has of an earlier attempt.
    pub fn of(text: Option<&str>) -> Self {
        let newest = text.and_then(|text| {
            let checkpoint = serde_json::from_str(text).ok().filter(Checkpoint::is_sound);
            if checkpoint.is_none() {
                tracing::warn!("a checkpoint that this version cannot read: the output is begun anew");
            }
            checkpoint
        });
        let begun_at = newest.as_ref().map(|checkpoint: &Checkpoint| checkpoint.mark.bytes);
        Self { begun_at, kept: Mutex::new(Kept { newest, obstacle: None }) }
    }

    /// Whether a transfer that an earlier attempt began has made progress in this one. A transfer that was begun anew
    /// has not. Otherwise a source that cannot be continued would be begun again for ever.
    pub fn have_advanced(&self) -> bool {
        let newest = self.kept().newest.as_ref().map(|checkpoint| checkpoint.mark.bytes);
        self.begun_at.zip(newest).is_some_and(|(before, now)| now > before)
    }

    /// As JSON for the row. None where there is nothing to continue.
    pub fn text(&self) -> Option<String> {
        let text = serde_json::to_string(self.kept().newest.as_ref()?).ok()?;
        (text.len() <= LONGEST).then_some(text)
    }

    /// Why the next attempt cannot go on where this one ends, if that is so.
    pub fn obstacle(&self) -> Option<String> {
        self.kept().obstacle.clone()
    }

    /// The checkpoint of this object's transfer.
    pub(super) fn find(&self, key: &str) -> Option<Checkpoint> {
        self.kept().newest.clone().filter(|checkpoint| checkpoint.key == key)
    }

    /// Whether a transfer can leave anything here.
    pub(super) fn are_kept(&self) -> bool {
        self.kept().obstacle.is_none()
    }

    pub(super) fn keep(&self, checkpoint: Checkpoint) {
        let mut kept = self.kept();
        if kept.obstacle.is_none() {
            kept.newest = Some(checkpoint);
        }
    }

    /// A transfer is over, or its output is begun anew.
    pub(super) fn clear(&self) {
        self.kept().newest = None;
    }

    /// Nothing more is kept in this attempt.
    pub(super) fn prevent(&self, why: &str) {
        *self.kept() = Kept { newest: None, obstacle: Some(why.to_owned()) };
    }

    /// No code panics while it holds the lock, so the value is whole even if the lock is poisoned.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::meter::Meter;

    fn checkpoint(upload: &str) -> Checkpoint {
        let mut meter = Meter::new(true);
        meter.take(&vec![b'x'; PART_BYTES]);
        with_mark(1, upload, meter.mark())
    }

    /// Its digest is not that of the parts, which nothing here looks at.
    fn after_parts(parts: i32, upload: &str) -> Checkpoint {
        let mut mark = Meter::new(true).mark();
        mark.bytes = u64::try_from(parts).unwrap() * PART_BYTES as u64;
        with_mark(parts, upload, mark)
    }

    fn with_mark(parts: i32, upload: &str, mark: Mark) -> Checkpoint {
        let source = Fingerprint { length: 3 * PART_BYTES as u64, etag: Some("\"e\"".to_owned()) };
        Checkpoint::new("batches/b/responses.jsonl", upload, (parts, "0".repeat(64)), mark, source)
    }

    #[test]
    fn a_checkpoint_comes_back_from_its_text_within_4_kib() {
        let kept = Checkpoints::default();
        // Of S3, an upload id has some 130 characters.
        kept.keep(checkpoint(&"u".repeat(200)));
        let text = kept.text().unwrap();
        assert!(text.len() <= 4096, "{} bytes", text.len());
        let read = Checkpoints::of(Some(&text));
        assert_eq!(read.find("batches/b/responses.jsonl"), Some(checkpoint(&"u".repeat(200))));
        assert_eq!(read.find("batches/c/responses.jsonl"), None);
        kept.keep(checkpoint(&"u".repeat(5000)));
        assert_eq!(kept.text(), None);
    }

    #[test]
    fn what_is_of_another_version_or_does_not_add_up_is_not_gone_on_with() {
        let text = serde_json::to_value(checkpoint("u")).unwrap();
        let changed = |pointer: &str, value: serde_json::Value| {
            let mut text = text.clone();
            *text.pointer_mut(pointer).unwrap() = value;
            Checkpoints::of(Some(&text.to_string())).find("batches/b/responses.jsonl")
        };
        assert!(changed("/version", 1.into()).is_some());
        for (pointer, value) in [
            ("/version", 2),
            ("/part_size", 1024),
            ("/parts", 2),
            ("/parts", 0),
            ("/mark/bytes", 17),
            ("/source/length", 17),
        ] {
            assert_eq!(changed(pointer, value.into()), None, "{pointer} {value}");
        }
        assert!(Checkpoints::of(Some("no JSON")).text().is_none());
        let empty = serde_json::to_string(&after_parts(0, "u")).unwrap();
        assert_eq!(Checkpoints::of(Some(&empty)).text(), None);
    }

    #[test]
    fn the_last_part_that_has_landed_is_read_again() {
        let checkpoint = after_parts(2, "u");
        let resume = checkpoint.resume();
        assert_eq!((resume.from, resume.length), (PART_BYTES as u64, 3 * PART_BYTES as u64));
    }

    #[test]
    fn only_bytes_beyond_those_of_the_earlier_attempt_are_progress() {
        let text = serde_json::to_string(&after_parts(2, "u")).unwrap();
        let kept = Checkpoints::of(Some(&text));
        assert!(!kept.have_advanced(), "nothing has landed yet");
        kept.keep(after_parts(3, "u"));
        assert!(kept.have_advanced());
        kept.keep(after_parts(1, "begun anew"));
        assert!(!kept.have_advanced());
        kept.clear();
        assert_eq!((kept.have_advanced(), kept.text()), (false, None));
        let first = Checkpoints::of(None);
        first.keep(after_parts(1, "u"));
        assert!(!first.have_advanced(), "no earlier attempt had begun it");
    }

    #[test]
    fn where_something_prevents_it_nothing_is_kept() {
        let kept = Checkpoints::default();
        kept.keep(checkpoint("u"));
        assert!(kept.are_kept());
        kept.prevent("no Range");
        assert!(!kept.are_kept());
        kept.keep(checkpoint("u"));
        assert_eq!((kept.text(), kept.obstacle().as_deref()), (None, Some("no Range")));
    }
}
