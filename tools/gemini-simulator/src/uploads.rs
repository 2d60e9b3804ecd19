//! Uploads under way. What has come of one is what lies on the disk, so it can go on after a crash.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::body::Body;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::{fs::OpenOptions, io::AsyncWriteExt};

use super::{
    files::{Content, FileRecord, Files},
    locked, random_id,
    store::RecordStore,
};

const PART: &str = "part";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Upload {
    pub id: String,
    pub file_id: String,
    pub display_name: Option<String>,
    pub mime_type: String,
    /// As announced by the sender.
    pub size_bytes: Option<u64>,
}

/// What is wrong with a chunk.
pub(super) enum ProcessingError {
    /// The sender broke off or sent what does not fit.
    Sender(String),
    Ours(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for ProcessingError {
    fn from(error: E) -> Self {
        Self::Ours(error.into())
    }
}

/// Held while a chunk comes in, so that two cannot be mixed.
pub(super) type OpenUpload = Arc<tokio::sync::Mutex<Upload>>;

pub(super) struct Uploads {
    shelf: RecordStore,
    open: Mutex<HashMap<String, OpenUpload>>,
}

impl Uploads {
    pub(super) async fn open(folder: PathBuf, files: &Files) -> anyhow::Result<Self> {
        let shelf = RecordStore::open(folder).await?;
        let mut open = HashMap::new();
        for upload in shelf.load::<Upload>().await? {
            // Where the data has moved on, its sender was never told of a file and has to begin again.
            let moved = !tokio::fs::try_exists(shelf.data(&upload.id, PART)).await?;
            if moved || files.get(&upload.file_id).is_some() {
                shelf.remove(&upload.id, &[PART]).await?;
            } else {
                open.insert(upload.id.clone(), Arc::new(tokio::sync::Mutex::new(upload)));
            }
        }
        Ok(Self { shelf, open: Mutex::new(open) })
    }

    pub(super) async fn start(
        &self,
        file_id: String,
        display_name: Option<String>,
        mime_type: String,
        size_bytes: Option<u64>,
    ) -> anyhow::Result<OpenUpload> {
        let id = random_id(48);
        let upload = Upload { id: id.clone(), file_id, display_name, mime_type, size_bytes };
        tokio::fs::File::create(self.shelf.data(&id, PART)).await?;
        self.shelf.write(&id, &upload).await?;
        let upload = Arc::new(tokio::sync::Mutex::new(upload));
        locked(&self.open).insert(id, Arc::clone(&upload));
        Ok(upload)
    }

    pub(super) fn get(&self, id: &str) -> Option<OpenUpload> {
        locked(&self.open).get(id).cloned()
    }

    /// How many bytes have come so far.
    pub(super) async fn received(&self, upload: &Upload) -> u64 {
        let data = tokio::fs::metadata(self.shelf.data(&upload.id, PART)).await;
        data.map_or(0, |data| data.len())
    }

    /// Appends what comes. A chunk that breaks off leaves what has come of it.
    pub(super) async fn append(&self, upload: &Upload, body: Body) -> Result<(), ProcessingError> {
        let path = self.shelf.data(&upload.id, PART);
        let mut file = OpenOptions::new().append(true).create(true).open(path).await?;
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => file.write_all(&chunk).await?,
                Err(error) => {
                    file.flush().await?;
                    return Err(ProcessingError::Sender(format!("the upload broke off: {error}")));
                }
            }
        }
        file.sync_all().await?;
        Ok(())
    }

    /// Makes a file of what has come.
    pub(super) async fn finish(&self, upload: &Upload, files: &Files) -> Result<FileRecord, ProcessingError> {
        if self.get(&upload.id).is_none() {
            return Err(ProcessingError::Sender("the upload has ended already".into()));
        }
        let size_bytes = self.received(upload).await;
        if let Some(announced) = upload.size_bytes.filter(|announced| *announced != size_bytes) {
            return Err(ProcessingError::Sender(format!(
                "{announced} bytes were announced and {size_bytes} came"
            )));
        }
        let file = FileRecord {
            id: upload.file_id.clone(),
            display_name: upload.display_name.clone(),
            mime_type: upload.mime_type.clone(),
            size_bytes,
            created: files.now(),
            content: Content::Uploaded,
        };
        files.add(file.clone(), self.shelf.data(&upload.id, PART)).await?;
        self.remove(upload).await?;
        Ok(file)
    }

    pub(super) async fn remove(&self, upload: &Upload) -> anyhow::Result<()> {
        locked(&self.open).remove(&upload.id);
        self.shelf.remove(&upload.id, &[PART]).await
    }
}
