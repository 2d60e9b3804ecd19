//! How much memory the archiver takes for outputs of any length: `cargo bench --profile dev --bench memory`.
//!
//! This process serves the outputs, generated as they are read, and an S3 that counts and forgets; the archiver runs
//! in a child, whose highest resident memory is printed. A load is `JOBSxKIND:COUNTxBYTES`, for example `4xinline:5x8000000`
//! for four batches at once of five inline results of 8 MB each. Loads may be given behind `--`. Linux only.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement that fails panics"
)]

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
use futures_util::{StreamExt, future::join_all, stream};
use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::{Clock, SystemClock},
    config::ArchiverSettings,
    job::JobKind,
    ledger::NewDelivery,
    worker::RetryPolicy,
};
use gemhook_cli::dev::stores::{self, plain_config};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

const LOADS: [&str; 9] = [
    "1xfile:1x10000000",
    "1xfile:66x15000000",
    "1xfile:266x15000000",
    "1xfile:1x1000000000",
    "4xfile:20x15000000",
    "1xinline:30x8000000",
    "4xinline:5x8000000",
    "1xmedia:8x8000000",
    "4xmedia:5x8000000",
];

const CHUNK_BYTES: usize = 64 * 1024;

const KEYS: (&str, &str) = ("gemhook", "gemhook-local-only");

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.split_first() {
        Some((first, rest)) if first == "archive" => runtime.block_on(archive(rest)),
        Some(_) => runtime.block_on(measure(arguments)),
        None => runtime.block_on(measure(LOADS.map(str::to_owned).to_vec())),
    }
}

/// Jobs of one kind that are worked at the same time, each with so many lines, results or media of a length in bytes.
#[derive(Clone, Copy)]
struct Load<'a> {
    jobs: u64,
    kind: &'a str,
    count: u64,
    bytes: u64,
}

impl<'a> Load<'a> {
    fn parse(text: &'a str) -> Self {
        let (jobs, rest) = text.split_once('x').unwrap();
        let (kind, rest) = rest.split_once(':').unwrap();
        let (count, bytes) = rest.split_once('x').unwrap();
        let number = |text: &str| text.parse().unwrap();
        Self { jobs: number(jobs), kind, count: number(count), bytes: number(bytes) }
    }

    /// What a job is called tells the server what to generate.
    fn job(&self, number: u64) -> (String, JobKind) {
        let Self { kind, count, bytes, .. } = self;
        let id = format!("{kind}-{count}-{bytes}-{number}-{}", std::process::id());
        match *kind {
            "media" => (format!("interactions/{id}"), JobKind::Interaction),
            _ => (format!("batches/{id}"), JobKind::Batch),
        }
    }
}

async fn measure(loads: Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let port = || TcpListener::bind("127.0.0.1:0");
    let (_shutdown, stop) = watch::channel(false);
    let stores =
        stores::open(folder.path(), port().await.unwrap(), port().await.unwrap(), stop).await.unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let s3 = serve(Router::new().fallback(take).with_state(Arc::clone(&taken))).await;
    let gemini = serve(Router::new().fallback(give)).await;
    println!("| load | peak above idle, MiB | seconds |\n| --- | --- | --- |");
    for load in loads {
        taken.store(0, Ordering::Relaxed);
        let (program, begun) = (env::current_exe().unwrap(), Instant::now());
        let arguments = [load.clone(), stores.dynamodb_url.clone(), gemini.clone(), s3.clone()];
        let child = move || Command::new(program).arg("archive").args(arguments).output().unwrap();
        let done = tokio::task::spawn_blocking(child).await.unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        let Load { jobs, count, bytes, .. } = Load::parse(&load);
        assert!(taken.load(Ordering::Relaxed) >= jobs * count * bytes, "bytes in the bucket");
        println!("| {load} | {} | {:.0} |", said.trim(), begun.elapsed().as_secs_f64());
    }
}

