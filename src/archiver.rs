//! The archiver: records of the table's stream and the two schedules, each handed to the code that does it.

use std::sync::Arc;

use aws_lambda_events::dynamodb::{Event as StreamEvent, EventRecord};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_dynamo::AttributeValue;
use serde_json::{Value, json};

use crate::{
    announce::Announcer,
    archive::{Archive, Bucket, FirstDeliveries},
    aws,
    clock::{Millis, SharedClock, SystemClock},
    config::{ArchiverSettings, environment},
    gemini::Gemini,
    ledger::{Ledger, schema::attr},
    reconcile::{Plan, Reconciled, Reconciler},
    secrets::{Secret, SecretStore},
    sweeper::sweep,
    webhook::binding::BindingKey,
    worker::{Pace, Worker},
};

/// A reconciliation begins nothing new this close to its end.
const LAST_LOOK: Millis = 60_000;

/// What invokes the archiver.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Schedule { schedule: Schedule },
    Stream(StreamEvent),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Schedule {
    Sweep,
    Reconcile,
}

pub struct Archiver {
    worker: Worker,
    /// What is looked for on schedule, but for the times.
    plan: Plan,
    reconcile_batches: bool,
}

/// Serves the function until Lambda ends it.
pub async fn run() -> Result<(), Error> {
    let settings = ArchiverSettings::read(&environment)?;
    let sdk = aws::function_config(aws::archiver_timeouts());
    let clients = Clients {
        dynamodb: aws_sdk_dynamodb::Client::new(&sdk),
        eventbridge: aws_sdk_eventbridge::Client::new(&sdk),
        s3: aws_sdk_s3::Client::new(&sdk),
        secrets: aws_sdk_secretsmanager::Client::new(&sdk),
    };
    let archiver = Arc::new(Archiver::new(settings, clients, Arc::new(SystemClock), Pace::default())?);
    lambda_runtime::run(service_fn(move |event| {
        let archiver = Arc::clone(&archiver);
        async move { archiver.invoke(event).await }
    }))
    .await
}

/// The AWS services that an archiver calls.
pub struct Clients {
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub eventbridge: aws_sdk_eventbridge::Client,
    pub s3: aws_sdk_s3::Client,
    pub secrets: aws_sdk_secretsmanager::Client,
}

impl Archiver {
    pub fn new(
        settings: ArchiverSettings,
        clients: Clients,
        clock: SharedClock,
        pace: Pace,
    ) -> Result<Self, Error> {
        let binding = settings
            .binding
            .map(|source| SecretStore::new(source, clients.secrets.clone(), BindingKey::parse));
        let key = SecretStore::new(settings.api_key, clients.secrets, |text| Ok(Secret::new(text)));
        let gemini = Gemini::new(settings.gemini_base_url, key, settings.max_inline_bytes)?;
        let bucket = Bucket::new(clients.s3, settings.bucket);
        let (deliveries, jobs) = (settings.deliveries_table, settings.jobs_table);
        let announcer = settings.event_bus.map(|bus| Announcer::new(clients.eventbridge, bus));
        let ledger = Ledger::new(clients.dynamodb, deliveries, jobs, Arc::clone(&clock), announcer.is_some());
        let first = FirstDeliveries::new(settings.record_first);
        let archive = Archive { gemini, bucket, binding, first };
        let plan = Plan {
            webhook_url: settings.webhook_url,
            reenable: settings.reenable_webhook,
            ..Plan::default()
        };
        let worker = Worker { ledger, archive, announcer, clock, pace };
        Ok(Self { worker, plan, reconcile_batches: settings.reconcile_batches })
    }

    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// One invocation.
    pub async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, Error> {
        let end = Millis::try_from(event.context.deadline).unwrap_or(Millis::MAX);
        let input = Input::deserialize(&event.payload).map_err(|_| {
            r#"the event is neither one of a DynamoDB stream nor {"schedule":"sweep"} or {"schedule":"reconcile"}"#
        })?;
        match input {
            Input::Schedule { schedule: Schedule::Sweep } => {
                Ok(serde_json::to_value(sweep(&self.worker, self.worker.clock.now(), end).await?)?)
            }
            Input::Schedule { schedule: Schedule::Reconcile } => {
                Ok(serde_json::to_value(self.reconcile(end).await)?)
            }
            Input::Stream(event) => self.stream(event, end).await,
        }
    }

    async fn reconcile(&self, end: Millis) -> Reconciled {
        let Worker { ledger, archive, clock, .. } = &self.worker;
        let now = clock.now();
        let batches = self.reconcile_batches.then(|| Plan::scheduled(now));
        let plan = Plan { batches, end: end - LAST_LOOK, ..self.plan.clone() };
        Reconciler { gemini: &archive.gemini, ledger, clock, plan }.run().await
    }

    async fn stream(&self, event: StreamEvent, end: Millis) -> Result<Value, Error> {
        let mut worked = 0;
        for record in &event.records {
            match key_of(record) {
                Some(key) => {
                    self.worker.work(key, end).await?;
                    worked += 1;
                }
                None => tracing::warn!(record = record.event_id, "a stream record without a delivery's key"),
            }
        }
        Ok(json!({"records": worked}))
    }
}

fn key_of(record: &EventRecord) -> Option<&str> {
    match record.change.keys.get(attr::WEBHOOK_ID)? {
        AttributeValue::S(key) => Some(key),
        _ => None,
    }
}
