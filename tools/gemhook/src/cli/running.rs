//! Which `gemhook dev` run on this machine. Each leaves a small file in the user's state folder that names its data folder.
//!
//! The file is locked as long as its process lives, so one that a crash leaves behind counts for nothing.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf, absolute},
};

use anyhow::{Context, Result};

use crate::dev::ADDRESSES;

/// What this process has left, removed when it is dropped.
pub struct Entry {
    path: PathBuf,
    /// Closing it releases the lock.
    _locked: File,
}

impl Entry {
    pub fn leave(data_dir: &Path) -> Result<Self> {
        let folder = folder().context("neither XDG_STATE_HOME nor HOME is set")?;
        fs::create_dir_all(&folder)?;
        // This removes the entries of dead processes, so that they do not pile up where nobody looks for one.
        folders();
        // It has its lock before its name, because an entry without a lock is one of a dead process.
        let mut file = tempfile::Builder::new().prefix(".").tempfile_in(&folder)?;
        file.as_file().lock()?;
        serde_json::to_writer(&mut file, &absolute(data_dir)?)?;
        let path = folder.join(uuid::Uuid::new_v4().to_string());
        let locked = file.persist(&path)?;
        Ok(Self { path, _locked: locked })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // What is left after all has no lock.
        let _ = fs::remove_file(&self.path);
    }
}

/// The data folders of those that run.
pub fn folders() -> Vec<PathBuf> {
    let Some(entries) = folder().and_then(|folder| fs::read_dir(folder).ok()) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries.flatten().filter_map(|entry| alive(&entry.path())).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// The data folder of an entry whose process lives. An entry of a dead one is removed.
fn alive(entry: &Path) -> Option<PathBuf> {
    if entry.file_name()?.as_encoded_bytes().starts_with(b".") {
        return None;
    }
    let file = File::open(entry).ok()?;
    match file.try_lock_shared() {
        Ok(()) => {
            // Two that look at the same time may both remove it.
            let _ = fs::remove_file(entry);
            None
        }
        Err(TryLockError::WouldBlock) => {
            let data_dir: PathBuf = serde_json::from_reader(file).ok()?;
            data_dir.join(ADDRESSES).exists().then_some(data_dir)
        }
        Err(TryLockError::Error(_)) => None,
    }
}

/// Where the entries are, by the XDG Base Directory Specification: an empty or relative value counts as none.
fn folder() -> Option<PathBuf> {
    let given = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = given.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".local/state")));
    state.filter(|path| path.is_absolute()).map(|path| path.join("gemhook/machines"))
}
