//! An object in parts. Each part carries a digest of our own; the object appears when the last step says so.
//!
//! An upload can be left open and taken up by a later invocation, which asks S3 what it has of it:
//!
//! ```text
//! source     |--------|--------|--------|--------|-----|            what the API serves, of a length that is known
//! landed      1        2        3   .    4             .            S3 has these parts; 3 was cut off on its way
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
    bucket::{Bucket, OWNER, ObjectTarget, PART_BYTES, PutOutcome, code, failed, occupied, owner},
    buffers::Filled,
    checkpoint::Checkpoint,
    meter::Mark,
};
use crate::{error::ProcessingError, hex::hex};

/// Parts of one object on their way at once. The buffers of all objects together have a budget of their own.
const MAX_CONCURRENCY: usize = 3;

/// S3 takes no more in one object.
const MAX_PARTS: i32 = 10_000;

pub(super) struct Parts<'a> {
    bucket: &'a Bucket,
    target: ObjectTarget<'a>,
    pub upload: String,
    begun: i32,
    /// Given up when this is dropped.
    sending: JoinSet<Result<Landed, ProcessingError>>,
    /// By number: what an earlier invocation sent and its checkpoint does not count.
    listed: BTreeMap<i32, Landed>,
    landed: BTreeMap<i32, Landed>,
    /// The counts at the ends of the parts that are no part of the unbroken beginning yet.
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

    /// An upload that an earlier invocation left open. `Ok(Err(..))` says why it cannot be taken up.
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

    /// Sends a part off, as soon as few enough are on their way. `mark` is the count at its end.
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
            let sent = request.send().await.map_err(|error| failed("upload a part", &error))?;
            Ok(Landed { number, etag: sent.e_tag, sha256 })
        });
        Ok(())
    }

    /// Waits for all that is on its way, also where some of it fails, and tells of the first failure.
    pub async fn land_all(&mut self) -> Result<(), ProcessingError> {
        let mut first = Ok(());
        while !self.sending.is_empty() {
            first = first.and(self.land().await);
        }
        first
    }

    async fn land(&mut self) -> Result<(), ProcessingError> {
        if let Some(landed) = self.sending.join_next().await {
            let landed =
                landed.map_err(|error| ProcessingError::transient(format!("upload a part: {error}")))??;
            self.landed.insert(landed.number, landed);
            self.lengthen();
        }
        Ok(())
    }

    /// Counts the parts to the beginning that follow it without a gap.
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

    /// Makes the object appear, of parts that have all landed. An answer that was lost is looked up before anything is thrown away.
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

    /// As far as it can be done: the bucket's lifecycle rule cleans up what stays. No part may land afterwards.
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
    /// As S3 lists it. A part without a digest cannot be vouched for, so it counts as absent.
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
