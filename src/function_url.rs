//! Turns the event of a Lambda Function URL (payload format 2.0) into a request that is safe to parse.
//!
//! `lambda_http` parses such an event for us. Two things in it panic, and a panic would stop the process: a path that is
//! not a URI, and a body that is flagged as base64 and is not. Strangers choose both. So this module builds a new event
//! that holds only what a delivery consists of: the method, the three webhook headers and the body. Path and query
//! are replaced by `/` and nothing, and a body that is not base64 makes the request malformed (400).
//!
//! Header names may come in any case. Two spellings of one name are two values of it, which is malformed as well.

use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::{Body, Response, request::LambdaRequest};
use serde_json::{Map, Value, json};

/// All other headers are dropped: nothing reads them.
const KEPT_HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// The request in an event, or `None` where the event is malformed.
pub(crate) fn request(mut event: Value) -> Option<LambdaRequest> {
    let method = event.pointer("/requestContext/http/method")?.as_str()?.to_owned();
    let encoded = event.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    let body = match event.get_mut("body").map(Value::take) {
        Some(Value::String(body)) => body,
        Some(Value::Null) | None => String::new(),
        Some(_) => return None,
    };
    if encoded && BASE64_STANDARD.decode(&body).is_err() {
        return None;
    }
    let mut headers = Map::new();
    if let Some(Value::Object(given)) = event.get_mut("headers").map(Value::take) {
        for (name, value) in given {
            let name = name.to_ascii_lowercase();
            // Two spellings of one name are two values of it.
            if KEPT_HEADERS.contains(&name.as_str()) && headers.insert(name, value).is_some() {
                return None;
            }
        }
    }
    let safe = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {"http": {"method": method, "path": "/"}, "timeEpoch": 0},
        "body": body,
        "isBase64Encoded": encoded,
    });
    serde_json::from_value(safe).ok()
}

/// The answer to a malformed event, in the form that a Function URL returns. `lambda_http` writes all other answers.
pub(crate) fn malformed(response: &Response<Body>) -> Value {
    let headers: Map<String, Value> = response
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), Value::from(value.to_str().ok()?))))
        .collect();
    let body = std::str::from_utf8(response.body()).unwrap_or_default();
    json!({"statusCode": response.status().as_u16(), "headers": headers, "body": body, "isBase64Encoded": false})
}
