//! What is due when. It holds names only: whoever takes one looks up what is to be done.

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex},
};

use tokio::{select, sync::Notify, time::sleep};

use super::{locked, movable_clock::MovableClock};
use crate::clock::{Clock, Millis, until};

pub(super) struct Scheduler {
    due: Mutex<BTreeSet<(Millis, String)>>,
    changed: Notify,
    clock: Arc<MovableClock>,
}

impl Scheduler {
    pub(super) fn new(clock: &Arc<MovableClock>) -> Self {
        Self { due: Mutex::default(), changed: Notify::new(), clock: Arc::clone(clock) }
    }

    pub(super) fn add(&self, due: Millis, name: &str) {
        locked(&self.due).insert((due, name.to_owned()));
        self.changed.notify_one();
    }

    /// Waits until something is due and takes it off the agenda.
    pub(super) async fn next(&self) -> String {
        let mut moves = self.clock.moves();
        loop {
            let wait = {
                let mut due = locked(&self.due);
                let now = self.clock.now();
                match due.first() {
                    Some((at, _)) if *at > now => Some(until(now, *at)),
                    Some(_) => match due.pop_first() {
                        Some((_, name)) => return name,
                        None => None,
                    },
                    None => None,
                }
            };
            let waited = async {
                match wait {
                    Some(wait) => sleep(wait).await,
                    None => pending().await,
                }
            };
            select! {
                () = self.changed.notified() => {}
                Ok(()) = moves.changed() => {}
                () = waited => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_is_due_first_comes_first_whenever_it_was_added() {
        let clock = Arc::new(MovableClock::default());
        let scheduler = Arc::new(Scheduler::new(&clock));
        let now = || clock.now();
        scheduler.add(now() + 60_000, "later");
        let waiting = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { [scheduler.next().await, scheduler.next().await] }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        scheduler.add(now() + 40, "soon");
        scheduler.add(now() + 10, "sooner");
        assert_eq!(waiting.await.unwrap(), ["sooner", "soon"]);
        assert!(timeout(Duration::from_millis(20), scheduler.next()).await.is_err());
    }

    #[tokio::test]
    async fn what_is_due_later_is_due_at_once_when_the_clock_is_moved_past_it() {
        let clock = Arc::new(MovableClock::default());
        let scheduler = Arc::new(Scheduler::new(&clock));
        scheduler.add(clock.now() + 172_800_000, "in two days");
        let waiting = tokio::spawn(async move { scheduler.next().await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        clock.move_to(Duration::from_secs(172_801)).await.unwrap();
        assert_eq!(timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap(), "in two days");
    }
}
