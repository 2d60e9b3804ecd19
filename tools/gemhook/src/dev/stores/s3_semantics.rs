//! s3s-fs, held to what S3 promises: conditional writes are atomic, and an object appears whole and checked or not at all.
//!
//! Every write goes to a staged object first and is published under its key's lock. Operations that are not named
//! here are answered `NotImplemented`.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
};

use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::disk::{Disk, STAGING, check_key, refuse, staged_upload};

const LOCKS: usize = 64;
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// The ETag of a part and its checksum, as they were sent.
type SentPart = (Option<ETag>, Option<String>);

pub struct S3Semantics {
    fs: FileSystem,
    disk: Disk,
    /// By hash of the key. A reader takes it too, so that it never pairs data with another write's metadata.
    locks: [Mutex<()>; LOCKS],
    /// Entity tag and SHA-256 of each part of an open upload. No upload outlives the process.
    sent: Mutex<HashMap<(Uuid, i32), SentPart>>,
}

/// A staged object, removed when it goes out of use: after an error, or when the client hung up.
struct Staged<'a> {
    disk: &'a Disk,
    name: String,
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.disk.remove(STAGING, &self.name) {
            tracing::warn!(%error, "the local S3 left a staged object behind");
        }
    }
}

/// Judged here because s3s-fs would judge it by the staged object, and not under the lock.
struct Condition {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
}

impl Condition {
    fn check(&self, disk: &Disk, bucket: &str, key: &str) -> S3Result<()> {
        let exists = disk.has(bucket, key);
        match &self.if_none_match {
            Some(ETagCondition::Any) if exists => {
                return Err(s3_error!(PreconditionFailed, "the object is there already"));
            }
            Some(ETagCondition::ETag(_)) => {
                return Err(s3_error!(NotImplemented, "If-None-Match takes only *"));
            }
            Some(ETagCondition::Any) | None => {}
        }
        match &self.if_match {
            Some(_) if !exists => Err(s3_error!(NoSuchKey)),
            Some(ETagCondition::ETag(wanted)) => match disk.etag(bucket, key).map(ETag::Strong) {
                Some(found) if found.strong_cmp(wanted) => Ok(()),
                _ => Err(s3_error!(PreconditionFailed, "the object is another one")),
            },
            Some(ETagCondition::Any) | None => Ok(()),
        }
    }
}

impl S3Semantics {
    pub fn new(disk: Disk) -> S3Result<Self> {
        let locks = std::array::from_fn(|_| Mutex::new(()));
        Ok(Self { fs: FileSystem::new(&disk.root)?, disk, locks, sent: Mutex::default() })
    }

    #[allow(clippy::indexing_slicing, reason = "the remainder is below the length")]
    async fn lock(&self, bucket: &str, key: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (bucket, key).hash(&mut hasher);
        self.locks[hasher.finish() as usize % LOCKS].lock().await
    }

    fn stage(&self, name: String) -> Staged<'_> {
        Staged { disk: &self.disk, name }
    }

    fn check(&self, bucket: &str, key: &str) -> S3Result<()> {
        // s3s-fs would make the bucket with the object.
        if !self.disk.has_bucket(bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        check_key(bucket, key)
    }

    /// The staged name of an open upload. s3s-fs says `AccessDenied` of an unknown one, S3 `NoSuchUpload`.
    fn check_upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<(String, Uuid)> {
        self.check(bucket, key)?;
        let staged = staged_upload(bucket, key);
        match Uuid::parse_str(id) {
            Ok(id) if self.disk.has_upload(&staged, id) => Ok((staged, id)),
            _ => Err(s3_error!(NoSuchUpload)),
        }
    }

    /// s3s-fs uses the upload up before it looks at the parts; in S3 it survives a wrong list of them.
    fn check_parts(&self, id: Uuid, upload: Option<&CompletedMultipartUpload>) -> S3Result<()> {
        let parts = upload.and_then(|upload| upload.parts.as_deref()).unwrap_or_default();
        for (at, part) in (1..).zip(parts) {
            if part.part_number != Some(at) {
                return Err(s3_error!(
                    InvalidPartOrder,
                    "the local S3 takes parts numbered 1, 2, 3 and so on"
                ));
            }
            let file = self.disk.part(id, at).metadata().map_err(|_| s3_error!(InvalidPart))?;
            if file.len() < MIN_PART_BYTES && usize::try_from(at).is_ok_and(|at| at < parts.len()) {
                return Err(s3_error!(EntityTooSmall));
            }
        }
        Ok(())
    }

    async fn publish(&self, staged: &Staged<'_>, bucket: &str, key: &str, when: &Condition) -> S3Result<()> {
        let _lock = self.lock(bucket, key).await;
        when.check(&self.disk, bucket, key)?;
        self.disk.publish(&staged.name, bucket, key).map_err(refuse)
    }

    /// s3s-fs shows the object before it compares the checksum, and leaves it there if that is wrong: hence staged.
    async fn put(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &mut req.input;
        self.check(&input.bucket, &input.key)?;
        let when = Condition { if_match: input.if_match.take(), if_none_match: input.if_none_match.take() };
        let staged = self.stage(Uuid::new_v4().to_string());
        let bucket = std::mem::replace(&mut input.bucket, STAGING.into());
        let key = std::mem::replace(&mut input.key, staged.name.clone());
        let answer = self.fs.put_object(req).await?;
        self.publish(&staged, &bucket, &key, &when).await?;
        Ok(answer)
    }

    async fn copy(&self, mut req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = &mut req.input;
        self.check(&input.bucket, &input.key)?;
        let CopySource::Bucket { bucket: from, key: source, .. } = input.copy_source.clone() else {
            return Err(s3_error!(NotImplemented));
        };
        let staged = self.stage(Uuid::new_v4().to_string());
        let bucket = std::mem::replace(&mut input.bucket, STAGING.into());
        let key = std::mem::replace(&mut input.key, staged.name.clone());
        // Not held while the copy is published: both keys may share a lock.
        let answer = {
            let _lock = self.find(&from, &source).await?;
            self.fs.copy_object(req).await?
        };
        self.publish(&staged, &bucket, &key, &Condition { if_match: None, if_none_match: None }).await?;
        Ok(answer)
    }

    /// The lock of an object that is there. s3s-fs takes a folder for an object.
    async fn find(&self, bucket: &str, key: &str) -> S3Result<MutexGuard<'_, ()>> {
        self.check(bucket, key)?;
        let lock = self.lock(bucket, key).await;
        if self.disk.has(bucket, key) { Ok(lock) } else { Err(s3_error!(NoSuchKey)) }
    }

    async fn get(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let _lock = self.find(&req.input.bucket, &req.input.key).await?;
        self.fs.get_object(req).await
    }

    async fn head(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let _lock = self.find(&req.input.bucket, &req.input.key).await?;
        self.fs.head_object(req).await
    }

    async fn remove(&self, bucket: &str, key: &str) -> S3Result<()> {
        self.check(bucket, key)?;
        let _lock = self.lock(bucket, key).await;
        // A folder is no object, and what is not there is deleted.
        if self.disk.has(bucket, key) { self.disk.remove(bucket, key).map_err(refuse) } else { Ok(()) }
    }

    async fn delete(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.remove(&req.input.bucket, &req.input.key).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_all(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let Delete { objects, quiet } = req.input.delete;
        let mut deleted = Vec::new();
        for object in objects {
            self.remove(&req.input.bucket, &object.key).await?;
            deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
        }
        let deleted = (quiet != Some(true)).then_some(deleted);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }
}

mod multipart;
mod operations;

#[cfg(test)]
mod tests;
