//! What one event costs in requests, counted on the wire and held against the figures in `docs/cost.md`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    response::Response,
};
use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::SystemClock,
    config::{ArchiverSettings, ReceiverSettings},
    receiver::Receiver,
};
use gemhook_cli::dev::{quick, stores::TableNames};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{TestMachine, end, now, sign, succeeded, three_requests};

/// Units or requests by what they were for.
pub type Counts = BTreeMap<String, f64>;

/// Passes requests on, and has DynamoDB say what each one consumed.
#[derive(Clone)]
pub struct Counter {
    upstream: String,
    http: reqwest::Client,
    counts: Arc<Mutex<Counts>>,
}

impl Counter {
    pub async fn before(upstream: &str) -> (String, Self) {
        let counter =
            Self { upstream: upstream.to_owned(), http: reqwest::Client::new(), counts: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(counter.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, counter)
    }

    fn add(&self, what: String, units: f64) {
        *self.counts.lock().unwrap().entry(what).or_default() += units;
    }

    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.counts.lock().unwrap())
    }
}

async fn pass(State(counter): State<Counter>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = to_bytes(body, usize::MAX).await.unwrap();
    let operation = parts.headers.get("x-amz-target").map(|target| {
        let target = target.to_str().unwrap();
        target.rsplit('.').next().unwrap().to_owned()
    });
    let mut headers = parts.headers.clone();
    if operation.is_some() {
        let mut call: Value = serde_json::from_slice(&body).unwrap();
        call["ReturnConsumedCapacity"] = json!("INDEXES");
        body = Bytes::from(call.to_string());
        headers.remove("content-length");
    }
    let url = format!("{}{}", counter.upstream, parts.uri);
    let sent =
        counter.http.request(parts.method.clone(), url).headers(headers).body(body).send().await.unwrap();
    let mut response = Response::builder().status(sent.status());
    *response.headers_mut().unwrap() = sent.headers().clone();
    let answer = sent.bytes().await.unwrap();
    match operation {
        Some(operation) => {
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            counter.add(operation, units(&answer["ConsumedCapacity"]));
        }
        None => counter.add(parts.method.to_string(), 1.0),
    }
    response.body(Body::from(answer)).unwrap()
}

fn units(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(units).sum(),
        consumed => consumed["CapacityUnits"].as_f64().unwrap_or(0.0),
    }
}

struct Costs {
    test: TestMachine,
    dynamodb: Counter,
    s3: Counter,
    receiver: Arc<Receiver>,
    archiver: Archiver,
    table: String,
    secret: String,
}

impl Costs {
    /// Tables of its own, so that nobody else works on them.
    async fn new() -> Self {
        let test = TestMachine::start().await;
        let names = TableNames { deliveries: "cost-deliveries".into(), jobs: "cost-jobs".into() };
        gemhook_cli::dev::stores::create_tables(&test.dynamodb(), &names).await.unwrap();
        let at = test.machine.addresses.clone();
        let (dynamodb_url, dynamodb) = Counter::before(&at.dynamodb_url).await;
        let (s3_url, s3) = Counter::before(&at.s3_url).await;
        let lookup = |name: &str| match name {
            "DELIVERIES_TABLE" => Some(names.deliveries.clone()),
            "JOBS_TABLE" => Some(names.jobs.clone()),
            "BUCKET" => Some(at.bucket.clone()),
            "WEBHOOK_SECRET" => Some(at.webhook_secret.clone()),
            "GEMINI_API_KEY" => Some("k".to_owned()),
            "GEMINI_BASE_URL" => Some(at.gemini_url.clone()),
            "AWS_ENDPOINT_URL_DYNAMODB" => Some(at.dynamodb_url.clone()),
            _ => None,
        };
        let secrets = || {
            let config = aws_sdk_secretsmanager::Config::builder();
            aws_sdk_secretsmanager::Client::from_conf(config.behavior_version_latest().build())
        };
        let client = |url: &str| {
            let config = test.dynamodb().config().to_builder().endpoint_url(url).build();
            aws_sdk_dynamodb::Client::from_conf(config)
        };
        let objects = test.machine.stores.s3(aws::archiver_timeouts());
        let objects =
            aws_sdk_s3::Client::from_conf(objects.config().to_builder().endpoint_url(s3_url).build());
        let receiver = Receiver::new(
            ReceiverSettings::read(&lookup).unwrap(),
            client(&dynamodb_url),
            secrets(),
            Arc::new(SystemClock),
        )
        .unwrap();
        let clients = Clients {
            dynamodb: client(&dynamodb_url),
            eventbridge: test.machine.stores.eventbridge(&at.eventbridge_url, aws::archiver_timeouts()),
            s3: objects,
            secrets: secrets(),
        };
        let settings = ArchiverSettings::read(&lookup).unwrap();
        let archiver = Archiver::new(settings, clients, Arc::new(SystemClock), quick()).unwrap();
        let (table, secret) = (names.deliveries.clone(), at.webhook_secret.clone());
        Self { test, dynamodb, s3, receiver: Arc::new(receiver), archiver, table, secret }
    }

