//! An object in parts: a multipart upload to S3, begun, continued, completed or aborted ([`Parts`]).
//!
//! Each part is sent with its SHA-256, which S3 checks. The object appears only when `complete` is called, whole or not
//! at all, and it never replaces another object (`If-None-Match`; S3 User Guide, "Uploading and copying objects using
//! multipart upload" and "Conditional requests").
//!
//! An upload can be left open. A later invocation asks S3 for its parts and goes on:
//!
//! ```text
//! source     |--------|--------|--------|--------|-----|            what the API serves, of a length that is known
//! S3 has      1        2        .        4                          part 3 did not arrive
//! checkpoint -------- bytes ----|                                   parts 1 and 2, and the count up to their end
//!                      ^ Range: from here the next invocation reads
//!                      |- read again: it must have the digest of part 2
//!                               |- sent      |- S3 lists a part 4 of the same digest: it is not sent again
//! ```

use std::collections::BTreeMap;

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Part},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::{
    bucket::{Bucket, OWNER, ObjectTarget, PutOutcome, code, failed, occupied, owner},
    buffers::{Filled, PART_BYTES},
    checkpoint::Checkpoint,
    meter::Mark,
};
use crate::{error::ProcessingError, hex::hex};

/// Parts of one object on their way at once. The buffers of all objects together have a budget of their own.
const MAX_CONCURRENCY: usize = 3;

/// S3 allows no more in one object (S3 User Guide, "Amazon S3 multipart upload limits").
const MAX_PARTS: i32 = 10_000;

/// An upload that is open. "Landed" is said of a part that S3 has confirmed.
pub(super) struct Parts<'a> {
    bucket: &'a Bucket,
    target: ObjectTarget<'a>,
    /// S3's id of the upload.
    pub upload: String,
    /// The number of the last part that was begun.
    begun: i32,
    /// The requests in flight. They are cancelled when this is dropped.
    sending: JoinSet<Result<Landed, ProcessingError>>,
    /// By number: parts that S3 lists from an earlier invocation and that its checkpoint does not count.
    listed: BTreeMap<i32, Landed>,
    landed: BTreeMap<i32, Landed>,
    /// The counts at the ends of the parts that do not belong to the unbroken beginning yet.
    marks: BTreeMap<i32, Mark>,
    beginning: Beginning,
}

/// The parts that have landed without a gap from the first one on.
#[derive(Default)]
struct Beginning {
    parts: i32,
    /// Over the digests of these parts.
    digests: Sha256,
    mark: Option<Mark>,
}

/// A part that S3 has.
#[derive(Clone)]
struct Landed {
    number: i32,
    etag: Option<String>,
    sha256: [u8; 32],
}

impl<'a> Parts<'a> {
    fn of(bucket: &'a Bucket, target: ObjectTarget<'a>, upload: String) -> Self {
        Self {
            bucket,
            target,
            upload,
            begun: 0,
            sending: JoinSet::new(),
            listed: BTreeMap::new(),
            landed: BTreeMap::new(),
            marks: BTreeMap::new(),
            beginning: Beginning::default(),
        }
    }

    /// Opens an upload. The object's metadata say which job it belongs to.
    pub async fn begin(
        bucket: &'a Bucket,
        target: ObjectTarget<'a>,
        content_type: &str,
    ) -> Result<Self, ProcessingError> {
        let doing = "begin an upload";
        let begun = bucket
            .s3
            .create_multipart_upload()
            .bucket(&bucket.name)
            .key(target.key)
            .content_type(content_type)
            .metadata(OWNER, target.job)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .map_err(|error| failed(doing, &error))?;
        let upload = begun
            .upload_id
            .ok_or_else(|| ProcessingError::transient(format!("{doing}: S3 named no upload")))?;
        Ok(Self::of(bucket, target, upload))
    }

