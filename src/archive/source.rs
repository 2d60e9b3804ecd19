//! Where an object's bytes come from: a file of the API, or a part of one of its answers.
//!
//! A [`Source`] is a stream of bytes with what is known of them beforehand: length, content type and origin. It is read
//! in parts of 8 MiB, and only as fast as they are sent.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    buffers::{Buffers, Filled, PART_BYTES},
    checkpoint::Fingerprint,
    meter::Meter,
};
use crate::{
    error::ProcessingError,
    gemini::{Document, Download, InlineAt, Span, write_lines},
};

/// What a blocking thread reads is sent on in pieces of at most this size.
const CHUNK_BYTES: usize = 64 * 1024;

/// Pieces that wait to be taken: 256 KiB together.
const WAITING: usize = 4;

/// Of an address, as much as a row keeps.
const MAX_SOURCE_CHARS: usize = 512;

/// Takes what is read in a blocking place, piece by piece.
type Each<'a> = &'a mut dyn FnMut(Bytes) -> Result<(), ProcessingError>;

pub struct Source<'a> {
    /// The length that the other side states. A download of another length fails (`gemini::download`).
    pub length: Option<u64>,
    /// Of a download that another invocation may go on with.
    pub fingerprint: Option<Fingerprint>,
    pub content_type: String,
    /// In the API's own words.
    pub origin: String,
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, ProcessingError>> + Send + 'a>>,
    rest: Bytes,
    deadline: Instant,
    /// No bytes at all are not the output yet.
    pub waits_for_bytes: bool,
}

impl<'a> Source<'a> {
    pub fn file(download: Download<'a>, origin: &str, content_type: &str, deadline: Instant) -> Self {
        let fingerprint = download.length.map(|length| Fingerprint { length, etag: download.etag.clone() });
        Self {
            length: download.length,
            fingerprint,
            content_type: content_type.to_owned(),
            origin: origin.chars().take(MAX_SOURCE_CHARS).collect(),
            pieces: Box::pin(download.bytes().fuse()),
            rest: Bytes::new(),
            deadline,
            waits_for_bytes: false,
        }
    }

    /// The same lines that a responses file would hold, one for each inline result.
    pub fn inline(document: &Document, at: InlineAt, deadline: Instant) -> Self {
        let document = document.clone();
        let lines = move |each: Each<'_>| write_lines(&document, at, each);
        Self::blocking(lines, None, "application/jsonl", "inlinedResponses", deadline)
    }

    /// An answer as it came.
    pub fn document(document: &Document, deadline: Instant) -> Self {
        let document = document.clone();
        let copy = move |each: Each<'_>| document.copy(each);
        Self::blocking(copy, None, "application/json", "the answer", deadline)
    }

    /// Texts of an answer: the pieces of a step one after the other, steps a line apart.
    pub fn text(document: &Document, text: &[Vec<Span>], deadline: Instant) -> Self {
        let (document, text) = (document.clone(), text.to_vec());
        let read = move |each: Each<'_>| read_text(&document, &text, each);
        Self::blocking(read, None, "text/markdown; charset=utf-8", "the final text", deadline)
    }

    /// What an answer holds in base64.
    pub fn decoded(
        document: &Document,
        span: Span,
        length: u64,
        content_type: &str,
        deadline: Instant,
    ) -> Self {
        let document = document.clone();
        let decode = move |each: Each<'_>| document.decoded(span, each);
        Self::blocking(decode, Some(length), content_type, "inline data", deadline)
    }

