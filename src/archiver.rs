//! The archiver function: takes an invocation apart and hands it to the code that does the work.
//!
//! | invoked by | event | handled by |
//! | --- | --- | --- |
//! | the stream of the Deliveries table | `Records` | [`crate::worker`], one row after the other |
//! | a schedule, every 5 minutes | `{"schedule":"sweep"}` | [`crate::sweeper`] |
//! | a schedule, every hour | `{"schedule":"reconcile"}` | [`crate::reconcile`] |
//!
//! Any other event is an error. [`Archiver`] lives as long as the Lambda instance; it is built once from the settings.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lambda_events::dynamodb::{Event as StreamEvent, EventRecord};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_dynamo::AttributeValue;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    announce::Announcer,
    archive::{Archive, Bucket, FirstDeliveries},
    aws,
    clock::{Millis, SharedClock, SystemClock},
    config::{ArchiverSettings, ReconcileBatches, environment},
    gemini::{Gemini, Transport},
    ledger::{Ledger, schema::attr},
    reconcile::{Batches, Plan, ReconcileResult, Reconciler},
    secrets::{Secret, SecretStore},
    sweeper::sweep,
    webhook::binding::BindingKey,
    worker::{RetryPolicy, Worker},
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

/// The archiver of one Lambda instance.
pub struct Archiver {
    worker: Worker,
    /// What a scheduled reconcile looks for. The times are added when it runs.
    plan: Plan,
    reconcile_batches: ReconcileBatches,
    /// The page of the list of batches that the next reconcile begins with, if the last one ran out of time.
    next_page: Mutex<Option<String>>,
}

/// Serves the function until Lambda ends it.
pub async fn run() -> Result<(), Error> {
    let settings = ArchiverSettings::read(&environment)?;
    let sdk = aws::function_config(aws::archiver_timeouts());
    let tables = sdk.to_builder().timeout_config(aws::ledger_timeouts()).build();
    let clients = Clients {
        dynamodb: aws_sdk_dynamodb::Client::new(&tables),
        eventbridge: aws_sdk_eventbridge::Client::new(&sdk),
        s3: aws_sdk_s3::Client::new(&sdk),
        secrets: aws_sdk_secretsmanager::Client::new(&sdk),
    };
    let archiver = Arc::new(Archiver::new(settings, clients, Arc::new(SystemClock), RetryPolicy::default())?);
    archiver.prepare().await;
    lambda_runtime::run(service_fn(move |event| {
        let archiver = Arc::clone(&archiver);
        async move { Box::pin(archiver.invoke(event)).await }
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
    /// Puts the parts together. It makes no call: [`Archiver::prepare`] does.
    pub fn new(
        settings: ArchiverSettings,
        clients: Clients,
        clock: SharedClock,
        mut retry_policy: RetryPolicy,
    ) -> Result<Self, Error> {
        if let Some(hours) = settings.missing_job_hours {
            retry_policy.missing = Duration::from_secs(u64::from(hours) * 3600);
        }
        let bound = settings.binding.is_some();
        let binding = settings.binding.map(|source| {
            SecretStore::new(source, clients.secrets.clone(), BindingKey::parse)
                .with_clock(Arc::clone(&clock))
        });
        let key = SecretStore::new(settings.api_key, clients.secrets, |text| Ok(Secret::new(text)))
            .with_clock(Arc::clone(&clock));
        let gemini = Gemini::new(settings.gemini_base_url, key, settings.max_inline_bytes)?;
        let bucket = Bucket::new(clients.s3, settings.bucket);
        let (deliveries, jobs) = (settings.deliveries_table, settings.jobs_table);
        let bus = settings.event_bus.map(|bus| (clients.eventbridge, bus));
        let announcer = Announcer::new(settings.on_job_ended, bus);
        let ledger = Ledger::new(clients.dynamodb, deliveries, jobs, Arc::clone(&clock), announcer.is_some());
        let first = FirstDeliveries::new(settings.record_first);
        let archive = Archive { gemini, bucket, binding, first };
        let plan = Plan {
            webhook_url: settings.webhook_url.clone(),
            reenable: settings.reenable_webhook,
            bound,
            ..Plan::default()
        };
        let webhook_url = settings.webhook_url;
        let worker = Worker { ledger, archive, announcer, clock, retry_policy, webhook_url };
        let (reconcile_batches, next_page) = (settings.reconcile_batches, Mutex::default());
        Ok(Self { worker, plan, reconcile_batches, next_page })
    }

    /// Has the requests to the Gemini API sent by `transport` instead of the network.
    pub fn with_gemini_by(mut self, transport: Arc<dyn Transport>) -> Self {
        self.worker.archive.gemini.set_transport(transport);
        self
    }

    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Connects to DynamoDB and reads the secrets, for the reason that [`crate::receiver::Receiver::prepare`] gives. A
    /// failure changes nothing: the first row that needs them does then what this could not.
    pub async fn prepare(&self) {
        let Worker { ledger, archive, .. } = &self.worker;
        let all = async { tokio::join!(ledger.connect(), archive.prepare()) };
        let _ = timeout(aws::PREPARE, Box::pin(all)).await;
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

    /// The hourly run. What failed is in the result; the invocation succeeds all the same.
    async fn reconcile(&self, end: Millis) -> ReconcileResult {
        let Worker { ledger, archive, clock, .. } = &self.worker;
        let window = Batches { page: self.next_page().take(), ..Batches::scheduled(clock.now()) };
        let batches = match self.reconcile_batches {
            ReconcileBatches::Auto => Some(Batches { only_ours: true, ..window }),
            ReconcileBatches::Always => Some(window),
            ReconcileBatches::Never => None,
        };
        let plan = Plan { batches, end: end.saturating_sub(LAST_LOOK), ..self.plan.clone() };
        let found = Reconciler { gemini: &archive.gemini, ledger, clock, plan }.run().await;
        self.next_page().clone_from(&found.next_page);
        found
    }

    fn next_page(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.next_page.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works one record after the other. An error of one row, a panic included, does not stop the others. The first one
    /// is returned at the end, so that the invocation counts as failed and Lambda repeats all its records once (the
    /// template's `MaximumRetryAttempts`). After that the sweep finds the rows. The answer names no records that failed
    /// (`batchItemFailures`): a row that has ended is not worked again, so all of them can be repeated.
    async fn stream(&self, event: StreamEvent, end: Millis) -> Result<Value, Error> {
        let (mut worked, mut failed) = (0, None);
        for record in &event.records {
            match key_of(record) {
                Some(key) => match self.worker.work(key, end).await {
                    Ok(_) => worked += 1,
                    Err(error) => {
                        tracing::error!(webhook_id = key, %error, "not worked");
                        failed.get_or_insert(error);
                    }
                },
                None => tracing::warn!(record = record.event_id, "a stream record without a delivery's key"),
            }
        }
        failed.map_or_else(|| Ok(json!({"records": worked})), |error| Err(error.into()))
    }
}

fn key_of(record: &EventRecord) -> Option<&str> {
    match record.change.keys.get(attr::WEBHOOK_ID)? {
        AttributeValue::S(key) => Some(key),
        _ => None,
    }
}
