//! The files: their records in memory, their bytes on the disk or made up, and never in memory.

use std::{
    cmp::Reverse,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use serde::{Deserialize, Serialize};

use super::{
    locked_for_reading, locked_for_writing,
    movable_clock::MovableClock,
    store::{self, RecordStore, blocking},
};
use crate::clock::{Clock, Millis};

const DATA: &str = "data";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FileRecord {
    pub id: String,
    pub display_name: Option<String>,
    pub mime_type: String,
    pub size_bytes: u64,
    pub created: Millis,
    pub content: Content,
}

/// Where the bytes of a file come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Content {
    /// A client sent them. Such a file cannot be downloaded.
    Uploaded,
    /// A job wrote them.
    Written,
    /// They are made up of the file's id whenever they are read.
    MadeUp,
}

pub(super) struct Files {
    shelf: RecordStore,
    records: RwLock<HashMap<String, FileRecord>>,
    clock: Arc<MovableClock>,
}

impl Files {
    pub(super) async fn open(folder: PathBuf, clock: &Arc<MovableClock>) -> anyhow::Result<Self> {
        let shelf = RecordStore::open(folder).await?;
        let records: Vec<FileRecord> = shelf.load().await?;
        let records = records.into_iter().map(|file| (file.id.clone(), file)).collect();
        Ok(Self { shelf, records: RwLock::new(records), clock: Arc::clone(clock) })
    }

    /// Where data is collected that is to become a file.
    pub(super) fn folder(&self) -> &Path {
        self.shelf.folder()
    }

    pub(super) fn get(&self, id: &str) -> Option<FileRecord> {
        locked_for_reading(&self.records).get(id).cloned()
    }

    /// Up to `size` files, newest first, that come after the one of this creation time and id, and whether more follow.
    pub(super) fn list(&self, after: Option<(Millis, String)>, size: usize) -> (Vec<FileRecord>, bool) {
        let order = |file: &FileRecord| Reverse((file.created, file.id.clone()));
        let after = after.map(Reverse);
        let mut files: Vec<_> = locked_for_reading(&self.records)
            .values()
            .filter(|file| after.as_ref().is_none_or(|last| order(file) > *last))
            .cloned()
            .collect();
        files.sort_by_key(order);
        let more = files.len() > size;
        files.truncate(size);
        (files, more)
    }

    pub(super) fn data(&self, id: &str) -> PathBuf {
        self.shelf.data(id, DATA)
    }

    pub(super) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Makes the data at `from` a file. A file of the same id is replaced.
    pub(super) async fn add(&self, file: FileRecord, from: PathBuf) -> anyhow::Result<()> {
        let to = self.data(&file.id);
        blocking(move || store::rename(&from, &to)).await?;
        self.put(file).await
    }

    /// Makes a file that needs no data.
    pub(super) async fn make_up(&self, id: String, mime_type: &str, size_bytes: u64) -> anyhow::Result<()> {
        self.put(FileRecord {
            id,
            display_name: None,
            mime_type: mime_type.to_owned(),
            size_bytes,
            created: self.clock.now(),
            content: Content::MadeUp,
        })
        .await
    }

    async fn put(&self, file: FileRecord) -> anyhow::Result<()> {
        self.shelf.write(&file.id, &file).await?;
        locked_for_writing(&self.records).insert(file.id.clone(), file);
        Ok(())
    }

    /// Whether there was such a file.
    pub(super) async fn remove(&self, id: &str) -> anyhow::Result<bool> {
        if self.get(id).is_none() {
            return Ok(false);
        }
        self.shelf.remove(id, &[DATA]).await?;
        Ok(locked_for_writing(&self.records).remove(id).is_some())
    }
}
