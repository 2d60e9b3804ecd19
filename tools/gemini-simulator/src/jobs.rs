//! The jobs of one kind: kept, run when their time has come, ended once.
//!
//! The end of a job is written before its event is pending, and the event follows from it: a crash between
//! the two is made good when the folder is opened again.

use std::{
    cmp::Reverse,
    collections::HashMap,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::sync::Mutex;

use super::{
    deliveries::Deliveries,
    job::{End, Job, Kind},
    locked_for_reading, locked_for_writing,
    movable_clock::MovableClock,
    scheduler::Scheduler,
    store::RecordStore,
};
use crate::clock::{Clock, Millis, millis};

const MAX_CONCURRENCY: usize = 8;
const TRIED_AGAIN_AFTER: Millis = 5_000;

struct Entry<K: Kind> {
    created: Millis,
    job: Mutex<Job<K>>,
}

pub(super) struct Jobs<K: Kind> {
    shelf: RecordStore,
    entries: RwLock<HashMap<String, Arc<Entry<K>>>>,
    scheduler: Scheduler,
    finish_after: Millis,
    deliveries: Arc<Deliveries>,
    clock: Arc<MovableClock>,
}

impl<K: Kind> Jobs<K> {
    pub(super) async fn open(
        folder: PathBuf,
        finish_after: Duration,
        deliveries: &Arc<Deliveries>,
        clock: &Arc<MovableClock>,
    ) -> anyhow::Result<Self> {
        let shelf = RecordStore::open(folder).await?;
        let loaded: Vec<Job<K>> = shelf.load().await?;
        let jobs = Self {
            shelf,
            entries: RwLock::default(),
            scheduler: Scheduler::new(clock),
            finish_after: millis(finish_after),
            deliveries: Arc::clone(deliveries),
            clock: Arc::clone(clock),
        };
        for job in loaded {
            jobs.schedule(&job).await?;
            jobs.add(job);
        }
        Ok(jobs)
    }

    fn add(&self, job: Job<K>) {
        if job.end.is_none() {
            self.scheduler.add(job.created.saturating_add(self.finish_after), &job.id);
        }
        let (id, created) = (job.id.clone(), job.created);
        let entry = Arc::new(Entry { created, job: Mutex::new(job) });
        locked_for_writing(&self.entries).insert(id, entry);
    }

    fn entry(&self, id: &str) -> Option<Arc<Entry<K>>> {
        locked_for_reading(&self.entries).get(id).cloned()
    }

    pub(super) async fn get(&self, id: &str) -> Option<Job<K>> {
        let entry = self.entry(id)?;
        let job = entry.job.lock().await.clone();
        Some(job)
    }

    /// Up to `size` jobs that follow `after`, newest first, and whether there are more.
    pub(super) async fn list(&self, after: Option<(Millis, String)>, size: usize) -> (Vec<Job<K>>, bool) {
        let mut found: Vec<(Reverse<Millis>, String, Arc<Entry<K>>)> = locked_for_reading(&self.entries)
            .iter()
            .map(|(id, entry)| (Reverse(entry.created), id.clone(), Arc::clone(entry)))
            .collect();
        found.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let start = after.map_or(0, |(created, id)| {
            found.partition_point(|entry| (entry.0, &entry.1) <= (Reverse(created), &id))
        });
        let more = found.len() > start.saturating_add(size);
        let mut jobs = Vec::new();
        for (_, _, entry) in found.into_iter().skip(start).take(size) {
            jobs.push(entry.job.lock().await.clone());
        }
        (jobs, more)
    }

    /// An end of a job, now.
    pub(super) fn end_now(&self, outcome: K::Outcome) -> End<K::Outcome> {
        End { at: self.clock.now(), outcome }
    }

    pub(super) fn folder(&self) -> &Path {
        self.shelf.folder()
    }

    /// The path of data beside the record.
    pub(super) fn data(&self, id: &str, ending: &str) -> PathBuf {
        self.shelf.data(id, ending)
    }

    /// Data beside a record that is yet to come.
    pub(super) async fn write_lines(
        &self,
        id: &str,
        ending: &str,
        lines: Vec<serde_json::Value>,
    ) -> anyhow::Result<()> {
        self.shelf.write_lines(id, ending, lines).await
    }

    pub(super) async fn create(&self, job: Job<K>) -> anyhow::Result<()> {
        self.shelf.write(&job.id, &job).await?;
        self.add(job);
        Ok(())
    }

    /// The only way for a job to end; `publish` comes first. Whoever comes second changes nothing. False if
    /// there is no such job.
    pub(super) async fn end(
        &self,
        id: &str,
        end: End<K::Outcome>,
        publish: impl Future<Output = anyhow::Result<()>> + Send,
    ) -> anyhow::Result<bool> {
        let Some(entry) = self.entry(id) else { return Ok(false) };
        let mut job = entry.job.lock().await;
        if self.entry(id).is_none() {
            return Ok(false);
        }
        if job.end.is_none() {
            publish.await?;
            let ended = Job { end: Some(end), ..job.clone() };
            self.shelf.write(id, &ended).await?;
            *job = ended;
        }
        if let Err(error) = self.schedule(&job).await {
            self.scheduler.add(self.clock.now(), id);
            return Err(error);
        }
        Ok(true)
    }

    async fn schedule(&self, job: &Job<K>) -> anyhow::Result<()> {
        match job.event() {
            Some(event) => self.deliveries.schedule(&job.webhook_id, &job.webhook.uris, &event).await,
            None => Ok(()),
        }
    }

    /// False if there is no such job. One that is still running ends without an event.
    pub(super) async fn remove(&self, id: &str) -> anyhow::Result<bool> {
        let Some(entry) = self.entry(id) else { return Ok(false) };
        let _held = entry.job.lock().await;
        self.shelf.remove(id, K::DATA).await?;
        Ok(locked_for_writing(&self.entries).remove(id).is_some())
    }

    /// Has jobs finished when they are due, for ever.
    pub(super) async fn run<F>(&self, finish: impl Fn(Job<K>) -> F)
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let due = stream::unfold((), |()| async { Some((self.scheduler.next().await, ())) });
        due.for_each_concurrent(MAX_CONCURRENCY, async |id| {
            let Some(job) = self.get(&id).await else { return };
            let finished = match &job.end {
                Some(_) => self.schedule(&job).await,
                None => finish(job).await,
            };
            if let Err(error) = finished {
                let error = format!("{error:#}");
                tracing::warn!(error, id, "a job could not be ended and is tried again");
                self.scheduler.add(self.clock.now().saturating_add(TRIED_AGAIN_AFTER), &id);
            }
        })
        .await;
    }
}
