//! Results in lines, counted while they are stored: [`LineCounter`].
//!
//! A line is scanned in pieces and never held as a whole, so it may be of any length: images make lines of 30 MB.

use memchr::memchr;
use serde::{Deserialize, Serialize};

use crate::{
    gemini::Usage,
    job::Summary,
    json::{ITEM, Kind, Reader, Scanned, Scanner},
};

/// The longest name or count that is read, in bytes. All that are looked for are shorter.
const MAX_TEXT_BYTES: usize = 64;

/// Splits a stream into lines and adds them up.
///
/// It can be stored in the middle of a line, in less than 2 KB of JSON, and go on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineCounter {
    summary: Summary,
    line: Option<Line>,
}

impl LineCounter {
    pub fn take(&mut self, mut piece: &[u8]) {
        while let Some(end) = memchr(b'\n', piece) {
            let (head, tail) = piece.split_at(end);
            self.append(head);
            self.end_line();
            piece = tail.get(1..).unwrap_or_default();
        }
        self.append(piece);
    }

    /// Blank lines are no lines.
    fn append(&mut self, part: &[u8]) {
        let part = if self.line.is_none() { part.trim_ascii_start() } else { part };
        if !part.is_empty() {
            let line = self.line.get_or_insert_default();
            line.scanner.take(part, &mut line.seen);
        }
    }

    fn end_line(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        let is_whole = line.scanner.finish(&mut line.seen).is_ok();
        let sum = &mut self.summary;
        sum.requests += 1;
        match line.seen.end() {
            Some(end) if is_whole && line.scanner.outermost() == Some(Kind::Object) => match end {
                End::Succeeded => sum.succeeded += 1,
                End::Failed => sum.failed += 1,
                End::Blocked => sum.blocked += 1,
                End::Empty => sum.empty += 1,
            },
            _ => sum.unreadable += 1,
        }
        sum.tokens_in = sum.tokens_in.saturating_add(line.seen.tokens_in());
        sum.tokens_out = sum.tokens_out.saturating_add(line.seen.usage.tokens_out());
    }

    pub fn finish(mut self) -> Summary {
        self.end_line();
        self.summary
    }
}

/// A line that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    scanner: Scanner,
    seen: Seen,
}

impl Default for Line {
    fn default() -> Self {
        Self { scanner: Scanner::new(MAX_TEXT_BYTES), seen: Seen::default() }
    }
}

/// How a request ended.
enum End {
    Succeeded,
    Failed,
    Blocked,
    Empty,
}

/// What has been read of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// A member of this name is there. It may be `null`.
    names_response: bool,
    has_response: bool,
    has_error: bool,
    has_status: bool,
    has_content: bool,
    is_blocked: bool,
    usage: Usage,
    /// An embedding has no usage, but may have a count of its own.
    token_count: u64,
}

impl Seen {
    /// None where the line has neither a response nor an error.
    fn end(&self) -> Option<End> {
        match self {
            Self { has_error: true, .. } | Self { has_response: false, has_status: true, .. } => {
                Some(End::Failed)
            }
            Self { has_response: true, has_content: true, .. } => Some(End::Succeeded),
            Self { has_response: true, is_blocked: true, .. } => Some(End::Blocked),
            Self { names_response: true, .. } => Some(End::Empty),
            _ => None,
        }
    }

    fn tokens_in(&self) -> u64 {
        self.usage.tokens_in().max(self.token_count)
    }
}

impl Reader for Seen {
    fn wants(&mut self, path: &[&str]) -> bool {
        match path {
            ["response"]
            | ["response", "promptFeedback" | "candidates"]
            | ["response", "candidates", ITEM] => true,
            ["response", "candidates", ITEM, "content"] => true,
            ["response", "candidates", ITEM, "content", "parts"] => true,
            ["response", "usageMetadata", rest @ ..] => Usage::wants(rest),
            _ => false,
        }
    }

    fn value(&mut self, path: &[&str], value: &Scanned<'_>) {
        let is_there = !value.is_null();
        match path {
            ["response"] => (self.names_response, self.has_response) = (true, is_there),
            ["error"] => self.has_error = is_there,
            ["status"] => self.has_status = is_there,
            ["response", "tokenCount"] => self.token_count = value.count().unwrap_or(0),
            ["response", "usageMetadata", rest @ ..] => self.usage.take(rest, value),
            ["response", "promptFeedback", "blockReason"] => self.is_blocked = is_there,
            // A candidate without parts has put nothing out.
            ["response", "candidates", ITEM, "content", "parts", ITEM] => self.has_content = true,
            ["response", "candidates", ..] | ["response", "promptFeedback", ..] => {}
            ["response", name] => self.has_content |= is_there && !ABOUT_THE_RESPONSE.contains(name),
            _ => {}
        }
    }
}

/// Members that every response may have. Any other one, such as `embedding`, is content.
const ABOUT_THE_RESPONSE: [&str; 5] =
    ["usageMetadata", "modelVersion", "modelStatus", "responseId", "createTime"];

#[cfg(test)]
mod tests {
    use super::*;

