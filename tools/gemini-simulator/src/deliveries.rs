//! The events that are owed: each is sent until it is accepted or a day has passed, whatever crashes between.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream};
use reqwest::{Client, redirect};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{
    Settings,
    faults::{FaultKind, Faults},
    job::Event,
    keys::{IssuerKeys, Subject},
    locked,
    movable_clock::MovableClock,
    now, rfc3339,
    scheduler::Scheduler,
    settings::{DynamicForm, MetadataPlace},
    store::RecordStore,
    webhooks::{State, Webhooks},
};
use crate::{
    clock::{Clock, Millis, millis},
    explain,
    signing::SigningSecrets,
};

const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 3600);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_CONCURRENCY: usize = 64;

/// One attempt to deliver one copy of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub webhook_id: String,
    pub event_type: String,
    pub uri: String,
    /// Counted from one.
    pub attempt: u32,
    /// Counted from one.
    pub copy: u32,
    /// The status of the answer, or why there was none.
    pub answer: Result<u16, String>,
}

impl Sent {
    pub fn accepted(&self) -> bool {
        self.answer.as_ref().is_ok_and(|status| (200..300).contains(status))
    }
}

/// An event and one place that it is to be delivered to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Delivery {
    name: String,
    webhook_id: String,
    event_type: String,
    /// Kept as text: every attempt sends the same bytes.
    body: String,
    target: Target,
    attempts: u32,
    owed_since: Millis,
    due: Millis,
    end: Option<DeliveryEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Target {
    /// The webhook that is built in, wherever it is today.
    Registered,
    /// The id of another registered webhook.
    Webhook(String),
    /// An address that the job came with.
    Dynamic(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum DeliveryEnd {
    Accepted,
    GivenUp,
    /// By a fault, without an attempt.
    Dropped,
}

/// What a fault makes of an event.
#[derive(Clone, Copy)]
enum AttemptOutcome {
    Sent,
    Dropped,
    Delayed(Duration),
}

impl AttemptOutcome {
    fn apply_faults(self, mut delivery: Delivery) -> Delivery {
        match self {
            Self::Sent => {}
            Self::Dropped => delivery.end = Some(DeliveryEnd::Dropped),
            Self::Delayed(wait) => delivery.due = delivery.due.saturating_add(millis(wait)),
        }
        delivery
    }
}

pub(super) struct Deliveries {
    shelf: RecordStore,
    owed: Mutex<HashMap<String, Delivery>>,
    scheduler: Scheduler,
    client: Client,
    webhook_url: String,
    secrets: SigningSecrets,
    webhooks: Arc<Webhooks>,
    faults: Arc<Faults>,
    issuer: Arc<IssuerKeys>,
    clock: Arc<MovableClock>,
    dynamic_form: DynamicForm,
    metadata_place: MetadataPlace,
    copies: u32,
    retries: Vec<Duration>,
    sent: broadcast::Sender<Sent>,
}

impl Deliveries {
    pub(super) async fn open(
        folder: PathBuf,
        (webhook_url, secrets): (&str, SigningSecrets),
        webhooks: Arc<Webhooks>,
        faults: Arc<Faults>,
        issuer: Arc<IssuerKeys>,
        clock: Arc<MovableClock>,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let shelf = RecordStore::open(folder).await?;
        let (mut owed, scheduler) = (HashMap::new(), Scheduler::new(&clock));
        let loaded: Vec<Delivery> = shelf.load().await?;
        for delivery in loaded.into_iter().filter(|delivery| delivery.end.is_none()) {
            // At once, however long its wait was to be: whoever starts the simulator again is looking on.
            scheduler.add(clock.now(), &delivery.name);
            owed.insert(delivery.name.clone(), delivery);
        }
        Ok(Self {
            shelf,
            owed: Mutex::new(owed),
            scheduler,
            client: Client::builder()
                .redirect(redirect::Policy::none())
                .timeout(ATTEMPT_TIMEOUT)
                .user_agent("Google-Gemini-Webhooks/simulated")
                .no_proxy()
                .build()?,
            webhook_url: webhook_url.to_owned(),
            secrets,
            webhooks,
            faults,
            issuer,
            clock,
            dynamic_form: settings.dynamic_form,
            metadata_place: settings.metadata_place,
            copies: settings.copies.max(1),
            retries: settings.retries.clone(),
            sent: broadcast::channel(1024).0,
        })
    }

    pub(super) fn watch(&self) -> broadcast::Receiver<Sent> {
        self.sent.subscribe()
    }

    /// Makes the event of a job that has ended owed to `uris`, or else to whoever has subscribed to it. To call it
    /// again changes nothing, also after a crash: the names of the deliveries follow from the id, and a delivery's
    /// record stays when it has ended.
    pub(super) async fn schedule(&self, id: &str, uris: &[String], event: &Event<'_>) -> anyhow::Result<()> {
        let place = |place: usize| if place == 0 { id.to_owned() } else { format!("{id}.{place}") };
        let dynamic = uris.iter().cloned().map(Target::Dynamic);
        let mut targets: Vec<_> = dynamic.enumerate().map(|(at, target)| (place(at), target)).collect();
        if targets.is_empty() {
            // The built-in webhook's record is written last: once it is there, nobody who registers later is
            // told of what is past.
            if self.shelf.holds(id).await? {
                return Ok(());
            }
            let others = self.webhooks.subscribed(event.event_type).into_iter();
            targets.extend(others.map(|other| (format!("{id}.{other}"), Target::Webhook(other))));
            targets.push((id.to_owned(), Target::Registered));
        }
        let body = self.body(event)?;
        let mut fate = None;
        for (name, target) in targets {
            if !self.shelf.holds(&name).await? {
                let fate = *fate.get_or_insert_with(|| self.fate(event.event_type));
                let delivery = Delivery::new(name, id, event.event_type, &body, target, self.clock.now());
                self.add(fate.apply_faults(delivery)).await?;
            }
        }
        Ok(())
    }

    /// What a fault makes of an event, the same for every receiver.
    fn fate(&self, event_type: &str) -> AttemptOutcome {
        let fate = self.faults.strike(event_type, |kind| match kind {
            FaultKind::Dropped {} => Some(AttemptOutcome::Dropped),
            FaultKind::Delayed { wait } => Some(AttemptOutcome::Delayed(wait.0)),
            _ => None,
        });
        fate.unwrap_or(AttemptOutcome::Sent)
    }

    fn body(&self, event: &Event<'_>) -> anyhow::Result<String> {
        if self.metadata_place == MetadataPlace::Top {
            return Ok(serde_json::to_string(event)?);
        }
        let mut event = serde_json::to_value(event)?;
        let metadata = event.as_object_mut().and_then(|event| event.remove("user_metadata"));
        let data = event.get_mut("data").and_then(Value::as_object_mut);
        if let (MetadataPlace::Data, Some(metadata), Some(data)) = (self.metadata_place, metadata, data) {
            data.insert("user_metadata".to_owned(), metadata);
        }
        Ok(event.to_string())
    }

    /// What a ping sends is not documented: an event without a job, in the ordinary envelope.
    pub(super) async fn ping(&self, webhook: &str) -> anyhow::Result<()> {
        let now = self.clock.now();
        let event = json!({"type": "ping", "version": "v1", "timestamp": rfc3339(now), "data": {}});
        let target = match self.webhooks.is_builtin(webhook) {
            true => Target::Registered,
            false => Target::Webhook(webhook.to_owned()),
        };
        let id = format!("msg_{}", Uuid::new_v4());
        self.add(Delivery::new(id.clone(), &id, "ping", &event.to_string(), target, now)).await
    }

    async fn add(&self, delivery: Delivery) -> anyhow::Result<()> {
        let (name, due) = (delivery.name.clone(), delivery.due);
        self.shelf.write(&name, &delivery).await?;
        if delivery.end.is_none() {
            locked(&self.owed).insert(name.clone(), delivery);
            self.scheduler.add(due, &name);
        }
        Ok(())
    }

    /// Sends what is due, for ever.
    pub(super) async fn run(self: &Arc<Self>) {
        let due = stream::unfold(Arc::clone(self), |this| async {
            let name = this.scheduler.next().await;
            Some(((Arc::clone(&this), name), this))
        });
        due.for_each_concurrent(MAX_CONCURRENCY, |(this, name)| async move { this.attempt(&name).await })
            .await;
    }

    async fn attempt(&self, name: &str) {
        let Some(mut delivery) = locked(&self.owed).get(name).cloned() else { return };
        let timestamp = now().div_euclid(1000);
        match self.address(&delivery, timestamp) {
            Some((uri, signature)) => {
                delivery.attempts = delivery.attempts.saturating_add(1);
                let copies =
                    (1..=self.copies).map(|copy| self.send(&delivery, &uri, timestamp, &signature, copy));
                let accepted = join_all(copies).await.into_iter().all(|accepted| accepted);
                delivery.settle(accepted, self.clock.now(), &self.retries);
                self.disable_if_given_up(&delivery).await;
            }
            None => delivery.end = Some(DeliveryEnd::GivenUp),
        }
        // Should the disk fail, the event is still sent; after a restart perhaps once more than needed.
        if let Err(error) = self.shelf.write(name, &delivery).await {
            tracing::warn!(%error, name, "the record of a delivery could not be written");
        }
        if delivery.end.is_some() {
            locked(&self.owed).remove(name);
        } else {
            let due = delivery.due;
            locked(&self.owed).insert(name.to_owned(), delivery);
            self.scheduler.add(due, name);
        }
    }

    /// Where a delivery goes today and its signature: the one place where events are signed. Nothing where the
    /// webhook was deleted or is disabled.
    fn address(&self, delivery: &Delivery, timestamp: i64) -> Option<(String, String)> {
        let sign = |secrets: &SigningSecrets| {
            secrets.sign(&delivery.webhook_id, timestamp, delivery.body.as_bytes())
        };
        match &delivery.target {
            Target::Registered => Some((self.webhook_url.clone(), sign(&self.secrets))),
            Target::Dynamic(uri) => {
                let subject = Subject { id: &delivery.webhook_id, timestamp, audience: uri };
                let signed = self.issuer.sign(self.dynamic_form, subject, delivery.body.as_bytes());
                let failed = |error: &anyhow::Error| tracing::error!(%error, "an event could not be signed");
                Some((uri.clone(), signed.inspect_err(failed).ok()?))
            }
            Target::Webhook(id) => {
                let (uri, secrets) = self.webhooks.signing(id)?;
                Some((uri, sign(&secrets)))
            }
        }
    }

    /// A webhook that did not take an event for a whole day is sent no more of them.
    async fn disable_if_given_up(&self, delivery: &Delivery) {
        if let (Some(DeliveryEnd::GivenUp), Target::Webhook(id)) = (&delivery.end, &delivery.target) {
            let disable =
                self.webhooks.change(id, |webhook| webhook.state = State::DisabledDueToFailedDeliveries);
            if disable.await.is_err() {
                tracing::warn!(id, "the webhook could not be disabled");
            }
        }
    }

    /// Whether the copy was accepted.
    async fn send(&self, delivery: &Delivery, uri: &str, timestamp: i64, signature: &str, copy: u32) -> bool {
        let request = self
            .client
            .post(uri)
            .header("content-type", "application/json")
            .header("webhook-id", &delivery.webhook_id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(delivery.body.clone());
        let answer = request.send().await;
        let sent = Sent {
            webhook_id: delivery.webhook_id.clone(),
            event_type: delivery.event_type.clone(),
            uri: uri.to_owned(),
            attempt: delivery.attempts,
            copy,
            answer: answer.map(|answer| answer.status().as_u16()).map_err(|error| explain(&error)),
        };
        tracing::debug!(?sent, "an event was sent");
        let accepted = sent.accepted();
        // Nobody needs to look on.
        let _ = self.sent.send(sent);
        accepted
    }
}

impl Delivery {
    fn new(
        name: String,
        webhook_id: &str,
        event_type: &str,
        body: &str,
        target: Target,
        now: Millis,
    ) -> Self {
        Self {
            name,
            webhook_id: webhook_id.to_owned(),
            event_type: event_type.to_owned(),
            body: body.to_owned(),
            target,
            attempts: 0,
            owed_since: now,
            due: now,
            end: None,
        }
    }

    fn settle(&mut self, accepted: bool, now: Millis, retries: &[Duration]) {
        if accepted {
            self.end = Some(DeliveryEnd::Accepted);
            return;
        }
        let nth = usize::try_from(self.attempts).unwrap_or(usize::MAX).saturating_sub(1);
        let due = retries.get(nth).or(retries.last()).map(|wait| now.saturating_add(millis(*wait)));
        match due.filter(|due| *due <= self.owed_since.saturating_add(millis(GIVEN_UP_AFTER))) {
            Some(due) => self.due = due,
            None => self.end = Some(DeliveryEnd::GivenUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(retries: &[Duration]) -> Vec<Millis> {
        let mut delivery = Delivery::new("d".into(), "d", "t", "{}", Target::Registered, 0);
        let mut waits = Vec::new();
        loop {
            delivery.attempts += 1;
            let before = delivery.due;
            delivery.settle(false, before, retries);
            if delivery.end.is_some() {
                return waits;
            }
            waits.push((delivery.due - before) / 1000);
        }
    }

    #[test]
    fn an_event_is_retried_for_a_day() {
        let retries = Settings::default().retries;
        assert_eq!(waits(&retries), [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800]);
        assert_eq!(waits(&[Duration::from_secs(36_000)]), [36_000, 36_000]);
        assert!(waits(&[]).is_empty());
    }
}
