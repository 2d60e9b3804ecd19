//! A long JSON answer, read leniently in bounded memory: what is long stays in it and is read where it stands.
//!
//! All of this blocks, so it runs off the event loop. Trouble is only of the temporary folder: an answer that is no
//! JSON is no trouble, but [`Document::scan`] says what is wrong with it.

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

use super::Spilled;
use crate::{
    json::{self, Kind, Reader, Scanner, Unescaped},
    trouble::Trouble,
};

pub use crate::json::Spot;

/// Contents are handed over in pieces of at most this size.
pub(super) const PIECE: usize = 64 * 1024;

/// Of a text that is read at once, in bytes. Addresses are the longest.
const MAX_TEXT_BYTES: usize = 8 * 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An answer that is read more than once. Its clones are the same answer.
#[derive(Clone, Debug)]
pub struct Document(Arc<Mutex<Spilled>>);

impl Document {
    pub fn new(answer: Spilled) -> Self {
        Self(Arc::new(Mutex::new(answer)))
    }

    /// Hands the reader what it wants of the answer. `Some` says why the answer cannot be read to its end.
    pub(super) fn scan(&self, reader: &mut impl Reader) -> Result<Option<String>, Trouble> {
        self.pieces(reader, |_, _, _| Ok(()))
    }

    /// The same, and after each piece a look at where it began, its bytes, and what the reader has of it.
    pub(super) fn pieces<R: Reader>(
        &self,
        reader: &mut R,
        mut after: impl FnMut(u64, &[u8], &mut R) -> Result<(), Trouble>,
    ) -> Result<Option<String>, Trouble> {
        let (mut scanner, mut at) = (Scanner::new(MAX_TEXT_BYTES), 0);
        loop {
            let piece = self.piece(at, PIECE)?;
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
    pub fn copy(&self, each: impl FnMut(Bytes) -> Result<(), Trouble>) -> Result<(), Trouble> {
        hand_over(self.part(Spot { from: 0, to: u64::MAX }), each)
    }

    /// A text, without its quotation marks and escapes.
    pub fn text(&self, spot: Spot, each: impl FnMut(Bytes) -> Result<(), Trouble>) -> Result<(), Trouble> {
        hand_over(Unescaped::new(self.part(inside(spot))), each)
    }

    /// The bytes that a text in base64 stands for, in either alphabet.
    pub fn decoded(&self, spot: Spot, each: impl FnMut(Bytes) -> Result<(), Trouble>) -> Result<(), Trouble> {
        hand_over(DecoderReader::new(self.base64(spot), &BASE64), each)
    }

    /// How many bytes a text in base64 stands for. None where it is no base64.
    pub fn decoded_length(&self, spot: Spot) -> Result<Option<u64>, Trouble> {
        match io::copy(&mut DecoderReader::new(self.base64(spot), &BASE64), &mut io::sink()) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            length => length.map(Some).map_err(unread),
        }
    }

    /// A value, or the beginning of its JSON as a text where it is longer than so many bytes.
    pub fn value(&self, spot: Spot, longest: u64) -> Result<Value, Trouble> {
        let mut bytes = Vec::new();
        self.part(spot).take(longest).read_to_end(&mut bytes).map_err(unread)?;
        if spot.length() <= longest {
            return Ok(json::value(&bytes));
        }
        Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn base64(&self, spot: Spot) -> Alphabet<Unescaped<Part>> {
        Alphabet(Unescaped::new(self.part(inside(spot))))
    }

    pub(super) fn part(&self, spot: Spot) -> Part {
        Part { document: self.clone(), spot, piece: Bytes::new() }
    }

    /// So many bytes of the answer; fewer are its last, none its end.
    fn piece(&self, at: u64, longest: usize) -> Result<Bytes, Trouble> {
        let mut answer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut piece = Vec::with_capacity(longest);
        answer.read_from(at)?.take(longest as u64).read_to_end(&mut piece).map_err(unread)?;
        Ok(Bytes::from(piece))
    }
}

/// Bytes of an answer that nobody else holds on to meanwhile.
pub(super) struct Part {
    document: Document,
    /// What is still to be read.
    spot: Spot,
    piece: Bytes,
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let longest = usize::try_from(self.spot.length()).unwrap_or(PIECE).min(PIECE);
            self.piece = self.document.piece(self.spot.from, longest).map_err(io::Error::other)?;
            self.spot.from += self.piece.len() as u64;
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

/// Of a text, what stands between its quotation marks.
fn inside(spot: Spot) -> Spot {
    Spot { from: spot.from + 1, to: spot.to.saturating_sub(1) }
}

fn hand_over(mut read: impl Read, mut each: impl FnMut(Bytes) -> Result<(), Trouble>) -> Result<(), Trouble> {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        read.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(unread)?;
        if piece.is_empty() {
            return Ok(());
        }
        each(Bytes::from(piece))?;
    }
}

fn unread(error: io::Error) -> Trouble {
    Trouble::passing(format!("read the answer from the temporary folder: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_in_either_alphabet_with_and_without_padding_and_line_breaks() {
        for text in ["-_-_AA==", "+/+/AA", r"+\/-_\nAA\u003d\u003d", "-_+_\\r\\nAA="] {
            let document = Document::new(Spilled::from_bytes(format!("\"{text}\"").as_bytes()));
            let spot = Spot { from: 0, to: text.len() as u64 + 2 };
            let mut bytes = Vec::new();
            let keep = |piece: Bytes| {
                bytes.extend_from_slice(&piece);
                Ok(())
            };
            document.decoded(spot, keep).unwrap();
            assert_eq!(bytes, [0xFB, 0xFF, 0xBF, 0], "{text}");
            assert_eq!(document.decoded_length(spot), Ok(Some(4)), "{text}");
        }
    }
}