    fn line_counter(text: &[u8], piece: usize) -> Summary {
        let mut line_counter = LineCounter::default();
        for piece in text.chunks(piece) {
            line_counter.take(piece);
        }
        line_counter.finish()
    }

    const PARTS: &str =
        r#""candidates":[{"content":{"parts":[{"text":"hi"}],"role":"model"},"finishReason":"STOP"}]"#;

    #[test]
    fn lines_are_counted_however_they_are_cut() {
        let text = [
            &format!(r#"{{"key":"a","response":{{{PARTS},"usageMetadata":{{"promptTokenCount":3,"candidatesTokenCount":5}}}}}}"#),
            "\r\n",
            r#"{"error":{"code":3,"message":"x"},"key":"b"}"#,
            r#"{"key":"c","status":{"code":3}}"#,
            "broken {",
            &format!(r#"{{"response":{{"usageMetadata":{{"promptTokenCount":"1","thoughtsTokenCount":2,"toolUsePromptTokenCount":4}},{PARTS}}}}}"#),
            r#"{"key":"d","response":{"embedding":{"values":[0.5,-1e-3]},"tokenCount":"6"}}"#,
            r#"{"response":{"embedding":{"values":[]},"usageMetadata":null}}"#,
        ]
        .join("\n");
        let want = Summary {
            requests: 7,
            succeeded: 4,
            failed: 2,
            unreadable: 1,
            tokens_in: 14,
            tokens_out: 7,
            ..Summary::default()
        };
        for piece in [1, 2, 7, 64, 10_000] {
            assert_eq!(line_counter(text.as_bytes(), piece), want, "in pieces of {piece}");
        }
    }

    #[test]
    fn each_line_is_counted_as_what_it_is() {
        let line = |response: &str| format!(r#"{{"key":"k","response":{response}}}"#);
        for (line, counted) in [
            (line(&format!("{{{PARTS}}}")), "succeeded"),
            (line(r#"{"candidates":[{"content":{"parts":[{"inlineData":{"data":"AA=="}}]}}]}"#), "succeeded"),
            (line(r#"{"predictions":[1]}"#), "succeeded"),
            (format!(r#"{{"error":null,"response":{{{PARTS}}}}}"#), "succeeded"),
            (format!(r#"{{"odd":NaN,"text":"\ud800","response":{{{PARTS}}}}}"#), "succeeded"),
            (
                format!(r#"{{"deep":{}{},"response":{{{PARTS}}}}}"#, "[".repeat(10_000), "]".repeat(10_000)),
                "succeeded",
            ),
            (line(r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}"#), "blocked"),
            (line(r#"{"prompt_feedback":{"block_reason":"OTHER"},"usage_metadata":{}}"#), "blocked"),
            (line(&format!(r#"{{"promptFeedback":{{"safetyRatings":[]}},{PARTS}}}"#)), "succeeded"),
            (line("{}"), "empty"),
            (line(r#"{"candidates":[]}"#), "empty"),
            (line(r#"{"candidates":[{"finishReason":"SAFETY"}],"modelVersion":"m"}"#), "empty"),
            (line(r#"{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS"}]}"#), "empty"),
            (line(r#"{"candidates":[{"content":{"parts":[]}}],"responseId":"r"}"#), "empty"),
            (r#"{"response":null,"error":null}"#.into(), "empty"),
            (r#"{"response":{"candidates":[]},"error":{"code":3}}"#.into(), "failed"),
            (r#"{"status":{"code":3},"response":null}"#.into(), "failed"),
            (r#"{"key":"only"}"#.into(), "unreadable"),
            (r#"{"response":{}"#.into(), "unreadable"),
            (r#"{"error":{"code":3}} {}"#.into(), "unreadable"),
            ("[1]".into(), "unreadable"),
            ("null".into(), "unreadable"),
        ] {
            let Summary { requests, succeeded, failed, blocked, empty, unreadable, .. } =
                line_counter(line.as_bytes(), 9);
            let ends = [
                ("succeeded", succeeded),
                ("failed", failed),
                ("blocked", blocked),
                ("empty", empty),
                ("unreadable", unreadable),
            ];
            let counted_as: Vec<_> =
                ends.iter().filter(|(_, count)| *count == 1).map(|(name, _)| *name).collect();
            assert_eq!((requests, &counted_as[..]), (1, &[counted][..]), "{}", &line[..line.len().min(200)]);
        }
    }

    #[test]
    fn a_line_of_any_length_is_counted_and_stored_in_its_middle_in_a_few_bytes() {
        let mut line_counter = LineCounter::default();
        line_counter.take(br#"{"response":{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":""#);
        for _ in 0..600 {
            line_counter.take(&[b'A'; 64 * 1024]);
            let stored = serde_json::to_string(&line_counter).unwrap();
            assert!(stored.len() < 2048, "{stored}");
            line_counter = serde_json::from_str(&stored).unwrap();
        }
        line_counter.take(br#""}}]}}],"usageMetadata":{"promptTokenCount":7}}}"#);
        let summary = line_counter.finish();
        assert_eq!((summary.requests, summary.succeeded, summary.tokens_in), (1, 1, 7));
    }
}
