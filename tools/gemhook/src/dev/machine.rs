//! The machine as a whole: what is started, in which order, and how it stops.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use gemini_simulator::{ISSUER_KEYS, MovableClock, Settings, Simulator};
use lambda_runtime::LambdaEvent;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
};

use super::{
    bus::{Announced, Bus},
    changes::Change,
    function_url,
    invocation::{context, end_of_invocation},
    ports::{Ports, url},
    stores::{self, Stores, Writes},
    stream_pump::StreamPump,
};
use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::{Clock, Millis, SharedClock, SystemClock},
    config::{ArchiverSettings, ReceiverSettings},
    ledger::Ledger,
    receiver::Receiver,
    secrets::Secret,
    sweeper::sweep,
    webhook::{SigningSecrets, binding::BindingKey},
    worker::RetryPolicy,
};

const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Between two looks for open rows while nothing seems to be written.
const MAX_IDLE: Duration = Duration::from_secs(60);
const RECONCILE_EVERY: Duration = Duration::from_secs(3600);
const TTL_EVERY: Duration = Duration::from_secs(60);

/// Any text is a key to the simulator.
const API_KEY: &str = "local-key";

pub struct Options {
    pub data: PathBuf,
    pub ports: Ports,
    pub simulator: Settings,
    pub retry_policy: RetryPolicy,
    /// Requires binding tokens of events under Google's keys.
    pub binding_key: Option<BindingKeyOption>,
    pub record_first: u32,
}

/// Where the key of binding tokens comes from.
#[derive(Clone, Debug)]
pub enum BindingKeyOption {
    Given(Secret),
    /// Made once for each folder.
    Made,
}

impl Options {
    pub fn new(data: impl Into<PathBuf>, ports: Ports) -> Self {
        Self {
            data: data.into(),
            ports,
            simulator: Settings::default(),
            retry_policy: quick(),
            binding_key: None,
            record_first: 0,
        }
    }
}

/// Waits are seconds here, not minutes.
pub fn quick() -> RetryPolicy {
    const FOREIGN_LOOKS: [Duration; 1] = [Duration::from_secs(3)];
    RetryPolicy {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(30),
        asleep: Duration::from_secs(2),
        absent: Duration::from_secs(3),
        missing: Duration::from_secs(3),
        foreign_looks: &FOREIGN_LOOKS,
        key: Duration::from_secs(5),
        ..RetryPolicy::default()
    }
}

/// The file in the data folder that shows other commands where everything is, while it runs.
pub const ADDRESSES: &str = "addresses.json";

/// Where everything is, and with which keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// Only where somebody serves the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_url: Option<String>,
    pub webhook_url: String,
    pub gemini_url: String,
    pub dynamodb_url: String,
    pub s3_url: String,
    pub eventbridge_url: String,
    pub deliveries_table: String,
    pub jobs_table: String,
    pub bucket: String,
    pub data_dir: PathBuf,
    pub webhook_secret: String,
    /// Where the public keys of dynamic webhooks are, and the file that holds the private ones.
    pub jwks_url: String,
    pub issuer_keys: PathBuf,
    /// Only where binding tokens are required.
    pub binding_key: Option<String>,
    pub record_first: u32,
    pub aws_access_key_id: String,
    pub aws_secret_access_key: String,
    pub aws_region: String,
    pub gemini_api_key: String,
}

impl Addresses {
    /// One of the settings of both functions, by the name that they read from their environment.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.environment().remove(name)
    }

    /// The environment of both functions, as Lambda would set it.
    pub fn environment(&self) -> BTreeMap<&'static str, String> {
        let always = [
            ("AWS_ACCESS_KEY_ID", &self.aws_access_key_id),
            ("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb_url),
            ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", &self.dynamodb_url),
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", &self.eventbridge_url),
            ("AWS_ENDPOINT_URL_S3", &self.s3_url),
            ("AWS_REGION", &self.aws_region),
            ("AWS_SECRET_ACCESS_KEY", &self.aws_secret_access_key),
            ("BUCKET", &self.bucket),
            ("DELIVERIES_TABLE", &self.deliveries_table),
            ("GEMINI_API_KEY", &self.gemini_api_key),
            ("GEMINI_BASE_URL", &self.gemini_url),
            ("JOBS_TABLE", &self.jobs_table),
            ("JWKS_URL", &self.jwks_url),
            ("JWT_AUDIENCE", &self.webhook_url),
            ("WEBHOOK_SECRET", &self.webhook_secret),
            ("WEBHOOK_URL", &self.webhook_url),
        ];
        let mut variables = BTreeMap::from(always.map(|(name, value)| (name, value.clone())));
        variables.extend(["DYNAMIC_WEBHOOKS", "RECONCILE_BATCHES"].map(|name| (name, "true".to_owned())));
        variables.insert("RECORD_FIRST", self.record_first.to_string());
        variables.extend(self.binding_key.clone().map(|key| ("BINDING_KEY", key)));
        variables
    }
}

