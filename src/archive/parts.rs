//! An object in parts. Each part carries a digest of our own; the object appears when the last step says so.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::bucket::{Bucket, OWNER, Place, Written, code, failed, occupied, owner};
use crate::trouble::Trouble;

pub(super) struct Parts<'a> {
    bucket: &'a Bucket,
    place: Place<'a>,
    upload: String,
    done: Vec<CompletedPart>,
}

impl<'a> Parts<'a> {
    pub async fn begin(bucket: &'a Bucket, place: Place<'a>, content_type: &str) -> Result<Self, Trouble> {
        let doing = "begin an upload";
        let begun = bucket
            .s3
            .create_multipart_upload()
            .bucket(&bucket.name)
            .key(place.key)
            .content_type(content_type)
            .metadata(OWNER, place.job)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .map_err(|error| failed(doing, &error))?;
        let upload =
            begun.upload_id.ok_or_else(|| Trouble::passing(format!("{doing}: S3 named no upload")))?;
        Ok(Self { bucket, place, upload, done: Vec::new() })
    }

    pub async fn send(&mut self, part: Bytes) -> Result<(), Trouble> {
        let number = i32::try_from(self.done.len() + 1).unwrap_or(i32::MAX);
        let checksum = BASE64_STANDARD.encode(Sha256::digest(&part));
        let sent = self
            .bucket
            .s3
            .upload_part()
            .bucket(&self.bucket.name)
            .key(self.place.key)
            .upload_id(&self.upload)
            .part_number(number)
            .checksum_sha256(&checksum)
            .body(ByteStream::from(part))
            .send()
            .await
            .map_err(|error| failed("upload a part", &error))?;
        let part =
            CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).checksum_sha256(checksum);
        self.done.push(part.build());
        Ok(())
    }

    /// Makes the object appear. An answer that was lost is looked up before anything is thrown away.
    pub async fn complete(self, bytes: u64) -> Result<Written, Trouble> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.done.clone())).build();
        let completed = self
            .bucket
            .s3
            .complete_multipart_upload()
            .bucket(&self.bucket.name)
            .key(self.place.key)
            .upload_id(&self.upload)
            .if_none_match("*")
            .multipart_upload(parts)
            .send()
            .await;
        if let Err(error) = &completed
            && code(error) != Some("PreconditionFailed")
        {
            let head = self.bucket.head(self.place.key).await?;
            if head.as_ref().is_some_and(|head| {
                owner(head) == Some(self.place.job)
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

    /// As far as it can be done: the bucket's lifecycle rule cleans up what stays.
    pub async fn abort(self) {
        let aborted = self
            .bucket
            .s3
            .abort_multipart_upload()
            .bucket(&self.bucket.name)
            .key(self.place.key)
            .upload_id(&self.upload)
            .send()
            .await;
        if let Err(error) = aborted {
            let error = crate::aws::explain(&error);
            tracing::warn!(key = self.place.key, error, "an upload could not be aborted");
        }
    }
}
