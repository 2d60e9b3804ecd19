//! The changes of deliveries since the page is served. They are kept in memory, the newest 10,000 of them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::dev::Change;
use gemhook::clock::{Clock, Millis, SystemClock};

const MAX_CHANGES: usize = 10_000;

/// A change, and when it was seen.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Seen {
    pub at: Millis,
    pub change: Change,
}

pub(super) struct History {
    seen: Mutex<VecDeque<Seen>>,
    live: broadcast::Sender<Seen>,
}

impl History {
    /// From now on, until the machine stops.
    pub(super) fn follow(mut changes: broadcast::Receiver<Change>) -> Arc<Self> {
        let history = Arc::new(Self { seen: Mutex::default(), live: broadcast::channel(1024).0 });
        let own = Arc::clone(&history);
        tokio::spawn(async move {
            loop {
                match changes.recv().await {
                    Ok(change) => own.add(Seen { at: SystemClock.now(), change }),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "changes were too quick for the page")
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
        history
    }

    fn add(&self, seen: Seen) {
        let mut all = self.all();
        if all.len() >= MAX_CHANGES {
            all.pop_front();
        }
        all.push_back(seen.clone());
        // Nobody needs to look on.
        let _ = self.live.send(seen);
    }

    /// Oldest first.
    pub(super) fn of(&self, webhook_id: &str) -> Vec<Seen> {
        self.all().iter().filter(|seen| seen.change.webhook_id == webhook_id).cloned().collect()
    }

    pub(super) fn live(&self) -> broadcast::Receiver<Seen> {
        self.live.subscribe()
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
