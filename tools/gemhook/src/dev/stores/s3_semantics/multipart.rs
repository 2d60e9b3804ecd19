//! Uploads in parts. Their state lies under the staged name of the key until the last step.

use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use uuid::Uuid;

use super::{Condition, S3Semantics};
use crate::dev::stores::disk::{STAGING, refuse, staged_upload};

/// S3 lists no more parts at once.
const PAGE: i32 = 1000;

impl S3Semantics {
    pub(super) async fn create(
        &self,
        mut req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = &mut req.input;
        self.check(&input.bucket, &input.key)?;
        let staged = staged_upload(&input.bucket, &input.key);
        let bucket = std::mem::replace(&mut input.bucket, STAGING.into());
        let key = std::mem::replace(&mut input.key, staged);
        let mut answer = self.fs.create_multipart_upload(req).await?;
        answer.output.bucket = Some(bucket);
        answer.output.key = Some(key);
        Ok(answer)
    }

    /// Written as an object of its own, since only there s3s-fs compares the checksum.
    pub(super) async fn part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let (upload, number) = (req.input.upload_id.clone(), req.input.part_number);
        self.check_upload(&bucket, &key, &upload)?;
        if !(1..=10_000).contains(&number) {
            return Err(s3_error!(InvalidArgument, "a part number is between 1 and 10,000"));
        }
        let staged = self.stage(Uuid::new_v4().to_string());
        let put = req.map_input(|part| PutObjectInput {
            body: part.body,
            bucket: STAGING.into(),
            key: staged.name.clone(),
            content_length: part.content_length,
            content_md5: part.content_md5,
            checksum_algorithm: part.checksum_algorithm,
            checksum_crc32: part.checksum_crc32,
            checksum_crc32c: part.checksum_crc32c,
            checksum_crc64nvme: part.checksum_crc64nvme,
            checksum_sha1: part.checksum_sha1,
            checksum_sha256: part.checksum_sha256,
            ..Default::default()
        });
        let put = self.fs.put_object(put).await?.output;

        let _lock = self.lock(&bucket, &key).await;
        // It may have been completed or aborted while the part was on its way.
        let (_, id) = self.check_upload(&bucket, &key, &upload)?;
        std::fs::rename(self.disk.data(STAGING, &staged.name), self.disk.part(id, number)).map_err(refuse)?;
        let known = (put.e_tag.clone(), put.checksum_sha256.clone());
        self.sent.lock().await.insert((id, number), known);
        Ok(S3Response::new(UploadPartOutput {
            e_tag: put.e_tag,
            checksum_crc32: put.checksum_crc32,
            checksum_crc32c: put.checksum_crc32c,
            checksum_crc64nvme: put.checksum_crc64nvme,
            checksum_sha1: put.checksum_sha1,
            checksum_sha256: put.checksum_sha256,
            ..Default::default()
        }))
    }

    /// Holds the key's lock throughout, so that of two completions the second finds the object, or no upload.
    pub(super) async fn complete(
        &self,
        mut req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = &mut req.input;
        let _lock = self.lock(&input.bucket, &input.key).await;
        let (staged, id) = self.check_upload(&input.bucket, &input.key, &input.upload_id)?;
        self.check_parts(id, input.multipart_upload.as_ref())?;
        let when = Condition { if_match: input.if_match.take(), if_none_match: input.if_none_match.take() };
        when.check(&self.disk, &input.bucket, &input.key)?;

        let staged = self.stage(staged);
        let bucket = std::mem::replace(&mut input.bucket, STAGING.into());
        let key = std::mem::replace(&mut input.key, staged.name.clone());
        let mut output = self.fs.complete_multipart_upload(req).await?.output;
        if let Some(rest) = output.future.take() {
            output = rest.await?;
        }
        self.disk.publish(&staged.name, &bucket, &key).map_err(refuse)?;
        self.forget(id).await;
        output.bucket = Some(bucket);
        output.key = Some(key);
        Ok(S3Response::new(output))
    }

    pub(super) async fn abort(
        &self,
        mut req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = &mut req.input;
        let _lock = self.lock(&input.bucket, &input.key).await;
        let (staged, id) = self.check_upload(&input.bucket, &input.key, &input.upload_id)?;
        input.bucket = STAGING.into();
        input.key = staged;
        self.forget(id).await;
        self.fs.abort_multipart_upload(req).await
    }

    async fn forget(&self, upload: Uuid) {
        self.sent.lock().await.retain(|(id, _), _| *id != upload);
    }

    /// A page of the parts that have landed, each with its entity tag and checksum, which s3s-fs does not keep.
    pub(super) async fn parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let (_, id) = self.check_upload(&req.input.bucket, &req.input.key, &req.input.upload_id)?;
        let after = req.input.part_number_marker.unwrap_or(0);
        let most = usize::try_from(req.input.max_parts.unwrap_or(PAGE)).unwrap_or(0);
        let mut answer = self.fs.list_parts(req).await?;
        let mut parts = answer.output.parts.take().unwrap_or_default();
        parts.retain(|part| part.part_number.is_some_and(|number| number > after));
        parts.sort_by_key(|part| part.part_number);
        answer.output.is_truncated = Some(parts.len() > most);
        parts.truncate(most);
        let sent = self.sent.lock().await;
        for part in &mut parts {
            if let Some((etag, sha256)) = part.part_number.and_then(|number| sent.get(&(id, number))) {
                part.e_tag.clone_from(etag);
                part.checksum_sha256.clone_from(sha256);
            }
        }
        answer.output.next_part_number_marker = parts.last().and_then(|part| part.part_number);
        answer.output.parts = Some(parts);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;
