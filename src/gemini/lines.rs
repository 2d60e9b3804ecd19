//! The inline results of a batch, as the lines that a responses file would hold.
//!
//! A line has every member of its result, byte for byte. Only line breaks are changed: one between tokens is left out,
//! and one inside a text, which JSON does not allow, is written as an escape. `metadata.key` is copied to the top
//! level, where the lines of a file have it (Gemini API guide, "Batch API"). Only pieces of a result are in memory.

use std::io::Read;

use bytes::Bytes;

use super::{Document, InlineAt, batch::inline, document::CHUNK_BYTES};
use crate::{
    error::ProcessingError,
    json::{ITEM, Kind, Reader, Scanned, Span},
};

/// Gives the lines to `each` in pieces of about 64 KiB, in the order of the requests. It blocks.
///
/// Of an answer that breaks off, the results before that point are written. `each` ends the work by an error.
pub fn write_lines(
    document: &Document,
    at: InlineAt,
    mut each: impl FnMut(Bytes) -> Result<(), ProcessingError>,
) -> Result<(), ProcessingError> {
    let mut results = Results { at, ended: Vec::new(), has_key: false, key: None };
    let mut out = Vec::with_capacity(CHUNK_BYTES);
    document.pieces(&mut results, |from, piece, results| {
        for result in results.ended.drain(..) {
            write_line(document, &result, (from, piece), &mut out, &mut each)?;
        }
        Ok(())
    })?;
    if out.is_empty() { Ok(()) } else { each(Bytes::from(out)) }
}

/// A result, and the key that is copied to the top level.
struct InlineResult {
    span: Span,
    key: Option<Span>,
}

/// The results that have ended and are still to be written.
struct Results {
    at: InlineAt,
    ended: Vec<InlineResult>,
    /// Of the present result, whether it has a key at the top level, and where the one in its metadata is.
    has_key: bool,
    key: Option<Span>,
}

impl Reader for Results {
    fn wants(&mut self, path: &[&str]) -> bool {
        match inline(path) {
            Some((at, rest)) => at == self.at && matches!(rest, [] | [ITEM] | [ITEM, "metadata"]),
            None => matches!(path, ["response"] | ["metadata"] | ["metadata", "output"]),
        }
    }

    fn value(&mut self, path: &[&str], value: &Scanned<'_>) {
        let Some((at, rest)) = inline(path) else { return };
        if at != self.at {
            return;
        }
        match rest {
            [ITEM, "key"] => self.has_key = true,
            [ITEM, "metadata", "key"] => self.key = Some(value.span),
            [ITEM] => {
                let key = self.key.take().filter(|_| !self.has_key && value.kind == Kind::Object);
                self.has_key = false;
                self.ended.push(InlineResult { span: value.span, key });
            }
            _ => {}
        }
    }
}

/// Writes one result as a line, with its key in front where it has one only in its metadata.
fn write_line(
    document: &Document,
    result: &InlineResult,
    present: (u64, &[u8]),
    out: &mut Vec<u8>,
    each: &mut impl FnMut(Bytes) -> Result<(), ProcessingError>,
) -> Result<(), ProcessingError> {
    let mut rest = result.span;
    if let Some(key) = result.key {
        out.extend_from_slice(b"{\"key\":");
        write(document, key, present, out, each)?;
        out.push(b',');
        rest.from += 1;
    }
    write(document, rest, present, out, each)?;
    out.push(b'\n');
    Ok(())
}