    async fn receive(&self, id: &str, body: &str) -> Counts {
        let at = now();
        let event = json!({
            "headers": {
                "webhook-id": id,
                "webhook-timestamp": at.to_string(),
                "webhook-signature": sign(&self.secret, id, at, body.as_bytes()),
            },
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "body": body,
        });
        let event = LambdaEvent::new(event, Context::default());
        let answer = Arc::clone(&self.receiver).invoke(event).await.unwrap();
        assert_eq!(answer.status_code, 200);
        self.dynamodb.take()
    }

    async fn archive(&self, id: &str) -> (Counts, Counts) {
        let record = json!({
            "eventID": "1",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": now(),
                "Keys": {"webhook_id": {"S": id}},
                "NewImage": {"webhook_id": {"S": id}, "state": {"S": "received"}},
                "SequenceNumber": "1",
                "SizeBytes": 100,
                "StreamViewType": "NEW_IMAGE",
            },
        });
        let mut context = Context::default();
        context.deadline = (now() + 900) * 1000;
        self.archiver.invoke(LambdaEvent::new(json!({"Records": [record]}), context)).await.unwrap();
        (self.dynamodb.take(), self.s3.take())
    }
}

/// The figures of a table row in `docs/cost.md`, by its first cell.
fn documented(name: &str) -> f64 {
    let text = include_str!("../../docs/cost.md");
    let row = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
    let row = row.unwrap_or_else(|| panic!("docs/cost.md has no row for {name:?}"));
    row.split('|').nth(2).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_costs_what_the_documentation_says() {
    let costs = Costs::new().await;
    let job = costs.test.silent_batch(three_requests()).await;

    let received = costs.receive("msg_cost", &succeeded(&job)).await;
    assert_eq!(received, Counts::from([("PutItem".to_owned(), documented("receiver: put"))]));

    let mut events = costs.test.machine.announced();
    let (units, requests) = costs.archive("msg_cost").await;
    assert_eq!(events.len() as f64, documented("archiver: announcement"));
    assert_eq!(events.recv().await.unwrap().detail["webhook_id"], "msg_cost");
    let row = costs.test.rows(&costs.table).await.remove(0);
    assert_eq!(end(&row), "done/archived");
    let expected = Counts::from([
        ("UpdateItem".to_owned(), documented("archiver: lease") + documented("archiver: finish")),
        ("GetItem".to_owned(), documented("archiver: read the job")),
        ("TransactWriteItems".to_owned(), documented("archiver: commit")),
    ]);
    assert_eq!(units, expected);
    assert_eq!(requests, Counts::from([("PUT".to_owned(), documented("archiver: objects"))]));
}