pub struct Machine {
    pub addresses: Addresses,
    pub stores: Stores,
    pub simulator: Arc<Simulator>,
    pub bus: Arc<Bus>,
    receiver: Arc<Receiver>,
    archiver: Arc<Archiver>,
    changes: broadcast::Sender<Change>,
    shutdown: watch::Sender<bool>,
    servers: JoinSet<()>,
    workers: JoinSet<()>,
}

impl Machine {
    pub async fn start(options: Options) -> Result<Self> {
        let Ports { webhook, gemini: gemini_port, dynamodb, s3, events } = options.ports;
        let (webhook_url, gemini_url) = (url(&webhook)?, url(&gemini_port)?);
        let (shutdown, stop) = watch::channel(false);
        let stores = stores::open(&options.data, dynamodb, s3, stop.clone()).await?;
        let secret = signing_secret(&options.data)?;
        let binding_key = binding_key(&options.data, options.binding_key)?;
        let data_dir = fs::canonicalize(&options.data)?;
        let bus = Bus::open(&options.data)?;

        let addresses = Addresses {
            page_url: None,
            webhook_url: format!("{webhook_url}/"),
            gemini_url: gemini_url.clone(),
            dynamodb_url: stores.dynamodb_url.clone(),
            s3_url: stores.s3_url.clone(),
            eventbridge_url: url(&events)?,
            deliveries_table: stores.deliveries_table.clone(),
            jobs_table: stores.jobs_table.clone(),
            bucket: stores.bucket.clone(),
            jwks_url: format!("{gemini_url}/.well-known/jwks.json"),
            issuer_keys: data_dir.join("gemini").join(ISSUER_KEYS),
            binding_key: binding_key.map(|key| key.expose().to_owned()),
            record_first: options.record_first,
            data_dir,
            webhook_secret: secret.expose().to_owned(),
            aws_access_key_id: stores.access_key_id.clone(),
            aws_secret_access_key: stores.secret_access_key.clone(),
            aws_region: stores.region.clone(),
            gemini_api_key: API_KEY.to_owned(),
        };
        let receiver = Arc::new(receiver(&addresses, &stores)?);
        let simulator = Simulator::open(
            &options.data.join("gemini"),
            &gemini_url,
            &addresses.webhook_url,
            secret.expose(),
            options.simulator,
        )
        .await?;
        let clock: SharedClock = Arc::new(SimulatorClock(Arc::clone(simulator.clock())));
        let archiver = Arc::new(archiver(&addresses, &stores, clock, options.retry_policy)?);

        // What is written from here on comes by the stream; what was there before is the first sweep's.
        let pump =
            StreamPump::open(stores.streams(aws::archiver_timeouts()), &stores.deliveries_table).await?;
        void_leases(&archiver.worker().ledger).await?;

        let (changes, _) = broadcast::channel(4096);
        let mut workers = JoinSet::new();
        workers.spawn(pump.run(Arc::clone(&archiver), stores.writes(), changes.clone()));
        workers.spawn(sweeps(Arc::clone(&archiver), stores.writes()));
        workers.spawn(reconciles(Arc::clone(&archiver)));

        let mut servers = JoinSet::new();
        servers.spawn(serve(webhook, function_url::router(Arc::clone(&receiver)), stop.clone()));
        servers.spawn(serve(gemini_port, simulator.router(), stop.clone()));
        servers.spawn(serve(events, bus.router(), stop.clone()));
        servers.spawn(Arc::clone(&simulator).run(stopped(stop)));

        Ok(Self {
            addresses,
            stores,
            simulator,
            bus,
            receiver,
            archiver,
            changes,
            shutdown,
            servers,
            workers,
        })
    }

    /// Every change of a delivery from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Every announcement from now on.
    pub fn announced(&self) -> broadcast::Receiver<Announced> {
        self.bus.watch()
    }

    /// The function behind the webhook, to be invoked with an event.
    pub fn receiver(&self) -> Arc<Receiver> {
        Arc::clone(&self.receiver)
    }

    pub fn ledger(&self) -> &Ledger {
        &self.archiver.worker().ledger
    }

    /// Deletes rows that have expired, now and every minute, until dropped.
    pub async fn expire(&self) {
        loop {
            if let Err(error) = self.stores.sweep_ttl().await {
                tracing::warn!(%error, "expired rows stay");
            }
            tokio::time::sleep(TTL_EVERY).await;
        }
    }

    /// Stops taking deliveries, then the workers, then the stores.
    pub async fn stop(mut self) {
        // Without a receiver there is nothing left to stop.
        let _ = self.shutdown.send(true);
        while self.servers.join_next().await.is_some() {}
        self.workers.shutdown().await;
        self.stores.stopped().await;
    }
}

/// The simulator's clock, for the archiver: who moves it moves the archiver's waits too. The receiver has real time,
/// because signatures are stamped with that.
struct SimulatorClock(Arc<MovableClock>);