    /// What is read from an answer: in a place where that may block, and never faster than it is taken.
    fn blocking(
        read: impl FnOnce(Each<'_>) -> Result<(), ProcessingError> + Send + 'static,
        length: Option<u64>,
        content_type: &str,
        origin: &str,
        deadline: Instant,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let reading = tokio::task::spawn_blocking(move || {
            let mut each = |mut piece: Bytes| {
                while !piece.is_empty() {
                    let next = piece.split_to(piece.len().min(CHUNK_BYTES));
                    sender.blocking_send(Ok(next)).map_err(|_| ProcessingError::DeadlineExceeded)?;
                }
                Ok(())
            };
            // A reader that has gone away wants neither the rest nor the reason.
            if let Err(error) = read(&mut each) {
                let _ = sender.blocking_send(Err(error));
            }
        });
        let pieces = stream::unfold((receiver, Some(reading)), |(mut receiver, reading)| async move {
            if let Some(piece) = receiver.recv().await {
                return Some((piece, (receiver, reading)));
            }
            // A reader that panicked sends nothing more, and that is not the end of the answer.
            let error = reading?.await.err()?;
            Some((Err(ProcessingError::transient(format!("read the answer: {error}"))), (receiver, None)))
        });
        Self {
            length,
            fingerprint: None,
            content_type: content_type.to_owned(),
            origin: origin.to_owned(),
            pieces: Box::pin(pieces.fuse()),
            rest: Bytes::new(),
            deadline,
            waits_for_bytes: false,
        }
    }

    /// The next part, with the count at its end. One that is not full is the last.
    pub(super) async fn part(
        &mut self,
        buffers: &Buffers,
        meter: &mut Meter,
    ) -> Result<Filled, ProcessingError> {
        let place = buffers.place().await;
        // Never grown: a part that is on its way holds no more than it has.
        let mut part = BytesMut::with_capacity(PART_BYTES);
        while part.len() < PART_BYTES {
            let Some(piece) = self.piece(PART_BYTES - part.len()).await? else { break };
            meter.take(&piece);
            part.extend_from_slice(&piece);
        }
        if part.is_empty() && meter.bytes == 0 && self.waits_for_bytes {
            return Err(ProcessingError::transient(format!("the output has no bytes yet ({})", self.origin)));
        }
        Ok(place.filled(part.freeze()))
    }

    /// The next bytes, at most `most`. None at the end.
    pub(super) async fn piece(&mut self, most: usize) -> Result<Option<Bytes>, ProcessingError> {
        let mut piece = std::mem::take(&mut self.rest);
        while piece.is_empty() {
            let Some(next) = self.next().await? else { return Ok(None) };
            piece = next;
        }
        self.rest = piece.split_off(piece.len().min(most));
        Ok(Some(piece))
    }

    /// A source that reaches the deadline fails instead of hanging.
    async fn next(&mut self) -> Result<Option<Bytes>, ProcessingError> {
        match timeout_at(self.deadline, self.pieces.next()).await {
            Ok(piece) => piece.transpose(),
            Err(_) => Err(ProcessingError::DeadlineExceeded),
        }
    }
}

/// The texts, with an empty line between two steps.
pub fn read_text(document: &Document, text: &[Vec<Span>], each: Each<'_>) -> Result<(), ProcessingError> {
    for (number, step) in text.iter().enumerate() {
        if number > 0 {
            each(Bytes::from_static(b"\n\n"))?;
        }
        for span in step {
            document.text(*span, &mut *each)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_whose_reader_panics_is_not_taken_for_whole() {
        let read = |each: Each<'_>| {
            each(Bytes::from_static(b"half of it"))?;
            panic!("scripted")
        };
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        let mut source = Source::blocking(read, None, "application/jsonl", "inlinedResponses", deadline);
        let part = source.part(&Buffers::default(), &mut Meter::new(true)).await;
        let error = part.map(|part| part.bytes).unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    }

    #[tokio::test]
    async fn a_part_is_no_longer_than_its_size_whatever_pieces_it_comes_in() {
        let read = |each: Each<'_>| {
            each(Bytes::from_static(b"12345"))?;
            each(vec![b'x'; PART_BYTES].into())
        };
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        let mut source = Source::blocking(read, None, "application/json", "the answer", deadline);
        let (buffers, mut meter) = (Buffers::default(), Meter::new(false));
        let first = source.part(&buffers, &mut meter).await.unwrap().bytes.len();
        let second = source.part(&buffers, &mut meter).await.unwrap().bytes.len();
        assert_eq!((first, second), (PART_BYTES, 5));
    }
}
