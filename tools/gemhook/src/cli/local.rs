//! The local machine that a command can be meant for: the addresses that a running `gemhook dev` keeps in its folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{render::plain, running};
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

    /// The one that runs in this folder or in one above it, if any.
    pub fn nearby() -> Result<Option<Addresses>> {
        nearest().map(|folder| read(&folder)).transpose()
    }

    /// The one that is named, else the one that runs in this folder or in one above it, else the only one that runs on
    /// this machine, if any.
    pub fn or_running(&self) -> Result<Option<Addresses>> {
        if self.is_named() {
            return self.named();
        }
        let folder = match nearest() {
            Some(folder) => Some(folder),
            None => the_only_one()?,
        };
        folder.map(|folder| read(&folder)).transpose()
    }
}

/// The usual data folder of a `gemhook dev` that runs, in this folder or in the nearest one above it.
fn nearest() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join(DEFAULT_FOLDER)).find(|folder| folder.join(ADDRESSES).exists())
}

/// The data folder of the only `gemhook dev` that runs on this machine, wherever that is.
fn the_only_one() -> Result<Option<PathBuf>> {
    let mut folders = running::folders();
    if folders.len() > 1 {
        let options: Vec<_> = folders
            .iter()
            .map(|folder| format!("\n  --local={}", plain(&folder.to_string_lossy())))
            .collect();
        bail!("several `gemhook dev` run on this machine; say which one you mean:{}", options.concat());
    }
    Ok(folders.pop())
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
