//! The memory of parts: a budget in bytes, shared by all objects that this process writes at the same time.
//!
//! A sweep works several rows at once, and each of them sends several parts at once. A place is taken here before a
//! part is filled, and it is held until S3 has the part. No part needs a second place, so there is no deadlock, however
//! few places there are.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Up to this size an object is one request; a longer one goes in parts of it.
pub(super) const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts of 8 MiB: 64 MiB together. One object alone takes up to four, three on their way and one that is filled.
const PLACES: usize = 8;

pub(super) struct Buffers(Arc<Semaphore>);

/// A part, and the place that it takes until it is dropped.
pub(super) struct Filled {
    pub bytes: Bytes,
    _place: Place,
}

pub(super) struct Place {
    /// Given back when this is dropped.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Buffers {
    /// Waits for a place.
    pub async fn place(&self) -> Place {
        // It fails only for a closed semaphore, and this one is never closed.
        Place { _permit: Arc::clone(&self.0).acquire_owned().await.ok() }
    }
}

impl Place {
    pub fn filled(self, bytes: Bytes) -> Filled {
        Filled { bytes, _place: self }
    }
}
