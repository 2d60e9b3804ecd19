//! A receiver and an archiver of a test's own: real stores, a scripted Gemini API, and a clock that stands still.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::{Clock, Millis, SharedClock},
    config::{ArchiverSettings, ReceiverSettings},
    ledger::Ledger,
    on_job_ended::OnJobEnded,
    receiver::Receiver,
    worker::RetryPolicy,
};
use gemhook_cli::dev::stores::{TableNames, create_tables};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    endpoint::secrets_manager,
    scripted::Scripted,
    support::{Row, TestMachine, number, sign},
};

pub const MINUTE: Millis = 60_000;
pub const HOUR: Millis = 60 * MINUTE;
const BEGINNING: Millis = 1_780_000_000_000;

struct FakeClock(Mutex<Millis>);

impl Clock for FakeClock {
    fn now(&self) -> Millis {
        *self.0.lock().unwrap()
    }
}

pub struct Rig {
    pub test: TestMachine,
    pub api: Scripted,
    fake_clock: Arc<FakeClock>,
    archiver: Archiver,
    tables: TableNames,
    receiver: Arc<Receiver>,
}

/// What differs from one rig to another.
pub struct Make {
    /// Nothing is slept inside a lease, so that each wait is seen in the row.
    pub retry_policy: RetryPolicy,
    pub settings: Vec<(&'static str, String)>,
    pub on_job_ended: Option<OnJobEnded>,
    pub s3_url: Option<String>,
    /// Of what stands in front of DynamoDB, for the archiver alone.
    pub dynamodb_url: Option<String>,
    pub secrets_url: Option<String>,
}

impl Default for Make {
    fn default() -> Self {
        let retry_policy = RetryPolicy { asleep: Duration::ZERO, ..RetryPolicy::default() };
        Self {
            retry_policy,
            settings: Vec::new(),
            on_job_ended: None,
            s3_url: None,
            dynamodb_url: None,
            secrets_url: None,
        }
    }
}

impl Rig {
    pub async fn start() -> Self {
        Self::make(TestMachine::start().await, "rig", Make::default()).await
    }

    /// With tables of its own, so that the machine's archiver does not see the rows.
    pub async fn make(test: TestMachine, name: &str, make: Make) -> Self {
        let api = Scripted::start().await;
        let tables = TableNames { deliveries: format!("{name}-deliveries"), jobs: format!("{name}-jobs") };
        create_tables(&test.dynamodb(), &tables).await.unwrap();
        let at = test.machine.addresses.clone();
        let lookup = |name: &str| {
            let own = make.settings.iter().find(|(key, _)| *key == name);
            own.map(|(_, value)| value.clone()).or_else(|| match name {
                "DELIVERIES_TABLE" => Some(tables.deliveries.clone()),
                "JOBS_TABLE" => Some(tables.jobs.clone()),
                "GEMINI_BASE_URL" => Some(api.url.clone()),
                "GEMINI_API_KEY" => Some("the-key".to_owned()),
                "WEBHOOK_SECRET" => Some(at.webhook_secret.clone()),
                "AWS_ENDPOINT_URL_DYNAMODB" => Some(at.dynamodb_url.clone()),
                name => at.setting(name),
            })
        };
        let secrets = || {
            let config = aws_sdk_secretsmanager::Config::builder().behavior_version_latest();
            aws_sdk_secretsmanager::Client::from_conf(config.build())
        };
        let fake_clock = Arc::new(FakeClock(Mutex::new(BEGINNING)));
        let clock: SharedClock = fake_clock.clone();
        let settings = ReceiverSettings::read(&lookup).unwrap();
        let receiver = Receiver::new(settings, test.dynamodb(), secrets(), Arc::clone(&clock)).unwrap();
        let stores = &test.machine.stores;
        let mut s3 = stores.s3(aws::archiver_timeouts());
        if let Some(url) = make.s3_url {
            s3 = aws_sdk_s3::Client::from_conf(s3.config().to_builder().endpoint_url(url).build());
        }
        let mut dynamodb = test.dynamodb();
        if let Some(url) = make.dynamodb_url {
            let config = dynamodb.config().to_builder().endpoint_url(url);
            dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
        }
        let clients = Clients {
            dynamodb,
            eventbridge: stores.eventbridge(&at.eventbridge_url, aws::archiver_timeouts()),
            s3,
            secrets: make.secrets_url.as_deref().map_or_else(secrets, secrets_manager),
        };
        let mut settings = ArchiverSettings::read(&lookup).unwrap();
        settings.on_job_ended = make.on_job_ended;
        let archiver = Archiver::new(settings, clients, clock, make.retry_policy).unwrap();
        Self { test, api, fake_clock, archiver, tables, receiver: Arc::new(receiver) }
    }

    pub fn archiver(&self) -> &Archiver {
        &self.archiver
    }

    pub fn ledger(&self) -> &Ledger {
        &self.archiver.worker().ledger
    }

    /// As if the row's time to live had come.
    pub async fn forget(&self, id: &str) {
        let delete = self.test.dynamodb().delete_item().table_name(&self.tables.deliveries);
        delete.key("webhook_id", AttributeValue::S(id.to_owned())).send().await.unwrap();
    }

    pub fn now(&self) -> Millis {
        self.fake_clock.now()
    }

