//! Fetches the public keys (JWKS) from one fixed address and keeps them.
//!
//! A set is used for as long as its `Cache-Control` says, between 5 minutes and a day, and longer where no newer one
//! can be fetched. A signature that no known key made asks for a refresh, at most once a minute. One caller fetches and
//! the others wait for its result. A delivery by a known key never waits.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use reqwest::{Url, header::CACHE_CONTROL, redirect::Policy};
use tokio::sync::Mutex;

use super::jwks::KeySet;
use crate::clock::{Millis, SharedClock, SystemClock};

/// Bounds and default of `max-age`, in milliseconds.
const MIN_TTL: Millis = 300_000;
const DEFAULT_TTL: Millis = 3_600_000;
const MAX_TTL: Millis = 86_400_000;

/// At least this long between two fetches, whatever strangers send.
const MIN_REFRESH_INTERVAL: Millis = 60_000;
/// At least this long between two fetches while there is no key at all.
const RETRY: Millis = 5_000;

const FETCH_TIMEOUT: Duration = Duration::from_millis(1500);
const MAX_JWKS_BYTES: usize = 256 * 1024;

/// There are no keys, or newer ones are needed and may not be fetched yet. The sender is answered 503 and tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the public keys: {0}")]
pub struct JwksUnavailable(String);

/// The keys of one address. It is shared by all deliveries of an instance.
pub struct JwksCache {
    url: Url,
    http: reqwest::Client,
    clock: SharedClock,
    held: RwLock<Option<Held>>,
    /// One caller at a time holds this and fetches. The others wait and then find the new set.
    fetching: Mutex<NextFetch>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<KeySet>,
    /// Counts the fetches. A clock would not do: it cannot tell what happens within its tick.
    generation: u64,
    fresh_until: Millis,
}

#[derive(Default)]
struct NextFetch {
    not_before: Millis,
}

impl JwksCache {
    pub fn new(url: Url) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().redirect(Policy::none()).timeout(FETCH_TIMEOUT).build()?;
        let clock = Arc::new(SystemClock);
        Ok(Self { url, http, clock, held: RwLock::new(None), fetching: Mutex::default() })
    }

    #[must_use]
    pub fn with_clock(self, clock: SharedClock) -> Self {
        Self { clock, ..self }
    }

    /// The number of the set that is known. 0 before the first fetch.
    pub(super) fn generation(&self) -> u64 {
        self.held().map_or(0, |held| held.generation)
    }

    /// The keys as they are known. Stale ones are used while no newer ones can be fetched.
    pub(super) async fn current(&self) -> Result<Arc<KeySet>, JwksUnavailable> {
        if let Some(held) = self.held().filter(|held| self.clock.now() < held.fresh_until) {
            return Ok(held.keys);
        }
        match (self.newer_than(self.generation()).await, self.held()) {
            (Ok(keys), _) => Ok(keys),
            (Err(error), Some(held)) => {
                tracing::debug!(%error, "keeping the public keys fetched earlier");
                Ok(held.keys)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Keys of a later fetch than number `known`, for a signature that none of the known keys made. It fails while the
    /// next fetch is not allowed yet, and the sender is then answered 503.
    pub(super) async fn newer_than(&self, known: u64) -> Result<Arc<KeySet>, JwksUnavailable> {
        let mut next = self.fetching.lock().await;
        if let Some(held) = self.held().filter(|held| held.generation > known) {
            return Ok(held.keys);
        }
        if self.clock.now() < next.not_before {
            return Err(JwksUnavailable(
                "no known key made the signature, and the next refresh is rate-limited".to_owned(),
            ));
        }
        match self.fetch().await {
            Ok(held) => {
                next.not_before = self.clock.now() + MIN_REFRESH_INTERVAL;
                let keys = Arc::clone(&held.keys);
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
                Ok(keys)
            }
            Err(why) => {
                let wait = if self.held().is_some() { MIN_REFRESH_INTERVAL } else { RETRY };
                next.not_before = self.clock.now() + wait;
                tracing::warn!(why, "the public keys could not be fetched");
                Err(JwksUnavailable(why))
            }
        }
    }

    fn held(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the set. A set without a usable key is an error, so it cannot replace a good one.
    async fn fetch(&self) -> Result<Held, String> {
        let broken = |error: reqwest::Error| crate::aws::explain(&error);
        let mut answer = self.http.get(self.url.clone()).send().await.map_err(broken)?;
        if !answer.status().is_success() {
            return Err(format!("{} answered {}", self.url, answer.status().as_u16()));
        }
        let control = answer.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let fresh = control.and_then(max_age).unwrap_or(DEFAULT_TTL).clamp(MIN_TTL, MAX_TTL);
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(broken)? {
            text.extend_from_slice(&piece);
            if text.len() > MAX_JWKS_BYTES {
                return Err("the set is too large".to_owned());
            }
        }
        let keys = KeySet::parse(&text).map_err(|why| format!("the set is unreadable: {why}"))?;
        if keys.is_empty() {
            return Err("the set holds no key that can be used".to_owned());
        }
        let fresh_until = self.clock.now() + fresh;
        Ok(Held { keys: Arc::new(keys), generation: self.generation() + 1, fresh_until })
    }
}

/// The `max-age` of a `Cache-Control` header (RFC 9111, section 5.2.2.1), in milliseconds.
fn max_age(control: &str) -> Option<Millis> {
    let directive = control.split(',').find_map(|part| part.trim().strip_prefix("max-age="))?;
    directive.parse::<Millis>().ok().map(|seconds| seconds.saturating_mul(1000))
}
