//! The simulator's clock: real time, plus the time by which somebody moved it forward.
//!
//! Jobs, files, old secrets, waits between deliveries and the duration of faults go by this clock. The timestamp of a
//! signature does not: whoever verifies it has the real time. A simulator that is started again goes on where its
//! clock was, so no record lies in its future.

use std::{fs, io::ErrorKind, path::PathBuf, time::Duration};

use anyhow::Context;
use tokio::sync::{Mutex, watch};

use super::store::blocking;
use crate::clock::{Clock, Millis, SystemClock, millis};

/// Ten years. More would leave what times can be written as.
pub(super) const MAX_FORWARD: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A clock that can be moved forward, never backward.
pub struct MovableClock {
    /// How far it is ahead of real time, in milliseconds.
    forward: watch::Sender<Millis>,
    /// Where that is kept, if anywhere.
    path: Option<PathBuf>,
    /// Held while the clock is moved, so that the file has the last move.
    moving: Mutex<()>,
}

impl MovableClock {
    /// Reads how far the clock was ahead, or begins with `at_least` where that is more.
    pub(super) async fn open(path: PathBuf, at_least: Duration) -> anyhow::Result<Self> {
        let kept = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().with_context(|| format!("cannot read {}", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let clock = Self { forward: watch::channel(kept).0, path: Some(path), moving: Mutex::default() };
        clock.move_to(at_least).await?;
        Ok(clock)
    }

    /// How far it is ahead of real time.
    pub fn forward(&self) -> Duration {
        Duration::from_millis(u64::try_from(*self.forward.borrow()).unwrap_or(0))
    }

    /// Moves the clock to `forward` ahead of real time. A clock that is further ahead stays where it is: the answer is
    /// how far it is ahead now.
    pub async fn move_to(&self, forward: Duration) -> anyhow::Result<Duration> {
        let forward = millis(forward.min(MAX_FORWARD));
        let _alone = self.moving.lock().await;
        if forward > *self.forward.borrow() {
            if let Some(path) = self.path.clone() {
                blocking(move || Ok(fs::write(&path, forward.to_string())?)).await?;
            }
            self.forward.send_replace(forward);
        }
        Ok(self.forward())
    }

    /// Sees each later move of the clock.
    pub(super) fn moves(&self) -> watch::Receiver<Millis> {
        self.forward.subscribe()
    }
}

/// Real time, kept nowhere.
impl Default for MovableClock {
    fn default() -> Self {
        Self { forward: watch::channel(0).0, path: None, moving: Mutex::default() }
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Millis {
        SystemClock.now().saturating_add(*self.forward.borrow())
    }
}
