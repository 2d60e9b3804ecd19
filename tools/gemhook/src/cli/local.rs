//! The local machine that a command can be meant for: the addresses that a running `gemhook dev` keeps in its folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::dev::{ADDRESSES, Addresses};

const DEFAULT_FOLDER: &str = ".gemhook";

#[derive(clap::Args)]
pub struct Local {
    /// Works on a running `gemhook dev`, by its data folder
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
        self.local.as_deref().map(read).transpose()
    }

    /// The one that is named, else the one that runs in the usual folder, if any.
    pub fn or_running(&self) -> Result<Option<Addresses>> {
        match &self.local {
            None if Path::new(DEFAULT_FOLDER).join(ADDRESSES).exists() => {
                read(Path::new(DEFAULT_FOLDER)).map(Some)
            }
            _ => self.named(),
        }
    }
}

fn read(folder: &Path) -> Result<Addresses> {
    let path = folder.join(ADDRESSES);
    let text = fs::read(&path)
        .with_context(|| format!("no running gemhook dev in {}: start one there", folder.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))
}
