//! A long output on its way into the bucket, part by part, across as many invocations as it takes.
//!
//! It reads until shortly before the deadline, then waits for the parts that are on their way. After every part it
//! leaves a checkpoint with [`Checkpoints`], so a transfer that is dropped at any `await` can be continued.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{
    bucket::{Archived, Bucket, ObjectTarget, PutOutcome},
    buffers::{Buffers, Filled, PART_BYTES},
    checkpoint::{Checkpoint, Checkpoints},
    meter::Meter,
    parts::Parts,
    source::Source,
};
use crate::error::ProcessingError;

/// For parts that are on their way when reading stops. In a short invocation it is a quarter of the time left.
const LANDING: Duration = Duration::from_secs(5);

/// How long an attempt has, and where it leaves what the next one needs.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub deadline: Instant,
    pub checkpoints: &'a Checkpoints,
}

impl Limits<'_> {
    /// Nothing is read after this.
    fn stop(&self) -> Instant {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.deadline.checked_sub(LANDING.min(left / 4)).unwrap_or(self.deadline)
    }
}

/// An object while its parts are read and sent.
struct Transfer<'a, 's> {
    target: ObjectTarget<'a>,
    limits: Limits<'a>,
    buffers: &'a Buffers,
    parts: Parts<'a>,
    source: Source<'s>,
    meter: Meter,
}

/// A source whose bytes have all been sent.
struct Sent<'s> {
    written: PutOutcome,
    meter: Meter,
    source: Source<'s>,
}

/// Streams a source into an object that is not there yet. Nothing is visible before all of it was checked. Where the
/// key is taken, the object that is there counts.
pub(super) async fn store(
    bucket: &Bucket,
    target: ObjectTarget<'_>,
    mut source: Source<'_>,
    limits: Limits<'_>,
) -> Result<Archived, ProcessingError> {
    let mut meter = Meter::new(target.lines);
    let first = source.part(&bucket.buffers, &mut meter).await?;
    let sent = if first.bytes.len() < PART_BYTES {
        Sent { written: bucket.put(target, &source.content_type, first.bytes).await?, meter, source }
    } else {
        if source.fingerprint.is_none() {
            limits
                .checkpoints
                .prevent("the source cannot be gone on with: it states no length, or is no download");
        }
        let parts = Parts::begin(bucket, target, &source.content_type).await?;
        let transfer = Transfer { target, limits, buffers: &bucket.buffers, parts, source, meter };
        transfer.run(Some(first)).await?
    };
    sent.settle(bucket, target, limits.deadline).await
}

/// Goes on where an earlier invocation stopped, with a source that begins where the checkpoint asked.
pub(super) async fn go_on<'a>(
    bucket: &'a Bucket,
    target: ObjectTarget<'a>,
    limits: Limits<'a>,
    (checkpoint, parts, mut source): (&Checkpoint, Parts<'a>, Source<'_>),
) -> Result<Archived, ProcessingError> {
    let unchanged = is_unchanged(&parts, &mut source).await?;
    let meter = Meter::resume(&checkpoint.mark).filter(|_| unchanged);
    let Some(meter) = meter else {
        limits.checkpoints.clear();
        bounded_abort(parts, limits.deadline).await;
        return Err(ProcessingError::transient(
            "the output has changed since a part of it was read: it is begun anew",
        ));
    };
    tracing::info!(
        key = target.key,
        bytes = checkpoint.mark.bytes,
        parts = checkpoint.parts,
        "a transfer goes on"
    );
    let transfer = Transfer { target, limits, buffers: &bucket.buffers, parts, source, meter };
    transfer.run(None).await?.settle(bucket, target, limits.deadline).await
}

