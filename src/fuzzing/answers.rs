//! The readers of what the API answers, and of what it lets us download. Whatever comes, they come to an end, and what
//! a strict JSON parser reads they read too, in whatever pieces it arrives.

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Map, Value};

use crate::{
    archive::LineCounter,
    error::ProcessingError,
    gemini::{Batch, BatchOutput, Document, Interaction, Operation, SpooledBody, classify, write_lines},
    json::{Reader, Scanned, Scanner},
};

/// The names and the texts that are kept while scanning.
const MAX_TEXT_BYTES: usize = 64;

fn document(data: &[u8]) -> Document {
    let mut answer = SpooledBody::default();
    // So short an answer stays in memory.
    assert!(answer.append(data).is_ok());
    Document::new(answer)
}

fn check_flaw(data: &[u8], flaw: Option<&String>) {
    let strict = serde_json::from_slice::<Map<String, Value>>(data);
    assert!(flaw.is_none() || strict.is_err(), "{flaw:?} of a JSON object");
}

/// A batch, and its inline results as lines.
pub fn batch(data: &[u8]) {
    let Ok(batch) = Batch::read(document(data)) else { return };
    check_flaw(data, batch.flaw.as_ref());
    let Some(BatchOutput::Inline(at)) = batch.output else { return };
    let mut lines = Vec::new();
    let written = write_lines(&batch.document, at, |piece| {
        lines.extend_from_slice(&piece);
        Ok(())
    });
    assert!(written.is_ok(), "{written:?}");
    assert!(lines.is_empty() || lines.ends_with(b"\n"), "the last line does not end");
    if serde_json::from_slice::<Value>(data).is_ok() {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            assert!(serde_json::from_slice::<Value>(line).is_ok(), "{}", String::from_utf8_lossy(line));
        }
    }
}

/// An interaction with its text and its media.
pub fn interaction(data: &[u8]) {
    if let Ok(interaction) = Interaction::read(document(data)) {
        check_flaw(data, interaction.flaw.as_ref());
    }
}

/// The operation of a video.
pub fn operation(data: &[u8]) {
    if let Ok(operation) = Operation::read(document(data)) {
        check_flaw(data, operation.flaw.as_ref());
    }
}

/// An answer that is no success: its status by the first two bytes, then its body.
pub fn error_response(data: &[u8]) {
    let Some(([high, low], body)) = data.split_first_chunk() else { return };
    let Ok(status) = StatusCode::from_u16(u16::from_be_bytes([*high, *low]) % 500 + 100) else { return };
    let error = classify("read the job", status, &HeaderMap::new(), body);
    // A job is believed to be gone by its status alone, whatever the body says.
    let is_absent = matches!(error, ProcessingError::NotFound(_));
    assert_eq!(is_absent, matches!(status.as_u16(), 404 | 410), "{status}: {error:?}");
    assert!(error.to_string().chars().count() < 400, "a message without a limit");
}

/// The lines of a result file, which are counted the same in whatever pieces they come.
pub fn lines(data: &[u8]) {
    let mut whole = LineCounter::default();
    whole.take(data);
    let mut pieces = LineCounter::default();
    for piece in pieces_of(data) {
        pieces.take(piece);
    }
    assert_eq!(whole, pieces);
    let expected = data.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    assert_eq!(whole.finish().requests, expected as u64);
}

/// Keeps every path and the raw bytes of every value.
#[derive(Debug, Default, PartialEq)]
struct All(Vec<(String, u64, u64)>);

impl Reader for All {
    fn wants(&mut self, path: &[&str]) -> bool {
        path.len() < 8
    }

    fn value(&mut self, path: &[&str], value: &Scanned<'_>) {
        self.0.push((path.join("/"), value.span.from, value.span.to));
    }
}

