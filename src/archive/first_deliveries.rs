//! The first deliveries as they came, stored in the bucket, to show what Gemini really sends (`RECORD_FIRST`).
//!
//! This is best effort: an object that cannot be written delays no delivery, and the row has the same content anyway.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::bucket::{Bucket, ObjectTarget, PutOutcome};
use crate::{clock::rfc3339, error::ProcessingError, ledger::Delivery};

/// The folder in the bucket.
const FOLDER: &str = "first-deliveries";

/// Numbered objects, the first `most` that are not there yet.
pub struct FirstDeliveries {
    most: u32,
    /// All before this one are there, as far as this instance knows.
    next: AtomicU32,
}

impl FirstDeliveries {
    pub fn new(most: u32) -> Self {
        Self { most, next: AtomicU32::new(1) }
    }

    /// Stores a delivery that is worked for the first time, under the next free number. The bucket decides which number
    /// is free, so the instances need not agree.
    pub async fn keep(&self, bucket: &Bucket, row: &Delivery) {
        let (Some(headers), 1) = (&row.headers, row.attempt) else { return };
        if let Err(error) = self.write(bucket, row, headers).await {
            tracing::warn!(webhook_id = row.key, why = error.to_string(), "a first delivery was not kept");
        }
    }

    async fn write(
        &self,
        bucket: &Bucket,
        row: &Delivery,
        headers: &BTreeMap<String, String>,
    ) -> Result<(), ProcessingError> {
        for number in self.next.load(Ordering::Relaxed)..=self.most {
            let key = format!("{FOLDER}/{number}.json");
            let target = ObjectTarget { key: &key, job: &row.key, lines: false };
            let written = bucket.put(target, "application/json", record(row, headers)).await?;
            self.next.fetch_max(number.saturating_add(1), Ordering::Relaxed);
            if matches!(written, PutOutcome::New) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn record(row: &Delivery, headers: &BTreeMap<String, String>) -> Bytes {
    let mut record = json!({
        "webhook_id": row.key,
        "received_at": rfc3339(row.received_at),
        "scheme": row.scheme,
        "key_id": row.key_id,
        "headers": headers,
    });
    let (name, body) = match std::str::from_utf8(&row.body) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("body_base64", BASE64_STANDARD.encode(&row.body)),
    };
    if let Some(record) = record.as_object_mut() {
        record.insert(name.to_owned(), Value::from(body));
    }
    Bytes::from(format!("{record:#}\n"))
}
