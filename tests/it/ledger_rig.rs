//! A ledger on real tables behind a proxy that can lose an answer, raise a conflict, or answer in DynamoDB's place.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::{config::retry::RetryConfig, types::AttributeValue};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use gemhook::{
    clock::{Clock, Millis, SharedClock},
    job::{EndedJob, JobKind, OpenJob, Output},
    ledger::{Delivery, DeliveryWriter, Lease, Ledger, NewDelivery},
};
use gemhook_cli::dev::stores::{TableNames, create_tables};
use serde_json::{Value, json};

use crate::{
    ledger_store,
    support::{Row, TestMachine},
};

pub const MINUTE: Millis = 60_000;
const BEGINNING: Millis = 1_780_000_000_000;

/// What the proxy does to the next write.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The write is made, and its answer is lost: the SDK gets a 500 and repeats the call.
    LoseAnswer,
    /// DynamoDB says that the write met another one. Nothing is written.
    Conflict,
    /// This error code, each time. Nothing is written.
    Always(&'static str),
}

#[derive(Default)]
struct Script {
    faults: VecDeque<Fault>,
    /// Every write that came by: the operation and its request.
    writes: Vec<(String, Value)>,
}

struct Proxy {
    store_url: String,
    http: reqwest::Client,
    script: Mutex<Script>,
}

struct FakeClock(Mutex<Millis>);

impl Clock for FakeClock {
    fn now(&self) -> Millis {
        *self.0.lock().unwrap()
    }
}

pub struct LedgerRig {
    test: TestMachine,
    pub tables: TableNames,
    proxy: Arc<Proxy>,
    proxy_url: String,
    clock: Arc<FakeClock>,
}

impl LedgerRig {
    pub async fn start() -> Self {
        let test = TestMachine::start().await;
        let tables = ledger_store::tables();
        create_tables(&ledger_store::client(&test), &tables).await.unwrap();
        let proxy = Arc::new(Proxy {
            store_url: ledger_store::url(&test),
            http: reqwest::Client::new(),
            script: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy_url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&proxy));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { test, tables, proxy, proxy_url, clock: Arc::new(FakeClock(Mutex::new(BEGINNING))) }
    }

    fn client(&self) -> aws_sdk_dynamodb::Client {
        let through = self.dynamodb().config().to_builder().endpoint_url(&self.proxy_url);
        aws_sdk_dynamodb::Client::from_conf(through.build())
    }

    /// A client that talks to the tables past the proxy.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        ledger_store::client(&self.test)
    }

    /// A ledger that talks to the tables through the proxy.
    pub fn ledger(&self, announces: bool) -> Ledger {
        self.ledger_of(&self.tables, announces)
    }

    pub fn ledger_of(&self, tables: &TableNames, announces: bool) -> Ledger {
        let clock: SharedClock = self.clock.clone();
        Ledger::new(self.client(), &tables.deliveries, &tables.jobs, clock, announces)
    }

    /// So that an error that comes each time is seen at once.
    pub fn ledger_without_retries(&self) -> Ledger {
        let config = self.client().config().to_builder().retry_config(RetryConfig::disabled()).build();
        let client = aws_sdk_dynamodb::Client::from_conf(config);
        Ledger::new(client, &self.tables.deliveries, &self.tables.jobs, self.clock.clone(), true)
    }

    pub fn deliveries(&self) -> DeliveryWriter {
        DeliveryWriter::new(self.client(), &self.tables.deliveries)
    }

    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    pub fn later(&self, by: Millis) {
        *self.clock.0.lock().unwrap() += by;
    }

    pub fn fault(&self, fault: Fault) {
        self.proxy.script.lock().unwrap().faults.push_back(fault);
    }

    /// Ends all faults, and says whether those that come once have come.
    pub fn faults_came(&self) -> bool {
        let faults = std::mem::take(&mut self.proxy.script.lock().unwrap().faults);
        faults.iter().all(|fault| matches!(fault, Fault::Always(_)))
    }

    /// The writes since the last time that somebody asked.
    pub fn writes(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.proxy.script.lock().unwrap().writes)
    }

    /// A row of a batch of this name, which nobody has worked on.
    pub async fn put(&self, name: &str) -> String {
        let job = job_of(name);
        let row = NewDelivery::of_job(&job, JobKind::Batch, None, "receipt", self.now());
        self.ledger(false).enter(row).await.unwrap();
        format!("job~{job}")
    }

    /// The row under a lease of ten minutes.
    pub async fn leased(&self, name: &str) -> Delivery {
        let key = self.put(name).await;
        self.lease(&key).await
    }

    pub async fn lease(&self, key: &str) -> Delivery {
        match self.ledger(false).lease(key, self.now() + 10 * MINUTE).await.unwrap() {
            Lease::Taken(row) => row,
            other => panic!("{key}: {other:?}"),
        }
    }

    pub async fn row(&self, key: &str) -> Row {
        self.get(&self.tables.deliveries, "webhook_id", key).await.unwrap()
    }

    pub async fn job(&self, name: &str) -> Option<Row> {
        self.get(&self.tables.jobs, "job_id", &job_of(name)).await
    }

    async fn get(&self, table: &str, key: &str, value: &str) -> Option<Row> {
        let get = self.dynamodb().get_item().table_name(table).consistent_read(true);
        get.key(key, AttributeValue::S(value.to_owned())).send().await.unwrap().item
    }

    /// Changes an attribute of a delivery behind the ledger's back, or removes it.
    pub async fn spoil(&self, key: &str, name: &str, value: Option<AttributeValue>) {
        let mut row = self.row(key).await;
        match value {
            Some(value) => row.insert(name.to_owned(), value),
            None => row.remove(name),
        };
        let put = self.dynamodb().put_item().table_name(&self.tables.deliveries);
        put.set_item(Some(row)).send().await.unwrap();
    }
}

