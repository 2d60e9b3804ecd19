//! One output of a job on its way into the bucket, wherever the API has it.

use super::{
    Archive, Task,
    bucket::{Archived, At},
    source::Source,
};
use crate::{
    gemini::{Document, Media, MediaAt, off_the_loop},
    job::{EndedJob, Left},
    trouble::Trouble,
};

/// What became of an output.
pub(super) enum Brought {
    Stored(Archived),
    /// It is at a place that nothing is fetched from.
    Left(Left),
    /// It was there once, or never.
    Lost(Left),
}

impl Brought {
    /// Into the job's row. Whether it is lost.
    pub fn keep(self, job: &mut EndedJob) -> bool {
        match self {
            Self::Stored(archived) => archived.keep(job),
            Self::Left(left) => job.left.push(left),
            Self::Lost(left) => {
                job.left.push(left);
                return true;
            }
        }
        false
    }
}

impl Archived {
    /// Into the job's row. One without any bytes is told of as left, too.
    pub fn keep(self, job: &mut EndedJob) {
        if self.output.bytes == 0 {
            let source = self.output.source.clone();
            job.left.push(Left { source, why: "it has no bytes".to_owned() });
        }
        job.outputs.push(self.output);
    }
}

impl Archive {
    /// An output that an address leads to. `content_type` is handed the one that it is served with.
    pub(super) async fn bring_file(
        &self,
        task: Task<'_>,
        at: At<'_>,
        uri: &str,
        content_type: impl FnOnce(Option<String>) -> String,
    ) -> Result<Brought, Trouble> {
        let left = |why: String| Left { source: uri.to_owned(), why };
        let place = match self.gemini.place(uri) {
            Ok(place) => place,
            Err(why) => return Ok(Brought::Left(left(why.to_owned()))),
        };
        if let Some(archived) = self.earlier(task, at).await? {
            return Ok(Brought::Stored(archived));
        }
        let mut download = match self.gemini.download(&place).await {
            Ok(download) => download,
            Err(Trouble::Lasting(why)) => return Ok(Brought::Left(left(why))),
            Err(Trouble::Absent(why)) if task.last_look => return Ok(Brought::Lost(left(why))),
            Err(Trouble::Absent(why)) if task.is_fresh() => return Err(Trouble::passing(why)),
            Err(Trouble::Absent(why)) => return Err(Trouble::Expired(why)),
            Err(trouble) => return Err(trouble),
        };
        let content_type = content_type(download.content_type.take());
        let mut source = Source::file(download, uri, &content_type, task.deadline);
        source.waits_for_bytes = task.is_fresh();
        self.bucket.store(at, source, task.deadline).await.map(Brought::Stored)
    }

    pub(super) async fn bring_source<'a>(
        &self,
        task: Task<'_>,
        at: At<'_>,
        source: impl FnOnce() -> Source<'a>,
    ) -> Result<Archived, Trouble> {
        match self.earlier(task, at).await? {
            Some(archived) => Ok(archived),
            None => {
                let mut source = source();
                source.waits_for_bytes = at.lines && task.is_fresh();
                self.bucket.store(at, source, task.deadline).await
            }
        }
    }

    /// An image, a video or whatever else there is among the outputs of an answer.
    pub(super) async fn bring_media(
        &self,
        task: Task<'_>,
        at: At<'_>,
        media: &Media,
        document: &Document,
    ) -> Result<Brought, Trouble> {
        let stated = media.mime_type.as_deref().filter(|stated| is_content_type(stated));
        let spot = match &media.at {
            MediaAt::Uri(uri) => {
                let served = |served: Option<String>| {
                    served.as_deref().or(stated).unwrap_or("application/octet-stream").to_owned()
                };
                return self.bring_file(task, at, uri, served).await;
            }
            MediaAt::Inline(spot) => *spot,
        };
        let measured = document.clone();
        let Some(length) = off_the_loop(move || measured.decoded_length(spot)).await? else {
            let why = "it is no base64, so it is only in the answer itself".to_owned();
            return Ok(Brought::Left(Left { source: "inline data".to_owned(), why }));
        };
        let content_type = stated.unwrap_or("application/octet-stream");
        let source = || Source::decoded(document, spot, length, content_type, task.deadline);
        self.bring_source(task, at, source).await.map(Brought::Stored)
    }

    /// A first attempt has left nothing to be found, so it does not pay for looking.
    async fn earlier(&self, task: Task<'_>, at: At<'_>) -> Result<Option<Archived>, Trouble> {
        if task.row.attempt > 1 { self.bucket.adopt(at, None, task.deadline).await } else { Ok(None) }
    }
}

/// Whether it may stand in a header.
fn is_content_type(text: &str) -> bool {
    text.contains('/') && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}
