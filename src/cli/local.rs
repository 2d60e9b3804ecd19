//! The local machine that a command can be meant for: the addresses that a running `gemhook dev` tells.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::dev::Addresses;

/// Where `gemhook dev` keeps them while it runs, unless another folder was named.
const WRITTEN: &str = ".gemhook/addresses.json";

#[derive(clap::Args)]
pub struct Local {
    /// The addresses of a running `gemhook dev`, for a command that is meant for it
    #[arg(long, value_name = "FILE")]
    dev_json: Option<PathBuf>,
}

impl Local {
    /// None where no file was named.
    pub fn named(&self) -> Result<Option<Addresses>> {
        self.dev_json.as_deref().map(read).transpose()
    }

    /// None where no file was named and no local machine runs in this folder.
    pub fn addresses(&self) -> Result<Option<Addresses>> {
        match &self.dev_json {
            Some(path) => read(path).map(Some),
            None if Path::new(WRITTEN).exists() => read(Path::new(WRITTEN)).map(Some),
            None => Ok(None),
        }
    }
}

/// The first object counts: what `gemhook dev --json` writes begins with the addresses as well.
fn read(path: &Path) -> Result<Addresses> {
    let file = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Addresses::deserialize(&mut serde_json::Deserializer::from_reader(io::BufReader::new(file)))
        .with_context(|| format!("{} does not hold the addresses of a gemhook dev", path.display()))
}
