//! What the stores hold after the demo, read through the AWS SDK, and what the API says for comparison.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dev::Machine;
use gemhook::{
    aws,
    job::{Output, Summary},
};

/// A row of the Deliveries table, as far as the demo shows it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct DeliveryRow {
    pub webhook_id: String,
    pub scheme: String,
    pub state: String,
    pub outcome: Option<String>,
    pub attempt: i64,
    pub event_type: Option<String>,
    pub job_id: Option<String>,
}

/// A row of the Jobs table, as far as the demo shows it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct JobRow {
    pub job_id: String,
    pub state: String,
    pub ended_by: Option<String>,
    #[serde(default)]
    pub outputs: Vec<Output>,
    pub summary: Option<Summary>,
    pub user_metadata: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct Object {
    pub bucket: String,
    pub key: String,
    pub bytes: usize,
    pub lines: usize,
    pub sha256: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub deliveries: Vec<DeliveryRow>,
    pub jobs: Vec<JobRow>,
    pub objects: Vec<Object>,
    /// The SHA-256 of the result as the Gemini API serves it.
    pub source_sha256: String,
}

impl Found {
    pub async fn read(machine: &Machine, batch: &str) -> Result<Self> {
        let at = &machine.addresses;
        let id = batch.strip_prefix("batches/").unwrap_or(batch);
        let source = reqwest::Client::new()
            .get(format!("{}/v1beta/files/batch-{id}:download?alt=media", at.gemini_url))
            .header("x-goog-api-key", "local-key")
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?;
        Ok(Self {
            deliveries: rows(machine, &at.deliveries_table).await?,
            jobs: rows(machine, &at.jobs_table).await?,
            objects: objects(machine).await?,
            source_sha256: sha256(&source),
        })
    }
}

async fn rows<'a, T: Deserialize<'a>>(machine: &Machine, table: &str) -> Result<Vec<T>> {
    let dynamodb = machine.stores.dynamodb(aws::archiver_timeouts());
    let scanned = dynamodb.scan().table_name(table).consistent_read(true).send().await?;
    serde_dynamo::from_items(scanned.items.unwrap_or_default()).context("a row is not as it should be")
}

async fn objects(machine: &Machine) -> Result<Vec<Object>> {
    let (s3, bucket) = (machine.stores.s3(aws::archiver_timeouts()), &machine.addresses.bucket);
    let listed = s3.list_objects_v2().bucket(bucket).send().await?;
    let mut objects = Vec::new();
    for key in listed.contents().iter().filter_map(|object| object.key()) {
        let got = s3.get_object().bucket(bucket).key(key).send().await?;
        let bytes = got.body.collect().await?.into_bytes();
        objects.push(Object {
            bucket: bucket.clone(),
            key: key.to_owned(),
            bytes: bytes.len(),
            lines: bytes.iter().filter(|byte| **byte == b'\n').count(),
            sha256: sha256(&bytes),
        });
    }
    Ok(objects)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
