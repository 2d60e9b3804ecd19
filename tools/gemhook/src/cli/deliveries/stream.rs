//! The stream of the Deliveries table, from now on: `deliveries watch` prints it, the page of a stack shows it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use aws_sdk_dynamodbstreams::types::{AttributeValue, OperationType, Record, ShardIteratorType};
use serde_json::Value;
use tokio::time::Instant;

use crate::{cli::target::Target, dev::Change};
use gemhook::ledger::schema::attr;

/// Shards come and go: a busy one is split, and each is closed after some hours.
const SHARDS_EVERY: Duration = Duration::from_secs(20);

/// How long to wait between two reads.
pub const READ_EVERY: Duration = Duration::from_millis(500);

pub struct ChangeStream {
    arn: String,
    shards: Shards,
    refreshed: Instant,
}

impl ChangeStream {
    pub async fn open(target: &Target) -> Result<Self> {
        let name = target.need("DELIVERIES_TABLE")?;
        let table = target.dynamodb.describe_table().table_name(name).send().await?;
        let arn = table.table().and_then(|table| table.latest_stream_arn());
        let arn = arn.context("the Deliveries table has no stream")?.to_owned();
        let mut shards = Shards::default();
        shards.refresh(target, &arn, ShardIteratorType::Latest).await?;
        Ok(Self { arn, shards, refreshed: Instant::now() })
    }

    /// What has changed since the last read. It does not wait for a change.
    pub async fn read(&mut self, target: &Target) -> Result<Vec<Seen>> {
        let seen = self.shards.read(target).await?;
        if self.shards.lost_one || self.refreshed.elapsed() > SHARDS_EVERY {
            self.shards.refresh(target, &self.arn, ShardIteratorType::TrimHorizon).await?;
            self.refreshed = Instant::now();
        }
        Ok(seen)
    }
}

/// A change, and the row as it is now.
pub struct Seen {
    pub change: Change,
    pub row: Value,
    /// Whether the row was not there before.
    pub is_new: bool,
}

impl Seen {
    fn read(record: &Record) -> Option<Self> {
        let mut image = record.dynamodb()?.new_image()?.clone();
        // JSON has no bytes, and no filter asks for a body that is no text.
        image.retain(|name, value| name != attr::BODY || matches!(value, AttributeValue::S(_)));
        Some(Self {
            change: Change::read(record)?,
            row: serde_dynamo::from_item(image).unwrap_or_default(),
            is_new: record.event_name() == Some(&OperationType::Insert),
        })
    }
}

/// The places up to which each shard was read. One that is closed stays, so that it is not begun again.
#[derive(Default)]
struct Shards {
    places: BTreeMap<String, Option<String>>,
    lost_one: bool,
}

impl Shards {
    /// Finds shards that are new. Those of the beginning are read from now on, later ones from their beginning.
    async fn refresh(&mut self, target: &Target, arn: &str, from: ShardIteratorType) -> Result<()> {
        self.lost_one = false;
        let mut after = None;
        loop {
            let describe =
                target.streams.describe_stream().stream_arn(arn).set_exclusive_start_shard_id(after);
            let told = describe.send().await?.stream_description.context("the stream tells nothing")?;
            for shard in told.shards().iter().filter_map(|shard| shard.shard_id()) {
                if !self.places.contains_key(shard) {
                    let begin = target.streams.get_shard_iterator().stream_arn(arn).shard_id(shard);
                    let begun = begin.shard_iterator_type(from.clone()).send().await?;
                    self.places.insert(shard.to_owned(), begun.shard_iterator);
                }
            }
            after = told.last_evaluated_shard_id;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn read(&mut self, target: &Target) -> Result<Vec<Seen>> {
        let mut changes = Vec::new();
        for at in self.places.values_mut() {
            let Some(iterator) = at.as_ref() else { continue };
            let read = target.streams.get_records().shard_iterator(iterator).send().await?;
            changes.extend(read.records().iter().filter_map(Seen::read));
            *at = read.next_shard_iterator;
            self.lost_one |= at.is_none();
        }
        Ok(changes)
    }
}
