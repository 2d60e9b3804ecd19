//! A receiver of its own, with a count of all that it asks and a clock that is moved by hand.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use aws_sdk_dynamodb::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef},
    error::BoxError,
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Response, StatusCode},
};
use futures_util::stream;
use gemhook::{
    clock::{Clock, Millis},
    config::ReceiverSettings,
    receiver::Receiver,
};
use gemhook_cli::dev::stores::{TableNames, create_tables};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    issuer::Issuer,
    support::{Row, TestMachine, now, sign},
};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const AUDIENCE: &str = "https://hook.example.com/gemini";
pub const BODY: &str = r#"{"type":"batch.succeeded","version":"v1","data":{"id":"batches/1"}}"#;

pub struct HandClock(AtomicI64);

/// Begins now.
impl Default for HandClock {
    fn default() -> Self {
        Self(AtomicI64::new(i64::try_from(now()).unwrap() * 1000))
    }
}

impl HandClock {
    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    pub fn seconds(&self) -> i64 {
        self.now() / 1000
    }
}

impl Clock for HandClock {
    fn now(&self) -> Millis {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts each request that an AWS client sends, repeated ones too, by its operation.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<String, usize>>>);

impl Calls {
    /// What was called since this was last called.
    pub fn take(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or("unknown");
        let operation = target.rsplit('.').next().unwrap_or(target).to_owned();
        *self.0.lock().unwrap().entry(operation).or_default() += 1;
        Ok(())
    }
}

/// How a server answers.
#[derive(Clone)]
pub enum Answers {
    With(u16, Vec<(&'static str, String)>, String),
    /// As Secrets Manager answers a read, by the id that is asked for.
    Secrets(Vec<(&'static str, String)>),
    /// With more than anybody should read.
    Endlessly,
    Never,
}

impl Answers {
    pub fn json(value: &Value) -> Self {
        Self::With(200, vec![("content-type", "application/json".to_owned())], value.to_string())
    }

    /// As Secrets Manager answers a read.
    pub fn secret(text: &str) -> Self {
        Self::json(&json!({"ARN": "arn", "Name": "name", "SecretString": text}))
    }

    pub fn broken() -> Self {
        Self::With(500, Vec::new(), "{}".to_owned())
    }
}

/// A server that counts.
#[derive(Clone)]
pub struct Server {
    pub url: String,
    asked: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
    answers: Arc<Mutex<Answers>>,
}

impl Server {
    pub async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(answers));
        let server = Self { url, asked: Arc::default(), written: Arc::default(), answers };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub fn now_answers(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    /// How often it was asked since this was last called.
    pub fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    /// How many bytes of an endless answer were taken.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }
}

async fn answer(State(server): State<Server>, body: Bytes) -> Response<Body> {
    server.asked.fetch_add(1, Ordering::SeqCst);
    let answers = server.answers.lock().unwrap().clone();
    match answers {
        Answers::Secrets(secrets) => {
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let (id, text) = secrets.iter().find(|(id, _)| asked["SecretId"] == *id).unwrap();
            Response::new(Body::from(json!({"ARN": id, "Name": id, "SecretString": text}).to_string()))
        }
        Answers::With(status, headers, body) => {
            let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Answers::Endlessly => {
            let pieces = stream::repeat_with(move || {
                server.written.fetch_add(64 * 1024, Ordering::SeqCst);
                Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 64 * 1024]))
            });
            Response::new(Body::from_stream(pieces))
        }
        Answers::Never => std::future::pending().await,
    }
}

pub struct Endpoint {
    pub receiver: Arc<Receiver>,
    pub clock: Arc<HandClock>,
    pub dynamodb: Calls,
    pub keys: Server,
    pub secrets: Server,
    pub test: TestMachine,
    pub names: TableNames,
}

impl Endpoint {
    /// With static and dynamic webhooks, tokens too, the secret in the counted store, and these settings besides.
    pub async fn start(keys: Answers, more: &[(&str, &str)]) -> Self {
        let test = TestMachine::start().await;
        let names = TableNames { deliveries: "own-deliveries".into(), jobs: "own-jobs".into() };
        create_tables(&test.dynamodb(), &names).await.unwrap();
        let keys = Server::start(keys).await;
        let secrets = Server::start(Answers::secret(SECRET)).await;
        let dynamodb = Calls::default();
        let lookup = |name: &str| {
            if let Some((_, value)) = more.iter().find(|(other, _)| *other == name) {
                return Some((*value).to_owned()).filter(|value| !value.is_empty());
            }
            match name {
                "DELIVERIES_TABLE" => Some(names.deliveries.clone()),
                "WEBHOOK_SECRET_ID" => Some("signing-secret".to_owned()),
                "DYNAMIC_WEBHOOKS" => Some("true".to_owned()),
                "JWKS_URL" => Some(keys.url.clone()),
                "JWT_AUDIENCE" => Some(AUDIENCE.to_owned()),
                _ => None,
            }
        };
        let clock = Arc::new(HandClock::default());
        let config = test.dynamodb().config().to_builder().interceptor(dynamodb.clone()).build();
        let receiver = Receiver::new(
            ReceiverSettings::read(&lookup).unwrap(),
            aws_sdk_dynamodb::Client::from_conf(config),
            secrets_manager(&secrets.url),
            clock.clone(),
        );
        let receiver = Arc::new(receiver.unwrap());
        Self { receiver, clock, dynamodb, keys, secrets, test, names }
    }

    pub fn pass(&self, seconds: i64) {
        self.clock.pass(seconds);
    }

    pub fn now(&self) -> u64 {
        self.clock.seconds().unsigned_abs()
    }

    pub async fn rows(&self) -> Vec<Row> {
        self.test.rows(&self.names.deliveries).await
    }

    /// The whole answer to an event of a Function URL.
    pub async fn answer(&self, event: Value) -> Value {
        let event = LambdaEvent::new(event, Context::default());
        serde_json::to_value(self.receiver.invoke(event).await.unwrap()).unwrap()
    }

    pub async fn post(&self, id: &str, signature: &str, body: &str) -> u64 {
        let event = request(
            json!({
                "webhook-id": id,
                "webhook-timestamp": self.now().to_string(),
                "webhook-signature": signature,
            }),
            body,
        );
        self.answer(event).await["statusCode"].as_u64().unwrap()
    }

    pub async fn v1(&self, id: &str, secret: &str) -> u64 {
        self.post(id, &sign(secret, id, self.now(), BODY.as_bytes()), BODY).await
    }

    pub async fn v1a(&self, id: &str, issuer: &Issuer) -> u64 {
        self.post(id, &issuer.v1a(id, self.now(), BODY.as_bytes()), BODY).await
    }

    /// A token that carries no event, by the key of this id.
    pub async fn token(&self, id: &str, issuer: &Issuer, key: &str) -> u64 {
        let claims = json!({"aud": AUDIENCE, "exp": self.now() + 300, "jti": id});
        self.post(id, &issuer.token(&json!({"alg": "RS256", "kid": key}), &claims), BODY).await
    }
}

pub fn request(headers: Value, body: &str) -> Value {
    json!({
        "version": "2.0",
        "rawPath": "/",
        "headers": headers,
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "body": body,
        "isBase64Encoded": false,
    })
}

pub fn secrets_manager(url: &str) -> aws_sdk_secretsmanager::Client {
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_secretsmanager::config::Region::new("eu-central-1"))
        .credentials_provider(aws_sdk_secretsmanager::config::Credentials::new("k", "s", None, None, "test"))
        .retry_config(aws_sdk_secretsmanager::config::retry::RetryConfig::disabled())
        .timeout_config(gemhook::aws::receiver_timeouts())
        .endpoint_url(url);
    aws_sdk_secretsmanager::Client::from_conf(config.build())
}