/// The child: a small output first, so that all there is at rest is there, then the long one.
async fn archive(arguments: &[String]) {
    let [load, dynamodb, gemini, s3] = arguments else { panic!("{arguments:?}") };
    let lookup = |name: &str| match name {
        "DELIVERIES_TABLE" => Some("gemhook-deliveries".to_owned()),
        "JOBS_TABLE" => Some("gemhook-jobs".to_owned()),
        "BUCKET" => Some("memory".to_owned()),
        "GEMINI_API_KEY" => Some("k".to_owned()),
        "GEMINI_BASE_URL" => Some(gemini.clone()),
        "EVENT_BUS" => Some("none".to_owned()),
        "MAX_INLINE_BYTES" => Some("1000000000".to_owned()),
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
    let archiver = Archiver::new(settings, clients, Arc::new(SystemClock), RetryPolicy::default()).unwrap();
    work(&archiver, Load::parse("1xfile:1x1000")).await;
    let idle = memory("VmRSS");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    work(&archiver, Load::parse(load)).await;
    println!("{}", memory("VmHWM").saturating_sub(idle) / 1024);
}

/// All jobs of a load at the same time, as a sweep works them.
async fn work(archiver: &Archiver, load: Load<'_>) {
    let (worker, now) = (archiver.worker(), SystemClock.now());
    let jobs = (0..load.jobs).map(|number| async move {
        let (job, kind) = load.job(number);
        worker.ledger.enter(NewDelivery::of_job(&job, kind, None, "r", now)).await.unwrap();
        worker.work(&format!("job~{job}"), now + 86_400_000).await.unwrap();
        assert!(worker.ledger.has_ended(&job).await.unwrap(), "not archived");
    });
    join_all(jobs).await;
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

/// A job whose name says what its output is, and that output, made while it is read.
async fn give(request: Request) -> Response {
    let path = request.uri().path().trim_end_matches(":download").to_owned();
    let id = path.rsplit('/').next().unwrap().to_owned();
    let words: Vec<&str> = id.split('-').collect();
    let (kind, count, bytes): (_, u64, u64) =
        (words[0], words[1].parse().unwrap(), words[2].parse().unwrap());
    let name = path.trim_start_matches("/v1beta/");
    if path.contains("/files/") {
        return generated("", "{\"key\":\"k\",\"response\":{\"a\":\"", ("x", bytes), "\"}}\n", "", count);
    }
    match kind {
        "file" => json!({"name": name, "done": true, "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
            "response": {"responsesFile": format!("files/{id}")}})
        .to_string()
        .into_response(),
        "inline" => {
            let before = format!(
                "{{\"name\":\"{name}\",\"done\":true,\"metadata\":{{\"state\":\"BATCH_STATE_SUCCEEDED\"}},\
                 \"response\":{{\"inlinedResponses\":{{\"inlinedResponses\":["
            );
            let item = "{\"metadata\":{\"key\":\"k\"},\"response\":{\"a\":\"";
            generated(&before, item, ("x", bytes), "\"}},", "null]}}}", count)
        }
        _ => {
            let before = format!(
                "{{\"id\":\"{id}\",\"status\":\"completed\",\"steps\":[{{\"type\":\"model_output\",\"content\":["
            );
            let item = "{\"type\":\"image\",\"mime_type\":\"image/png\",\"data\":\"";
            // Four letters of base64 stand for three bytes.
            generated(
                &before,
                item,
                ("AAAA", bytes.div_ceil(3)),
                "\"},",
                "{\"type\":\"text\",\"text\":\"t\"}]}]}",
                count,
            )
        }
    }
}

/// An answer of `count` items, each with a long text between its two ends.
fn generated(
    before: &str,
    begin: &'static str,
    (letter, times): (&str, u64),
    end: &'static str,
    after: &'static str,
    count: u64,
) -> Response {
    let piece = Bytes::from(letter.repeat(CHUNK_BYTES / letter.len()));
    let (per_piece, of) = ((CHUNK_BYTES / letter.len()) as u64, letter.len() as u64);
    let item = move |_| {
        let piece = piece.clone();
        let pieces = (0..times.div_ceil(per_piece)).map(move |number| {
            let left = (times - number * per_piece).min(per_piece) * of;
            piece.slice(..usize::try_from(left).unwrap())
        });
        [Bytes::from_static(begin.as_bytes())]
            .into_iter()
            .chain(pieces)
            .chain([Bytes::from_static(end.as_bytes())])
    };
    let pieces = [Bytes::from(before.to_owned())]
        .into_iter()
        .chain((0..count).flat_map(item))
        .chain([Bytes::from_static(after.as_bytes())]);
    let fixed = before.len() + after.len();
    let length = fixed as u64 + count * (begin.len() as u64 + times * of + end.len() as u64);
    let body = Body::from_stream(stream::iter(pieces.map(Ok::<_, std::io::Error>)));
    Response::builder().header("content-length", length).body(body).unwrap()
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
