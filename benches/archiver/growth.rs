//! What an event costs while the tables grow, and what an open row costs a sweep while there are ever more of them.
//!
//! The tables are in the memory of this process. Their own time is not counted, only that of the functions.

use std::{fs, ops::Range, sync::Arc};

use aws_sdk_dynamodb::types::StreamSpecification;
use dynoxide::{AttributeValue, Database, ImportOptions, Item};
use futures_util::{StreamExt, stream};
use gemhook::{
    clock::{Clock, SystemClock},
    job::JobKind,
    ledger::NewDelivery,
};
use gemhook_cli::dev::stores::{TableNames, create_tables};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    child::{self, Addresses, Load},
    servers,
};

const DELIVERIES: &str = "gemhook-deliveries";
const JOBS: &str = "gemhook-jobs";

/// Rows in each table.
const TABLES: [u64; 4] = [1, 1_000, 100_000, 1_000_000];
const EVENTS: u64 = 2_000;
const BATCHES: u64 = 300;

/// Rows that a sweep finds.
const OPEN: [u64; 3] = [1_000, 10_000, 100_000];
const HOUR: i64 = 3_600_000;
/// As the template limits an invocation of the archiver.
const INVOCATION: u64 = 900_000;

const WRITERS: usize = 4;

pub async fn measure() {
    let (gemini, s3) = servers::start(&Arc::default()).await;
    let (database, dynamodb) = tables().await;
    let addresses = [dynamodb, gemini.clone(), s3.clone()];
    println!("| rows in each table | event, CPU us | calls | small batch, CPU us | calls |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let run = async || child::run([&["grown".to_owned()], addresses.as_slice()].concat()).await;
    // The rows that are copied.
    run().await;
    let mut from = 1;
    for rows in TABLES {
        for (table, key) in [(DELIVERIES, "webhook_id"), (JOBS, "job_id")] {
            let ended = ended_row(&database, table);
            let copy = |number| {
                Item::from_iter(ended.clone().into_iter().chain([text(key, format!("filler-{number}"))]))
            };
            fill(&database, table, from..rows, copy);
        }
        from = rows;
        println!("| {rows} | {} |", run().await);
    }
    drop(database);
    let addresses = [tables().await.1, gemini, s3];
    println!("| open rows | sweeps | seconds | CPU us a row | calls a row | peak above idle, MiB |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for rows in OPEN {
        let arguments = [&["sweep".to_owned(), rows.to_string()], addresses.as_slice()].concat();
        println!("| {rows} | {} |", child::run(arguments).await);
    }
}

/// Empty tables, and the address of their server.
pub async fn tables() -> (Database, String) {
    let database = Database::memory().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database.clone(), std::future::pending()));
    let names = TableNames { deliveries: DELIVERIES.into(), jobs: JOBS.into() };
    let client = child::dynamodb_client(&url);
    create_tables(&client, &names).await.unwrap();
    // At each write this store looks through all records of the stream.
    let off = StreamSpecification::builder().stream_enabled(false).build().unwrap();
    client.update_table().table_name(DELIVERIES).stream_specification(off).send().await.unwrap();
    (database, url)
}

fn text(name: &str, value: String) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::S(value))
}

fn ended_row(database: &Database, table: &str) -> Item {
    let mut asked = json!({"TableName": table});
    loop {
        let page = database.scan(serde_json::from_value(asked.clone()).unwrap()).unwrap();
        let page = serde_json::to_value(page).unwrap();
        let mut rows = page["Items"].as_array().unwrap().iter();
        if let Some(ended) = rows.find(|row| table == JOBS || row["state"]["S"] == "done") {
            return serde_json::from_value(ended.clone()).unwrap();
        }
        asked["ExclusiveStartKey"] = page["LastEvaluatedKey"].clone();
    }
}

/// Past the server: a write at a time would take an hour.
fn fill(database: &Database, table: &str, numbers: Range<u64>, copy: impl Fn(u64) -> Item) {
    let items: Vec<Item> = numbers.map(copy).collect();
    for items in items.chunks(10_000) {
        database.import_items(table, items.to_vec(), ImportOptions::default()).unwrap();
    }
}

