//! What changed while the page is served: the changes of deliveries, of which the newest 10,000 are kept in memory, and the
//! announcements.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::State,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::sleep,
};

use super::Shared;
use crate::{
    cli::{
        deliveries::stream::{ChangeStream, READ_EVERY},
        target::Target,
    },
    dev::{Announced, Change},
};
use gemhook::clock::{Clock, Millis, SystemClock};

const MAX_CHANGES: usize = 10_000;
/// Until a table's stream is asked again that did not answer.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// A change, and when it was seen.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Seen {
    pub at: Millis,
    pub change: Change,
}

#[derive(Clone, Debug)]
enum Live {
    Change(Seen),
    Announced(Announced),
    /// Why no changes come at present; none where they do again.
    Trouble(Option<String>),
}

impl Live {
    fn event(&self) -> Event {
        let event = match self {
            Self::Change(seen) => Event::default().event("change").json_data(seen),
            Self::Announced(event) => Event::default().event("announced").json_data(event),
            Self::Trouble(why) => Event::default().event("trouble").json_data(why),
        };
        event.unwrap_or_default()
    }
}

pub(super) struct History {
    seen: Mutex<VecDeque<Seen>>,
    trouble: Mutex<Option<String>>,
    live: broadcast::Sender<Live>,
}

impl History {
    fn new() -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), trouble: Mutex::default(), live: broadcast::channel(1024).0 })
    }

    /// From now on, until the machine stops.
    pub(super) fn of_machine(
        mut changes: broadcast::Receiver<Change>,
        mut announced: broadcast::Receiver<Announced>,
    ) -> Arc<Self> {
        let history = Self::new();
        let own = Arc::clone(&history);
        tokio::spawn(async move {
            while let Some(change) = next(&mut changes).await {
                own.add(change);
            }
        });
        let own = Arc::clone(&history);
        tokio::spawn(async move {
            while let Some(event) = next(&mut announced).await {
                own.say(Live::Announced(event));
            }
        });
        history
    }

    /// From now on, by the table's stream. While the stream cannot be read, the page goes on without news.
    pub(super) fn of_table(target: Arc<Target>) -> Arc<Self> {
        let history = Self::new();
        let own = Arc::clone(&history);
        tokio::spawn(async move {
            loop {
                if let Err(error) = own.follow(&target).await {
                    let why = format!("cannot follow the Deliveries table: {error:#}");
                    tracing::warn!("{why}");
                    own.set_trouble(Some(why));
                }
                sleep(RETRY_EVERY).await;
            }
        });
        history
    }

    async fn follow(&self, target: &Target) -> anyhow::Result<()> {
        let mut stream = ChangeStream::open(target).await?;
        self.set_trouble(None);
        loop {
            for seen in stream.read(target).await? {
                self.add(seen.change);
            }
            sleep(READ_EVERY).await;
        }
    }

    fn add(&self, change: Change) {
        let seen = Seen { at: SystemClock.now(), change };
        let mut all = locked(&self.seen);
        if all.len() >= MAX_CHANGES {
            all.pop_front();
        }
        all.push_back(seen.clone());
        self.say(Live::Change(seen));
    }

    fn set_trouble(&self, why: Option<String>) {
        let mut trouble = locked(&self.trouble);
        if *trouble != why {
            trouble.clone_from(&why);
            self.say(Live::Trouble(why));
        }
    }

    fn say(&self, live: Live) {
        // Nobody needs to look on.
        let _ = self.live.send(live);
    }

    /// Oldest first.
    pub(super) fn of(&self, webhook_id: &str) -> Vec<Seen> {
        locked(&self.seen).iter().filter(|seen| seen.change.webhook_id == webhook_id).cloned().collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next one, or none when there will be no more.
async fn next<T: Clone>(news: &mut broadcast::Receiver<T>) -> Option<T> {
    loop {
        match news.recv().await {
            Ok(one) => return Some(one),
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "news were too quick for the page"),
            Err(RecvError::Closed) => return None,
        }
    }
}

/// Each change and announcement as it happens. A page that was too slow for them gets `lagged` and asks for the lists again.
pub(super) async fn live(State(page): Shared) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let live = page.history.live.subscribe();
    let trouble = locked(&page.history.trouble).clone();
    let first = stream::iter(trouble.map(|why| Ok(Live::Trouble(Some(why)).event())));
    let stream = stream::unfold(live, |mut live| async {
        let event = match live.recv().await {
            Ok(live) => live.event(),
            Err(RecvError::Lagged(_)) => Event::default().event("lagged").data("{}"),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), live))
    });
    Sse::new(first.chain(stream)).keep_alive(KeepAlive::default())
}
