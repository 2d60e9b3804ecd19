//! An answer of any size: up to 4 MiB it stays in memory, a longer one goes to a file in the temporary folder.
//!
//! On Lambda that folder is `/tmp`, whose size is the template's `ArchiverStorage`. The file has no name, so it is gone
//! when the process ends.

use std::io::{BufReader, Read, Seek, SeekFrom, Write};

use reqwest::Response;
use tempfile::SpooledTempFile;

use super::broken;
use crate::error::ProcessingError;

/// In bytes. With four rows at a time it is 16 MiB of the archiver's memory.
const IN_MEMORY: usize = 4 * 1024 * 1024;

/// An answer, read to its end, that can be walked more than once.
#[derive(Debug)]
pub struct SpooledBody {
    file: SpooledTempFile,
    length: u64,
}

impl Default for SpooledBody {
    fn default() -> Self {
        Self { file: SpooledTempFile::new(IN_MEMORY), length: 0 }
    }
}

impl SpooledBody {
    /// Reads the answer to its end. Permanent if it is longer than `longest` bytes. Transient if it is shorter than its
    /// `Content-Length`, or if the temporary folder is full.
    pub(super) async fn take(mut answer: Response, longest: u64) -> Result<Self, ProcessingError> {
        let stated = answer.content_length();
        let mut spooled = Self::default();
        while let Some(piece) = answer.chunk().await.map_err(|error| broken("read the job", &error))? {
            if spooled.length + piece.len() as u64 > longest {
                return Err(ProcessingError::Permanent(format!(
                    "the inline answer is longer than MAX_INLINE_BYTES ({longest} bytes): \
                     raise it, or have the results written to a file"
                )));
            }
            spooled.append(&piece)?;
        }
        if stated.is_some_and(|stated| stated != spooled.length) {
            return Err(ProcessingError::transient("read the job: the answer was cut off"));
        }
        Ok(spooled)
    }

    /// Adds bytes at the end. It must not be called after a read.
    pub fn append(&mut self, piece: &[u8]) -> Result<(), ProcessingError> {
        self.length += piece.len() as u64;
        self.file.write_all(piece).map_err(unwritten)
    }

    /// The answer from its beginning.
    pub fn read(&mut self) -> Result<impl Read + '_, ProcessingError> {
        self.read_from(0)
    }

    /// The answer from this byte on.
    pub fn read_from(&mut self, offset: u64) -> Result<impl Read + '_, ProcessingError> {
        self.file.seek(SeekFrom::Start(offset)).map_err(unwritten)?;
        Ok(BufReader::with_capacity(64 * 1024, &mut self.file))
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut spooled = Self::default();
        spooled.append(bytes).unwrap();
        spooled
    }
}

fn unwritten(error: std::io::Error) -> ProcessingError {
    ProcessingError::transient(format!("cannot spool the answer to the temporary folder: {error}"))
}
