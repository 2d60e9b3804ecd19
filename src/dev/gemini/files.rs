//! The files: their records in memory, their bytes on the disk and never anywhere else.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::RwLock,
};

use serde::{Deserialize, Serialize};

use super::{
    locked_for_reading, locked_for_writing,
    store::{self, Shelf, blocking},
};
use crate::clock::Millis;

const DATA: &str = "data";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FileRecord {
    pub id: String,
    pub display_name: Option<String>,
    pub mime_type: String,
    pub size_bytes: u64,
    pub created: Millis,
    /// Whether a job wrote it. Only such a file can be downloaded.
    pub generated: bool,
}

pub(super) struct Files {
    shelf: Shelf,
    records: RwLock<HashMap<String, FileRecord>>,
}

impl Files {
    pub(super) async fn open(folder: PathBuf) -> anyhow::Result<Self> {
        let shelf = Shelf::open(folder).await?;
        let records: Vec<FileRecord> = shelf.load().await?;
        let records = records.into_iter().map(|file| (file.id.clone(), file)).collect();
        Ok(Self { shelf, records: RwLock::new(records) })
    }

    /// Where data is collected that is to become a file.
    pub(super) fn folder(&self) -> &Path {
        self.shelf.folder()
    }

    pub(super) fn get(&self, id: &str) -> Option<FileRecord> {
        locked_for_reading(&self.records).get(id).cloned()
    }

    pub(super) fn data(&self, id: &str) -> PathBuf {
        self.shelf.data(id, DATA)
    }

    /// Makes the data at `from` a file. A file of the same id is replaced.
    pub(super) async fn add(&self, file: FileRecord, from: PathBuf) -> anyhow::Result<()> {
        let to = self.data(&file.id);
        blocking(move || store::rename(&from, &to)).await?;
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
