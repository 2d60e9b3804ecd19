//! The receiver: verify, parse, one conditional write, answer. Nothing else happens while Gemini waits.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use lambda_http::{
    Adapter, Body, Request, RequestExt, Response,
    http::{HeaderMap, Method, StatusCode, header},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::time::timeout;
use tower_service::Service;

use crate::{
    aws,
    clock::{SharedClock, SystemClock},
    config::{ReceiverSettings, environment},
    door,
    ledger::{Inbox, NewDelivery},
    metrics,
    secrets::SecretStore,
    seen::{self, Headers as Seen},
    webhook::{Admitted, Denied, Gate, KeySource, Refusal, SigningSecrets, Unverified, binding::BindingKey},
};

/// For one delivery, all waiting included: our own 503 leaves before the function's limit of 5 s.
const BUDGET: Duration = Duration::from_secs(4);

/// What we ask of a sender when the trouble is ours.
const RETRY_AFTER: &str = "30";

pub struct Receiver {
    inbox: Inbox,
    gate: Gate,
    max_body_bytes: usize,
    record_headers: bool,
    clock: SharedClock,
}

/// How a delivery was answered, for the sender and for the log.
enum Answer {
    Up,
    Accepted,
    Refused(Refusal),
    /// Our own trouble, in words for the log only.
    Trouble(String),
}

/// Serves the function until Lambda ends it.
pub async fn run() -> Result<(), Error> {
    let settings = ReceiverSettings::read(&environment)?;
    let sdk = aws::function_config(aws::receiver_timeouts());
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk);
    let receiver = Arc::new(Receiver::new(settings, dynamodb, secrets, Arc::new(SystemClock))?);
    lambda_runtime::run(service_fn(move |event| {
        let receiver = Arc::clone(&receiver);
        async move { receiver.invoke(event).await }
    }))
    .await
}

impl Receiver {
    pub fn new(
        settings: ReceiverSettings,
        dynamodb: aws_sdk_dynamodb::Client,
        secrets: aws_sdk_secretsmanager::Client,
        clock: SharedClock,
    ) -> Result<Self, Error> {
        let local = settings.local;
        let keys =
            settings.dynamic.as_ref().map(|dynamic| KeySource::new(dynamic.jwks_url.clone())).transpose()?;
        let gate = Gate {
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
        let inbox = Inbox::new(dynamodb, settings.deliveries_table);
        Ok(Self {
            inbox,
            gate,
            max_body_bytes: settings.max_body_bytes,
            record_headers: settings.record_headers,
            clock,
        })
    }

    /// One invocation, by the event of a Function URL.
    pub async fn invoke(self: Arc<Self>, event: LambdaEvent<Value>) -> Result<Value, Error> {
        let seen = self.record_headers.then(|| seen::headers(&event.payload));
        let Some(request) = door::request(event.payload) else {
            return Ok(door::malformed(&self.respond(&Answer::Refused(Refusal::MalformedRequest))?));
        };
        let mut adapter = Adapter::from(service_fn(move |request: Request| {
            let (receiver, seen) = (Arc::clone(&self), seen.clone());
            async move { receiver.handle(request, seen).await }
        }));
        let answer = adapter.call(LambdaEvent::new(request, event.context)).await?;
        Ok(serde_json::to_value(answer)?)
    }

    async fn handle(&self, request: Request, seen: Option<Seen>) -> Result<Response<Body>, Error> {
        let context = request.lambda_context_ref();
        let receipt = context.map(|context| context.request_id.clone()).unwrap_or_default();
        let (parts, body) = request.into_parts();
        let answer = match parts.method {
            Method::GET | Method::HEAD => Answer::Up,
            Method::POST => {
                let body = match body {
                    Body::Empty => Bytes::new(),
                    Body::Text(text) => Bytes::from(text),
                    Body::Binary(bytes) => Bytes::from(bytes),
                    _ => Bytes::new(),
                };
                let taken = self.take(&parts.headers, body, &receipt, seen);
                match timeout(BUDGET, taken).await {
                    Ok(answer) => answer,
                    Err(_) => Answer::Trouble("it took too long".to_owned()),
                }
            }
            _ => Answer::Refused(Refusal::MethodNotAllowed),
        };
        self.respond(&answer)
    }

    async fn take(&self, headers: &HeaderMap, body: Bytes, receipt: &str, seen: Option<Seen>) -> Answer {
        if body.len() > self.max_body_bytes {
            return Answer::Refused(Refusal::BodyTooLarge);
        }
        let unverified = match Unverified::new(headers, body) {
            Ok(unverified) => unverified,
            Err(refusal) => return Answer::Refused(refusal),
        };
        let now = self.clock.now();
        let Admitted { delivery, event } = match self.gate.admit(&unverified, now.div_euclid(1000)).await {
            Ok(admitted) => admitted,
            Err(Denied::Refused(refusal)) => return Answer::Refused(refusal),
            Err(Denied::NotNow(why)) => return Answer::Trouble(why),
        };
        let new = NewDelivery::new(&delivery, &event, receipt, now);
        let new = match seen {
            Some(seen) => new.with_headers(seen),
            None => new,
        };
        match self.inbox.put(new).await {
            Ok(put) => {
                metrics::taken(&put);
                tracing::info!(
                    webhook_id = delivery.row_key(),
                    event_type = event.event_type.as_deref(),
                    job = event.job_hint.as_deref(),
                    scheme = delivery.scheme().name(),
                    key_id = delivery.key_id(),
                    beside = put.beside(),
                    "{}",
                    put.name()
                );
                Answer::Accepted
            }
            Err(error) => Answer::Trouble(error.to_string()),
        }
    }

    /// What the sender hears. All refusals of one status look the same; the reason is in the log.
    fn respond(&self, answer: &Answer) -> Result<Response<Body>, Error> {
        let (status, body) = match answer {
            Answer::Up => (200, r#"{"service":"gemhook","status":"up"}"#),
            Answer::Accepted => (200, r#"{"status":"accepted"}"#),
            Answer::Refused(refusal) => {
                metrics::refused(*refusal);
                tracing::warn!(reason = refusal.code(), status = refusal.status(), "refused");
                (refusal.status(), r#"{"status":"refused"}"#)
            }
            Answer::Trouble(why) => {
                metrics::trouble();
                tracing::error!(why, status = 503, "not taken");
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
