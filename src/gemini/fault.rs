//! What an error answer of the API means to us.

use std::time::Duration;

use reqwest::{StatusCode, header::HeaderMap, header::RETRY_AFTER};
use serde_json::Value;

use crate::trouble::Trouble;

const LONGEST_MESSAGE: usize = 160;

/// Sorts an answer that is no success. `doing` tells what was asked for.
pub(super) fn sort(doing: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Trouble {
    let error = error_of(body);
    let message =
        error.as_ref().and_then(|error| error.get("message")).and_then(Value::as_str).unwrap_or_default();
    let message: String = message.chars().take(LONGEST_MESSAGE).collect();
    let why = match message.as_str() {
        "" => format!("{doing}: Gemini answered {}", status.as_u16()),
        said => format!("{doing}: Gemini answered {}: {said}", status.as_u16()),
    };
    let after = || {
        error.as_ref().and_then(retry_delay).or_else(|| {
            let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
            Some(Duration::from_secs(seconds))
        })
    };
    match status.as_u16() {
        401 => Trouble::KeyRefused(why),
        400 if error.as_ref().is_some_and(key_is_invalid) => Trouble::KeyRefused(why),
        400 | 403 | 404 | 410 => Trouble::Absent(why),
        408 | 429 | 500..=599 => Trouble::Passing { why, after: after() },
        _ => Trouble::passing(why),
    }
}

/// The `error` of an answer, which some answers wrap in a list of one.
fn error_of(body: &[u8]) -> Option<Value> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    if let Some(first) = answer.get_mut(0) {
        answer = first.take();
    }
    answer.get_mut("error").map(Value::take)
}

fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error.get("details").and_then(Value::as_array).into_iter().flatten()
}

fn key_is_invalid(error: &Value) -> bool {
    details(error).any(|detail| detail.get("reason").and_then(Value::as_str) == Some("API_KEY_INVALID"))
        || error
            .get("message")
            .and_then(Value::as_str)
            .is_some_and(|text| text.starts_with("API key not valid"))
}

/// `google.rpc.RetryInfo`: seconds with up to nine digits after the point and an `s`.
fn retry_delay(error: &Value) -> Option<Duration> {
    let delay = details(error).find_map(|detail| detail.get("retryDelay"))?.as_str()?;
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(status: u16, body: &str) -> Trouble {
        sort("x", StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn a_quota_names_its_delay() {
        let body = r#"[{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"29.5s"}]}}]"#;
        let Trouble::Passing { why, after } = sorted(429, body) else { panic!("not passing") };
        assert_eq!(after, Some(Duration::from_millis(29_500)));
        assert_eq!(why, "x: Gemini answered 429: slow down");
    }

    #[test]
    fn answers_fall_into_their_class() {
        let bad_key = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.",
            "details":[{"reason":"API_KEY_INVALID"}]}}"#;
        assert!(matches!(sorted(400, bad_key), Trouble::KeyRefused(_)));
        assert!(matches!(sorted(401, ""), Trouble::KeyRefused(_)));
        for status in [400, 403, 404] {
            assert!(matches!(sorted(status, "{}"), Trouble::Absent(_)), "{status}");
        }
        for status in [302, 408, 429, 500, 503, 504] {
            assert!(matches!(sorted(status, "<html>"), Trouble::Passing { .. }), "{status}");
        }
    }
}
