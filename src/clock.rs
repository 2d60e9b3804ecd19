//! Time as an argument: all code that depends on the time is given a [`Clock`], so a test can set it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};

/// Milliseconds since the epoch, the unit of every time in the tables.
pub type Millis = i64;

pub trait Clock: Send + Sync {
    fn now(&self) -> Millis;

    /// Waits for this duration. The clock of a test may end the wait when the test moves it.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The clock of the machine.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
    }
}

pub type SharedClock = Arc<dyn Clock>;

pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// How long from `now` until `then`; zero if it has passed.
pub fn until(now: Millis, then: Millis) -> Duration {
    Duration::from_millis(u64::try_from(then.saturating_sub(now)).unwrap_or(0))
}

/// A time as RFC 3339 writes it, in UTC. Empty for a year that it cannot write (after 9999).
pub fn rfc3339(time: Millis) -> String {
    DateTime::from_millis(time).fmt(DateTimeFormat::DateTime).unwrap_or_default()
}

/// The time in a text of RFC 3339, with any offset.
pub fn from_rfc3339(text: &str) -> Option<Millis> {
    DateTime::from_str(text, DateTimeFormat::DateTimeWithOffset).ok()?.to_millis().ok()
}
