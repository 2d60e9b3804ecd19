//! Secrets: where they come from, and a type that cannot be printed by accident.
//!
//! A secret is given in the environment or held by Secrets Manager. A stored one is read when first needed,
//! kept for some minutes and, when it cannot be read again, kept for as long as the instance lives.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// What the template writes into a secret that nobody has set yet.
pub const PLACEHOLDER: &str = "not-set-yet";

const FRESH: Duration = Duration::from_secs(300);

/// Between two reads that somebody else's bad signatures ask for.
const COOL_DOWN: Duration = Duration::from_secs(30);

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

/// Why a secret is not to be had. The text is for the log and names no value.
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

/// A secret, read and parsed when needed.
pub struct SecretStore<T> {
    source: SecretSource,
    client: aws_sdk_secretsmanager::Client,
    parse: Parse<T>,
    cached: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T> SecretStore<T> {
    pub fn new(
        source: SecretSource,
        client: aws_sdk_secretsmanager::Client,
        parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { source, client, parse: Box::new(parse), cached: Mutex::new(None) }
    }

    pub async fn get(&self) -> Result<Arc<T>, SecretError> {
        let mut cached = self.cached.lock().await;
        if let Some((read, value)) = cached.as_ref()
            && read.elapsed() < FRESH
        {
            return Ok(Arc::clone(value));
        }
        match (self.read().await, cached.as_ref()) {
            (Ok(value), _) => {
                let value = Arc::new(value);
                *cached = Some((Instant::now(), Arc::clone(&value)));
                Ok(value)
            }
            (Err(error), Some((_, stale))) => {
                tracing::warn!(%error, "keeping the secret read earlier");
                Ok(Arc::clone(stale))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// A value read after `known` was, if there may be one: for a signature that `known` does not explain. Bad
    /// signatures cause one read in a while, not one each.
    pub async fn renewed(&self, known: &Arc<T>) -> Option<Arc<T>> {
        if matches!(self.source, SecretSource::Given(_)) {
            return None;
        }
        let mut cached = self.cached.lock().await;
        match cached.as_ref() {
            Some((_, value)) if !Arc::ptr_eq(value, known) => return Some(Arc::clone(value)),
            Some((read, _)) if read.elapsed() < COOL_DOWN => return None,
            _ => {}
        }
        match self.read().await {
            Ok(value) => {
                let value = Arc::new(value);
                *cached = Some((Instant::now(), Arc::clone(&value)));
                Some(value)
            }
            Err(error) => {
                tracing::warn!(%error, "keeping the secret read earlier");
                *cached = Some((Instant::now(), Arc::clone(known)));
                None
            }
        }
    }

    async fn read(&self) -> Result<T, SecretError> {
        match &self.source {
            SecretSource::Given(secret) => self.parse("in the environment", secret),
            SecretSource::Stored(id) => {
                let value = self
                    .client
                    .get_secret_value()
                    .secret_id(id)
                    .send()
                    .await
                    .map_err(|error| SecretError::Unavailable(id.clone(), crate::aws::explain(&error)))?;
                let text = Secret::new(value.secret_string().unwrap_or_default());
                self.parse(id, &text)
            }
        }
    }

    fn parse(&self, name: &str, secret: &Secret) -> Result<T, SecretError> {
        let text = secret.expose().trim();
        if text == PLACEHOLDER {
            return Err(SecretError::NotSet(name.to_owned()));
        }
        (self.parse)(text).map_err(|why| SecretError::Unusable(name.to_owned(), why))
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
