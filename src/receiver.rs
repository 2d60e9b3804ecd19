//! The receiver: verify, parse, one conditional write, answer. Nothing else happens while Gemini waits.
//!
//! What the sender receives:
//!
//! | status | when | Gemini then |
//! | --- | --- | --- |
//! | 200 | the row is durable: new, a duplicate, or a second body under a known id | is done |
//! | 400, 401, 405, 413 | rejected; nothing was written, and the reason is only in our log | repeats it for 24 hours |
//! | 503 with `Retry-After` | unavailable: no secret, no keys, no table, or more than 4 s | repeats it for 24 hours |
//!
//! [`Receiver`] holds what a delivery is checked against and the one table that it may write to. It guarantees that a
//! 200 is sent only after the row is durable, and that a sender learns nothing about the reason of a rejection.
//! GET and HEAD are answered 200, so that a browser or a health check sees that the function is up.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use lambda_http::{
    Body, Request, Response,
    aws_lambda_events::apigw::ApiGatewayV2httpResponse,
    http::{Method, StatusCode, header},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    aws,
    clock::{SharedClock, SystemClock},
    config::{ReceiverSettings, environment},
    function_url,
    ledger::{DeliveryWriter, NewDelivery},
    metrics,
    redacted_headers::{self, Headers as RedactedHeaders},
    secrets::SecretStore,
    webhook::{
        Authenticator, JwksCache, Rejection, SigningSecrets, Unverified, Verdict, binding::BindingKey,
    },
};

/// For one delivery, all waiting included: our own 503 leaves before the function's limit of 5 s.
const BUDGET: Duration = Duration::from_secs(4);

/// The value of `Retry-After` in a 503, in seconds (RFC 9110, section 10.2.3).
const RETRY_AFTER: &str = "30";

/// The receiver of one Lambda instance.
pub struct Receiver {
    deliveries: DeliveryWriter,
    authenticator: Authenticator,
    max_body_bytes: usize,
    record_headers: bool,
    clock: SharedClock,
}

/// How a delivery was answered, for the sender and for the log.
enum Answer {
    /// To GET and HEAD: the function is up.
    Up,
    /// A row with this body is durable.
    Accepted,
    Rejected(Rejection),
    /// The reason is on our side, in words for the log only.
    Unavailable(String),
}

/// Serves the function until Lambda ends it.
pub async fn run() -> Result<(), Error> {
    let settings = ReceiverSettings::read(&environment)?;
    let sdk = aws::function_config(aws::receiver_timeouts());
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk);
    let receiver = Arc::new(Receiver::new(settings, dynamodb, secrets, Arc::new(SystemClock))?);
    receiver.prepare().await;
    lambda_runtime::run(service_fn(move |event| {
        let receiver = Arc::clone(&receiver);
        // On the heap: nested in the runtime's, the futures of the SDK are too deep for the compiler.
        async move { Box::pin(receiver.invoke(event)).await }
    }))
    .await
}

impl Receiver {
    /// Makes no call: [`Receiver::prepare`] does.
    pub fn new(
        settings: ReceiverSettings,
        dynamodb: aws_sdk_dynamodb::Client,
        secrets: aws_sdk_secretsmanager::Client,
        clock: SharedClock,
    ) -> Result<Self, Error> {
        let local = settings.local;
        let keys =
            settings.dynamic.as_ref().map(|dynamic| JwksCache::new(dynamic.jwks_url.clone())).transpose()?;
        let authenticator = Authenticator {
            secrets: settings.signing.map(|source| {
                SecretStore::new(source, secrets.clone(), move |text| SigningSecrets::for_place(text, local))
                    .with_clock(Arc::clone(&clock))
            }),
            keys: keys.map(|keys| keys.with_clock(Arc::clone(&clock))),
            audience: settings.dynamic.and_then(|dynamic| dynamic.audience),
            binding: settings.binding.map(|source| {
                SecretStore::new(source, secrets, BindingKey::parse).with_clock(Arc::clone(&clock))
            }),
            tolerance: settings.tolerance,
        };
        let deliveries = DeliveryWriter::new(dynamodb, settings.deliveries_table);
        Ok(Self {
            deliveries,
            authenticator,
            max_body_bytes: settings.max_body_bytes,
            record_headers: settings.record_headers,
            clock,
        })
    }

