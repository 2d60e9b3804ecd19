//! How much memory the archiver takes for an output of any length: `cargo bench --profile dev --bench memory`.
//!
//! This process serves the output, generated as it is read, and an S3 that counts and forgets; the archiver runs in
//! a child, whose highest resident memory is told. Lengths in bytes may be given: `-- 10000000`. Linux only.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a measurement that fails panics")]

use std::{
    env, fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use aws_sdk_s3::config::Credentials;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::{Clock, SystemClock},
    config::ArchiverSettings,
    job::JobKind,
    ledger::NewDelivery,
    worker::Pace,
};
use gemhook_cli::dev::stores::{self, plain_config};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

const LENGTHS: [u64; 3] = [10_000_000, 1_000_000_000, 4_000_000_000];

/// The longest line that is looked into: the most that one costs.
const LINE: usize = 15 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

const KEYS: (&str, &str) = ("gemhook", "gemhook-local-only");

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.split_first() {
        Some((first, rest)) if first == "archive" => runtime.block_on(archive(rest)),
        _ => runtime.block_on(measure(arguments.iter().map(|length| length.parse().unwrap()).collect())),
    }
}

async fn measure(lengths: Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let port = || TcpListener::bind("127.0.0.1:0");
    let (_shutdown, stop) = watch::channel(false);
    let stores =
        stores::open(folder.path(), port().await.unwrap(), port().await.unwrap(), stop).await.unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let s3 = serve(Router::new().fallback(take).with_state(Arc::clone(&taken))).await;
    let line = format!("{{\"key\":\"k\",\"response\":{{\"a\":\"{}\"}}}}\n", "x".repeat(LINE));
    let gemini = serve(Router::new().fallback(give).with_state(Bytes::from(line))).await;
    println!("| output, bytes | peak above idle, MiB | seconds |\n| --- | --- | --- |");
    for length in if lengths.is_empty() { LENGTHS.to_vec() } else { lengths } {
        taken.store(0, Ordering::Relaxed);
        let (program, begun) = (env::current_exe().unwrap(), Instant::now());
        let (dynamodb, gemini, s3) = (stores.dynamodb_url.clone(), gemini.clone(), s3.clone());
        let child = move || {
            let mut child = Command::new(program);
            child.args(["archive", &length.to_string(), &dynamodb, &gemini, &s3]).output().unwrap()
        };
        let done = tokio::task::spawn_blocking(child).await.unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(taken.load(Ordering::Relaxed), length + 1000, "bytes in the bucket");
        println!("| {length} | {} | {:.0} |", said.trim(), begun.elapsed().as_secs_f64());
    }
}

/// The child: a small output first, so that all there is at rest is there, then the long one.
async fn archive(arguments: &[String]) {
    let [length, dynamodb, gemini, s3] = arguments else { panic!("{arguments:?}") };
    let lookup = |name: &str| match name {
        "DELIVERIES_TABLE" => Some("gemhook-deliveries".to_owned()),
        "JOBS_TABLE" => Some("gemhook-jobs".to_owned()),
        "BUCKET" => Some("memory".to_owned()),
        "GEMINI_API_KEY" => Some("k".to_owned()),
        "GEMINI_BASE_URL" => Some(gemini.clone()),
        "EVENT_BUS" => Some("none".to_owned()),
        _ => None,
    };
    let config = |url: &str| plain_config(url, KEYS, "us-east-1", aws::archiver_timeouts());
    let objects = aws_sdk_s3::config::Builder::from(&config(s3))
        .credentials_provider(Credentials::new(KEYS.0, KEYS.1, None, None, "memory"))
        .force_path_style(true);
    let clients = Clients {
        dynamodb: aws_sdk_dynamodb::Client::new(&config(dynamodb)),
        eventbridge: aws_sdk_eventbridge::Client::new(&config(dynamodb)),
        s3: aws_sdk_s3::Client::from_conf(objects.build()),
        secrets: aws_sdk_secretsmanager::Client::new(&config(dynamodb)),
    };
    let settings = ArchiverSettings::read(&lookup).unwrap();
    let archiver = Archiver::new(settings, clients, Arc::new(SystemClock), Pace::default()).unwrap();
    work(&archiver, 1000).await;
    let idle = memory("VmRSS");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    work(&archiver, length.parse().unwrap()).await;
    println!("{}", memory("VmHWM").saturating_sub(idle) / 1024);
}

async fn work(archiver: &Archiver, length: u64) {
    let (worker, now) = (archiver.worker(), SystemClock.now());
    let job = format!("batches/{length}-{}", std::process::id());
    worker.ledger.enter(NewDelivery::of_job(&job, JobKind::Batch, None, "r", now)).await.unwrap();
    worker.work(&format!("job~{job}"), now + 86_400_000).await.unwrap();
    assert!(worker.ledger.has_ended(&job).await.unwrap(), "not archived");
}

/// In KiB, as the kernel counts it.
fn memory(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A batch whose name says how long its output is, and that output.
async fn give(State(line): State<Bytes>, request: Request) -> Response {
    let path = request.uri().path().trim_end_matches(":download");
    let id = path.rsplit('/').next().unwrap();
    if path.contains("/batches/") {
        let answer = json!({"name": format!("batches/{id}"), "done": true,
            "metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "response": {"responsesFile": format!("files/{id}")}});
        return answer.to_string().into_response();
    }
    let length: u64 = id.split('-').next().unwrap().parse().unwrap();
    let pieces = stream::unfold(0, move |at| {
        let line = line.clone();
        async move {
            let from = usize::try_from(at % line.len() as u64).unwrap();
            let most = usize::try_from(length - at).unwrap_or(usize::MAX);
            let to = line.len().min(from + PIECE.min(most));
            let piece = line.slice(from..to);
            (!piece.is_empty()).then(|| (Ok::<_, std::io::Error>(piece.clone()), at + piece.len() as u64))
        }
    });
    Response::builder().header("content-length", length).body(Body::from_stream(pieces)).unwrap()
}

/// Of S3, as much as an upload asks. What it is sent is counted and forgotten.
async fn take(State(taken): State<Arc<AtomicU64>>, headers: HeaderMap, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let put = request.method() == "PUT";
    let mut body = request.into_body().into_data_stream();
    let mut length = 0;
    while let Some(Ok(piece)) = body.next().await {
        length += piece.len() as u64;
    }
    if put {
        assert_eq!(headers.get("content-length").unwrap().to_str().unwrap(), length.to_string());
        taken.fetch_add(length, Ordering::Relaxed);
        return [("etag", "\"e\"")].into_response();
    }
    let answer = match query.contains("uploads") {
        true => "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        false => "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>",
    };
    ([("content-type", "application/xml")], answer).into_response()
}
