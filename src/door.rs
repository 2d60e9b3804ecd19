//! The event of a Function URL, made safe to read.
//!
//! The parser behind `lambda_http` stops the process on a path that is no URI and on a body that is no base64, and
//! both come from strangers. So only what a delivery consists of is let through: method, headers, body.

use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::{Body, Response, request::LambdaRequest};
use serde_json::{Map, Value, json};

const KEPT_HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// The request in an event, or nothing where there is none to be read.
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

/// The answer to an event that holds no request.
pub(crate) fn malformed(response: &Response<Body>) -> Value {
    let headers: Map<String, Value> = response
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), Value::from(value.to_str().ok()?))))
        .collect();
    let body = std::str::from_utf8(response.body()).unwrap_or_default();
    json!({"statusCode": response.status().as_u16(), "headers": headers, "body": body, "isBase64Encoded": false})
}
