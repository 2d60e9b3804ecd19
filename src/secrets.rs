//! Secrets: where they come from, and a type that cannot be printed by accident.
//!
//! A secret is given in the environment or stored in Secrets Manager. A stored one is read when it is first needed and
//! again after 5 minutes. Where that fails, the old value stays in use for as long as the instance lives. Whatever
//! strangers send, there is at most one read in 30 seconds, or in 2 seconds while there is no value at all.

use std::{fmt, sync::Arc};

use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::clock::{Millis, SharedClock, SystemClock};

/// What the template writes into a secret that nobody has set yet.
pub const PLACEHOLDER: &str = "not-set-yet";

/// How long a value is used before it is read again.
const TTL: Millis = 300_000;

/// At least this long between two reads, while there is a value: a bad signature may ask for a newer one sooner.
const MIN_REFRESH_INTERVAL: Millis = 30_000;
/// At least this long between two reads while there is no value at all.
const RETRY: Millis = 2_000;

/// A text that is wiped from memory when dropped and shows as `[REDACTED]`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// Where a secret is.
#[derive(Clone, Debug)]
pub enum SecretSource {
    Given(Secret),
    /// The id or ARN of a Secrets Manager secret.
    Stored(String),
}

impl SecretSource {
    fn name(&self) -> &str {
        match self {
            Self::Given(_) => "in the environment",
            Self::Stored(id) => id,
        }
    }
}

/// Why a secret is not available. The text is for the log and never contains the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("secret {0} still holds the template's placeholder: it has not been set")]
    NotSet(String),
    #[error("secret {0} is not usable: {1}")]
    Unusable(String, String),
    #[error("secret {0} could not be read: {1}")]
    Unavailable(String, String),
}

type Parse<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// A secret, read and parsed when needed. Callers wait for each other, so deliveries that come at once cause one read.
pub struct SecretStore<T> {
    source: SecretSource,
    client: aws_sdk_secretsmanager::Client,
    parse: Parse<T>,
    clock: SharedClock,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    known: Result<Arc<T>, SecretError>,
    fresh_until: Millis,
    /// No read before this time.
    not_before: Millis,
}

impl<T> SecretStore<T> {
    /// `parse` says what is wrong with a value. Its error must not contain the value.
    pub fn new(
        source: SecretSource,
        client: aws_sdk_secretsmanager::Client,
        parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        let unread = SecretError::Unavailable(source.name().to_owned(), "nobody has asked yet".to_owned());
        let held = Held { known: Err(unread), fresh_until: 0, not_before: 0 };
        Self { source, client, parse: Box::new(parse), clock: Arc::new(SystemClock), held: Mutex::new(held) }
    }

    #[must_use]
    pub fn with_clock(self, clock: SharedClock) -> Self {
        Self { clock, ..self }
    }

    /// The value, read again if it is older than 5 minutes. If that fails, the old value is returned.
    pub async fn get(&self) -> Result<Arc<T>, SecretError> {
        let mut held = self.held.lock().await;
        if held.known.is_err() || self.clock.now() >= held.fresh_until {
            self.refresh(&mut held).await;
        }
        held.known.clone()
    }

    /// A newer value than `known`, if there is one: for a signature or a token that `known` does not match. All callers
    /// together cause at most one read in 30 seconds.
    pub async fn renewed(&self, known: &Arc<T>) -> Option<Arc<T>> {
        if matches!(self.source, SecretSource::Given(_)) {
            return None;
        }
        let mut held = self.held.lock().await;
        if held.known.as_ref().is_ok_and(|held| Arc::ptr_eq(held, known)) {
            self.refresh(&mut held).await;
        }
        held.known.as_ref().ok().filter(|held| !Arc::ptr_eq(held, known)).cloned()
    }

    /// Reads the value, unless the last read was a moment ago. A failed read never replaces a value.
    async fn refresh(&self, held: &mut Held<T>) {
        if self.clock.now() < held.not_before {
            return;
        }
        let read = self.read().await;
        let now = self.clock.now();
        match (read, &held.known) {
            (Err(error), Ok(_)) => {
                tracing::warn!(%error, "keeping the secret read earlier");
                held.not_before = now + MIN_REFRESH_INTERVAL;
            }
            (Err(error), Err(_)) => {
                held.known = Err(error);
                held.not_before = now + RETRY;
            }
            (Ok(value), _) => {
                held.known = Ok(Arc::new(value));
                (held.fresh_until, held.not_before) = (now + TTL, now + MIN_REFRESH_INTERVAL);
            }
        }
    }

    async fn read(&self) -> Result<T, SecretError> {
        match &self.source {
            SecretSource::Given(secret) => self.parse(secret),
            SecretSource::Stored(id) => {
                let value = self
                    .client
                    .get_secret_value()
                    .secret_id(id)
                    .send()
                    .await
                    .map_err(|error| SecretError::Unavailable(id.clone(), crate::aws::explain(&error)))?;
                let text = Secret::new(value.secret_string().unwrap_or_default());
                self.parse(&text)
            }
        }
    }

    fn parse(&self, secret: &Secret) -> Result<T, SecretError> {
        let text = secret.expose().trim();
        let name = || self.source.name().to_owned();
        if text == PLACEHOLDER {
            return Err(SecretError::NotSet(name()));
        }
        (self.parse)(text).map_err(|why| SecretError::Unusable(name(), why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_cannot_be_printed() {
        let secret = Secret::new("whsec_very-private");
        assert_eq!(format!("{secret:?}"), "[REDACTED]");
        assert_eq!(format!("{:?}", SecretSource::Given(secret)), "Given([REDACTED])");
    }
}