/// Any JSON, scanned while it arrives.
pub fn scan(data: &[u8]) {
    let (mut whole, mut all) = (Scanner::new(MAX_TEXT_BYTES), All::default());
    whole.take(data, &mut all);
    let (mut pieces, mut some) = (Scanner::new(MAX_TEXT_BYTES), All::default());
    for piece in pieces_of(data) {
        pieces.take(piece, &mut some);
    }
    assert_eq!((&whole, &all), (&pieces, &some));
    let end = whole.finish(&mut all);
    let strict = serde_json::from_slice::<Value>(data);
    assert!(end.is_ok() || strict.is_err(), "{end:?} of JSON");
    for (path, from, to) in &all.0 {
        assert!(from < to && *to <= data.len() as u64, "{path}: {from} to {to}");
    }
}

/// Cut where the bytes themselves say, so that a corpus holds its cuts.
fn pieces_of(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let length = usize::from(*rest.first()? % 7 + 1).min(rest.len());
        let (piece, left) = rest.split_at(length);
        rest = left;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::near, *};

    /// Answers of the API as users saw them.
    fn answers() -> Vec<Vec<u8>> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
        let cases = std::fs::read_dir(folder).unwrap().map(|case| case.unwrap().path());
        let files = cases.filter(|case| case.is_dir()).flat_map(|case| std::fs::read_dir(case).unwrap());
        let files = files.map(|file| file.unwrap().path());
        let bodies = files.filter(|file| file.is_file()).map(|file| std::fs::read(file).unwrap());
        let mut answers: Vec<_> = bodies.filter(|body| body.len() < 16 * 1024).collect();
        answers.extend(MADE.map(|body| body.as_bytes().to_vec()));
        answers
    }

    /// One of each shape, whichever reports there are.
    const MADE: [&str; 4] = [
        r#"{"name":"batches/b","done":true,"metadata":{"state":"BATCH_STATE_SUCCEEDED","batchStats":{"requestCount":"2"},"output":{"inlinedResponses":{"inlinedResponses":[{"response":{"candidates":[{"content":{"parts":[{"text":"\ud83d"}]}}]},"metadata":{"key":"a"}},{"error":{"code":3}}]}}}}"#,
        r#"{"id":"v1_a","status":"completed","steps":[{"type":"model_output","content":[{"type":"text","text":"hi"},{"type":"image","data":"AAEC","mime_type":"image/png"}]}],"usage":{"total_input_tokens":4}}"#,
        r#"{"name":"models/veo/operations/o","done":true,"response":{"generateVideoResponse":{"generatedSamples":[{"video":{"uri":"https://x/v1beta/files/f:download"}}]}}}"#,
        "{\"key\":\"a\",\"response\":{\"usageMetadata\":{\"promptTokenCount\":3}}}\n{\"key\":\"b\",\"error\":{\"code\":3}}\n\n",
    ];

    fn with_status() -> Vec<Vec<u8>> {
        let bodies = [
            r#"{"error":{"code":429,"message":"slow down","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37s"}]}}"#,
            r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
            "<html>502</html>",
        ];
        let statuses = [400_u16, 401, 403, 404, 410, 429, 503];
        let with =
            |status: u16| bodies.map(|body| [&(status - 100).to_be_bytes()[..], body.as_bytes()].concat());
        statuses.into_iter().flat_map(with).collect()
    }

    #[test]
    fn the_seeds_reach_what_they_are_for() {
        let all = answers();
        assert!(all.len() > 10, "{}", all.len());
        let batches = all.iter().filter_map(|body| Batch::read(document(body)).ok());
        assert!(batches.filter(|batch| matches!(batch.output, Some(BatchOutput::Inline(_)))).count() >= 1);
        for body in &all {
            batch(body);
            interaction(body);
            operation(body);
            lines(body);
            scan(body);
        }
        with_status().iter().for_each(|body| error_response(body));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_batch_breaks_it(data in near(answers())) { batch(&data) }

        #[test]
        fn no_interaction_breaks_it(data in near(answers())) { interaction(&data) }

        #[test]
        fn no_operation_breaks_it(data in near(answers())) { operation(&data) }

        #[test]
        fn no_error_response_breaks_it(data in near(with_status())) { error_response(&data) }

        #[test]
        fn no_lines_break_it(data in near(answers())) { lines(&data) }

        #[test]
        fn no_document_breaks_the_scanner(data in near(answers())) { scan(&data) }
    }
}
