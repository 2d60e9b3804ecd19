//! The real archiver in a process of its own, on the servers of its parent.

use std::{
    env, fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_sdk_dynamodb::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef},
    error::BoxError,
};
use aws_sdk_s3::config::Credentials;
use futures_util::future::join_all;
use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::{Clock, SystemClock},
    config::{ArchiverSettings, ReceiverSettings},
    job::JobKind,
    ledger::NewDelivery,
    receiver::Receiver,
    webhook::SigningSecrets,
    worker::RetryPolicy,
};
use gemhook_cli::dev::stores::plain_config;

const KEYS: (&str, &str) = ("gemhook", "gemhook-local-only");

/// Jobs of one kind that are worked at the same time, each with so many lines, results or media of a length in bytes.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    pub jobs: u64,
    pub kind: &'a str,
    pub count: u64,
    pub bytes: u64,
}

impl<'a> Load<'a> {
    pub fn parse(text: &'a str) -> Self {
        let (jobs, rest) = text.split_once('x').unwrap();
        let (kind, rest) = rest.split_once(':').unwrap();
        let (count, bytes) = rest.split_once('x').unwrap();
        let number = |text: &str| text.parse().unwrap();
        Self { jobs: number(jobs), kind, count: number(count), bytes: number(bytes) }
    }

    /// What a job is called tells the server what to generate.
    pub fn job(&self, number: u64) -> (String, JobKind) {
        let Self { kind, count, bytes, .. } = self;
        let id = format!("{kind}-{count}-{bytes}-{number}-{}", std::process::id());
        match *kind {
            "media" => (format!("interactions/{id}"), JobKind::Interaction),
            "video" => (format!("models/veo/operations/{id}"), JobKind::Video),
            _ => (format!("batches/{id}"), JobKind::Batch),
        }
    }
}

/// Where DynamoDB, the Gemini API and S3 are.
pub type Addresses = [String; 3];

/// Runs this program again with these arguments, and returns what it printed.
pub async fn run(arguments: Vec<String>) -> String {
    let child = move || Command::new(env::current_exe().unwrap()).args(arguments).output().unwrap();
    printed(&tokio::task::spawn_blocking(child).await.unwrap())
}

/// What a program printed that must have succeeded.
pub fn printed(done: &std::process::Output) -> String {
    let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// An archiver on these servers.
pub fn archiver([dynamodb, gemini, s3]: &Addresses) -> Archiver {
    let lookup = |name: &str| match name {
        "DELIVERIES_TABLE" => Some("gemhook-deliveries".to_owned()),
        "JOBS_TABLE" => Some("gemhook-jobs".to_owned()),
        "BUCKET" => Some("bench".to_owned()),
        "GEMINI_API_KEY" => Some("k".to_owned()),
        "GEMINI_BASE_URL" => Some(gemini.clone()),
        "EVENT_BUS" => Some("none".to_owned()),
        "MAX_INLINE_BYTES" => Some("1000000000".to_owned()),
        _ => None,
    };
    let config = |url: &str| plain_config(url, KEYS, "us-east-1", aws::archiver_timeouts());
    let clients = Clients {
        dynamodb: dynamodb_client(dynamodb),
        eventbridge: aws_sdk_eventbridge::Client::new(&config(dynamodb)),
        s3: s3_client(s3),
        secrets: aws_sdk_secretsmanager::Client::new(&config(dynamodb)),
    };
    let settings = ArchiverSettings::read(&lookup).unwrap();
    Archiver::new(settings, clients, Arc::new(SystemClock), RetryPolicy::default()).unwrap()
}

/// A receiver on this server, and what signs for it.
pub fn receiver(dynamodb: &str) -> (Receiver, impl Fn(&str, i64, &[u8]) -> String) {
    const SECRET: &str = "whsec_YSBzZWNyZXQgdGhhdCBtZWFzdXJlcyBvbmx5IQ==";
    let lookup = |name: &str| match name {
        "DELIVERIES_TABLE" => Some("gemhook-deliveries".to_owned()),
        "WEBHOOK_SECRET" => Some(SECRET.to_owned()),
        _ => None,
    };
    let settings = ReceiverSettings::read(&lookup).unwrap();
    let config = plain_config(dynamodb, KEYS, "us-east-1", aws::receiver_timeouts());
    let secrets = aws_sdk_secretsmanager::Client::new(&config);
    let receiver =
        Receiver::new(settings, dynamodb_client(dynamodb), secrets, Arc::new(SystemClock)).unwrap();
    let signing = SigningSecrets::parse(SECRET).unwrap();
    (receiver, move |id, at, body| signing.sign(id, at, body))
}

/// It counts its calls.
pub fn dynamodb_client(url: &str) -> aws_sdk_dynamodb::Client {
    let config = plain_config(url, KEYS, "us-east-1", aws::ledger_timeouts());
    let counted = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(Counter);
    aws_sdk_dynamodb::Client::from_conf(counted.build())
}

/// The calls to DynamoDB of this process, repeated ones too.
pub fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

static CALLS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Counter;

impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "Counter"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

pub fn s3_client(url: &str) -> aws_sdk_s3::Client {
    let config = plain_config(url, KEYS, "us-east-1", aws::archiver_timeouts());
    let objects = aws_sdk_s3::config::Builder::from(&config)
        .credentials_provider(Credentials::new(KEYS.0, KEYS.1, None, None, "bench"))
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(objects.build())
}

/// All jobs of a load at the same time, as a sweep works them.
pub async fn work(archiver: &Archiver, load: Load<'_>) {
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
pub fn memory(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Of this process: user and system time are the fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(") ").next().unwrap().split(' ');
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}