    /// Connects, and reads secrets and keys, all at once. Lambda gives a function more of a processor while it starts
    /// than for an event, so a TLS handshake costs less here. A failure changes nothing: the first delivery does then
    /// what this could not.
    pub async fn prepare(&self) {
        let all = async { tokio::join!(self.authenticator.prepare(), self.deliveries.connect()) };
        let _ = timeout(aws::PREPARE, Box::pin(all)).await;
    }

    /// One invocation, by the event of a Function URL. It answers within 4 s, whatever a delivery waits for.
    pub async fn invoke(&self, event: LambdaEvent<Value>) -> Result<ApiGatewayV2httpResponse, Error> {
        let LambdaEvent { mut payload, context } = event;
        let redacted_headers = self.record_headers.then(|| redacted_headers::headers(&payload));
        let answer = match function_url::request(&mut payload) {
            Some(request) => match *request.method() {
                Method::GET | Method::HEAD => Answer::Up,
                Method::POST => {
                    let taken = self.take(request, &context.request_id, redacted_headers);
                    let late = |_| Answer::Unavailable("it took too long".to_owned());
                    timeout(BUDGET, taken).await.unwrap_or_else(late)
                }
                _ => Answer::Rejected(Rejection::MethodNotAllowed),
            },
            None => Answer::Rejected(Rejection::MalformedRequest),
        };
        Ok(function_url::response(self.respond(&answer)?))
    }

    /// The way of a delivery: length, form of the headers, signature, row. Each step ends it if it fails. `receipt` is
    /// the request id of the invocation.
    async fn take(
        &self,
        request: Request,
        receipt: &str,
        redacted_headers: Option<RedactedHeaders>,
    ) -> Answer {
        let (parts, body) = request.into_parts();
        let body = match body {
            Body::Text(text) => Bytes::from(text),
            Body::Binary(bytes) => Bytes::from(bytes),
            _ => Bytes::new(),
        };
        if body.len() > self.max_body_bytes {
            return Answer::Rejected(Rejection::BodyTooLarge);
        }
        let unverified = match Unverified::new(&parts.headers, body) {
            Ok(unverified) => unverified,
            Err(rejection) => return Answer::Rejected(rejection),
        };
        let now = self.clock.now();
        let delivery = match self.authenticator.authenticate(&unverified, now.div_euclid(1000)).await {
            Verdict::Authenticated(delivery) => delivery,
            Verdict::Rejected(rejection) => return Answer::Rejected(rejection),
            Verdict::Unavailable(why) => return Answer::Unavailable(why),
        };
        let event = delivery.event();
        let new = NewDelivery::new(&delivery, event, receipt, now);
        let new = match redacted_headers {
            Some(redacted_headers) => new.with_headers(redacted_headers),
            None => new,
        };
        match self.deliveries.insert(new).await {
            Ok(inserted) => {
                tracing::info!(
                    metrics = metrics::of_inserted(&inserted),
                    webhook_id = delivery.row_key(),
                    event_type = event.event_type.as_deref(),
                    job = event.job_hint.as_deref(),
                    scheme = delivery.scheme().name(),
                    key_id = delivery.key_id(),
                    beside = inserted.beside(),
                    "{}",
                    inserted.name()
                );
                Answer::Accepted
            }
            Err(error) => Answer::Unavailable(error.to_string()),
        }
    }

    /// The HTTP answer. All rejections of one status have the same body. The reason is in the log.
    fn respond(&self, answer: &Answer) -> Result<Response<Body>, Error> {
        let (status, body) = match answer {
            Answer::Up => (200, r#"{"service":"gemhook","status":"up"}"#),
            Answer::Accepted => (200, r#"{"status":"accepted"}"#),
            Answer::Rejected(rejection) => {
                let metrics = metrics::of_rejection(*rejection);
                tracing::warn!(metrics, reason = rejection.code(), status = rejection.status(), "rejected");
                (rejection.status(), r#"{"status":"rejected"}"#)
            }
            Answer::Unavailable(why) => {
                tracing::error!(metrics = metrics::UNAVAILABLE, why, status = 503, "not taken");
                (503, r#"{"status":"try again"}"#)
            }
        };
        let mut response = Response::builder()
            .status(StatusCode::from_u16(status)?)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CACHE_CONTROL, "no-store");
        match status {
            405 => response = response.header(header::ALLOW, "POST, GET, HEAD"),
            503 => response = response.header(header::RETRY_AFTER, RETRY_AFTER),
            _ => {}
        }
        Ok(response.body(Body::from(body))?)
    }
}
