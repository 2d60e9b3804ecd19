//! An object in parts. Each part carries a digest of our own; the object appears when the last step says so.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::bucket::{At, Bucket, OWNER, PART, Written, code, failed, occupied, owner};
use crate::trouble::Trouble;

/// Parts on their way at once. With the one that is being filled and a line that is being read, they bound the memory.
const AT_ONCE: usize = 3;

/// S3 takes no more in one object.
const MOST: i32 = 10_000;

pub(super) struct Parts<'a> {
    bucket: &'a Bucket,
    at: At<'a>,
    upload: String,
    begun: i32,
    /// Given up when this is dropped.
    sending: JoinSet<Result<CompletedPart, Trouble>>,
    done: Vec<CompletedPart>,
}

impl<'a> Parts<'a> {
    pub async fn begin(bucket: &'a Bucket, at: At<'a>, content_type: &str) -> Result<Self, Trouble> {
        let doing = "begin an upload";
        let begun = bucket
            .s3
            .create_multipart_upload()
            .bucket(&bucket.name)
            .key(at.key)
            .content_type(content_type)
            .metadata(OWNER, at.job)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .map_err(|error| failed(doing, &error))?;
        let upload =
            begun.upload_id.ok_or_else(|| Trouble::passing(format!("{doing}: S3 named no upload")))?;
        Ok(Self { bucket, at, upload, begun: 0, sending: JoinSet::new(), done: Vec::new() })
    }

    /// Sends a part off, as soon as few enough are on their way.
    pub async fn send(&mut self, part: Bytes) -> Result<(), Trouble> {
        if self.begun == MOST {
            let most = (MOST as u64 * PART as u64) >> 30;
            return Err(Trouble::Lasting(format!("the output is longer than {most} GiB")));
        }
        while self.sending.len() >= AT_ONCE {
            self.land().await?;
        }
        self.begun += 1;
        let number = self.begun;
        let request = self
            .bucket
            .s3
            .upload_part()
            .bucket(&self.bucket.name)
            .key(self.at.key)
            .upload_id(&self.upload)
            .part_number(number);
        self.sending.spawn(async move {
            let checksum = BASE64_STANDARD.encode(Sha256::digest(&part));
            let request = request.checksum_sha256(&checksum).body(ByteStream::from(part));
            let sent = request.send().await.map_err(|error| failed("upload a part", &error))?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
            Ok(part.checksum_sha256(checksum).build())
        });
        Ok(())
    }

    pub async fn land_all(&mut self) -> Result<(), Trouble> {
        while !self.sending.is_empty() {
            self.land().await?;
        }
        self.done.sort_by_key(CompletedPart::part_number);
        Ok(())
    }

    async fn land(&mut self) -> Result<(), Trouble> {
        if let Some(landed) = self.sending.join_next().await {
            let landed = landed.map_err(|error| Trouble::passing(format!("upload a part: {error}")))?;
            self.done.push(landed?);
        }
        Ok(())
    }

    /// Makes the object appear, of parts that have all landed. An answer that was lost is looked up before anything is thrown away.
    pub async fn complete(self, bytes: u64) -> Result<Written, Trouble> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.done.clone())).build();
        let completed = self
            .bucket
            .s3
            .complete_multipart_upload()
            .bucket(&self.bucket.name)
            .key(self.at.key)
            .upload_id(&self.upload)
            .if_none_match("*")
            .multipart_upload(parts)
            .send()
            .await;
        if let Err(error) = &completed
            && code(error) != Some("PreconditionFailed")
        {
            let head = self.bucket.head(self.at.key).await?;
            if head.as_ref().is_some_and(|head| {
                owner(head) == Some(self.at.job)
                    && head.content_length().map(i64::unsigned_abs) == Some(bytes)
            }) {
                return Ok(Written::Occupied);
            }
        }
        let written = occupied(completed, "complete an upload");
        if !matches!(written, Ok(Written::New)) {
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
            .key(self.at.key)
            .upload_id(&self.upload)
            .send()
            .await;
        if let Err(error) = aborted {
            let error = crate::aws::explain(&error);
            tracing::warn!(key = self.at.key, error, "an upload could not be aborted");
        }
    }
}
