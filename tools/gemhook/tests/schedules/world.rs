//! Both functions on stores in this process. Their clock and the SDK's stands still until the test moves it, and the
//! SDK does not sleep between two tries.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::config::{
    Credentials, Region, SharedHttpClient, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_async::{
    rt::sleep::{AsyncSleep, Sleep},
    time::TimeSource,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use gemhook::{
    archiver::{Archiver, Clients},
    clock::{Clock, Millis, SharedClock, millis},
    config::{ArchiverSettings, ReceiverSettings},
    ledger::{Ledger, schema},
    receiver::Receiver,
    worker::RetryPolicy,
};
use hmac::{Hmac, KeyInit, Mac};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::watch;

use crate::{
    asked::Asked,
    bucket::BUCKET,
    gemini::BASE_URL,
    network::Network,
    stores::{DELIVERIES, JOBS},
};

pub const MINUTE: Millis = 60_000;
pub const HOUR: Millis = 60 * MINUTE;
/// A worker extends its lease after this long (`EXTEND_AFTER` in `src/worker.rs`, and a second).
pub const EXTENDS: Millis = 61_000;
/// A lease that was not extended has run out (`LEASE` in `src/worker.rs`, and five seconds).
pub const LEASE_OVER: Millis = 95_000;
/// After so many sweeps on a clock that moves on, a row that is open is a row that does not end.
pub const MAX_SWEEPS: usize = 200;
const BEGINNING: Millis = 1_780_000_000_000;
const KEY: &[u8] = b"a signing key of the tests, long enough";

pub struct TestClock {
    now: watch::Sender<Millis>,
    /// Whether each sleep ends at once and moves the clock by its length.
    is_hasty: AtomicBool,
}

impl TestClock {
    fn new() -> Self {
        Self { now: watch::Sender::new(BEGINNING), is_hasty: AtomicBool::new(false) }
    }

    pub fn later(&self, by: Millis) {
        self.now.send_modify(|now| *now += by);
    }

    /// From now on each sleep ends at once.
    pub fn hurry(&self) {
        self.is_hasty.store(true, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        *self.now.borrow()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        let (by, mut now) = (millis(duration), self.now.subscribe());
        let until = Clock::now(self) + by;
        if self.is_hasty.load(Ordering::Relaxed) {
            let clock = self.now.clone();
            return Box::pin(async move { clock.send_modify(|now| *now += by) });
        }
        Box::pin(async move { drop(now.wait_for(|now| *now >= until).await) })
    }
}

impl TimeSource for TestClock {
    fn now(&self) -> SystemTime {
        let now = Clock::now(self).try_into().unwrap();
        SystemTime::UNIX_EPOCH + Duration::from_millis(now)
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TestClock")
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub struct World {
    pub network: Arc<Network>,
    pub clock: Arc<TestClock>,
    pub receiver: Arc<Receiver>,
    pub archiver: Archiver,
}

macro_rules! client {
    ($service:ident, $world:expr, $retries:expr) => {{
        let (http, clock): (SharedHttpClient, Arc<TestClock>) = $world;
        let config = $service::Config::builder()
            .behavior_version_latest()
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "tests"))
            .endpoint_url("http://stores")
            .http_client(http)
            .time_source(TimeOf(clock))
            .sleep_impl(NoSleep)
            .retry_config(RetryConfig::standard())
            .retry_partition($service::config::retry::RetryPartition::new($retries))
            // As in the functions. It goes by the clock, and takes a jump for a stall.
            .stalled_stream_protection($service::config::StalledStreamProtectionConfig::disabled())
            .timeout_config(TimeoutConfig::disabled());
        config
    }};
}

#[derive(Clone, Debug)]
struct TimeOf(Arc<TestClock>);

impl TimeSource for TimeOf {
    fn now(&self) -> SystemTime {
        TimeSource::now(self.0.as_ref())
    }
}

/// A try follows the other at once. No call has a time limit here: a call that is late is a fault of its own.
#[derive(Debug)]
struct NoSleep;

impl AsyncSleep for NoSleep {
    fn sleep(&self, _: Duration) -> Sleep {
        Sleep::new(tokio::task::yield_now())
    }
}

impl World {
    /// `name` is no other world's, because the SDK shares the budget of its retries by name.
    pub fn new(name: String) -> Arc<Self> {
        let clock = Arc::new(TestClock::new());
        let time = Arc::clone(&clock);
        let network = Network::new(move || Clock::now(time.as_ref()));
        create_tables(&network);
        let given = || (network.http_client(), Arc::clone(&clock));
        let dynamodb = || {
            let config = client!(aws_sdk_dynamodb, given(), name.clone());
            aws_sdk_dynamodb::Client::from_conf(config.build())
        };
        let s3 = client!(aws_sdk_s3, given(), name.clone());
        let bus = client!(aws_sdk_eventbridge, given(), name.clone());
        let secrets = || {
            let config = aws_sdk_secretsmanager::Config::builder().behavior_version_latest();
            aws_sdk_secretsmanager::Client::from_conf(config.build())
        };
        let shared: SharedClock = clock.clone();
        let settings = ReceiverSettings::read(&setting).unwrap();
        let receiver = Receiver::new(settings, dynamodb(), secrets(), Arc::clone(&shared));
        let clients = Clients {
            dynamodb: dynamodb(),
            eventbridge: aws_sdk_eventbridge::Client::from_conf(bus.build()),
            s3: aws_sdk_s3::Client::from_conf(s3.force_path_style(true).build()),
            secrets: secrets(),
        };
        // Nothing is slept inside a lease, so that each wait is seen in the row.
        let policy = RetryPolicy { asleep: Duration::ZERO, ..RetryPolicy::default() };
        let settings = ArchiverSettings::read(&setting).unwrap();
        let archiver = Archiver::new(settings, clients, shared, policy).unwrap();
        let archiver = archiver.with_gemini_by(network.clone());
        Arc::new(Self { network, clock, receiver: Arc::new(receiver.unwrap()), archiver })
    }

    pub fn now(&self) -> Millis {
        Clock::now(self.clock.as_ref())
    }

    pub fn ledger(&self) -> &Ledger {
        &self.archiver.worker().ledger
    }

    /// A delivery that was signed at this time, and the status that its sender receives.
    pub async fn post(&self, id: &str, event: &Value, signed_at: Millis) -> i64 {
        let (body, at) = (event.to_string(), signed_at / 1000);
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
        mac.update(format!("{id}.{at}.{body}").as_bytes());
        let signature = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        let event = json!({
            "headers": {"webhook-id": id, "webhook-timestamp": at.to_string(), "webhook-signature": signature},
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "body": body,
        });
        let event = LambdaEvent::new(event, Context::default());
        // On the heap and without its type: the futures of the SDK are too deep for the compiler.
        let receiver = Arc::clone(&self.receiver);
        let answer: Boxed<'_, _> = Box::pin(async move { receiver.invoke(event).await });
        answer.await.unwrap().status_code
    }

    /// One invocation of the archiver. An error is what Lambda would be told, so that it repeats the records.
    pub async fn invoke(&self, event: Value) -> Result<Value, String> {
        let mut context = Context::default();
        context.deadline = u64::try_from(self.now() + 15 * MINUTE).unwrap();
        let answer: Boxed<'_, _> = Box::pin(self.archiver.invoke(LambdaEvent::new(event, context)));
        answer.await.map_err(|error| error.to_string())
    }

    /// One invocation of a process that may end in the middle of it. None: it did.
    pub async fn invoke_in_process(&self, event: Value) -> Option<Result<Value, String>> {
        tokio::select! {
            answer = self.invoke(event) => Some(answer),
            () = self.network.killed.notified() => None,
        }
    }

    pub async fn sweep(&self) -> Result<Value, String> {
        self.invoke(json!({"schedule": "sweep"})).await
    }

    /// Sweeps, each when the next row is due, until no row is open.
    pub async fn sweep_to_the_end(&self) {
        for _ in 0..MAX_SWEEPS {
            if !self.wait_until_due() {
                return;
            }
            let _ = self.invoke_in_process(json!({"schedule": "sweep"})).await;
        }
        panic!("a row does not end: {:#?}", self.rows());
    }

    /// `state/outcome` of each row, in the order of their ids.
    pub fn ends(&self) -> Vec<String> {
        let text = |row: &Value, name: &str| row[name]["S"].as_str().unwrap_or_default().to_owned();
        let rows = self.rows().into_values();
        rows.map(|row| format!("{}/{}", text(&row, "state"), text(&row, "outcome"))).collect()
    }

    /// When the next open row is due, or its lease has run out. None: no row is open.
    pub fn next_due(&self) -> Option<Millis> {
        let at =
            |row: &Value, name: &str| row[name]["N"].as_str().and_then(|text| text.parse::<Millis>().ok());
        let rows = self.rows().into_values();
        rows.filter_map(|row| Some(at(&row, "due_at")?.max(at(&row, "lease_until").unwrap_or(0)))).min()
    }

    /// Moves the clock to that time. False: no row is open.
    pub fn wait_until_due(&self) -> bool {
        let Some(due) = self.next_due() else { return false };
        self.clock.later((due - self.now()).max(0) + 1);
        true
    }

    pub fn rows(&self) -> std::collections::BTreeMap<String, Value> {
        self.network.stores.rows(DELIVERIES)
    }

    pub fn jobs(&self) -> std::collections::BTreeMap<String, Value> {
        self.network.stores.rows(JOBS)
    }
}

/// Stream records of these rows, as the table's stream would bring them.
pub fn records<'a>(ids: impl IntoIterator<Item = &'a str>) -> Value {
    let record = |id: &str| {
        json!({"eventID": id, "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1", "dynamodb": {"ApproximateCreationDateTime": 1,
            "Keys": {"webhook_id": {"S": id}}, "SequenceNumber": "1", "SizeBytes": 100,
            "StreamViewType": "NEW_IMAGE"}})
    };
    json!({"Records": ids.into_iter().map(record).collect::<Vec<_>>()})
}

fn setting(name: &str) -> Option<String> {
    let value = match name {
        "DELIVERIES_TABLE" => DELIVERIES,
        "JOBS_TABLE" => JOBS,
        "BUCKET" => BUCKET,
        "GEMINI_BASE_URL" => BASE_URL,
        "GEMINI_API_KEY" => "the-key",
        "RECONCILE_BATCHES" => "true",
        "WEBHOOK_SECRET" => return Some(format!("whsec_{}", BASE64_STANDARD.encode(KEY))),
        _ => return None,
    };
    Some(value.to_owned())
}

fn create_tables(network: &Network) {
    for (name, table) in [(DELIVERIES, &schema::DELIVERIES), (JOBS, &schema::JOBS)] {
        let index = table.index.as_ref().unwrap();
        let mut attributes = vec![json!({"AttributeName": table.key, "AttributeType": "S"})];
        if index.hash != table.key {
            attributes.push(json!({"AttributeName": index.hash, "AttributeType": "S"}));
        }
        attributes.push(json!({"AttributeName": index.range, "AttributeType": "N"}));
        let keys = [(index.hash, "HASH"), (index.range, "RANGE")];
        let keys = keys.map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind}));
        let body = json!({
            "TableName": name, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": attributes,
            "KeySchema": [{"AttributeName": table.key, "KeyType": "HASH"}],
            "GlobalSecondaryIndexes": [{"IndexName": index.name, "KeySchema": keys,
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": index.includes}}],
        });
        let answer = network.stores.answer(&Asked {
            caller: String::new(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            query: String::new(),
            operation: "DynamoDB_20120810.CreateTable".to_owned(),
            headers: Default::default(),
            body: body.to_string().into(),
        });
        assert!(answer.status().is_success(), "{answer:?}");
    }
}
