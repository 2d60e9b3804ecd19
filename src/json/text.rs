//! Texts without their escapes (RFC 8259, section 7): [`Unescaped`] for a text of any length, [`unescaped`] for a short
//! one. What is not valid, such as half a surrogate pair or an incomplete escape, becomes U+FFFD.

use std::io::{self, Read};

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Bytes are read from below in pieces of this size.
const CHUNK_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy)]
enum Escape {
    None,
    Backslash,
    /// `\u` and the hexadecimal digits that have come until now, as a number in `unit`.
    Unicode {
        digits: u8,
        unit: u16,
    },
}

/// Takes the inside of a text byte by byte.
struct Unescaper {
    escape: Escape,
    /// The first half of a surrogate pair.
    high: Option<u16>,
}

impl Unescaper {
    fn new() -> Self {
        Self { escape: Escape::None, high: None }
    }

    fn take(&mut self, byte: u8, into: &mut Vec<u8>) {
        match self.escape {
            Escape::None if byte == b'\\' => self.escape = Escape::Backslash,
            Escape::None => {
                self.end_pair(into);
                into.push(byte);
            }
            Escape::Backslash if byte == b'u' => self.escape = Escape::Unicode { digits: 0, unit: 0 },
            Escape::Backslash => {
                self.end_pair(into);
                self.escape = Escape::None;
                into.push(match byte {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    other => other,
                });
            }
            Escape::Unicode { digits, unit } => match char::from(byte).to_digit(16) {
                Some(digit) => {
                    let unit = (unit << 4) | digit as u16;
                    self.escape = Escape::Unicode { digits: digits + 1, unit };
                    if digits == 3 {
                        self.escape = Escape::None;
                        self.unit(unit, into);
                    }
                }
                None => {
                    self.escape = Escape::None;
                    self.end_pair(into);
                    push(REPLACEMENT, into);
                    self.take(byte, into);
                }
            },
        }
    }

    /// A UTF-16 code unit of a `\u` escape. Two units may be one character.
    fn unit(&mut self, unit: u16, into: &mut Vec<u8>) {
        let pair = self.high.map(|high| char::decode_utf16([high, unit]).next());
        if let Some(Some(Ok(whole))) = pair {
            self.high = None;
            return push(whole, into);
        }
        self.end_pair(into);
        match unit {
            0xD800..=0xDBFF => self.high = Some(unit),
            _ => push(char::from_u32(u32::from(unit)).unwrap_or(REPLACEMENT), into),
        }
    }

    /// Writes U+FFFD for half a pair that was not completed.
    fn end_pair(&mut self, into: &mut Vec<u8>) {
        if self.high.take().is_some() {
            push(REPLACEMENT, into);
        }
    }

    /// The text has ended. An escape that is not complete becomes U+FFFD.
    fn finish(&mut self, into: &mut Vec<u8>) {
        self.end_pair(into);
        if !matches!(std::mem::replace(&mut self.escape, Escape::None), Escape::None) {
            push(REPLACEMENT, into);
        }
    }
}

fn push(letter: char, into: &mut Vec<u8>) {
    into.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A short text, given what stands between its quotation marks.
pub fn unescaped(raw: &[u8]) -> String {
    let (mut unescaper, mut text) = (Unescaper::new(), Vec::with_capacity(raw.len()));
    raw.iter().for_each(|byte| unescaper.take(*byte, &mut text));
    unescaper.finish(&mut text);
    String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A text of any length, read from what stands between its quotation marks.
pub struct Unescaped<R> {
    from: R,
    unescaper: Unescaper,
    piece: Vec<u8>,
    ready: Vec<u8>,
    /// How much of `ready` has been read.
    read: usize,
}

impl<R: Read> Unescaped<R> {
    pub fn new(from: R) -> Self {
        Self { from, unescaper: Unescaper::new(), piece: vec![0; CHUNK_BYTES], ready: Vec::new(), read: 0 }
    }
}

impl<R: Read> Read for Unescaped<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.ready.len() {
            self.ready.clear();
            self.read = 0;
            let length = self.from.read(&mut self.piece)?;
            for byte in self.piece.get(..length).unwrap_or_default() {
                self.unescaper.take(*byte, &mut self.ready);
            }
            if length == 0 {
                self.unescaper.finish(&mut self.ready);
                if self.ready.is_empty() {
                    return Ok(0);
                }
            }
        }
        let length = self.ready.get(self.read..).unwrap_or_default().read(into)?;
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_they_stand_for_and_what_is_no_text_is_replaced() {
        for (raw, text) in [
            (r#"a \"joke\"\n\/\t\\"#, "a \"joke\"\n/\t\\"),
            (r"\u00e9\ud83d\ude00é", "é😀é"),
            (r"\ud800", "\u{fffd}"),
            (r"\ud800x", "\u{fffd}x"),
            (r"\ud800\ud83d\ude00", "\u{fffd}😀"),
            (r"\ude00\u0041", "\u{fffd}A"),
            (r"\ud83d\n", "\u{fffd}\n"),
            (r"\u00zz", "\u{fffd}zz"),
            (r"\u12", "\u{fffd}"),
            (r"\", "\u{fffd}"),
            (r"\q", "q"),
        ] {
            assert_eq!(unescaped(raw.as_bytes()), text, "{raw}");
            let mut read = String::new();
            Unescaped::new(raw.as_bytes()).read_to_string(&mut read).unwrap();
            assert_eq!(read, text, "{raw}");
        }
        assert_eq!(unescaped(b"a\xffb"), "a\u{fffd}b");
    }
}
