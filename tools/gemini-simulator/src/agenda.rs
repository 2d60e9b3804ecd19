//! What is due when. It holds names only: whoever takes one looks up what is to be done.

use std::{collections::BTreeSet, sync::Mutex};

use tokio::{sync::Notify, time::timeout};

use super::{locked, now};
use crate::clock::{Millis, until};

#[derive(Default)]
pub(super) struct Agenda {
    due: Mutex<BTreeSet<(Millis, String)>>,
    changed: Notify,
}

impl Agenda {
    pub(super) fn add(&self, due: Millis, name: &str) {
        locked(&self.due).insert((due, name.to_owned()));
        self.changed.notify_one();
    }

    /// Waits until something is due and takes it off the agenda.
    pub(super) async fn next(&self) -> String {
        loop {
            let wait = {
                let mut due = locked(&self.due);
                let now = now();
                match due.first() {
                    Some((at, _)) if *at > now => Some(until(now, *at)),
                    Some(_) => match due.pop_first() {
                        Some((_, name)) => return name,
                        None => None,
                    },
                    None => None,
                }
            };
            match wait {
                Some(wait) => drop(timeout(wait, self.changed.notified()).await),
                None => self.changed.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn what_is_due_first_comes_first_whenever_it_was_added() {
        let agenda = Arc::new(Agenda::default());
        agenda.add(now() + 60_000, "later");
        let waiting = tokio::spawn({
            let agenda = Arc::clone(&agenda);
            async move { [agenda.next().await, agenda.next().await] }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        agenda.add(now() + 40, "soon");
        agenda.add(now() + 10, "sooner");
        assert_eq!(waiting.await.unwrap(), ["sooner", "soon"]);
        assert!(timeout(Duration::from_millis(20), agenda.next()).await.is_err());
    }
}
