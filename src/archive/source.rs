//! Where an object's bytes come from: a file of the API, or what stands in one of its answers.

use std::{borrow::Cow, collections::HashMap, pin::Pin};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    bucket::PART,
    buffers::{Buffers, Filled},
    checkpoint::Fingerprint,
    measure::Measure,
};
use crate::{
    gemini::{Batch, Document, Download, InlineAt, Spot},
    trouble::Trouble,
};

/// What is read in a blocking place is handed over in pieces of at most this size.
const PIECE: usize = 64 * 1024;

/// Pieces that wait to be taken: 256 KiB together.
const WAITING: usize = 4;

/// Of an address, as much as a row keeps.
const LONGEST_ORIGIN: usize = 512;

/// Takes what is read in a blocking place, piece by piece.
type Each<'a> = &'a mut dyn FnMut(Bytes) -> Result<(), Trouble>;

pub struct Source<'a> {
    /// The length that the other side states, held against what came.
    pub length: Option<u64>,
    /// Of a download that another invocation may go on with.
    pub fingerprint: Option<Fingerprint>,
    pub content_type: String,
    /// In the API's own words.
    pub origin: String,
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, Trouble>> + Send + 'a>>,
    rest: Bytes,
    deadline: Instant,
}

impl<'a> Source<'a> {
    pub fn file(download: Download<'a>, origin: &str, content_type: &str, deadline: Instant) -> Self {
        let fingerprint = download.length.map(|length| Fingerprint { length, etag: download.etag.clone() });
        Self {
            length: download.length,
            fingerprint,
            content_type: content_type.to_owned(),
            origin: origin.chars().take(LONGEST_ORIGIN).collect(),
            pieces: Box::pin(download.bytes().fuse()),
            rest: Bytes::new(),
            deadline,
        }
    }

    /// The same lines that a responses file would hold, one for each inline result.
    pub fn inline(mut batch: Batch, at: InlineAt, deadline: Instant) -> Self {
        let lines = move |each: Each<'_>| {
            let mut cutter = Cutter { piece: Vec::with_capacity(PIECE), each };
            batch.walk_inline(at, |item| write_line(&mut cutter, item))?;
            cutter.flush()
        };
        Self::blocking(lines, None, "application/jsonl", "inlinedResponses", deadline)
    }

    /// An answer as it came.
    pub fn document(document: &Document, deadline: Instant) -> Self {
        let document = document.clone();
        let copy = move |each: Each<'_>| document.copy(each);
        Self::blocking(copy, None, "application/json", "the answer", deadline)
    }

    /// Texts of an answer: the pieces of a step one after the other, steps a line apart.
    pub fn text(document: &Document, text: &[Vec<Spot>], deadline: Instant) -> Self {
        let (document, text) = (document.clone(), text.to_vec());
        let read = move |each: Each<'_>| read_text(&document, &text, each);
        Self::blocking(read, None, "text/markdown; charset=utf-8", "the final text", deadline)
    }

    /// What an answer holds in base64.
    pub fn decoded(
        document: &Document,
        spot: Spot,
        length: u64,
        content_type: &str,
        deadline: Instant,
    ) -> Self {
        let document = document.clone();
        let decode = move |each: Each<'_>| document.decoded(spot, each);
        Self::blocking(decode, Some(length), content_type, "inline data", deadline)
    }

    /// What is read from an answer: in a place where that may block, and never faster than it is taken.
    fn blocking(
        read: impl FnOnce(Each<'_>) -> Result<(), Trouble> + Send + 'static,
        length: Option<u64>,
        content_type: &str,
        origin: &str,
        deadline: Instant,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || {
            let mut each = |piece| sender.blocking_send(Ok(piece)).map_err(|_| Trouble::OutOfTime);
            // A reader that has gone away wants neither the rest nor the reason.
            if let Err(trouble) = read(&mut each) {
                let _ = sender.blocking_send(Err(trouble));
            }
        });
        let pieces = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        Self {
            length,
            fingerprint: None,
            content_type: content_type.to_owned(),
            origin: origin.to_owned(),
            pieces: Box::pin(pieces.fuse()),
            rest: Bytes::new(),
            deadline,
        }
    }

    /// The next part, with the count at its end. One that is not full is the last.
    pub(super) async fn part(&mut self, buffers: &Buffers, measure: &mut Measure) -> Result<Filled, Trouble> {
        let place = buffers.place().await;
        // Never grown: a part that is on its way holds no more than it has.
        let mut part = BytesMut::with_capacity(PART);
        while part.len() < PART {
            let Some(piece) = self.piece(PART - part.len()).await? else { break };
            measure.take(&piece);
            part.extend_from_slice(&piece);
        }
        Ok(place.filled(part.freeze()))
    }

    /// The next bytes, at most so many. None where there are no more.
    pub(super) async fn piece(&mut self, most: usize) -> Result<Option<Bytes>, Trouble> {
        let mut piece = std::mem::take(&mut self.rest);
        while piece.is_empty() {
            let Some(next) = self.next().await? else { return Ok(None) };
            piece = next;
        }
        self.rest = piece.split_off(piece.len().min(most));
        Ok(Some(piece))
    }

    /// A source that reaches the deadline fails instead of hanging.
    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        match timeout_at(self.deadline, self.pieces.next()).await {
            Ok(piece) => piece.transpose(),
            Err(_) => Err(Trouble::OutOfTime),
        }
    }
}

