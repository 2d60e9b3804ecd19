//! The Function URL's part of Lambda: an HTTP request becomes an event of payload format 2.0, the receiver's
//! answer becomes a response.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_runtime::LambdaEvent;
use serde_json::{Map, Value, json};

use super::invocation::context;
use gemhook::{clock::SystemClock, receiver::Receiver};

/// What Lambda accepts in one request.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

pub(super) fn router(receiver: Arc<Receiver>) -> Router {
    Router::new().fallback(pass).with_state(receiver)
}

async fn pass(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let context = context(&SystemClock);
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let (body, encoded) = as_text(&parts.headers, &body);
    let event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": joined(&parts.headers),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": "localhost",
            "requestId": context.request_id,
            "routeKey": "$default",
            "stage": "$default",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
        },
        "body": body,
        "isBase64Encoded": encoded,
    });
    match receiver.invoke(LambdaEvent::new(event, context)).await {
        Ok(answer) => response(answer).unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()),
        Err(error) => {
            tracing::error!(%error, "the receiver failed");
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

/// Repeated headers are joined, names are in lower case, and what is no text is dropped.
fn joined(headers: &HeaderMap) -> Map<String, Value> {
    let values =
        |name| headers.get_all(name).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    headers
        .keys()
        .map(|name| (name.to_string(), Value::from(values(name).collect::<Vec<_>>().join(","))))
        .collect()
}

/// Text of a textual type goes as it is, everything else in base64.
fn as_text(headers: &HeaderMap, body: &Bytes) -> (String, bool) {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let textual = kind.starts_with("text/") || kind.contains("json") || kind.contains("xml");
    match std::str::from_utf8(body) {
        Ok(text) if textual => (text.to_owned(), false),
        _ => (BASE64_STANDARD.encode(body), true),
    }
}

fn response(answer: ApiGatewayV2httpResponse) -> Option<Response> {
    let status = StatusCode::from_u16(u16::try_from(answer.status_code).ok()?).ok()?;
    let body = answer.body.map_or_else(Body::empty, |body| Body::from(body.to_vec()));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = answer.headers;
    Some(response)
}
