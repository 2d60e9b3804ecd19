//! One output of a job: from the place where the API has it into the bucket.
//!
//! An output is a file behind an address ([`Archive::archive_file`]), a part of the API's answer
//! ([`Archive::archive_source`]), or an item of media, which may be either ([`Archive::archive_media`]). The result is
//! a [`FetchOutcome`]. An output that is lost, or at a place that nothing is fetched from, is listed in `skipped` with
//! its reason. Only the results of a batch must not be skipped: that is a permanent error.
//!
//! A second attempt of a row looks in the bucket first and reuses an object that is complete. A transfer that did not
//! end within its invocation goes on from its checkpoint.

use std::time::Duration;

use super::{
    Archive, Task,
    bucket::{Archived, ObjectTarget},
    checkpoint::Checkpoint,
    parts::Parts,
    source::Source,
    transfer::{self, Limits, bounded_abort},
};
use crate::{
    clock::millis,
    error::ProcessingError,
    gemini::{Document, Media, MediaAt, Undelivered, run_blocking},
    job::{EndedJob, Skipped},
};

/// How long after a job's end the API keeps its files (Gemini API guide, "Files": 48 hours). Before that, no answer of
/// the API proves that a file is lost.
const RETENTION: Duration = Duration::from_secs(48 * 3600);

/// What became of an output.
#[allow(clippy::large_enum_variant, reason = "one at a time is on its way, and most are stored")]
pub(super) enum FetchOutcome {
    /// It is in the bucket, checked.
    Stored(Archived),
    /// It is at a place that nothing is fetched from: another host, or Cloud Storage.
    Skipped(Skipped),
    /// The API does not have it, and its retention is over.
    Lost(Skipped),
}

impl FetchOutcome {
    /// Adds it to the job's row. Returns whether it is lost.
    pub fn keep(self, job: &mut EndedJob) -> bool {
        match self {
            Self::Stored(archived) => archived.keep(job),
            Self::Skipped(skipped) => job.skipped.push(skipped),
            Self::Lost(skipped) => {
                job.skipped.push(skipped);
                return true;
            }
        }
        false
    }
}

impl Archived {
    /// Adds it to the job's row. An output without any bytes is listed in `skipped`, too.
    pub fn keep(self, job: &mut EndedJob) {
        if self.output.bytes == 0 {
            let source = self.output.source.clone();
            job.skipped.push(Skipped { source, why: "it has no bytes".to_owned() });
        }
        job.outputs.push(self.output);
    }
}

impl Task<'_> {
    fn limits(&self) -> Limits<'_> {
        Limits { deadline: self.deadline, checkpoints: self.checkpoints }
    }

    /// Decides about a file that the API does not serve. It is lost only where the job ended so long ago that the API
    /// may have deleted it, and only at the last look. Before the retention is over the error is `early`, after it
    /// `OutputExpired`, and the row is retried.
    fn missing(
        &self,
        why: String,
        skipped: impl FnOnce(String) -> Skipped,
        early: impl FnOnce(String) -> ProcessingError,
    ) -> Result<FetchOutcome, ProcessingError> {
        let ended = self.row.event_time.unwrap_or(self.row.received_at);
        match self.now >= ended.saturating_add(millis(RETENTION)) {
            true if self.last_look => Ok(FetchOutcome::Lost(skipped(why))),
            true => Err(ProcessingError::OutputExpired(why)),
            false => Err(early(why)),
        }
    }
}

/// The source serves its output from the beginning, so the upload of an earlier attempt is of no use and is aborted.
async fn begin_anew(limits: Limits<'_>, parts: Parts<'_>, unchanged: bool) {
    let why = match unchanged {
        true => "the source answers no Range",
        false => "the source has changed",
    };
    tracing::warn!(why, "a transfer cannot go on and is begun anew");
    limits.checkpoints.clear();
    if unchanged {
        limits.checkpoints.prevent(why);
    }
    bounded_abort(parts, limits.deadline).await;
}

