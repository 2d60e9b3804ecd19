//! The registered webhooks: where each is, what it wants to hear, and the secrets that its events are signed with.
//!
//! One is built in, which the simulator was started with. It is listed like the others, and nobody can change it. It
//! receives every event, also the two that nobody can subscribe to.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, RwLock},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    locked_for_reading, locked_for_writing, movable_clock::MovableClock, random_id, store::RecordStore,
};
use crate::{
    catalogue::SUBSCRIBABLE_EVENTS,
    clock::{Clock, Millis, millis},
    signing::{Secret, SigningSecrets},
};

/// How long an old secret signs beside the new one, unless it is revoked at once.
const OLD_SECRET_SIGNS: Duration = Duration::from_secs(24 * 3600);

/// Without `Debug`: it holds secrets.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Webhook {
    pub id: String,
    pub name: Option<String>,
    pub uri: String,
    pub subscribed_events: Vec<String>,
    pub state: State,
    /// Newest first.
    pub secrets: Vec<SigningSecret>,
    pub created: Millis,
    pub updated: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Enabled,
    Disabled,
    DisabledDueToFailedDeliveries,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SigningSecret {
    text: String,
    pub expires: Option<Millis>,
}

impl SigningSecret {
    /// Thirty-two characters inside, as those of the API have.
    fn fresh() -> (Self, Secret) {
        let text = format!("whsec_{}", BASE64_STANDARD.encode(Uuid::new_v4().simple().to_string()));
        (Self { text: text.clone(), expires: None }, Secret::new(text))
    }

    /// All that is ever shown of it again.
    pub(super) fn truncated(&self) -> String {
        let tail: String = self.text.chars().rev().take(4).collect();
        format!("whsec_...{}", tail.chars().rev().collect::<String>())
    }

    fn counts(&self, now: Millis) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Webhook {
    /// The secrets that have not expired.
    pub(super) fn current(&self, now: Millis) -> impl Iterator<Item = &SigningSecret> {
        self.secrets.iter().filter(move |secret| secret.counts(now))
    }
}

/// What a client chooses of a webhook.
pub(super) struct NewWebhook {
    pub name: Option<String>,
    pub uri: String,
    pub subscribed_events: Vec<String>,
}

/// Why a webhook was not changed.
pub(super) enum Refused {
    Missing,
    BuiltIn,
    ProcessingError(anyhow::Error),
}

pub(super) struct Webhooks {
    shelf: RecordStore,
    builtin: Webhook,
    registered: RwLock<BTreeMap<String, Webhook>>,
    clock: Arc<MovableClock>,
    /// Held while a record is read, changed and written.
    changing: Mutex<()>,
}

impl Webhooks {
    pub(super) async fn open(
        folder: PathBuf,
        uri: &str,
        secret: &Secret,
        clock: &Arc<MovableClock>,
    ) -> anyhow::Result<Self> {
        let shelf = RecordStore::open(folder).await?;
        let loaded: Vec<Webhook> = shelf.load().await?;
        let registered = loaded.into_iter().map(|webhook| (webhook.id.clone(), webhook)).collect();
        let builtin = Webhook {
            id: "builtin".into(),
            name: Some("built in".into()),
            uri: uri.to_owned(),
            subscribed_events: SUBSCRIBABLE_EVENTS.map(str::to_owned).to_vec(),
            state: State::Enabled,
            secrets: vec![SigningSecret { text: secret.expose().to_owned(), expires: None }],
            created: 0,
            updated: 0,
        };
        Ok(Self {
            shelf,
            builtin,
            registered: RwLock::new(registered),
            clock: Arc::clone(clock),
            changing: Mutex::new(()),
        })
    }

    pub(super) fn is_builtin(&self, id: &str) -> bool {
        id == self.builtin.id
    }

    pub(super) fn get(&self, id: &str) -> Option<Webhook> {
        if self.is_builtin(id) {
            return Some(self.builtin.clone());
        }
        locked_for_reading(&self.registered).get(id).cloned()
    }

    /// Oldest first, the one that is built in before all others.
    pub(super) fn list(&self) -> Vec<Webhook> {
        let mut found: Vec<Webhook> = locked_for_reading(&self.registered).values().cloned().collect();
        found.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
        found.insert(0, self.builtin.clone());
        found
    }

    /// The ids of those that want to hear of such an event, the built-in one left out.
    pub(super) fn subscribed(&self, event: &str) -> Vec<String> {
        let wants = |webhook: &&Webhook| {
            webhook.state == State::Enabled && webhook.subscribed_events.iter().any(|name| name == event)
        };
        locked_for_reading(&self.registered)
            .values()
            .filter(wants)
            .map(|webhook| webhook.id.clone())
            .collect()
    }

    /// The secrets of a webhook that is enabled, and where it is.
    pub(super) fn signing(&self, id: &str) -> Option<(String, SigningSecrets)> {
        let webhook = self.get(id).filter(|webhook| webhook.state == State::Enabled)?;
        let texts: Vec<&str> = webhook.current(self.clock.now()).map(|secret| secret.text.as_str()).collect();
        let secrets = SigningSecrets::parse(&texts.join(" ")).ok()?;
        Some((webhook.uri, secrets))
    }

    pub(super) async fn create(&self, new: NewWebhook) -> anyhow::Result<(Webhook, Secret)> {
        let (signing, secret) = SigningSecret::fresh();
        let now = self.clock.now();
        let webhook = Webhook {
            id: random_id(36),
            name: new.name,
            uri: new.uri,
            subscribed_events: new.subscribed_events,
            state: State::Enabled,
            secrets: vec![signing],
            created: now,
            updated: now,
        };
        self.write(webhook.clone()).await?;
        Ok((webhook, secret))
    }

    pub(super) async fn change(
        &self,
        id: &str,
        change: impl FnOnce(&mut Webhook),
    ) -> Result<Webhook, Refused> {
        if self.is_builtin(id) {
            return Err(Refused::BuiltIn);
        }
        let _alone = self.changing.lock().await;
        let mut webhook = self.get(id).ok_or(Refused::Missing)?;
        change(&mut webhook);
        webhook.updated = self.clock.now();
        self.write(webhook.clone()).await?;
        Ok(webhook)
    }

    /// Makes a new secret the first one. It is shown this once.
    pub(super) async fn rotate(&self, id: &str, at_once: bool) -> Result<Secret, Refused> {
        let (signing, secret) = SigningSecret::fresh();
        self.change(id, |webhook| {
            let now = self.clock.now();
            let last = now.saturating_add(millis(OLD_SECRET_SIGNS));
            webhook.secrets.retain(|old| !at_once && old.counts(now));
            for old in &mut webhook.secrets {
                old.expires = Some(old.expires.unwrap_or(last));
            }
            webhook.secrets.insert(0, signing);
        })
        .await?;
        Ok(secret)
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), Refused> {
        if self.is_builtin(id) {
            return Err(Refused::BuiltIn);
        }
        let _alone = self.changing.lock().await;
        self.get(id).ok_or(Refused::Missing)?;
        self.shelf.remove(id, &[]).await?;
        locked_for_writing(&self.registered).remove(id);
        Ok(())
    }

    async fn write(&self, webhook: Webhook) -> anyhow::Result<()> {
        self.shelf.write(&webhook.id, &webhook).await?;
        locked_for_writing(&self.registered).insert(webhook.id.clone(), webhook);
        Ok(())
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self::ProcessingError(error)
    }
}
