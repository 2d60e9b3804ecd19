//! The events that are owed: each is sent until it is accepted or a day has passed, whatever crashes between.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream};
use reqwest::{Client, redirect};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{
    Settings,
    delivery::{Delivery, DeliveryEnd, Target},
    faults::{FaultKind, Faults},
    job::Event,
    keys::{IssuerKeys, Subject},
    locked,
    movable_clock::MovableClock,
    now, rfc3339,
    scheduler::Scheduler,
    sending::{Conduct, Sending, Sent},
    settings::{DeliveryPolicy, DynamicForm, MetadataPlace},
    store::RecordStore,
    webhooks::{State, Webhooks},
};
use crate::{
    clock::{Clock, millis},
    signing::SigningSecrets,
};

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_CONCURRENCY: usize = 64;

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
    policy: Mutex<DeliveryPolicy>,
    /// How often in a row an attempt failed, by webhook.
    failures: Mutex<HashMap<String, u32>>,
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
            policy: Mutex::new(settings.delivery.clone()),
            failures: Mutex::default(),
            sent: broadcast::channel(1024).0,
        })
    }

    pub(super) fn policy(&self) -> DeliveryPolicy {
        locked(&self.policy).clone()
    }

    /// From the next attempt on.
    pub(super) fn set_policy(&self, policy: DeliveryPolicy) {
        *locked(&self.policy) = policy;
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
        let policy = self.policy();
        let conduct = Conduct::of(&self.faults, &delivery.event_type);
        let timestamp = match delivery.first_timestamp {
            Some(first) if conduct.not_restamped => first,
            _ => now().saturating_sub(millis(conduct.age)).div_euclid(1000),
        };
        match self.address(&delivery, timestamp) {
            Some((uri, signature)) => {
                delivery.first_timestamp.get_or_insert(timestamp);
                delivery.attempts = delivery.attempts.saturating_add(1);
                let signature = conduct.signature(signature, &delivery, timestamp);
                let (uri, signature) = (uri.as_str(), signature.as_str());
                let sending = Sending { delivery: &delivery, uri, timestamp, signature, conduct: &conduct };
                let copies = (1..=policy.copies.max(conduct.copies)).map(|copy| self.send(&sending, copy));
                let accepted = join_all(copies).await.into_iter().all(|accepted| accepted);
                delivery.settle(accepted, self.clock.now(), &policy.retries);
                self.disable_if_failing(&delivery, accepted, policy.disable_after).await;
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

    /// A webhook that did not take an event for a whole day is sent no more of them, nor one whose attempts failed so
    /// often in a row.
    async fn disable_if_failing(&self, delivery: &Delivery, accepted: bool, disable_after: Option<u32>) {
        let Target::Webhook(id) = &delivery.target else { return };
        if accepted {
            locked(&self.failures).remove(id);
            return;
        }
        let failures = {
            let mut failures = locked(&self.failures);
            let failed = failures.entry(id.clone()).or_default();
            *failed = failed.saturating_add(1);
            *failed
        };
        let given_up = matches!(delivery.end, Some(DeliveryEnd::GivenUp));
        if !given_up && disable_after.is_none_or(|most| failures < most) {
            return;
        }
        locked(&self.failures).remove(id);
        let disable =
            self.webhooks.change(id, |webhook| webhook.state = State::DisabledDueToFailedDeliveries);
        if disable.await.is_err() {
            tracing::warn!(id, "the webhook could not be disabled");
        }
    }

    /// Whether the copy was accepted.
    async fn send(&self, sending: &Sending<'_>, copy: u32) -> bool {
        let sent = sending.send(&self.client, copy).await;
        let accepted = sent.accepted();
        // Nobody needs to look on.
        let _ = self.sent.send(sent);
        accepted
    }
}