    /// Continues an upload that an earlier invocation left open. `Ok(Err(..))` says why that is not possible: the
    /// upload or one of its parts is gone, or the parts are not those of the checkpoint.
    pub async fn reopen(
        bucket: &'a Bucket,
        target: ObjectTarget<'a>,
        checkpoint: &Checkpoint,
    ) -> Result<Result<Self, String>, ProcessingError> {
        let mut parts = Self::of(bucket, target, checkpoint.upload.clone());
        let list = bucket.s3.list_parts().bucket(&bucket.name).key(target.key).upload_id(&parts.upload);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => parts.listed.extend(page.parts().iter().filter_map(Landed::listed)),
                Err(error) if code(&error) == Some("NoSuchUpload") => {
                    return Ok(Err("its upload is not there any more".to_owned()));
                }
                Err(error) => return Err(failed("list the parts of an upload", &error)),
            }
        }
        for number in 1..=checkpoint.parts {
            let Some(part) = parts.listed.remove(&number) else {
                return Ok(Err(format!("part {number} of its upload is not there")));
            };
            parts.beginning.digests.update(part.sha256);
            parts.landed.insert(number, part);
        }
        parts.begun = checkpoint.parts;
        parts.beginning.parts = checkpoint.parts;
        parts.beginning.mark = Some(checkpoint.mark.clone());
        Ok(match parts.digest_of_beginning() == checkpoint.parts_sha256 {
            true => Ok(parts),
            false => Err("the parts of its upload are not those that were sent".to_owned()),
        })
    }

    /// Begins to send a part, as soon as fewer than three are on their way. `mark` is the count at its end. A part that
    /// S3 has already with the same digest is not sent again.
    pub async fn send(&mut self, part: Filled, mark: Mark) -> Result<(), ProcessingError> {
        if self.begun == MAX_PARTS {
            let most = (MAX_PARTS as u64 * PART_BYTES as u64) >> 30;
            return Err(ProcessingError::Permanent(format!("the output is longer than {most} GiB")));
        }
        while self.sending.len() >= MAX_CONCURRENCY {
            self.land().await?;
        }
        self.begun += 1;
        let number = self.begun;
        self.marks.insert(number, mark);
        let there = self.listed.remove(&number);
        let request = self
            .bucket
            .s3
            .upload_part()
            .bucket(&self.bucket.name)
            .key(self.target.key)
            .upload_id(&self.upload)
            .part_number(number);
        self.sending.spawn(async move {
            let sha256: [u8; 32] = Sha256::digest(&part.bytes).into();
            if let Some(there) = there.filter(|there| there.sha256 == sha256) {
                return Ok(there);
            }
            let request = request
                .checksum_sha256(BASE64_STANDARD.encode(sha256))
                .body(ByteStream::from(part.bytes.clone()));
            // As in `Bucket::put`: the signature covers the checksum.
            let sent = request.customize().disable_payload_signing().send().await;
            let sent = sent.map_err(|error| failed("upload a part", &error))?;
            Ok(Landed { number, etag: sent.e_tag, sha256 })
        });
        Ok(())
    }

    /// Waits for all parts that are on their way, also where some of them fail, and returns the first failure.
    pub async fn land_all(&mut self) -> Result<(), ProcessingError> {
        let mut first = Ok(());
        while !self.sending.is_empty() {
            first = first.and(self.land().await);
        }
        first
    }

    /// Waits for one part.
    async fn land(&mut self) -> Result<(), ProcessingError> {
        if let Some(landed) = self.sending.join_next().await {
            let landed =
                landed.map_err(|error| ProcessingError::transient(format!("upload a part: {error}")))??;
            self.landed.insert(landed.number, landed);
            self.lengthen();
        }
        Ok(())
    }

    /// Adds the parts to the beginning that follow it without a gap.
    fn lengthen(&mut self) {
        while let Some(part) = self.landed.get(&(self.beginning.parts + 1)) {
            self.beginning.parts += 1;
            self.beginning.digests.update(part.sha256);
            self.beginning.mark = self.marks.remove(&self.beginning.parts);
        }
    }

    /// Of the unbroken beginning: the number of its parts, the digest of their digests, and the count at its end.
    pub fn beginning(&self) -> Option<((i32, String), Mark)> {
        let mark = self.beginning.mark.clone()?;
        Some(((self.beginning.parts, self.digest_of_beginning()), mark))
    }

    /// The digest of the last part of the unbroken beginning.
    pub fn last_digest(&self) -> Option<[u8; 32]> {
        self.landed.get(&self.beginning.parts).map(|part| part.sha256)
    }

    fn digest_of_beginning(&self) -> String {
        hex(&self.beginning.digests.clone().finalize())
    }

    /// Makes the object of the parts, which have all landed. If the answer is lost, the object itself is looked up
    /// before the upload is aborted: [`PutOutcome::Occupied`] then means that it is complete.
    pub async fn complete(self, bytes: u64) -> Result<PutOutcome, ProcessingError> {
        let parts = self.landed.values().map(Landed::completed).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = self
            .bucket
            .s3
            .complete_multipart_upload()
            .bucket(&self.bucket.name)
            .key(self.target.key)
            .upload_id(&self.upload)
            .if_none_match("*")
            .multipart_upload(parts)
            .send()
            .await;
        if let Err(error) = &completed
            && code(error) != Some("PreconditionFailed")
        {
            let head = self.bucket.head(self.target.key).await?;
            if head.as_ref().is_some_and(|head| {
                owner(head) == Some(self.target.job)
                    && head.content_length().map(i64::unsigned_abs) == Some(bytes)
            }) {
                return Ok(PutOutcome::Occupied);
            }
        }
        let written = occupied(completed, "complete an upload");
        if !matches!(written, Ok(PutOutcome::New)) {
            self.abort().await;
        }
        written
    }

    /// Aborts the upload. Requests in flight are cancelled first, so that no part lands afterwards. If the abort fails,
    /// the bucket's lifecycle rule removes the parts.
    pub async fn abort(mut self) {
        self.sending.shutdown().await;
        let aborted = self
            .bucket
            .s3
            .abort_multipart_upload()
            .bucket(&self.bucket.name)
            .key(self.target.key)
            .upload_id(&self.upload)
            .send()
            .await;
        if let Err(error) = aborted {
            let error = crate::aws::explain(&error);
            tracing::warn!(key = self.target.key, error, "an upload could not be aborted");
        }
    }
}

impl Landed {
    /// Of a part in S3's list. A part without a digest cannot be checked, so it counts as absent.
    fn listed(part: &Part) -> Option<(i32, Self)> {
        let number = part.part_number()?;
        let sha256 = BASE64_STANDARD.decode(part.checksum_sha256()?).ok()?.try_into().ok()?;
        Some((number, Self { number, etag: part.e_tag().map(str::to_owned), sha256 }))
    }

    fn completed(&self) -> CompletedPart {
        CompletedPart::builder()
            .part_number(self.number)
            .set_e_tag(self.etag.clone())
            .checksum_sha256(BASE64_STANDARD.encode(self.sha256))
            .build()
    }
}
