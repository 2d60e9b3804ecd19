//! The headers of a delivery in a form that is safe to keep and to show: no signature, no credential, bounded in number
//! and length. Rows keep them only while the first deliveries are recorded (`RECORD_FIRST`).

use std::collections::BTreeMap;

use serde_json::Value;

const MAX_HEADERS: usize = 40;
const MAX_NAME_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 300;

/// A header whose name contains one of these is left out.
const PRIVATE: [&str; 7] =
    ["authorization", "cookie", "token", "secret", "api-key", "password", "credential"];

pub type Headers = BTreeMap<String, String>;

/// The headers of a Function URL's event, by their names in lower case.
pub fn headers(event: &Value) -> Headers {
    let reported = event.get("headers").and_then(Value::as_object).into_iter().flatten();
    reported
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_str()?)))
        .filter(|(name, _)| name.len() <= MAX_NAME_BYTES && !PRIVATE.iter().any(|part| name.contains(part)))
        .take(MAX_HEADERS)
        .map(|(name, value)| match name.as_str() {
            "webhook-signature" => (name, redacted(value)),
            _ => (name, value.chars().take(MAX_VALUE_BYTES).collect()),
        })
        .collect()
}

/// Form and length of each entry instead of the signature: `v1,[44]`, or `[20].[80].[342]` for a token.
fn redacted(signature: &str) -> String {
    let entries =
        signature.split_ascii_whitespace().take(MAX_HEADERS).map(|entry| match entry.split_once(',') {
            Some((form, value)) if form.len() <= MAX_NAME_BYTES => format!("{form},[{}]", value.len()),
            _ => entry
                .split('.')
                .take(MAX_HEADERS)
                .map(|part| format!("[{}]", part.len()))
                .collect::<Vec<_>>()
                .join("."),
        });
    entries.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_proves_or_opens_something_is_not_shown() {
        let seen = headers(&json!({"headers": {
            "Webhook-Id": "msg_1",
            "webhook-signature": "v1,YWJj v1a,ZGVm",
            "user-agent": "Google",
            "authorization": "Bearer x",
            "x-goog-api-key": "k",
            "cookie": "c",
            "x-long": "a".repeat(10_000),
            "x-odd": 7,
        }}));
        let reported: Vec<(&str, &str)> =
            seen.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let long = "a".repeat(MAX_VALUE_BYTES);
        assert_eq!(
            reported,
            [
                ("user-agent", "Google"),
                ("webhook-id", "msg_1"),
                ("webhook-signature", "v1,[4] v1a,[4]"),
                ("x-long", long.as_str()),
            ]
        );
        assert_eq!(redacted("eyJh.eyJi.c2ln"), "[4].[4].[4]");
        assert_eq!(headers(&json!({"headers": []})), BTreeMap::new());
    }
}
