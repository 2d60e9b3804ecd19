//! A long output on its way into the bucket, part by part, across as many invocations as it takes.
//!
//! It reads until shortly before the deadline and lets the parts land that are on their way. What has landed is told
//! to [`Checkpoints`] after every part, so a transfer that is dropped at any await can be gone on with.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{
    bucket::{At, Bucket, PART, Written},
    buffers::{Buffers, Filled},
    checkpoint::{Checkpoint, Checkpoints},
    measure::Measure,
    parts::Parts,
    source::Source,
};
use crate::trouble::Trouble;

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

pub(super) struct Transfer<'a, 's> {
    at: At<'a>,
    limits: Limits<'a>,
    buffers: &'a Buffers,
    parts: Parts<'a>,
    source: Source<'s>,
    measure: Measure,
}

/// A transfer that has come to its end.
pub(super) struct Sent<'s> {
    pub written: Written,
    pub measure: Measure,
    pub source: Source<'s>,
}

impl<'a, 's> Transfer<'a, 's> {
    /// Of a source whose first part is read already, and whose count is at its end.
    pub async fn begin(
        bucket: &'a Bucket,
        at: At<'a>,
        limits: Limits<'a>,
        (first, source, measure): (Filled, Source<'s>, Measure),
    ) -> Result<Sent<'s>, Trouble> {
        if source.fingerprint.is_none() {
            limits
                .checkpoints
                .prevent("the source cannot be gone on with: it states no length, or is no download");
        }
        let parts = Parts::begin(bucket, at, &source.content_type).await?;
        Self { at, limits, buffers: &bucket.buffers, parts, source, measure }.run(Some(first)).await
    }

    /// Goes on where an earlier invocation stopped, with a source that begins where the checkpoint asked.
    pub async fn go_on(
        bucket: &'a Bucket,
        at: At<'a>,
        limits: Limits<'a>,
        (checkpoint, parts, mut source): (&Checkpoint, Parts<'a>, Source<'s>),
    ) -> Result<Sent<'s>, Trouble> {
        let unchanged = is_unchanged(&parts, &mut source).await?;
        let measure = Measure::resume(&checkpoint.mark).filter(|_| unchanged);
        let Some(measure) = measure else {
            limits.checkpoints.clear();
            bounded_abort(parts, limits.deadline).await;
            return Err(Trouble::passing(
                "the output has changed since a part of it was read: it is begun anew",
            ));
        };
        tracing::info!(
            key = at.key,
            bytes = checkpoint.mark.bytes,
            parts = checkpoint.parts,
            "a transfer goes on"
        );
        Self { at, limits, buffers: &bucket.buffers, parts, source, measure }.run(None).await
    }

    async fn run(mut self, first: Option<Filled>) -> Result<Sent<'s>, Trouble> {
        let stop = self.limits.stop();
        let sent = timeout_at(stop, self.send_all(first)).await.unwrap_or(Err(Trouble::OutOfTime));
        if let Err(trouble) = sent {
            self.leave(&trouble).await;
            return Err(trouble);
        }
        let written = self.parts.complete(self.measure.bytes).await?;
        self.limits.checkpoints.clear();
        Ok(Sent { written, measure: self.measure, source: self.source })
    }

    async fn send_all(&mut self, first: Option<Filled>) -> Result<(), Trouble> {
        let mut part = match first {
            Some(first) => first,
            None => self.source.part(self.buffers, &mut self.measure).await?,
        };
        while !part.bytes.is_empty() {
            let sent = self.parts.send(part, self.measure.mark()).await;
            self.checkpoint();
            sent?;
            part = self.source.part(self.buffers, &mut self.measure).await?;
        }
        drop(part);
        self.parts.land_all().await?;
        check_length(&self.source, &self.measure)
    }

    /// Tells what has landed.
    fn checkpoint(&self) {
        if let (Some(source), Some((parts, mark))) = (&self.source.fingerprint, self.parts.beginning()) {
            let checkpoint = Checkpoint::new(self.at.key, &self.parts.upload, parts, mark, source.clone());
            self.limits.checkpoints.keep(checkpoint);
        }
    }

    /// Leaves the upload to the next attempt where that one can go on, and aborts it where not.
    async fn leave(mut self, trouble: &Trouble) {
        let checkpoints = self.limits.checkpoints;
        if checkpoints.are_kept() && !matches!(trouble, Trouble::Lasting(_)) {
            // What fails here, or does not land in time, is sent again.
            let _ = timeout_at(self.limits.deadline, self.parts.land_all()).await;
            self.checkpoint();
            if let Some(kept) = checkpoints.find(self.at.key).filter(|kept| kept.upload == self.parts.upload)
            {
                let (parts, bytes, of) = (kept.parts, kept.mark.bytes, kept.source.length);
                tracing::info!(
                    key = self.at.key,
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
async fn is_unchanged(parts: &Parts<'_>, source: &mut Source<'_>) -> Result<bool, Trouble> {
    let (mut left, mut digest) = (PART, Sha256::new());
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

/// An output that is shorter or longer than stated is not taken for whole.
pub(super) fn check_length(source: &Source<'_>, measure: &Measure) -> Result<(), Trouble> {
    match source.length {
        Some(stated) if stated != measure.bytes => {
            Err(Trouble::passing(format!("the output was cut off after {} of {stated} bytes", measure.bytes)))
        }
        _ => Ok(()),
    }
}
