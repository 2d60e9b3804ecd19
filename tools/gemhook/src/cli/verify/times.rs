//! The times of a verdict, and how they are shown.

use gemhook::{clock::rfc3339, webhook::Tolerance};

/// Takes any time, so that what else is wrong can be said.
pub(super) const WIDE: Tolerance = Tolerance { past_seconds: i64::MAX, future_seconds: i64::MAX };

/// In seconds since the epoch.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub signed: i64,
    pub at: i64,
}

/// A time as RFC 3339 writes it, or in seconds where it cannot.
pub(super) fn told(seconds: i64) -> String {
    let text = rfc3339(seconds.saturating_mul(1000));
    if text.is_empty() { seconds.to_string() } else { text }
}

/// A length of time, as people say it.
pub(super) fn span(seconds: i64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{days} days {hours} h"),
    }
}