impl Clock for SimulatorClock {
    fn now(&self) -> Millis {
        gemini_simulator::clock::Clock::now(self.0.as_ref())
    }
}

fn receiver(addresses: &Addresses, stores: &Stores) -> Result<Receiver> {
    let settings = ReceiverSettings::read(&|name| addresses.setting(name))?;
    let dynamodb = stores.dynamodb(aws::receiver_timeouts());
    Receiver::new(settings, dynamodb, no_secrets_manager(), Arc::new(SystemClock))
        .map_err(|error| anyhow!(error))
}

fn archiver(
    addresses: &Addresses,
    stores: &Stores,
    clock: SharedClock,
    retry_policy: RetryPolicy,
) -> Result<Archiver> {
    let settings = ArchiverSettings::read(&|name| addresses.setting(name))?;
    let clients = Clients {
        dynamodb: stores.dynamodb(aws::archiver_timeouts()),
        eventbridge: stores.eventbridge(&addresses.eventbridge_url, aws::archiver_timeouts()),
        s3: stores.s3(aws::archiver_timeouts()),
        secrets: no_secrets_manager(),
    };
    Archiver::new(settings, clients, clock, retry_policy).map_err(|error| anyhow!(error))
}

/// All secrets are given here, so this client is never called.
fn no_secrets_manager() -> aws_sdk_secretsmanager::Client {
    let config = aws_sdk_secretsmanager::Config::builder();
    aws_sdk_secretsmanager::Client::from_conf(config.behavior_version_latest().build())
}

/// Made once for each folder.
fn signing_secret(folder: &Path) -> Result<Secret> {
    let path = folder.join("webhook-secret");
    if let Ok(text) = fs::read_to_string(&path) {
        SigningSecrets::parse(&text)
            .map_err(|why| anyhow!("{} {why}; delete it to have a new one made", path.display()))?;
        return Ok(Secret::new(text.trim()));
    }
    let secret = SigningSecrets::development();
    keep(&path, &secret)?;
    Ok(secret)
}

fn binding_key(folder: &Path, option: Option<BindingKeyOption>) -> Result<Option<Secret>> {
    let path = folder.join("binding-key");
    let key = match option {
        None => return Ok(None),
        Some(BindingKeyOption::Given(key)) => key,
        Some(BindingKeyOption::Made) => match fs::read_to_string(&path) {
            Ok(text) => Secret::new(text.trim()),
            Err(_) => {
                let key = Secret::new(uuid::Uuid::new_v4().simple().to_string());
                keep(&path, &key)?;
                key
            }
        },
    };
    BindingKey::parse(key.expose()).map_err(|why| anyhow!("the binding key {why}"))?;
    Ok(Some(key))
}

/// A temporary file is its owner's alone, and keeps that when it gets its name.
fn keep(path: &Path, secret: &Secret) -> Result<()> {
    let folder = path.parent().context("a secret has no folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(secret.expose().as_bytes())?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// One process has the folder to itself, so leases found at start have nobody behind them.
async fn void_leases(ledger: &Ledger) -> Result<()> {
    for shard in Ledger::shards() {
        let mut after = None;
        loop {
            let page = ledger.due(shard, Millis::MAX, after, 100).await?;
            for row in &page.rows {
                let _ = ledger.void_lease(&row.key).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Everything open at first, then what is due, every second while any row is open.
async fn sweeps(archiver: Arc<Archiver>, mut writes: Writes) {
    if let Err(error) =
        sweep(archiver.worker(), Millis::MAX, end_of_invocation(archiver.worker().clock.as_ref())).await
    {
        tracing::warn!(%error, "the first sweep failed");
    }
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let event = LambdaEvent::new(json!({"schedule": "sweep"}), context(archiver.worker().clock.as_ref()));
        if let Err(error) = archiver.invoke(event).await {
            tracing::warn!(%error, "a sweep failed");
        }
        while nothing_is_open(&archiver.worker().ledger).await {
            writes.next(MAX_IDLE).await;
        }
    }
}

/// Whether a sweep would find nothing, whenever it came.
async fn nothing_is_open(ledger: &Ledger) -> bool {
    for shard in Ledger::shards() {
        // Where the tables do not answer, the next sweep says so.
        if !ledger.due(shard, Millis::MAX, None, 1).await.is_ok_and(|page| page.rows.is_empty()) {
            return false;
        }
    }
    true
}

async fn reconciles(archiver: Arc<Archiver>) {
    loop {
        tokio::time::sleep(RECONCILE_EVERY).await;
        let event =
            LambdaEvent::new(json!({"schedule": "reconcile"}), context(archiver.worker().clock.as_ref()));
        if let Err(error) = archiver.invoke(event).await {
            tracing::warn!(%error, "a reconciliation failed");
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, router: axum::Router, stop: watch::Receiver<bool>) {
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped(stop)).await {
        tracing::error!(%error, "a server stopped");
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the machine is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
