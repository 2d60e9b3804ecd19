//! The stream's part of Lambda: reads the Deliveries stream and invokes the archiver with the records its filter
//! lets through, in the very shape in which Lambda would.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use aws_sdk_dynamodbstreams::{
    Client,
    types::{Record, ShardIteratorType},
};
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, broadcast};

use super::{changes::Change, invocation::context, stores::Writes};
use gemhook::{archiver::Archiver, clock::Clock};

/// Between two looks at the stream while nothing seems to be written.
const MAX_IDLE: Duration = Duration::from_secs(10);
const MAX_CONCURRENCY: usize = 8;

/// Stands at the end of the stream: what was written before is the first sweep's.
pub(super) struct StreamPump {
    streams: Client,
    arn: String,
    iterator: String,
}

impl StreamPump {
    pub async fn open(streams: Client, table: &str) -> Result<Self> {
        let listed = streams.list_streams().table_name(table).send().await?;
        let arn = listed.streams().first().and_then(|stream| stream.stream_arn()).map(str::to_owned);
        let arn = arn.context("the Deliveries table has no stream")?;
        let told = streams.describe_stream().stream_arn(&arn).send().await?;
        let shards = told.stream_description().map(|stream| stream.shards()).unwrap_or_default();
        let shard = shards.last().and_then(|shard| shard.shard_id()).context("the stream has no shard")?;
        let begun = streams
            .get_shard_iterator()
            .stream_arn(&arn)
            .shard_id(shard)
            .shard_iterator_type(ShardIteratorType::Latest)
            .send()
            .await?;
        let iterator = begun.shard_iterator.context("the stream gave no place to read from")?;
        Ok(Self { streams, arn, iterator })
    }

    /// Runs until the task is dropped. Invocations run beside each other, as they do in Lambda.
    pub async fn run(
        mut self,
        archiver: Arc<Archiver>,
        mut writes: Writes,
        changes: broadcast::Sender<Change>,
    ) {
        let places = Arc::new(Semaphore::new(MAX_CONCURRENCY));
        loop {
            // A page may not be the last one.
            let mut is_last = true;
            match self.streams.get_records().shard_iterator(&self.iterator).send().await {
                Ok(read) => {
                    is_last = read.records().is_empty();
                    for record in read.records() {
                        let Some(change) = Change::read(record) else { continue };
                        let wanted = change.state == "received";
                        // Nobody may be listening.
                        let _ = changes.send(change);
                        if wanted && let Ok(target) = Arc::clone(&places).acquire_owned().await {
                            let (archiver, event) =
                                (Arc::clone(&archiver), self.event(record, archiver.worker().clock.as_ref()));
                            tokio::spawn(async move {
                                if let Err(error) = archiver.invoke(event).await {
                                    tracing::error!(%error, "a stream record was not worked");
                                }
                                drop(target);
                            });
                        }
                    }
                    if let Some(next) = read.next_shard_iterator {
                        self.iterator = next;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = gemhook::aws::explain(&error), "the stream was not read")
                }
            }
            if is_last {
                writes.next(MAX_IDLE).await;
            }
        }
    }

    fn event(&self, record: &Record, clock: &dyn Clock) -> LambdaEvent<Value> {
        let change = record.dynamodb();
        let item = |row: Option<&std::collections::HashMap<_, _>>| {
            serde_json::to_value(serde_dynamo::Item::from(row.cloned().unwrap_or_default()))
                .unwrap_or_default()
        };
        let record = json!({
            "eventID": record.event_id(),
            "eventName": record.event_name().map(|name| name.as_str()),
            "eventVersion": record.event_version(),
            "eventSource": "aws:dynamodb",
            "awsRegion": record.aws_region(),
            "eventSourceARN": self.arn,
            "dynamodb": {
                "ApproximateCreationDateTime":
                    change.and_then(|change| change.approximate_creation_date_time()).map_or(0, |time| time.secs()),
                "Keys": item(change.and_then(|change| change.keys())),
                "NewImage": item(change.and_then(|change| change.new_image())),
                "SequenceNumber": change.and_then(|change| change.sequence_number()),
                "SizeBytes": change.and_then(|change| change.size_bytes()),
                "StreamViewType": "NEW_IMAGE",
            },
        });
        LambdaEvent::new(json!({ "Records": [record] }), context(clock))
    }
}
