//! How the time of one invocation is divided, so that what is begun can be put off before Lambda ends the process.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Millis, until};

/// Work stops this long before the invocation does, so that the row can be put off in time.
const MARGIN: Duration = Duration::from_secs(20);

/// Of the margin, for an attempt to say how far it has come. After that it is dropped.
const GRACE: Duration = Duration::from_secs(5);

/// Of the margin, for the last write to the tables.
const LAST_WRITE: Duration = Duration::from_secs(7);

/// When the work of one invocation must have ended.
#[derive(Clone, Copy)]
pub struct Time {
    /// An attempt begins nothing more.
    pub deadline: Instant,
    /// An attempt that still runs is dropped.
    pub drop: Instant,
    /// Nothing is begun but the last write.
    pub last_write: Instant,
}

impl Time {
    /// Of an invocation that ends then. None where nothing begun now could be put off in time.
    pub fn new(now: Millis, end: Millis) -> Option<Self> {
        let (start, left) = (Instant::now(), until(now, end));
        if left <= MARGIN {
            return None;
        }
        let deadline = start + left.saturating_sub(MARGIN);
        let last_write = start + left.saturating_sub(LAST_WRITE);
        Some(Self { deadline, drop: deadline + GRACE, last_write })
    }
}