/// The child: events to a receiver, then rows to an archiver.
pub async fn grown(addresses: &Addresses) {
    let (receiver, sign) = child::receiver(&addresses[0]);
    let events: Vec<Value> = (0..EVENTS + 100)
        .map(|number| format!("grown-{}-{number}", std::process::id()))
        .map(|id| event(&id, body(&id), &sign))
        .collect();
    let mut begun = (0.0, 0);
    for (number, event) in events.into_iter().enumerate() {
        if number == 100 {
            begun = (child::cpu_seconds(), child::calls());
        }
        let answer = receiver.invoke(LambdaEvent::new(event, Context::default())).await.unwrap();
        assert_eq!(answer.status_code, 200);
    }
    let of_event = each(begun, EVENTS);

    let archiver = child::archiver(addresses);
    let (worker, now) = (archiver.worker(), SystemClock.now());
    let mut begun = (0.0, 0);
    let jobs: Vec<String> = (0..BATCHES + 20)
        .map(|number| Load { jobs: 1, kind: "file", count: 3, bytes: 300 }.job(number).0)
        .collect();
    for job in &jobs {
        worker.ledger.enter(NewDelivery::of_job(job, JobKind::Batch, None, "r", now)).await.unwrap();
    }
    for (number, job) in jobs.iter().enumerate() {
        if number == 20 {
            begun = (child::cpu_seconds(), child::calls());
        }
        worker.work(&format!("job~{job}"), now + HOUR).await.unwrap();
    }
    let of_job = each(begun, BATCHES);
    println!("{of_event} | {of_job}");
}

/// The child: so many rows whose jobs have failed, brought to their ends by sweeps alone.
pub async fn sweep(rows: u64, addresses: &Addresses) {
    let archiver = child::archiver(addresses);
    let ledger = &archiver.worker().ledger;
    let received = SystemClock.now() - HOUR;
    stream::iter(0..rows)
        .for_each_concurrent(WRITERS, async |number| {
            let (job, kind) = Load { jobs: 1, kind: "failed", count: 0, bytes: 0 }.job(number);
            ledger.enter(NewDelivery::of_job(&job, kind, None, "r", received)).await.unwrap();
        })
        .await;
    let idle = child::memory("VmRSS");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let (begun, since) = ((child::cpu_seconds(), child::calls()), std::time::Instant::now());
    let (mut worked, mut sweeps) = (0, 0);
    loop {
        let mut context = Context::default();
        context.deadline = u64::try_from(SystemClock.now()).unwrap() + INVOCATION;
        let swept = archiver.invoke(LambdaEvent::new(json!({"schedule": "sweep"}), context)).await.unwrap();
        if swept["due"] == 0 {
            break;
        }
        assert_eq!(swept["failed"], 0);
        worked += swept["worked"].as_u64().unwrap();
        sweeps += 1;
    }
    assert_eq!(worked, rows, "rows brought to their ends");
    let peak = child::memory("VmHWM").saturating_sub(idle) / 1024;
    println!("{sweeps} | {:.0} | {} | {peak}", since.elapsed().as_secs_f64(), each(begun, rows));
}

/// Microseconds of a processor, and calls to DynamoDB.
fn each((cpu, calls): (f64, u64), count: u64) -> String {
    let cpu = (child::cpu_seconds() - cpu) * 1e6 / count as f64;
    format!("{cpu:.0} | {:.2}", (child::calls() - calls) as f64 / count as f64)
}

/// The body of an event about a batch.
pub fn body(id: &str) -> String {
    json!({"type": "batch.succeeded", "version": "v1", "data": {"id": format!("batches/{id}")}}).to_string()
}

/// A delivery as a Function URL hands it over.
pub fn event(id: &str, body: String, sign: &impl Fn(&str, i64, &[u8]) -> String) -> Value {
    let at = SystemClock.now() / 1000;
    json!({
        "version": "2.0",
        "headers": {
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": at.to_string(),
            "webhook-signature": sign(id, at, body.as_bytes()),
        },
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "body": body,
        "isBase64Encoded": false,
    })
}
