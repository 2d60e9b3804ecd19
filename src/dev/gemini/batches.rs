//! The batches: made, run when their time has come, ended once.
//!
//! The end of a batch is written before its event is owed, and the event follows from it: a crash between
//! the two is made good when the folder is opened again.

use std::{
    cmp::Reverse,
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tempfile::NamedTempFile;
use tokio::sync::Mutex;

use super::{
    agenda::Agenda,
    batch::{Batch, End, Input, NOT_FOUND, Outcome},
    deliveries::Deliveries,
    files::{FileRecord, Files},
    locked_for_reading, locked_for_writing, now,
    store::{Shelf, blocking, finish},
    work::{self, Form, Work},
};
use crate::clock::{Millis, millis};

/// Data beside the record of an inline batch.
const REQUESTS: &str = "requests";
const RESPONSES: &str = "responses";

const AT_ONCE: usize = 8;
const TRIED_AGAIN_AFTER: Millis = 5_000;

struct Entry {
    created: Millis,
    batch: Mutex<Batch>,
}

pub(super) struct Batches {
    shelf: Shelf,
    entries: RwLock<HashMap<String, Arc<Entry>>>,
    agenda: Agenda,
    finish_after: Millis,
    files: Arc<Files>,
    deliveries: Arc<Deliveries>,
}

impl Batches {
    pub(super) async fn open(
        folder: PathBuf,
        finish_after: Duration,
        files: Arc<Files>,
        deliveries: Arc<Deliveries>,
    ) -> anyhow::Result<Self> {
        let shelf = Shelf::open(folder).await?;
        let (mut entries, agenda) = (HashMap::new(), Agenda::default());
        for batch in shelf.load::<Batch>().await? {
            if batch.end.is_none() {
                agenda.add(batch.created.saturating_add(millis(finish_after)), &batch.id);
            }
            deliveries.owe(&batch).await?;
            let (id, created) = (batch.id.clone(), batch.created);
            entries.insert(id, Arc::new(Entry { created, batch: Mutex::new(batch) }));
        }
        let entries = RwLock::new(entries);
        Ok(Self { shelf, entries, agenda, finish_after: millis(finish_after), files, deliveries })
    }

    fn entry(&self, id: &str) -> Option<Arc<Entry>> {
        locked_for_reading(&self.entries).get(id).cloned()
    }

    pub(super) async fn get(&self, id: &str) -> Option<Batch> {
        let entry = self.entry(id)?;
        let batch = entry.batch.lock().await.clone();
        Some(batch)
    }

    /// Up to `size` batches that follow `after`, newest first, and whether there are more.
    pub(super) async fn list(&self, after: Option<(Millis, String)>, size: usize) -> (Vec<Batch>, bool) {
        let mut found: Vec<(Reverse<Millis>, String, Arc<Entry>)> = locked_for_reading(&self.entries)
            .iter()
            .map(|(id, entry)| (Reverse(entry.created), id.clone(), Arc::clone(entry)))
            .collect();
        found.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let start = after.map_or(0, |(created, id)| {
            found.partition_point(|entry| (entry.0, &entry.1) <= (Reverse(created), &id))
        });
        let more = found.len() > start.saturating_add(size);
        let mut batches = Vec::new();
        for (_, _, entry) in found.into_iter().skip(start).take(size) {
            batches.push(entry.batch.lock().await.clone());
        }
        (batches, more)
    }

    /// The path of the inline responses: one JSON array.
    pub(super) fn responses(&self, id: &str) -> PathBuf {
        self.shelf.data(id, RESPONSES)
    }

    pub(super) async fn create(
        &self,
        batch: Batch,
        requests: Option<Vec<serde_json::Value>>,
    ) -> anyhow::Result<()> {
        if let Some(requests) = requests {
            self.shelf.write_lines(&batch.id, REQUESTS, requests).await?;
        }
        self.shelf.write(&batch.id, &batch).await?;
        let (id, created) = (batch.id.clone(), batch.created);
        let entry = Arc::new(Entry { created, batch: Mutex::new(batch) });
        locked_for_writing(&self.entries).insert(id.clone(), entry);
        self.agenda.add(created.saturating_add(self.finish_after), &id);
        Ok(())
    }

    /// Ends a batch that has not ended. False if there is no such batch.
    pub(super) async fn cancel(&self, id: &str) -> anyhow::Result<bool> {
        let Some(entry) = self.entry(id) else { return Ok(false) };
        let ended = self.end(&entry, Outcome::Cancelled, None).await;
        if ended.is_err() {
            self.agenda.add(now(), id);
        }
        ended.map(|()| true)
    }

    /// False if there is no such batch. One that is still running ends without an event.
    pub(super) async fn remove(&self, id: &str) -> anyhow::Result<bool> {
        let Some(entry) = self.entry(id) else { return Ok(false) };
        let _held = entry.batch.lock().await;
        self.shelf.remove(id, &[REQUESTS, RESPONSES]).await?;
        Ok(locked_for_writing(&self.entries).remove(id).is_some())
    }

    /// Ends batches when they are due, for ever.
    pub(super) async fn run(&self) {
        let due = stream::unfold((), |()| async { Some((self.agenda.next().await, ())) });
        due.for_each_concurrent(AT_ONCE, |id| async move {
            if let Err(error) = self.finish(&id).await {
                let error = format!("{error:#}");
                tracing::warn!(error, id, "a batch could not be ended and is tried again");
                self.agenda.add(now().saturating_add(TRIED_AGAIN_AFTER), &id);
            }
        })
        .await;
    }

    async fn finish(&self, id: &str) -> anyhow::Result<()> {
        let Some(entry) = self.entry(id) else { return Ok(()) };
        let batch = entry.batch.lock().await.clone();
        if batch.end.is_some() {
            return self.deliveries.owe(&batch).await;
        }
        let (input, form, folder) = match &batch.input {
            Input::Inline => (self.shelf.data(id, REQUESTS), Form::Array, self.shelf.folder()),
            Input::File(file) if self.files.get(file).is_some() => {
                (self.files.data(file), Form::Lines, self.files.folder())
            }
            Input::File(file) => {
                let why = format!("files/{file} was not found");
                return self.end(&entry, Outcome::failed(NOT_FOUND, why), None).await;
            }
        };
        let work = Work {
            batch_id: batch.id.clone(),
            model: batch.model.clone(),
            input,
            form,
            folder: folder.to_owned(),
        };
        let stop = StopWhenDropped::default();
        let stopped = Arc::clone(&stop.0);
        let (outcome, output) = blocking(move || work::run(&work, &stopped)).await?;
        self.end(&entry, outcome, output).await
    }

    /// The only way for a batch to end. Whoever comes second changes nothing.
    async fn end(
        &self,
        entry: &Entry,
        outcome: Outcome,
        output: Option<NamedTempFile>,
    ) -> anyhow::Result<()> {
        let mut batch = entry.batch.lock().await;
        if self.entry(&batch.id).is_none() {
            return Ok(());
        }
        if batch.end.is_none() {
            let end = End { at: now(), outcome };
            if let Some(output) = output {
                self.publish(&batch, end.at, output).await?;
            }
            let ended = Batch { end: Some(end), ..batch.clone() };
            self.shelf.write(&ended.id, &ended).await?;
            *batch = ended;
        }
        self.deliveries.owe(&batch).await
    }

    async fn publish(&self, batch: &Batch, at: Millis, output: NamedTempFile) -> anyhow::Result<()> {
        if batch.input == Input::Inline {
            let path = self.responses(&batch.id);
            return blocking(move || finish(output, &path)).await;
        }
        let file = FileRecord {
            id: batch.output_file(),
            display_name: None,
            mime_type: "application/jsonl".into(),
            size_bytes: output.as_file().metadata()?.len(),
            created: at,
            generated: true,
        };
        self.files.add(file, output.path().to_owned()).await
    }
}

/// Tells the work on another thread that nobody waits for it any more.
#[derive(Default)]
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
