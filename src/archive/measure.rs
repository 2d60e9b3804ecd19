//! Counts what passes by: bytes, digest and, for results in lines, what the requests came to.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::tally::Tally;
use crate::job::Summary;

/// Everything known of an object once all its bytes have passed.
pub struct Measure {
    digest: Sha256,
    pub bytes: u64,
    lines: Option<Tally>,
}

impl Measure {
    /// Of results in lines, or of bytes that are not looked into.
    pub fn new(lines: bool) -> Self {
        Self { digest: Sha256::new(), bytes: 0, lines: lines.then(Tally::default) }
    }

    pub fn take(&mut self, piece: &Bytes) {
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        if let Some(lines) = &mut self.lines {
            lines.take(piece);
        }
    }

    pub fn finish(self) -> (u64, [u8; 32], Option<Summary>) {
        (self.bytes, self.digest.finalize().into(), self.lines.map(Tally::finish))
    }
}