/// The texts, with an empty line between two steps.
pub fn read_text(document: &Document, text: &[Vec<Spot>], each: Each<'_>) -> Result<(), Trouble> {
    for (number, step) in text.iter().enumerate() {
        if number > 0 {
            each(Bytes::from_static(b"\n\n"))?;
        }
        for spot in step {
            document.text(*spot, &mut *each)?;
        }
    }
    Ok(())
}

/// Cuts what is written into pieces of one size.
struct Cutter<'a> {
    piece: Vec<u8>,
    each: Each<'a>,
}

impl Cutter<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            if self.piece.len() == PIECE {
                self.flush()?;
            }
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        if piece.is_empty() { Ok(()) } else { (self.each)(Bytes::from(piece)) }
    }
}

/// The members of an item or of its metadata, in the item's own bytes.
type Members<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

#[derive(Deserialize)]
#[serde(transparent)]
struct Item<'a>(#[serde(borrow)] Members<'a>);

/// One result as one line. All of it is kept, letter by letter, except for line breaks between tokens. A key that
/// stands in its metadata is put before it, where a responses file has it. No second copy of the item is made.
fn write_line(into: &mut Cutter<'_>, item: &RawValue) -> Result<(), Trouble> {
    let text = item.get();
    let key = key_in_metadata(text);
    let members = text.strip_prefix('{').filter(|_| key.is_some());
    let lifted = key.map(|key| format!("{{\"key\":{},", key.get())).filter(|_| members.is_some());
    for text in [lifted.as_deref().unwrap_or_default(), members.unwrap_or(text)] {
        for run in text.as_bytes().split(|byte| matches!(byte, b'\n' | b'\r')) {
            into.write(run)?;
        }
    }
    into.write(b"\n")
}

/// The `metadata.key` of an item that has no `key` of its own. It is not looked for where the item cannot be read.
fn key_in_metadata(item: &str) -> Option<&RawValue> {
    let Item(members) = serde_json::from_str(item).ok()?;
    let metadata = members.get("metadata").filter(|_| !members.contains_key("key"))?;
    let Item(metadata) = serde_json::from_str(metadata.get()).ok()?;
    metadata.get("key").copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_results_become_the_lines_of_a_file() {
        for (item, line) in [
            (
                "{\"metadata\": {\"key\": \"r1\"},\n \"response\": {\"a\":\n 1.50}}",
                "{\"key\":\"r1\",\"metadata\": {\"key\": \"r1\"}, \"response\": {\"a\": 1.50}}\n",
            ),
            (r#"{"error":{"code":3}}"#, "{\"error\":{\"code\":3}}\n"),
            (
                r#"{"key":7,"response":null,"metadata":{"key":8}}"#,
                "{\"key\":7,\"response\":null,\"metadata\":{\"key\":8}}\n",
            ),
            (
                r#"{"metadata":{"own":[1],"key":{"a":"b"}}}"#,
                "{\"key\":{\"a\":\"b\"},\"metadata\":{\"own\":[1],\"key\":{\"a\":\"b\"}}}\n",
            ),
            ("{\"odd\":\r\n true}", "{\"odd\": true}\n"),
            ("null", "null\n"),
        ] {
            let mut out = Vec::new();
            let mut each = |piece: Bytes| {
                out.extend_from_slice(&piece);
                Ok(())
            };
            let mut cutter = Cutter { piece: Vec::new(), each: &mut each };
            write_line(&mut cutter, &RawValue::from_string(item.to_owned()).unwrap()).unwrap();
            cutter.flush().unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
    }
}