impl Sent<'_> {
    /// The object that was written, or the one that was there before.
    async fn settle(
        self,
        bucket: &Bucket,
        target: ObjectTarget<'_>,
        deadline: Instant,
    ) -> Result<Archived, ProcessingError> {
        let Self { written, meter, source } = self;
        match written {
            PutOutcome::New => {
                let (bytes, digest, summary) = meter.finish();
                Ok(bucket.archived(target, bytes, &digest, summary, &source.content_type, &source.origin))
            }
            PutOutcome::Occupied => {
                bucket.reuse_existing(target, source.length, deadline).await?.ok_or_else(|| {
                    ProcessingError::transient(format!("object {} was there and then it was not", target.key))
                })
            }
        }
    }
}

impl<'s> Transfer<'_, 's> {
    /// Sends everything until `stop`, then completes the upload, or leaves it to the next attempt.
    async fn run(mut self, first: Option<Filled>) -> Result<Sent<'s>, ProcessingError> {
        let stop = self.limits.stop();
        let sent =
            timeout_at(stop, self.send_all(first)).await.unwrap_or(Err(ProcessingError::DeadlineExceeded));
        if let Err(error) = sent {
            self.leave(&error).await;
            return Err(error);
        }
        let written = self.parts.complete(self.meter.bytes).await?;
        self.limits.checkpoints.clear();
        Ok(Sent { written, meter: self.meter, source: self.source })
    }

    /// Reads part after part and sends it. An empty part is the end of the source.
    async fn send_all(&mut self, first: Option<Filled>) -> Result<(), ProcessingError> {
        let mut part = match first {
            Some(first) => first,
            None => self.source.part(self.buffers, &mut self.meter).await?,
        };
        while !part.bytes.is_empty() {
            let sent = self.parts.send(part, self.meter.mark()).await;
            self.checkpoint();
            sent?;
            part = self.source.part(self.buffers, &mut self.meter).await?;
        }
        drop(part);
        self.parts.land_all().await
    }

    /// Leaves a checkpoint of the parts that have landed.
    fn checkpoint(&self) {
        if let (Some(source), Some((parts, mark))) = (&self.source.fingerprint, self.parts.beginning()) {
            let checkpoint =
                Checkpoint::new(self.target.key, &self.parts.upload, parts, mark, source.clone());
            self.limits.checkpoints.keep(checkpoint);
        }
    }

    /// Leaves the upload to the next attempt where that one can go on, and aborts it where not.
    async fn leave(mut self, error: &ProcessingError) {
        let checkpoints = self.limits.checkpoints;
        if checkpoints.are_kept() && !matches!(error, ProcessingError::Permanent(_)) {
            // What fails here, or does not land in time, is sent again.
            let _ = timeout_at(self.limits.deadline, self.parts.land_all()).await;
            self.checkpoint();
            if let Some(kept) =
                checkpoints.find(self.target.key).filter(|kept| kept.upload == self.parts.upload)
            {
                let (parts, bytes, of) = (kept.parts, kept.mark.bytes, kept.source.length);
                tracing::info!(
                    key = self.target.key,
                    parts,
                    bytes,
                    of,
                    "a transfer is left for the next attempt"
                );
                return;
            }
        }
        checkpoints.clear();
        bounded_abort(self.parts, self.limits.deadline).await;
    }
}

/// Reads the last part that has landed once more. False where the source has other bytes there by now.
async fn is_unchanged(parts: &Parts<'_>, source: &mut Source<'_>) -> Result<bool, ProcessingError> {
    let (mut left, mut digest) = (PART_BYTES, Sha256::new());
    while left > 0 {
        let Some(piece) = source.piece(left).await? else { return Ok(false) };
        digest.update(&piece);
        left -= piece.len();
    }
    Ok(parts.last_digest().is_some_and(|last| last == digest.finalize().as_slice()))
}

/// An upload that cannot be aborted in time is left to the bucket's lifecycle rule.
pub(super) async fn bounded_abort(parts: Parts<'_>, deadline: Instant) {
    let _ = timeout_at(deadline, parts.abort()).await;
}