pub fn job_of(name: &str) -> String {
    format!("batches/{}", name.replace(' ', "-"))
}

/// A batch that ended with one output.
pub fn archived(name: &str) -> EndedJob {
    let output = Output {
        bucket: "b".into(),
        key: "k".into(),
        bytes: 1,
        content_type: "application/json".into(),
        sha256: "0".repeat(64),
        source: "inline".into(),
    };
    let job = EndedJob::new(job_of(name), JobKind::Batch, "BATCH_STATE_SUCCEEDED");
    EndedJob { outputs: vec![output], ..job }
}

/// A batch that the API does not know.
pub fn gone(name: &str) -> EndedJob {
    let job = EndedJob::new(job_of(name), JobKind::Batch, "gone");
    EndedJob { error: Some(json!({"code": 404})), display_name: Some("of the gone end".into()), ..job }
}

pub fn open(name: &str) -> OpenJob {
    OpenJob {
        name: job_of(name),
        kind: JobKind::Batch,
        state: "BATCH_STATE_RUNNING".into(),
        user_metadata: None,
        calls: Vec::new(),
    }
}

async fn pass(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap().to_owned();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    let mut request: Value = serde_json::from_slice(&body).unwrap();
    let fault = proxy.fault_for(&operation, &request);
    let transaction = operation == "TransactWriteItems";
    match fault {
        Some(Fault::Conflict) if transaction => return cancelled("TransactionConflict"),
        Some(Fault::Conflict) => return error("TransactionConflictException"),
        Some(Fault::Always(code)) if transaction && code == "ValidationError" => return cancelled(code),
        Some(Fault::Always(code)) => return error(code),
        Some(Fault::LoseAnswer) if transaction => {
            // As if ten minutes lay between the write and its repeat: DynamoDB has forgotten the token.
            request.as_object_mut().unwrap().remove("ClientRequestToken");
        }
        Some(Fault::LoseAnswer) | None => {}
    }
    let (status, answer) = proxy.forward(&headers, &request).await;
    if fault.is_some() && status == StatusCode::OK {
        proxy.script.lock().unwrap().faults.pop_front();
        let body = json!({"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError"});
        return (StatusCode::INTERNAL_SERVER_ERROR, body.to_string()).into_response();
    }
    (status, [("content-type", "application/x-amz-json-1.0")], answer).into_response()
}

impl Proxy {
    /// What to do to this request. An answer is lost only of a write that was made, so that fault stays until then.
    fn fault_for(&self, operation: &str, request: &Value) -> Option<Fault> {
        if !matches!(operation, "PutItem" | "UpdateItem" | "DeleteItem" | "TransactWriteItems") {
            return None;
        }
        let mut script = self.script.lock().unwrap();
        script.writes.push((operation.to_owned(), request.clone()));
        match script.faults.front() {
            Some(Fault::Conflict) => script.faults.pop_front(),
            other => other.cloned(),
        }
    }

    async fn forward(&self, headers: &HeaderMap, request: &Value) -> (StatusCode, String) {
        let mut forwarded = self.http.post(&self.store_url).body(request.to_string());
        for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
            if let Some(value) = headers.get(name) {
                forwarded = forwarded.header(name, value);
            }
        }
        let answer = forwarded.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }
}

fn error(code: &str) -> Response {
    let body =
        json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "by the proxy"});
    let headers = [("content-type", "application/x-amz-json-1.0")];
    (StatusCode::BAD_REQUEST, headers, body.to_string()).into_response()
}

fn cancelled(code: &str) -> Response {
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "by the proxy",
        "CancellationReasons": [{"Code": "None"}, {"Code": code, "Message": "by the proxy"}],
    });
    let headers = [("content-type", "application/x-amz-json-1.0")];
    (StatusCode::BAD_REQUEST, headers, body.to_string()).into_response()
}
