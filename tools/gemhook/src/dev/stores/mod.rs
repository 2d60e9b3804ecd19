//! The stores of the local machine: an embedded DynamoDB and S3 on loopback, reached through the real AWS SDKs.
//!
//! All they hold lies in one folder and outlives the process, also one that was killed. One process owns a folder.

mod clients;
mod disk;
mod dynamodb;
mod s3;
mod s3_semantics;
mod writes;

use std::{
    fs::{File, TryLockError},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::config::SharedHttpClient;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub use clients::plain_config;
pub use dynamodb::{TableNames, create_tables};
pub use writes::Writes;

/// Directives for a log filter. Both servers log every refusal, and a refused condition is daily business here.
pub const QUIET: [&str; 3] = ["dynoxide=error", "s3s=off", "s3s_fs=off"];

const BUCKET: &str = "gemhook-results";
const ACCESS_KEY_ID: &str = "gemhook";
const SECRET_ACCESS_KEY: &str = "gemhook-local-only";
/// The only region whose buckets need no location constraint, so plain clients work as they are.
const REGION: &str = "us-east-1";

/// What a request that is still running at shutdown may take; a client that stalls must not hold the process.
const GRACE: Duration = Duration::from_secs(5);

pub struct Stores {
    pub dynamodb_url: String,
    pub s3_url: String,
    pub bucket: String,
    pub deliveries_table: String,
    pub jobs_table: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub region: String,
    writes: Writes,
    /// Ends with the stores.
    _watching: JoinSet<()>,
    database: dynoxide::Database,
    http: SharedHttpClient,
    servers: JoinSet<()>,
    _lock: File,
}

/// Opens the stores in `folder` and serves them on the listeners until `shutdown` is true or its sender is gone.
pub async fn open(
    folder: &Path,
    dynamodb: TcpListener,
    s3: TcpListener,
    shutdown: watch::Receiver<bool>,
) -> Result<Stores> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let lock = lock(folder)?;
    let database = dynamodb::database(folder)?;
    let strict = s3::bucket(folder, BUCKET)?;
    let names = TableNames { deliveries: "gemhook-deliveries".into(), jobs: "gemhook-jobs".into() };

    let dynamodb_url = url(dynamodb.local_addr()?);
    let s3_url = url(s3.local_addr()?);
    let mut servers = JoinSet::new();
    servers.spawn(dynamodb::serve(dynamodb, database.clone(), shutdown.clone()));
    servers.spawn(s3::serve(s3, strict, shutdown));

    let (writes, watching) = writes::watch_file(&dynamodb::file(folder));
    let mut watchers = JoinSet::new();
    watchers.spawn(watching);

    let stores = Stores {
        dynamodb_url,
        s3_url,
        bucket: BUCKET.into(),
        deliveries_table: names.deliveries.clone(),
        jobs_table: names.jobs.clone(),
        access_key_id: ACCESS_KEY_ID.into(),
        secret_access_key: SECRET_ACCESS_KEY.into(),
        region: REGION.into(),
        writes,
        _watching: watchers,
        database,
        http: aws_smithy_http_client::Builder::new().build_http(),
        servers,
        _lock: lock,
    };
    let client = stores.dynamodb(gemhook::aws::archiver_timeouts());
    create_tables(&client, &names).await.with_context(|| {
        format!(
            "cannot use the tables in {}; if another version of gemhook made them, move that folder away \
             (or name another one) and start again",
            folder.display()
        )
    })?;
    Ok(stores)
}

impl Stores {
    /// Reports writes to the tables from now on.
    pub fn writes(&self) -> Writes {
        self.writes.clone()
    }

    /// Deletes the rows whose TTL has passed and returns how many; the embedded database does so only when asked.
    pub async fn sweep_ttl(&self) -> Result<usize> {
        let database = self.database.clone();
        let swept = tokio::task::spawn_blocking(move || database.sweep_ttl()).await?;
        swept.context("cannot sweep the expired rows")
    }

    /// Waits until both servers have stopped, after shutdown fired. Dropping the stores instead ends them without waiting.
    pub async fn stopped(mut self) {
        while self.servers.join_next().await.is_some() {}
    }
}

/// A second process would take the uploads of the first for leftovers.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another gemhook uses {}: stop it, or name another folder", folder.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

async fn fired(mut shutdown: watch::Receiver<bool>) {
    // A sender that is gone can never fire, so it counts as fired.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
