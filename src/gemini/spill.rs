//! An answer of any size: small ones stay in memory, others go to the temporary folder.

use std::io::{BufReader, Read, Seek, SeekFrom, Write};

use reqwest::Response;
use tempfile::SpooledTempFile;

use super::broken;
use crate::trouble::Trouble;

const IN_MEMORY: usize = 4 * 1024 * 1024;

/// An answer, read to its end, that can be walked more than once.
#[derive(Debug)]
pub struct Spilled {
    file: SpooledTempFile,
    length: u64,
}

impl Default for Spilled {
    fn default() -> Self {
        Self { file: SpooledTempFile::new(IN_MEMORY), length: 0 }
    }
}

impl Spilled {
    pub(super) async fn take(mut answer: Response, longest: u64) -> Result<Self, Trouble> {
        let stated = answer.content_length();
        let mut spilled = Self::default();
        while let Some(piece) = answer.chunk().await.map_err(|error| broken("read the job", &error))? {
            if spilled.length + piece.len() as u64 > longest {
                return Err(Trouble::Lasting(format!(
                    "the inline answer is longer than MAX_INLINE_BYTES ({longest} bytes): \
                     raise it, or have the results written to a file"
                )));
            }
            spilled.append(&piece)?;
        }
        if stated.is_some_and(|stated| stated != spilled.length) {
            return Err(Trouble::passing("read the job: the answer was cut off"));
        }
        Ok(spilled)
    }

    pub fn append(&mut self, piece: &[u8]) -> Result<(), Trouble> {
        self.length += piece.len() as u64;
        self.file.write_all(piece).map_err(unwritten)
    }

    /// The answer from its beginning.
    pub fn read(&mut self) -> Result<impl Read + '_, Trouble> {
        self.read_from(0)
    }

    pub fn read_from(&mut self, offset: u64) -> Result<impl Read + '_, Trouble> {
        self.file.seek(SeekFrom::Start(offset)).map_err(unwritten)?;
        Ok(BufReader::with_capacity(64 * 1024, &mut self.file))
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut spilled = Self::default();
        spilled.append(bytes).unwrap();
        spilled
    }
}

fn unwritten(error: std::io::Error) -> Trouble {
    Trouble::passing(format!("spill the answer to the temporary folder: {error}"))
}
