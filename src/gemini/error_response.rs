//! What an error answer of the API means to us.
//!
//! | status | class | what it proves |
//! | --- | --- | --- |
//! | 401, 400 for the key | `Unauthorized` | nothing about the job |
//! | 400, 402, 403 | `Rejected` | nothing about the job: billing, permission, a retired schema |
//! | 404, 410 | `NotFound` | the API does not know the name, or not yet |
//! | others | `Transient` | nothing |
//!
//! A 400 is about the key if its details have the reason `API_KEY_INVALID`, or its message says so. For 408, 429 and
//! 5xx the wait that the API asks for is taken from `google.rpc.RetryInfo` or from `Retry-After` (Google AIP-193,
//! "Errors"; RFC 9110, section 10.2.3). Where a file is downloaded, `download` treats 403 as an expired file.

use std::time::Duration;

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use reqwest::{
    StatusCode,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use serde_json::Value;

use crate::error::ProcessingError;

const MAX_MESSAGE_CHARS: usize = 160;

/// The shortest wait when the quota of a day is used up. Such a quota does not recover within minutes.
const DAILY_QUOTA_WAIT: Duration = Duration::from_secs(3600);

/// Sorts an answer that is no success. `doing` says what was asked for.
pub(crate) fn classify(doing: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProcessingError {
    let error = error_of(body);
    let message =
        error.as_ref().and_then(|error| error.get("message")).and_then(Value::as_str).unwrap_or_default();
    let message: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    let why = match message.as_str() {
        "" => format!("{doing}: Gemini answered {}", status.as_u16()),
        said => format!("{doing}: Gemini answered {}: {said}", status.as_u16()),
    };
    match status.as_u16() {
        401 => ProcessingError::Unauthorized(why),
        400 if error.as_ref().is_some_and(key_is_invalid) => ProcessingError::Unauthorized(why),
        400 | 402 | 403 => ProcessingError::Rejected(why),
        404 | 410 => ProcessingError::NotFound(why),
        408 | 429 | 500..=599 => {
            ProcessingError::Transient { why, after: wait_asked(error.as_ref(), headers) }
        }
        _ => ProcessingError::transient(why),
    }
}

/// How long the answer asks us to wait: an hour at least where the quota of a day is used up.
fn wait_asked(error: Option<&Value>, headers: &HeaderMap) -> Option<Duration> {
    let asked = error.and_then(retry_delay).or_else(|| retry_after(headers));
    let daily = error.is_some_and(is_daily_quota).then_some(DAILY_QUOTA_WAIT);
    asked.max(daily)
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
    let delay = details(error).find_map(|detail| detail.get("retryDelay"))?;
    let seconds = match delay {
        Value::String(text) => text.trim().trim_end_matches('s').parse().ok()?,
        other => other.as_f64()?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// The header `Retry-After`: seconds or a date (RFC 9110, section 10.2.3), which counts from the answer's `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| DateTime::from_str(text, DateTimeFormat::HttpDate).ok().map(|date| date.secs());
    let seconds = date(asked)?.saturating_sub(date(text(DATE)?)?);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Whether the quota that was used up is one of a day: `google.rpc.QuotaFailure` names it in its violations, for
/// example `GenerateRequestsPerDayPerProjectPerModel-FreeTier`, and `google.rpc.ErrorInfo` in its metadata.
fn is_daily_quota(error: &Value) -> bool {
    let violations = details(error).filter_map(|detail| detail.get("violations")?.as_array()).flatten();
    let infos = details(error).filter_map(|detail| detail.get("metadata"));
    let mut named = violations.chain(infos).filter_map(Value::as_object).flatten();
    named.any(|(_, value)| value.as_str().is_some_and(is_daily))
}

fn is_daily(quota: &str) -> bool {
    let letters = |char: &char| char.is_ascii_alphanumeric() || *char == '/';
    let quota = quota.to_ascii_lowercase().chars().filter(letters).collect::<String>();
    quota.contains("perday") || quota.contains("daily") || quota.starts_with("1/d/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(status: u16, body: &str) -> ProcessingError {
        classify("x", StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn a_quota_names_its_delay() {
        let body = r#"[{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"29.5s"}]}}]"#;
        let ProcessingError::Transient { why, after } = sorted(429, body) else { panic!("not passing") };
        assert_eq!(after, Some(Duration::from_millis(29_500)));
        assert_eq!(why, "x: Gemini answered 429: slow down");
    }

    fn asked(details: Value) -> Option<Duration> {
        let body = serde_json::json!({"error": {"code": 429, "details": details}}).to_string();
        let ProcessingError::Transient { after, .. } = sorted(429, &body) else { panic!("not passing") };
        after
    }

    #[test]
    fn a_quota_of_a_day_waits_for_an_hour_at_least() {
        let (hour, soon) = (Some(Duration::from_secs(3600)), serde_json::json!({"retryDelay": "0s"}));
        for quota in [
            serde_json::json!({"violations": [{"quotaId": "RequestsPerDayPerProject", "quotaValue": "20"}]}),
            serde_json::json!({"violations": [{"quotaMetric": "x/requests_per_day"}, {"quotaId": "x"}]}),
            serde_json::json!({"metadata": {"quota_unit": "1/d/{project}"}}),
        ] {
            assert_eq!(asked(serde_json::json!([quota, soon])), hour, "{quota}");
        }
        let minute = serde_json::json!({"violations": [{"quotaId": "GenerateRequestsPerMinutePerProject"}]});
        assert_eq!(asked(serde_json::json!([minute, soon])), Some(Duration::ZERO));
        let longer = serde_json::json!([{"violations": [{"quotaId": "PerDay"}]}, {"retryDelay": "7200s"}]);
        assert_eq!(asked(longer), Some(Duration::from_secs(7200)));
        for nothing in ["-1s", "NaNs", "1e99s", "soon", ""] {
            assert_eq!(asked(serde_json::json!([{"retryDelay": nothing}])), None, "{nothing}");
        }
    }

    #[test]
    fn a_date_to_retry_after_counts_from_the_date_of_the_answer() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "Thu, 26 Nov 2026 17:02:10 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
        headers.insert(DATE, "Thu, 26 Nov 2026 17:00:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(130)));
        headers.insert(DATE, "Thu, 26 Nov 2026 18:00:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::ZERO));
    }

    #[test]
    fn answers_fall_into_their_class() {
        let bad_key = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.",
            "details":[{"reason":"API_KEY_INVALID"}]}}"#;
        assert!(matches!(sorted(400, bad_key), ProcessingError::Unauthorized(_)));
        assert!(matches!(sorted(401, ""), ProcessingError::Unauthorized(_)));
        for status in [404, 410] {
            assert!(matches!(sorted(status, "{}"), ProcessingError::NotFound(_)), "{status}");
        }
        for status in [400, 402, 403] {
            assert!(matches!(sorted(status, "{}"), ProcessingError::Rejected(_)), "{status}");
        }
        for status in [302, 408, 429, 500, 503, 504] {
            assert!(matches!(sorted(status, "<html>"), ProcessingError::Transient { .. }), "{status}");
        }
    }
}
