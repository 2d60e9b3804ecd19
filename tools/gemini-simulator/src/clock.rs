//! Times as the simulator keeps them, and as the API writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Milliseconds since the epoch, the unit of every time in the records.
pub type Millis = i64;

/// A source of the present time.
pub trait Clock: Send + Sync {
    /// Now, in milliseconds since the epoch.
    fn now(&self) -> Millis;
}

/// The clock of the machine.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        now()
    }
}

/// Real time, for what others check by clocks of their own: signatures and public keys.
pub fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// How long from `now` until `then`; zero if it has passed.
pub fn until(now: Millis, then: Millis) -> Duration {
    Duration::from_millis(u64::try_from(then.saturating_sub(now)).unwrap_or(0))
}

/// As the API writes times: UTC, with a fraction where there is one. Empty for a time after the year 9999.
pub fn rfc3339(time: Millis) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time) * 1_000_000).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_api_writes_them() {
        assert_eq!(rfc3339(1_780_000_000_000), "2026-05-28T20:26:40Z");
        assert_eq!(rfc3339(1_780_000_000_120), "2026-05-28T20:26:40.12Z");
        assert_eq!(rfc3339(Millis::MAX), "");
    }

    #[test]
    fn a_time_that_has_passed_is_waited_for_no_longer() {
        assert_eq!((until(1, 3), until(3, 1)), (Duration::from_millis(2), Duration::ZERO));
    }
}
