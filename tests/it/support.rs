//! A local machine for one test, and what a sender and a reader need.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use gemhook::aws;
use gemhook_cli::dev::{ADDRESSES, Addresses, Change, Machine, Options, Ports};
use gemini_simulator::Settings;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use crate::signing::{now, sign};

pub type Row = HashMap<String, AttributeValue>;

/// Far longer than anything takes, so that only a hang is noticed.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct TestMachine {
    pub machine: Machine,
    pub http: Client,
    folder: TempDir,
}

impl TestMachine {
    pub async fn start() -> Self {
        Self::with(Settings { finish_after: Duration::from_millis(50), ..Settings::default() }).await
    }

    pub async fn with(simulator: Settings) -> Self {
        Self::in_folder(folder(), simulator).await
    }

    /// A machine whose webhooks are signed with a secret that a real one could have.
    pub async fn with_secret(secret: &str, simulator: Settings) -> Self {
        let folder = folder();
        std::fs::write(folder.path().join("webhook-secret"), secret).unwrap();
        Self::in_folder(folder, simulator).await
    }

    async fn in_folder(folder: TempDir, simulator: Settings) -> Self {
        Self::with_options(folder, |options| Options { simulator, ..options }).await
    }

    pub async fn with_options(folder: TempDir, set: impl FnOnce(Options) -> Options) -> Self {
        let options = Options::new(folder.path(), Ports::take(0).await.unwrap());
        let machine = Machine::start(set(options)).await.unwrap();
        Self { machine, http: Client::new(), folder }
    }

    /// Writes addresses as `gemhook dev` does, and the argument that has a command read them.
    pub fn tell(&self, at: &Addresses) -> String {
        let folder = self.folder().join("told");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(ADDRESSES), serde_json::to_string(at).unwrap()).unwrap();
        format!("--local={}", folder.display())
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A delivery of this body, rightly signed just now.
    pub fn delivery(&self, id: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        let body = body.into();
        let at = now();
        let signature = sign(&self.machine.addresses.webhook_secret, id, at, &body);
        self.http
            .post(&self.machine.addresses.webhook_url)
            .header("webhook-id", id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", signature)
            .header("content-type", "application/json")
            .body(body)
    }

    /// Creates an inline batch whose event goes nowhere, and waits until it has ended.
    pub async fn silent_batch(&self, requests: Value) -> String {
        let name = self.create_batch(requests, json!({"uris": ["http://127.0.0.1:9/"]})).await;
        loop {
            let batch: Value = self.gemini(&format!("v1beta/{name}")).await.json().await.unwrap();
            if batch["done"] == true {
                return name;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn create_batch(&self, requests: Value, webhook_config: Value) -> String {
        self.create(json!({"requests": {"requests": requests}}), webhook_config).await
    }

    pub async fn create(&self, input: Value, webhook_config: Value) -> String {
        let url = format!("{}/v1beta/models/m:batchGenerateContent", self.machine.addresses.gemini_url);
        let batch = json!({"batch": {
            "displayName": "test",
            "inputConfig": input,
            "webhookConfig": webhook_config,
        }});
        let answer = self.http.post(url).header("x-goog-api-key", "k").json(&batch).send().await.unwrap();
        let created: Value = answer.error_for_status().unwrap().json().await.unwrap();
        created["name"].as_str().unwrap().to_owned()
    }

    pub async fn gemini(&self, path: &str) -> Response {
        let url = format!("{}/{path}", self.machine.addresses.gemini_url);
        self.http.get(url).header("x-goog-api-key", "k").send().await.unwrap()
    }

    /// The row of a delivery once it has ended.
    pub async fn ended(&self, webhook_id: &str) -> Row {
        let row = async {
            loop {
                if let Some(row) = self.delivery_row(webhook_id).await
                    && matches!(text(&row, "state"), "done" | "failed")
                {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, row).await.unwrap_or_else(|_| panic!("{webhook_id} did not end"))
    }

    pub async fn delivery_row(&self, webhook_id: &str) -> Option<Row> {
        self.row(&self.machine.addresses.deliveries_table, "webhook_id", webhook_id).await
    }

    pub async fn job_row(&self, job_id: &str) -> Option<Row> {
        self.row(&self.machine.addresses.jobs_table, "job_id", job_id).await
    }

    async fn row(&self, table: &str, key: &str, value: &str) -> Option<Row> {
        let get = self.dynamodb().get_item().table_name(table).consistent_read(true);
        get.key(key, AttributeValue::S(value.to_owned())).send().await.unwrap().item
    }

    pub async fn rows(&self, table: &str) -> Vec<Row> {
        let scan = self.dynamodb().scan().table_name(table).consistent_read(true);
        scan.send().await.unwrap().items.unwrap_or_default()
    }

    pub async fn deliveries(&self) -> Vec<Row> {
        self.rows(&self.machine.addresses.deliveries_table.clone()).await
    }

    /// Every object of the bucket, by key.
    pub async fn objects(&self) -> HashMap<String, Vec<u8>> {
        let (s3, bucket) = (self.machine.stores.s3(aws::archiver_timeouts()), &self.machine.addresses.bucket);
        let listed = s3.list_objects_v2().bucket(bucket).send().await.unwrap();
        let mut objects = HashMap::new();
        for key in listed.contents().iter().filter_map(|object| object.key()) {
            let got = s3.get_object().bucket(bucket).key(key).send().await.unwrap();
            objects.insert(key.to_owned(), got.body.collect().await.unwrap().to_vec());
        }
        objects
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        self.machine.stores.dynamodb(aws::archiver_timeouts())
    }

    pub fn changes(&self) -> tokio::sync::broadcast::Receiver<Change> {
        self.machine.changes()
    }
}

/// A folder of the test's own, where cargo keeps what tests leave behind.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Two requests that succeed and one that does not.
pub fn three_requests() -> Value {
    json!([
        {"request": {"contents": [{"parts": [{"text": "one two"}]}]}, "metadata": {"key": "a"}},
        {"request": {"contents": [{"parts": [{"text": "three"}]}]}, "metadata": {"key": "b"}},
        {"request": {}, "metadata": {"key": "c"}},
    ])
}

pub fn succeeded(job: &str) -> String {
    json!({"type": "batch.succeeded", "version": "v1", "timestamp": "2026-05-28T20:26:30Z", "data": {"id": job}})
        .to_string()
}

pub fn text<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

pub fn number(row: &Row, name: &str) -> i64 {
    row[name].as_n().unwrap().parse().unwrap()
}

/// `state/outcome` of a row.
pub fn end(row: &Row) -> String {
    format!("{}/{}", text(row, "state"), text(row, "outcome"))
}
