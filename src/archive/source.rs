//! Where an object's bytes come from: a file of the API, or what stands in one of its answers.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::tally::Measure;
use crate::{
    gemini::{Batch, Document, Download, InlineAt, Spot},
    trouble::Trouble,
};

/// Inline results are handed over in pieces of about this size.
const PIECE: usize = 64 * 1024;

/// Of an address, as much as a row keeps.
const LONGEST_ORIGIN: usize = 512;

/// Takes what is read in a blocking place, piece by piece.
type Each<'a> = &'a mut dyn FnMut(Bytes) -> Result<(), Trouble>;

pub struct Source<'a> {
    /// The length that the other side states, held against what came.
    pub length: Option<u64>,
    pub content_type: String,
    /// In the API's own words.
    pub origin: String,
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, Trouble>> + Send + 'a>>,
    rest: Bytes,
    deadline: Instant,
}

impl<'a> Source<'a> {
    pub fn file(download: Download<'a>, origin: &str, content_type: &str, deadline: Instant) -> Self {
        Self {
            length: download.length,
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
            let mut piece = Vec::with_capacity(PIECE);
            batch.walk_inline(at, |item| {
                write_line(&mut piece, item);
                if piece.len() < PIECE {
                    return Ok(());
                }
                each(Bytes::from(std::mem::replace(&mut piece, Vec::with_capacity(PIECE))))
            })?;
            each(Bytes::from(piece))
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
        let (sender, receiver) = mpsc::channel(4);
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
            content_type: content_type.to_owned(),
            origin: origin.to_owned(),
            pieces: Box::pin(pieces.fuse()),
            rest: Bytes::new(),
            deadline,
        }
    }

    /// The next bytes, as many as asked for; fewer are the last.
    pub async fn part(&mut self, size: usize, measure: &mut Measure) -> Result<Bytes, Trouble> {
        // Never grown: a part that is on its way holds no more than it has.
        let mut part = BytesMut::with_capacity(size);
        while part.len() < size {
            let mut piece = std::mem::take(&mut self.rest);
            if piece.is_empty() {
                let Some(next) = self.next().await? else { break };
                measure.take(&next);
                piece = next;
            }
            self.rest = piece.split_off(piece.len().min(size - part.len()));
            part.extend_from_slice(&piece);
        }
        Ok(part.freeze())
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

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RawValue>,
}

/// One result as one line. Its values are kept letter by letter, except for line breaks between tokens.
fn write_line(into: &mut Vec<u8>, item: &RawValue) {
    let line = serde_json::from_str(item.get()).ok().and_then(|item: Item| {
        let key = item.key.or_else(|| item.metadata.and_then(|metadata| metadata.key));
        let line = Line { key, response: item.response, error: item.error };
        serde_json::to_string(&line).ok().filter(|_| line.response.is_some() || line.error.is_some())
    });
    let text = line.as_deref().unwrap_or(item.get());
    into.extend(text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_results_become_the_lines_of_a_file() {
        for (item, line) in [
            (
                "{\"metadata\": {\"key\": \"r1\"},\n \"response\": {\"a\":\n 1.50}}",
                "{\"key\":\"r1\",\"response\":{\"a\": 1.50}}\n",
            ),
            (r#"{"error":{"code":3}}"#, "{\"error\":{\"code\":3}}\n"),
            (r#"{"key":7,"response":null,"error":{}}"#, "{\"key\":7,\"error\":{}}\n"),
            ("{\"odd\":\r\n true}", "{\"odd\": true}\n"),
            ("null", "null\n"),
        ] {
            let mut out = Vec::new();
            write_line(&mut out, &RawValue::from_string(item.to_owned()).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
    }
}
