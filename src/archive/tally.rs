//! Results in lines, added up as they pass by.

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::Value;

use crate::job::Summary;

/// A longer line is archived and counted, but not looked into.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// Splits a stream into lines and adds them up.
#[derive(Default)]
pub(super) struct Tally {
    summary: Summary,
    line: Vec<u8>,
    too_long: bool,
}

#[derive(Deserialize)]
struct Line {
    response: Option<Response>,
    error: Option<IgnoredAny>,
    status: Option<IgnoredAny>,
}

/// An embedding has no usage, but may have a count of its own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    usage_metadata: Option<Usage>,
    #[serde(default)]
    token_count: Count,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Usage {
    prompt_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
}

/// A number, or a number in a text, as the API writes its longer ones. Anything else counts for nothing.
#[derive(Clone, Copy, Default)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(Self(value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)))
    }
}

impl Tally {
    /// Goes on after the lines that these sums are of.
    pub fn resume(summary: Summary) -> Self {
        Self { summary, ..Self::default() }
    }

    /// The sums of all lines that are complete. The one that is under way is not in them.
    pub fn complete_lines(&self) -> Summary {
        self.summary
    }

    pub fn take(&mut self, mut piece: &[u8]) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = piece.split_at(end);
            self.append(head);
            self.end_line();
            piece = tail.get(1..).unwrap_or_default();
        }
        self.append(piece);
    }

    fn append(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > LONGEST_LINE {
            self.too_long = true;
            self.line.clear();
        }
        if !self.too_long {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) {
        let too_long = std::mem::take(&mut self.too_long);
        let line = self.line.trim_ascii();
        if too_long {
            self.summary.requests += 1;
            self.summary.unreadable += 1;
        } else if !line.is_empty() {
            self.summary.requests += 1;
            count(line, &mut self.summary);
        }
        self.line.clear();
    }

    pub fn finish(mut self) -> Summary {
        self.end_line();
        self.summary
    }
}

fn count(line: &[u8], sum: &mut Summary) {
    match serde_json::from_slice(line) {
        Ok(Line { response: Some(response), error: None, .. }) => {
            let usage = response.usage_metadata.unwrap_or_default();
            let tokens_in = usage.prompt_token_count.0.max(response.token_count.0);
            let out = usage.candidates_token_count.0.saturating_add(usage.thoughts_token_count.0);
            sum.succeeded += 1;
            sum.tokens_in = sum.tokens_in.saturating_add(tokens_in);
            sum.tokens_out = sum.tokens_out.saturating_add(out);
        }
        Ok(Line { error: Some(_), .. } | Line { response: None, status: Some(_), .. }) => sum.failed += 1,
        _ => sum.unreadable += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &[u8], piece: usize) -> Summary {
        let mut tally = Tally::default();
        for piece in text.chunks(piece) {
            tally.take(piece);
        }
        tally.finish()
    }

    #[test]
    fn lines_are_counted_however_they_are_cut() {
        let text = concat!(
            r#"{"key":"a","response":{"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":5}}}"#,
            "\r\n\n",
            r#"{"error":{"code":3,"message":"x"},"key":"b"}"#,
            "\n",
            r#"{"key":"c","status":{"code":3}}"#,
            "\nbroken {\n",
            r#"{"response":{"usageMetadata":{"promptTokenCount":1,"thoughtsTokenCount":2}}}"#,
            "\n",
            r#"{"key":"d","response":{"embedding":{"values":[0.5,-1e-3]},"tokenCount":"6"}}"#,
            "\n",
            r#"{"response":{"embedding":{"values":[]},"usageMetadata":null}}"#,
        );
        let want =
            Summary { requests: 7, succeeded: 4, failed: 2, unreadable: 1, tokens_in: 10, tokens_out: 7 };
        for piece in [1, 2, 7, 64, 10_000] {
            assert_eq!(tally(text.as_bytes(), piece), want, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_counted_and_forgotten() {
        let mut text = vec![b'x'; LONGEST_LINE + 1];
        text.extend_from_slice(b"\n{\"response\":{}}\n");
        let summary = tally(&text, 1 << 20);
        assert_eq!((summary.requests, summary.unreadable, summary.succeeded), (2, 1, 1));
    }
}
