//! The event of a Lambda Function URL (payload format 2.0) as a request, and the answer in its form.
//!
//! `lambda_http` would parse such an event for us, but two things in it panic: a path that is not a URI, and a body that
//! is flagged as base64 and is not. Strangers choose both, and a panic fails the invocation. So this module reads only what
//! a delivery consists of: the method, the three webhook headers and the body.
//!
//! Header names may come in any case. Two spellings of one name are two values of it, which is malformed.

use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::{
    Body, Request, Response,
    aws_lambda_events::apigw::ApiGatewayV2httpResponse,
    http::{HeaderValue, Method},
};
use serde_json::{Map, Value};

/// All other headers are dropped: nothing reads them.
const KEPT_HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// The request in an event, or `None` where the event is malformed.
pub(crate) fn request(event: &mut Value) -> Option<Request> {
    let method = event.pointer("/requestContext/http/method")?.as_str()?;
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    if let Some(Value::Object(given)) = event.get("headers") {
        add_headers(&mut request, given)?;
    }
    let encoded = event.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    *request.body_mut() = match event.get_mut("body").map(Value::take) {
        Some(Value::String(body)) if encoded => Body::Binary(BASE64_STANDARD.decode(body).ok()?),
        Some(Value::String(body)) => Body::Text(body),
        Some(Value::Null) | None => Body::Empty,
        Some(_) => return None,
    };
    Some(request)
}

fn add_headers(request: &mut Request, given: &Map<String, Value>) -> Option<()> {
    for (name, value) in given {
        let Some(name) = KEPT_HEADERS.iter().find(|kept| kept.eq_ignore_ascii_case(name)) else { continue };
        let value = HeaderValue::from_str(value.as_str()?).ok()?;
        if request.headers_mut().insert(*name, value).is_some() {
            return None;
        }
    }
    Some(())
}

/// An answer in the form that a Function URL takes.
pub(crate) fn response(response: Response<Body>) -> ApiGatewayV2httpResponse {
    let (parts, body) = response.into_parts();
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = parts.status.as_u16().into();
    answer.headers = parts.headers;
    answer.body = Some(body);
    answer
}