impl Archive {
    /// Stores the file behind an address. `content_type` makes the object's content type of the one that the file is
    /// served with.
    pub(super) async fn archive_file(
        &self,
        task: Task<'_>,
        target: ObjectTarget<'_>,
        uri: &str,
        content_type: impl FnOnce(Option<String>) -> String,
    ) -> Result<FetchOutcome, ProcessingError> {
        let skipped = |why: String| Skipped { source: uri.to_owned(), why };
        let place = match self.gemini.place(uri) {
            Ok(place) => place,
            Err(why) => return Ok(FetchOutcome::Skipped(skipped(why.to_owned()))),
        };
        if let Some(archived) = self.earlier(task, target).await? {
            return Ok(FetchOutcome::Stored(archived));
        }
        let open = self.reopen(task, target).await?;
        let resume = open.as_ref().map(|(checkpoint, _)| checkpoint.resume());
        let mut download = match self.gemini.download(&place, resume).await {
            Ok(download) => download,
            Err(Undelivered::Nowhere(why)) => return Ok(FetchOutcome::Skipped(skipped(why))),
            Err(Undelivered::Missing(why)) => return task.missing(why, skipped, ProcessingError::transient),
            Err(Undelivered::Forbidden(why)) => return task.missing(why, skipped, ProcessingError::Rejected),
            Err(Undelivered::ProcessingError(error)) => return Err(error),
        };
        let content_type = content_type(download.content_type.take());
        let resumed = download.resumed;
        let mut source = Source::file(download, uri, &content_type, task.deadline);
        source.waits_for_bytes = task.is_fresh();
        let limits = task.limits();
        let stored = match open {
            Some((checkpoint, parts)) if resumed => {
                let open = (&checkpoint, parts, source);
                return transfer::go_on(&self.bucket, target, limits, open).await.map(FetchOutcome::Stored);
            }
            Some((checkpoint, parts)) => {
                let unchanged = source.fingerprint.as_ref() == Some(&checkpoint.source);
                begin_anew(limits, parts, unchanged).await;
                transfer::store(&self.bucket, target, source, limits)
            }
            None => transfer::store(&self.bucket, target, source, limits),
        };
        stored.await.map(FetchOutcome::Stored)
    }

    /// The upload that an earlier attempt left open for this object, if this attempt can continue it.
    async fn reopen<'a>(
        &'a self,
        task: Task<'_>,
        target: ObjectTarget<'a>,
    ) -> Result<Option<(Checkpoint, Parts<'a>)>, ProcessingError> {
        let Some(checkpoint) = task.checkpoints.find(target.key) else { return Ok(None) };
        match Parts::reopen(&self.bucket, target, &checkpoint).await? {
            Ok(parts) => Ok(Some((checkpoint, parts))),
            Err(why) => {
                tracing::warn!(key = target.key, why, "a transfer cannot go on and is begun anew");
                task.checkpoints.clear();
                Ok(None)
            }
        }
    }

    /// Stores what `source` reads from an answer, or takes the object that an earlier attempt has stored of it.
    pub(super) async fn archive_source<'a>(
        &self,
        task: Task<'_>,
        target: ObjectTarget<'_>,
        source: impl FnOnce() -> Source<'a>,
    ) -> Result<Archived, ProcessingError> {
        match self.earlier(task, target).await? {
            Some(archived) => Ok(archived),
            None => {
                let mut source = source();
                source.waits_for_bytes = target.lines && task.is_fresh();
                transfer::store(&self.bucket, target, source, task.limits()).await
            }
        }
    }

    /// Stores an image, a video, a sound or a document of an answer, whether it is inline or behind an address.
    pub(super) async fn archive_media(
        &self,
        task: Task<'_>,
        target: ObjectTarget<'_>,
        media: &Media,
        document: &Document,
    ) -> Result<FetchOutcome, ProcessingError> {
        let stated = media.mime_type.as_deref().filter(|stated| is_content_type(stated));
        let span = match &media.at {
            MediaAt::Uri(uri) => {
                let served = |served: Option<String>| {
                    served.as_deref().or(stated).unwrap_or("application/octet-stream").to_owned()
                };
                return self.archive_file(task, target, uri, served).await;
            }
            MediaAt::Inline(span) => *span,
        };
        let measured = document.clone();
        let Some(length) = run_blocking(move || measured.decoded_length(span)).await? else {
            let why = "it is no base64, so it is only in the answer itself".to_owned();
            return Ok(FetchOutcome::Skipped(Skipped { source: "inline data".to_owned(), why }));
        };
        let content_type = stated.unwrap_or("application/octet-stream");
        let source = || Source::decoded(document, span, length, content_type, task.deadline);
        self.archive_source(task, target, source).await.map(FetchOutcome::Stored)
    }

    /// The complete object of an earlier attempt. A first attempt does not look, which saves it a request.
    async fn earlier(
        &self,
        task: Task<'_>,
        target: ObjectTarget<'_>,
    ) -> Result<Option<Archived>, ProcessingError> {
        if task.row.attempt > 1 {
            self.bucket.reuse_existing(target, None, task.deadline).await
        } else {
            Ok(None)
        }
    }
}

/// Whether it can be sent as the header `Content-Type`.
fn is_content_type(text: &str) -> bool {
    text.contains('/') && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_header_can_hold_is_a_content_type() {
        for (text, is_one) in [
            ("image/png", true),
            ("text/plain; charset=utf-8", true),
            ("image", false),
            ("image/p\nng", false),
            ("im\u{e4}ge/png", false),
        ] {
            assert_eq!(is_content_type(text), is_one, "{text:?}");
        }
    }
}
