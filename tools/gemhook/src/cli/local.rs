//! The local machine that a command can be meant for: the addresses that a running `gemhook dev` keeps in its folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::dev::{ADDRESSES, Addresses};

const DEFAULT_FOLDER: &str = ".gemhook";

#[derive(clap::Args)]
pub struct Local {
    /// Works on a running `gemhook dev`: by its data folder, or without DIR the one in .gemhook here or above
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DEFAULT_FOLDER,
        global = true
    )]
    local: Option<PathBuf>,
}

impl Local {
    pub fn is_named(&self) -> bool {
        self.local.is_some()
    }

    /// None where the command is not meant for one.
    pub fn named(&self) -> Result<Option<Addresses>> {
        match self.local.as_deref() {
            None => Ok(None),
            Some(folder) if folder == Path::new(DEFAULT_FOLDER) => {
                read(&nearest().unwrap_or(folder.into())).map(Some)
            }
            Some(folder) => read(folder).map(Some),
        }
    }

    /// The one that is named, else the one that runs in this folder or in one above it, if any.
    pub fn or_running(&self) -> Result<Option<Addresses>> {
        match (&self.local, nearest()) {
            (None, Some(folder)) => read(&folder).map(Some),
            _ => self.named(),
        }
    }
}

/// The usual data folder of a `gemhook dev` that runs, in this folder or in the nearest one above it.
fn nearest() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join(DEFAULT_FOLDER)).find(|folder| folder.join(ADDRESSES).exists())
}

fn read(folder: &Path) -> Result<Addresses> {
    let path = folder.join(ADDRESSES);
    let text = fs::read(&path)
        .with_context(|| {
        format!(
            "no `gemhook dev` runs in {}: start one with `gemhook dev`, or name its data folder with --local=DIR",
            folder.display()
        )
    })?;
    serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))
}
