//! A long JSON answer, read leniently in bounded memory.
//!
//! A scan finds where the values are ([`Span`]). Long ones stay in the answer and are read from there later: a text,
//! the bytes of a text in base64, or a value as JSON.
//!
//! All of this blocks, so it runs on a blocking thread. An error means that the temporary folder could not be read. An
//! answer that is not JSON is not an error: [`Document::scan`] says what is wrong with it.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{
    alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    read::DecoderReader,
};
use bytes::Bytes;
use serde_json::Value;

use super::SpooledBody;
use crate::{
    error::ProcessingError,
    json::{self, Kind, Reader, Scanner, Unescaped},
};

pub use crate::json::Span;

/// Contents are handed over in pieces of at most this size.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// The longest text that a scan returns, in bytes. Addresses are the longest that are looked for.
const MAX_TEXT_BYTES: usize = 8 * 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An answer that is read more than once. Its clones are the same answer.
#[derive(Clone, Debug)]
pub struct Document(Arc<Mutex<SpooledBody>>);

impl Document {
    pub fn new(answer: SpooledBody) -> Self {
        Self(Arc::new(Mutex::new(answer)))
    }

    /// Gives the reader what it wants of the answer. `Some` says why the answer cannot be read to its end.
    pub(super) fn scan(&self, reader: &mut impl Reader) -> Result<Option<String>, ProcessingError> {
        self.pieces(reader, |_, _, _| Ok(()))
    }

    /// The same, with a call of `after` behind each piece: where the piece began, its bytes, and the reader.
    pub(super) fn pieces<R: Reader>(
        &self,
        reader: &mut R,
        mut after: impl FnMut(u64, &[u8], &mut R) -> Result<(), ProcessingError>,
    ) -> Result<Option<String>, ProcessingError> {
        let (mut scanner, mut at) = (Scanner::new(MAX_TEXT_BYTES), 0);
        loop {
            let piece = self.piece(at, CHUNK_BYTES)?;
            if piece.is_empty() {
                let flaw = scanner.finish(reader).err();
                let is_object = scanner.outermost() == Some(Kind::Object);
                return Ok(flaw.or_else(|| (!is_object).then(|| "it is no JSON object".to_owned())));
            }
            scanner.take(&piece, reader);
            after(at, &piece, reader)?;
            at += piece.len() as u64;
        }
    }

    /// The document as it came.
    pub fn copy(
        &self,
        each: impl FnMut(Bytes) -> Result<(), ProcessingError>,
    ) -> Result<(), ProcessingError> {
        emit_pieces(self.part(Span { from: 0, to: u64::MAX }), each)
    }

    /// A text, without its quotation marks and escapes.
    pub fn text(
        &self,
        span: Span,
        each: impl FnMut(Bytes) -> Result<(), ProcessingError>,
    ) -> Result<(), ProcessingError> {
        emit_pieces(Unescaped::new(self.part(inside(span))), each)
    }

    /// The bytes of a text in base64, in the standard or the URL-safe alphabet (RFC 4648, sections 4 and 5).
    pub fn decoded(
        &self,
        span: Span,
        each: impl FnMut(Bytes) -> Result<(), ProcessingError>,
    ) -> Result<(), ProcessingError> {
        emit_pieces(DecoderReader::new(self.base64(span), &BASE64), each)
    }

    /// How many bytes a text in base64 has. None where it is not base64.
    pub fn decoded_length(&self, span: Span) -> Result<Option<u64>, ProcessingError> {
        match io::copy(&mut DecoderReader::new(self.base64(span), &BASE64), &mut io::sink()) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            length => length.map(Some).map_err(unread),
        }
    }

    /// A value. Where its JSON is longer than `longest` bytes, the beginning of it as a text.
    pub fn value(&self, span: Span, longest: u64) -> Result<Value, ProcessingError> {
        let mut bytes = Vec::new();
        self.part(span).take(longest).read_to_end(&mut bytes).map_err(unread)?;
        if span.length() <= longest {
            return Ok(json::value(&bytes));
        }
        Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn base64(&self, span: Span) -> Alphabet<Unescaped<Part>> {
        Alphabet(Unescaped::new(self.part(inside(span))))
    }

    pub(super) fn part(&self, span: Span) -> Part {
        Part { document: self.clone(), span, piece: Bytes::new() }
    }

    /// At most `longest` bytes of the answer from `at` on. Fewer only at its end, none behind it.
    fn piece(&self, at: u64, longest: usize) -> Result<Bytes, ProcessingError> {
        let mut answer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut piece = Vec::with_capacity(longest);
        answer.read_from(at)?.take(longest as u64).read_to_end(&mut piece).map_err(unread)?;
        Ok(Bytes::from(piece))
    }
}

/// A part of an answer as a [`Read`]. It locks the answer for one piece at a time, so that several can be read in turn.
pub(super) struct Part {
    document: Document,
    /// What is still to be read.
    span: Span,
    piece: Bytes,
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let longest = usize::try_from(self.span.length()).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            self.piece = self.document.piece(self.span.from, longest).map_err(io::Error::other)?;
            self.span.from += self.piece.len() as u64;
        }
        let length = self.piece.as_ref().read(into)?;
        let _ = self.piece.split_to(length);
        Ok(length)
    }
}

/// Base64 in the standard alphabet, whichever of the two it came in, without line breaks.
struct Alphabet<R>(R);

impl<R: Read> Read for Alphabet<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.0.read(into)?;
            let mut kept = 0;
            for at in 0..read {
                let letter = match into.get(at) {
                    Some(b'-') => b'+',
                    Some(b'_') => b'/',
                    Some(b' ' | b'\t' | b'\r' | b'\n') | None => continue,
                    Some(letter) => *letter,
                };
                if let Some(place) = into.get_mut(kept) {
                    *place = letter;
                    kept += 1;
                }
            }
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

/// The inside of a text, without its quotation marks.
fn inside(span: Span) -> Span {
    Span { from: span.from + 1, to: span.to.saturating_sub(1) }
}

fn emit_pieces(
    mut read: impl Read,
    mut each: impl FnMut(Bytes) -> Result<(), ProcessingError>,
) -> Result<(), ProcessingError> {
    loop {
        let mut piece = Vec::with_capacity(CHUNK_BYTES);
        read.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut piece).map_err(unread)?;
        if piece.is_empty() {
            return Ok(());
        }
        each(Bytes::from(piece))?;
    }
}

fn unread(error: io::Error) -> ProcessingError {
    ProcessingError::transient(format!("read the answer from the temporary folder: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_in_either_alphabet_with_and_without_padding_and_line_breaks() {
        for text in ["-_-_AA==", "+/+/AA", r"+\/-_\nAA\u003d\u003d", "-_+_\\r\\nAA="] {
            let document = Document::new(SpooledBody::from_bytes(format!("\"{text}\"").as_bytes()));
            let span = Span { from: 0, to: text.len() as u64 + 2 };
            let mut bytes = Vec::new();
            let keep = |piece: Bytes| {
                bytes.extend_from_slice(&piece);
                Ok(())
            };
            document.decoded(span, keep).unwrap();
            assert_eq!(bytes, [0xFB, 0xFF, 0xBF, 0], "{text}");
            assert_eq!(document.decoded_length(span), Ok(Some(4)), "{text}");
        }
    }
}
