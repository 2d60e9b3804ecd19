//! Folders of records, one JSON file each, and of the data beside them.
//!
//! What is written gets a name of its own first, is synced and then renamed: after a crash a file is there
//! whole or not at all.

use std::{
    fs::{self, File},
    io::{BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

/// What `tempfile` begins the names of unfinished files with.
const UNFINISHED: &str = ".tmp";

/// One folder, for one kind of record.
#[derive(Clone)]
pub(super) struct RecordStore {
    folder: PathBuf,
}

impl RecordStore {
    /// Makes the folder if need be and clears away what a crash left unfinished.
    pub(super) async fn open(folder: PathBuf) -> anyhow::Result<Self> {
        blocking(move || {
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                    clear(&entry.path())?;
                }
            }
            Ok(Self { folder })
        })
        .await
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of this id that holds something else than the record.
    pub(super) fn data(&self, id: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{id}.{ending}"))
    }

    fn record(&self, id: &str) -> PathBuf {
        self.data(id, "json")
    }

    pub(super) async fn load<T: DeserializeOwned + Send + 'static>(&self) -> anyhow::Result<Vec<T>> {
        let folder = self.folder.clone();
        blocking(move || {
            let mut records = Vec::new();
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|ending| ending == "json") {
                    let text = fs::read(&path)?;
                    let record = serde_json::from_slice(&text);
                    records.push(record.with_context(|| format!("cannot read {}", path.display()))?);
                }
            }
            Ok(records)
        })
        .await
    }

    pub(super) async fn write<T: Serialize>(&self, id: &str, record: &T) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(record)?;
        let path = self.record(id);
        blocking(move || {
            let mut file = unfinished(&path)?;
            file.write_all(&text)?;
            finish(file, &path)
        })
        .await
    }

    /// Writes data line by line, each a JSON value.
    pub(super) async fn write_lines<T>(&self, id: &str, ending: &str, lines: Vec<T>) -> anyhow::Result<()>
    where
        T: Serialize + Send + 'static,
    {
        let path = self.data(id, ending);
        blocking(move || {
            let mut file = BufWriter::new(unfinished(&path)?);
            for line in lines {
                serde_json::to_writer(&mut file, &line)?;
                file.write_all(b"\n")?;
            }
            finish(file.into_inner()?, &path)
        })
        .await
    }

    pub(super) async fn holds(&self, id: &str) -> anyhow::Result<bool> {
        Ok(tokio::fs::try_exists(self.record(id)).await?)
    }

    /// Removes the record first: data without a record is not seen by anybody.
    pub(super) async fn remove(&self, id: &str, endings: &[&str]) -> anyhow::Result<()> {
        let mut paths = vec![self.record(id)];
        paths.extend(endings.iter().map(|ending| self.data(id, ending)));
        blocking(move || paths.iter().try_for_each(|path| clear(path))).await
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Removes a file. One that is gone already, renamed by whoever was writing it perhaps, is as good.
fn clear(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn unfinished(path: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = path.parent().context("a record has no folder")?;
    NamedTempFile::new_in(folder).with_context(|| format!("cannot write in {}", folder.display()))
}

/// Gives a file its name once its content is on the disk.
pub(super) fn finish(file: NamedTempFile, path: &Path) -> anyhow::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    sync_folder(path)
}

/// The same for a file that has been collected under another name.
pub(super) fn rename(from: &Path, path: &Path) -> anyhow::Result<()> {
    File::open(from)?.sync_all()?;
    fs::rename(from, path).with_context(|| format!("cannot write {}", path.display()))?;
    sync_folder(path)
}

/// A new name is durable only when its folder is. Not every system lets a folder be opened.
fn sync_folder(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        folder.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unfinished_files_are_never_seen_and_are_cleared_away() {
        let place = tempfile::tempdir().unwrap();
        let shelf = RecordStore::open(place.path().join("things")).await.unwrap();
        shelf.write("a", &1).await.unwrap();
        fs::write(shelf.folder().join(".tmpX"), "{").unwrap();
        assert_eq!(shelf.load::<u8>().await.unwrap(), [1]);
        RecordStore::open(shelf.folder().to_owned()).await.unwrap();
        assert!(!shelf.folder().join(".tmpX").exists());
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_named() {
        let place = tempfile::tempdir().unwrap();
        let shelf = RecordStore::open(place.path().to_owned()).await.unwrap();
        fs::write(place.path().join("odd.json"), "{").unwrap();
        let error = shelf.load::<u8>().await.unwrap_err();
        assert!(error.to_string().contains("odd.json"), "{error}");
    }
}