    /// As the schedule has it done.
    pub async fn sweep(&self) -> Value {
        self.invoke(json!({"schedule": "sweep"}), 15 * MINUTE).await
    }

    pub async fn reconcile(&self) -> Value {
        self.invoke(json!({"schedule": "reconcile"}), 15 * MINUTE).await
    }

    pub fn later(&self, by: Millis) {
        *self.fake_clock.0.lock().unwrap() += by;
    }

    /// An event that arrives just now.
    pub async fn deliver(&self, id: &str, event: &Value) {
        let (body, at) = (event.to_string(), u64::try_from(self.now() / 1000).unwrap());
        let event = json!({
            "headers": {
                "webhook-id": id,
                "webhook-timestamp": at.to_string(),
                "webhook-signature": sign(&self.test.machine.addresses.webhook_secret, id, at, body.as_bytes()),
            },
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "body": body,
        });
        let event = LambdaEvent::new(event, Context::default());
        assert_eq!(self.receiver.invoke(event).await.unwrap().status_code, 200);
    }

    /// As if Google's key had signed a delivery, for a stack that has dynamic webhooks only.
    pub async fn signed_by_google(&self, id: &str) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let update = self.test.dynamodb().update_item().table_name(&self.tables.deliveries);
        let update =
            update.key("webhook_id", text(id)).update_expression("SET trust = :trust, scheme = :scheme");
        let update = update.expression_attribute_values(":trust", text("issuer"));
        update.expression_attribute_values(":scheme", text("v1a")).send().await.unwrap();
    }

    /// Has the archiver work a row, as its stream would, and shows what became of it.
    pub async fn work(&self, id: &str) -> Row {
        self.work_until(id, 15 * MINUTE).await
    }

    /// In an invocation that has no longer than that.
    pub async fn work_until(&self, id: &str, for_so_long: Millis) -> Row {
        let record = json!({
            "eventID": "1", "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1, "Keys": {"webhook_id": {"S": id}}, "SequenceNumber": "1",
                "SizeBytes": 100, "StreamViewType": "NEW_IMAGE",
            },
        });
        self.invoke(json!({"Records": [record]}), for_so_long).await;
        self.row(id).await
    }

    pub async fn invoke(&self, event: Value, for_so_long: Millis) -> Value {
        let mut context = Context::default();
        context.deadline = u64::try_from(self.now() + for_so_long).unwrap();
        self.archiver.invoke(LambdaEvent::new(event, context)).await.unwrap()
    }

    pub async fn take(&self, id: &str, event: &Value) -> Row {
        self.deliver(id, event).await;
        self.work(id).await
    }

    /// Works the row whenever it is due, until it has ended.
    pub async fn take_to_the_end(&self, id: &str, event: &Value) -> Row {
        let mut row = self.take(id, event).await;
        while row["state"].as_s().unwrap() == "waiting" {
            self.later((number(&row, "due_at") - self.now()).max(0));
            row = self.work(id).await;
        }
        row
    }

    pub async fn row(&self, id: &str) -> Row {
        self.get(&self.tables.deliveries, "webhook_id", id).await.unwrap()
    }

    pub async fn job(&self, name: &str) -> Option<Value> {
        let row = self.get(&self.tables.jobs, "job_id", name).await?;
        Some(serde_dynamo::aws_sdk_dynamodb_1::from_item(row).unwrap())
    }

    async fn get(&self, table: &str, key: &str, value: &str) -> Option<Row> {
        let get = self.test.dynamodb().get_item().table_name(table).consistent_read(true);
        get.key(key, AttributeValue::S(value.to_owned())).send().await.unwrap().item
    }

    /// Every object, and for each output of the job's row that it is there as the row says.
    pub async fn outputs(&self, job: &Value) -> HashMap<String, Vec<u8>> {
        let objects = self.test.objects().await;
        for output in job["outputs"].as_array().into_iter().flatten() {
            let object = &objects[output["key"].as_str().unwrap()];
            assert_eq!(output["sha256"], sha256(object), "{output}");
            assert_eq!(output["bytes"], object.len(), "{output}");
        }
        objects
    }

    pub async fn content_type(&self, key: &str) -> String {
        let s3 = self.test.machine.stores.s3(aws::archiver_timeouts());
        let head = s3.head_object().bucket(&self.test.machine.addresses.bucket).key(key);
        head.send().await.unwrap().content_type.unwrap()
    }

    /// Puts an object there before the archiver does.
    pub async fn put(&self, key: &str, job: &str, content: impl Into<Vec<u8>>) {
        let s3 = self.test.machine.stores.s3(aws::archiver_timeouts());
        let put = s3.put_object().bucket(&self.test.machine.addresses.bucket).key(key);
        put.metadata("gemhook-job", job).body(content.into().into()).send().await.unwrap();
    }

    /// Uploads that have neither been completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            let of = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
                true => count(&entry.path()),
                false => usize::from(entry.file_name().to_str().unwrap().starts_with(".upload")),
            };
            entries.map(of).sum()
        }
        count(&self.test.machine.addresses.data_dir)
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that do not repeat.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    bytes
}

/// An event as Gemini sends it.
pub fn event(kind: &str, id: &str) -> Value {
    json!({"type": kind, "version": "v1", "timestamp": "2026-05-28T20:26:30Z", "data": {"id": id}})
}
