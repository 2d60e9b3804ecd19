//! Objects in the bucket: written once, whole or not at all, never overwritten.
//!
//! [`Bucket::put`] writes an object with `If-None-Match: *`, so S3 itself decides between two writers (S3 User Guide,
//! "Conditional requests"). If the key is taken, the object that is there counts, provided that its metadata
//! `gemhook-job` names this job and its length is the stated one. Otherwise it is a conflict: a permanent error, and
//! the object stays as it is.

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::head_object::HeadObjectOutput,
    primitives::ByteStream,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{buffers::Buffers, meter::Meter};
use crate::{
    error::ProcessingError,
    gemini::{Document, SpooledBody},
    hex::hex,
    job::{Output, Summary},
};

/// The object metadata that says whose output an object is.
pub(super) const OWNER: &str = "gemhook-job";

/// The bucket for results.
pub struct Bucket {
    pub(super) s3: Client,
    pub(super) name: String,
    /// Of all objects that are written at the same time.
    pub(super) buffers: Buffers,
}

/// An object that is complete in the bucket, and the sums of its results.
#[derive(Debug)]
pub struct Archived {
    pub output: Output,
    /// Of results in lines.
    pub summary: Option<Summary>,
}

/// Which object, and for which job.
#[derive(Clone, Copy)]
pub struct ObjectTarget<'a> {
    pub key: &'a str,
    pub job: &'a str,
    /// Whether it holds results in lines, which are counted.
    pub lines: bool,
}

/// The result of a conditional write.
pub(super) enum PutOutcome {
    /// The object is written.
    New,
    /// Another object has the key.
    Occupied,
}

impl Bucket {
    pub fn new(s3: Client, name: impl Into<String>) -> Self {
        Self { s3, name: name.into(), buffers: Buffers::default() }
    }

    /// A complete object of an earlier attempt, read once to count it. None where there is no object. An object of
    /// another job, or of another length than the source states, is a conflict.
    pub async fn reuse_existing(
        &self,
        target: ObjectTarget<'_>,
        stated: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<Archived>, ProcessingError> {
        let Some(head) = self.ours(target, stated).await? else { return Ok(None) };
        let mut meter = Meter::new(target.lines);
        let take = |piece: Bytes| {
            meter.take(&piece);
            Ok(())
        };
        self.read(target, &head, deadline, take).await?;
        let (bytes, digest, summary) = meter.finish();
        let content_type = head.content_type().unwrap_or("application/octet-stream");
        Ok(Some(self.archived(target, bytes, &digest, summary, content_type, "an earlier attempt")))
    }

    /// An answer that an earlier attempt stored.
    pub async fn document(
        &self,
        target: ObjectTarget<'_>,
        deadline: Instant,
    ) -> Result<Option<Document>, ProcessingError> {
        let Some(head) = self.ours(target, None).await? else { return Ok(None) };
        let mut spooled = SpooledBody::default();
        self.read(target, &head, deadline, |piece| spooled.append(&piece)).await?;
        Ok(Some(Document::new(spooled)))
    }

    /// What is known of an object that is there already. It must be this job's, and as long as the source states.
    async fn ours(
        &self,
        target: ObjectTarget<'_>,
        stated: Option<u64>,
    ) -> Result<Option<HeadObjectOutput>, ProcessingError> {
        let Some(head) = self.head(target.key).await? else { return Ok(None) };
        let length = head.content_length().and_then(|length| u64::try_from(length).ok());
        let why = if owner(&head) != Some(target.job) {
            "it is not this job's"
        } else if stated.is_some() && stated != length {
            "its length is not what the source states"
        } else {
            return Ok(Some(head));
        };
        crate::metrics::conflict();
        Err(ProcessingError::Permanent(format!("conflict: object {} is there already and {why}", target.key)))
    }

    /// Reads an object to its end, in pieces. It is a transient error if it is shorter than `head` says.
    async fn read(
        &self,
        target: ObjectTarget<'_>,
        head: &HeadObjectOutput,
        deadline: Instant,
        mut each: impl FnMut(Bytes) -> Result<(), ProcessingError>,
    ) -> Result<(), ProcessingError> {
        let doing = "read an object of an earlier attempt";
        let get = self.s3.get_object().bucket(&self.name).key(target.key);
        let mut object = get.send().await.map_err(|error| failed(doing, &error))?;
        let mut read = 0;
        loop {
            match timeout_at(deadline, object.body.next()).await {
                Ok(Some(piece)) => {
                    let piece =
                        piece.map_err(|error| ProcessingError::transient(format!("{doing}: {error}")))?;
                    read += piece.len() as u64;
                    each(piece)?;
                }
                Ok(None) => break,
                Err(_) => return Err(ProcessingError::DeadlineExceeded),
            }
        }
        if head.content_length().is_some_and(|length| length.unsigned_abs() != read) {
            return Err(ProcessingError::transient(format!("{doing}: it was cut off")));
        }
        Ok(())
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<HeadObjectOutput>, ProcessingError> {
        match self.s3.head_object().bucket(&self.name).key(key).send().await {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.as_service_error().is_some_and(|fault| fault.is_not_found()) => Ok(None),
            Err(error) => Err(failed("look an object up", &error)),
        }
    }

    /// Writes an object in one request, if its key is free. S3 checks the bytes by their SHA-256, which is a signed header.
    /// So the SDK need not hash them once more for the signature.
    pub(super) async fn put(
        &self,
        target: ObjectTarget<'_>,
        content_type: &str,
        body: Bytes,
    ) -> Result<PutOutcome, ProcessingError> {
        let put = self
            .s3
            .put_object()
            .bucket(&self.name)
            .key(target.key)
            .if_none_match("*")
            .content_type(content_type)
            .metadata(OWNER, target.job)
            .checksum_sha256(BASE64_STANDARD.encode(Sha256::digest(&body)))
            .body(ByteStream::from(body));
        occupied(put.customize().disable_payload_signing().send().await, "store an object")
    }

    pub(super) fn archived(
        &self,
        target: ObjectTarget<'_>,
        bytes: u64,
        digest: &[u8; 32],
        summary: Option<Summary>,
        content_type: &str,
        origin: &str,
    ) -> Archived {
        let output = Output {
            bucket: self.name.clone(),
            key: target.key.to_owned(),
            bytes,
            content_type: content_type.to_owned(),
            sha256: hex(digest),
            source: origin.to_owned(),
        };
        Archived { output, summary }
    }
}

/// The job that an object belongs to.
pub(super) fn owner(head: &HeadObjectOutput) -> Option<&str> {
    head.metadata().and_then(|metadata| metadata.get(OWNER)).map(String::as_str)
}

/// An `If-None-Match` that fails (412 `PreconditionFailed`) is an answer, not an error.
pub(super) fn occupied<T, E>(
    answer: Result<T, SdkError<E>>,
    doing: &str,
) -> Result<PutOutcome, ProcessingError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match answer {
        Ok(_) => Ok(PutOutcome::New),
        Err(error) if code(&error) == Some("PreconditionFailed") => Ok(PutOutcome::Occupied),
        Err(error) => Err(failed(doing, &error)),
    }
}

/// S3's error code, such as `NoSuchUpload`. None where there was no answer.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Every other error of S3 is transient: whatever it is, the output stays at Gemini and can be fetched again.
pub(super) fn failed<E>(doing: &str, error: &SdkError<E>) -> ProcessingError
where
    E: std::error::Error + 'static,
{
    ProcessingError::transient(format!("{doing}: {}", crate::aws::explain(error)))
}
