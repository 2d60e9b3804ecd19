//! What a call has used, in tokens: [`Usage`], which takes the counts of both APIs.
//!
//! The Interactions API writes `usage` and `total_input_tokens`. A batch's responses have `usageMetadata` and
//! `promptTokenCount`. Where a total is 0 or missing, the parts are added up.

use serde::{Deserialize, Serialize};

use crate::json::{ITEM, Scanned};

/// A count that is stated as a total, and what its parts add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    total: u64,
    parts: u64,
}

impl Count {
    /// Models that are billed by the call state totals of 0 and count each call.
    fn sum(self) -> u64 {
        if self.total > 0 { self.total } else { self.parts }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    prompt: Count,
    tool_use: Count,
    output: Count,
    thought: Count,
}

impl Usage {
    /// Whether the object or list at this path, seen from the usage, has counts in it.
    pub fn wants(path: &[&str]) -> bool {
        let path = within_a_call(path);
        matches!(path, [] | ["modelInvocationTokenCounts"])
            || matches!(path, [details] | [details, ITEM] if details.ends_with("TokensDetails"))
    }

    /// A value at a path that is seen from the usage.
    pub fn take(&mut self, path: &[&str], value: &Scanned<'_>) {
        let Some(tokens) = value.count() else { return };
        let (count, is_total) = match within_a_call(path) {
            ["totalInputTokens" | "promptTokenCount"] => (&mut self.prompt, true),
            ["totalToolUseTokens" | "toolUsePromptTokenCount"] => (&mut self.tool_use, true),
            ["totalOutputTokens" | "candidatesTokenCount" | "responseTokenCount"] => (&mut self.output, true),
            ["totalThoughtTokens" | "thoughtsTokenCount"] => (&mut self.thought, true),
            [details, ITEM, "tokens" | "tokenCount"] => match *details {
                "promptTokensDetails" => (&mut self.prompt, false),
                "toolUsePromptTokensDetails" => (&mut self.tool_use, false),
                "candidatesTokensDetails" | "responseTokensDetails" => (&mut self.output, false),
                "thoughtsTokensDetails" => (&mut self.thought, false),
                _ => return,
            },
            _ => return,
        };
        match is_total {
            true => count.total = tokens,
            false => count.parts = count.parts.saturating_add(tokens),
        }
    }

    /// Input tokens: the prompt, and what tools have added to it.
    pub fn tokens_in(&self) -> u64 {
        self.prompt.sum().saturating_add(self.tool_use.sum())
    }

    /// Output tokens, thoughts included. The API counts the two apart.
    pub fn tokens_out(&self) -> u64 {
        let total = self.output.total.saturating_add(self.thought.total);
        if total > 0 { total } else { self.output.parts.saturating_add(self.thought.parts) }
    }
}

/// The path within one call of the model, where the counts are in a list of calls.
fn within_a_call<'a>(path: &'a [&'a str]) -> &'a [&'a str] {
    match path {
        ["modelInvocationTokenCounts", ITEM, rest @ ..] => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Reader, Scanner};

    impl Reader for Usage {
        fn wants(&mut self, path: &[&str]) -> bool {
            Self::wants(path)
        }

        fn value(&mut self, path: &[&str], value: &Scanned<'_>) {
            self.take(path, value);
        }
    }

    #[test]
    fn totals_count_and_where_they_are_missing_or_0_their_parts() {
        let calls = r#"[{"prompt_tokens_details": [{"tokens": 3}, {"modality": "x", "tokens": "4"}], "candidates_tokens_details":
            [{"tokens": 5}]}, {"prompt_tokens_details": [{"tokens": 1}], "thoughts_tokens_details": [{"tokens": 2}]}]"#;
        for (usage, tokens_in, tokens_out) in [
            (
                r#"{"total_input_tokens": 5, "total_output_tokens": "7", "total_thought_tokens": 2}"#.into(),
                5,
                9,
            ),
            (r#"{"totalInputTokens": 5, "totalToolUseTokens": 3}"#.into(), 8, 0),
            (
                r#"{"promptTokenCount": 5, "toolUsePromptTokenCount": 3, "candidatesTokenCount": 1.0}"#
                    .into(),
                8,
                1,
            ),
            (r#"{"prompt_token_count": 5, "promptTokensDetails": [{"tokenCount": 9}]}"#.into(), 5, 0),
            (r#"{"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}]}"#.into(), 9, 0),
            (format!(r#"{{"model_invocation_token_counts": {calls}}}"#), 8, 7),
            (
                format!(
                    r#"{{"total_output_tokens": 0, "total_input_tokens": 6, "model_invocation_token_counts": {calls}}}"#
                ),
                6,
                7,
            ),
            (format!(r#"{{"total_output_tokens": 4, "model_invocation_token_counts": {calls}}}"#), 8, 4),
            (
                r#"{"total_input_tokens": NaN, "total_output_tokens": -1, "x": {"promptTokenCount": 4}}"#
                    .into(),
                0,
                0,
            ),
            ("[1]".into(), 0, 0),
        ] {
            let mut sums = Usage::default();
            Scanner::new(64).take(usage.as_bytes(), &mut sums);
            assert_eq!((sums.tokens_in(), sums.tokens_out()), (tokens_in, tokens_out), "{usage}");
        }
    }
}