/// Writes a part of the answer without its line breaks: from the piece that is in memory, or, where it began before
/// that, from the answer.
fn write(
    document: &Document,
    span: Span,
    (from, piece): (u64, &[u8]),
    out: &mut Vec<u8>,
    each: &mut impl FnMut(Bytes) -> Result<(), ProcessingError>,
) -> Result<(), ProcessingError> {
    let mut text = InText::default();
    let mut one_line = |bytes: &[u8]| {
        text.write(bytes, out);
        if out.len() < CHUNK_BYTES {
            return Ok(());
        }
        each(Bytes::from(std::mem::replace(out, Vec::with_capacity(CHUNK_BYTES))))
    };
    if span.from >= from {
        let range = |at: u64| usize::try_from(at - from).unwrap_or(usize::MAX);
        return one_line(piece.get(range(span.from)..range(span.to)).unwrap_or_default());
    }
    let (mut part, mut bytes) = (document.part(span), vec![0; CHUNK_BYTES]);
    loop {
        let read = part.read(&mut bytes).map_err(|error| ProcessingError::transient(error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        one_line(bytes.get(..read).unwrap_or_default())?;
    }
}

/// Whether the present byte is inside a text, where a line break counts.
#[derive(Default)]
struct InText {
    is_inside: bool,
    is_escaped: bool,
}

impl InText {
    fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            match byte {
                b'\n' if self.is_inside => out.extend_from_slice(b"\\n"),
                b'\r' if self.is_inside => out.extend_from_slice(b"\\r"),
                b'\n' | b'\r' => {}
                _ => out.push(byte),
            }
            self.is_inside ^= byte == b'"' && !self.is_escaped;
            self.is_escaped = self.is_inside && byte == b'\\' && !self.is_escaped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::SpooledBody;

    fn lines(answer: &str, at: InlineAt) -> String {
        let mut lines = Vec::new();
        let keep = |piece: Bytes| {
            lines.extend_from_slice(&piece);
            Ok(())
        };
        write_lines(&Document::new(SpooledBody::from_bytes(answer.as_bytes())), at, keep).unwrap();
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn every_member_of_a_result_is_in_its_line_and_its_key_is_lifted() {
        let long = "x".repeat(3 * CHUNK_BYTES);
        for (item, line) in [
            (
                "{\"metadata\": {\"key\": \"r1\", \"own\": 1},\n \"response\": {\"a\":\n 1.50}}".to_owned(),
                r#"{"key":"r1","metadata": {"key": "r1", "own": 1}, "response": {"a": 1.50}}"#.to_owned(),
            ),
            (
                r#"{"error":{"code":3},"metadata":{"id":"a"}}"#.into(),
                r#"{"error":{"code":3},"metadata":{"id":"a"}}"#.into(),
            ),
            (
                r#"{"key":7,"response":null,"metadata":{"key":8},"new":[{}]}"#.into(),
                r#"{"key":7,"response":null,"metadata":{"key":8},"new":[{}]}"#.into(),
            ),
            (
                format!(r#"{{"response":{{"t":"{long}"}},"metadata":{{"key":"{long}"}}}}"#),
                format!(r#"{{"key":"{long}","response":{{"t":"{long}"}},"metadata":{{"key":"{long}"}}}}"#),
            ),
            (
                "{\"odd\":\r\n \"a\nb\\\\\", \"x\": \"\\ud800\"}".into(),
                r#"{"odd": "a\nb\\", "x": "\ud800"}"#.into(),
            ),
            ("null".into(), "null".into()),
            ("[{\"metadata\":{\"key\":1}}]".into(), "[{\"metadata\":{\"key\":1}}]".into()),
        ] {
            let list = format!("[{item}, {item}]");
            let expected = format!("{line}\n{line}\n");
            for (at, answer) in [
                (
                    InlineAt::Response,
                    format!(r#"{{"response":{{"inlinedResponses":{{"inlinedResponses":{list}}}}}}}"#),
                ),
                (
                    InlineAt::Metadata,
                    format!(
                        r#"{{"metadata":{{"output":{{"inlined_responses":{{"inlinedResponses":{list}}}}}}}}}"#
                    ),
                ),
                (
                    InlineAt::Response,
                    format!(
                        r#"{{"metadata":{{"output":{{"inlinedResponses":{{"inlinedResponses":[1]}}}}}},
                        "response":{{"inlinedEmbedContentResponses":{{"inlinedResponses":{list}}}}}}}"#
                    ),
                ),
            ] {
                assert_eq!(lines(&answer, at), expected);
            }
        }
    }

    #[test]
    fn of_an_answer_that_breaks_off_the_results_before_that_become_lines() {
        let answer = r#"{"response":{"inlinedResponses":{"inlinedResponses":[{"response":{"a":1}},{"respo"#;
        assert_eq!(lines(answer, InlineAt::Response), "{\"response\":{\"a\":1}}\n");
    }
}
