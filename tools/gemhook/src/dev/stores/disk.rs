//! How s3s-fs lays objects out in files, and what makes a write of several files appear, or vanish, as one.
//!
//! An object is its data under `bucket/key` and two JSON files in the root: the metadata and, written last, the
//! internal one. An object without the internal file was never finished.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use s3s::{S3ErrorCode, S3Result, s3_error};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Where objects lie until they are whole. No name of a bucket, so no client can reach it.
pub const STAGING: &str = ".staging";

const MAX_KEY: usize = 1024;
const MAX_FILE_NAME: usize = 255;

pub struct Disk {
    pub root: PathBuf,
}

impl Disk {
    /// Whatever an earlier process left unfinished goes: its clients are gone with it.
    pub fn open(root: &Path, bucket: &str) -> io::Result<Self> {
        fs::create_dir_all(root.join(bucket))?;
        let disk = Self { root: root.canonicalize()? };
        if disk.root.join(STAGING).exists() {
            fs::remove_dir_all(disk.root.join(STAGING))?;
        }
        fs::create_dir(disk.root.join(STAGING))?;
        let staged = format!(".bucket-{}.", URL_SAFE_NO_PAD.encode(STAGING));
        for entry in fs::read_dir(&disk.root)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if entry.file_type()?.is_dir() {
                if s3s::path::check_bucket_name(name) {
                    disk.remove_torn(name, &entry.path(), "")?;
                }
            } else if [".tmp.", ".upload-", ".upload_id-", &staged].iter().any(|of| name.starts_with(of)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(disk)
    }

    /// A process killed while it published left data without the internal file.
    fn remove_torn(&self, bucket: &str, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let key = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                self.remove_torn(bucket, &entry.path(), &format!("{key}/"))?;
            } else if !self.internal(bucket, &key).exists() {
                tracing::warn!(bucket, key, "removed an object whose write was cut off");
                self.remove(bucket, &key)?;
            }
        }
        Ok(())
    }

    pub fn has_bucket(&self, bucket: &str) -> bool {
        self.root.join(bucket).is_dir()
    }

    pub fn has(&self, bucket: &str, key: &str) -> bool {
        self.data(bucket, key).is_file()
    }

    /// Whether the upload is open and of this very key: s3s-fs would complete it under any.
    pub fn has_upload(&self, staged: &str, id: Uuid) -> bool {
        let metadata = format!("{}.upload-{id}.metadata.json", stem(STAGING, staged));
        self.root.join(format!(".upload-{id}.json")).exists() && self.root.join(metadata).exists()
    }

    pub fn part(&self, id: Uuid, number: i32) -> PathBuf {
        self.root.join(format!(".upload_id-{id}.part-{number}"))
    }

    pub fn etag(&self, bucket: &str, key: &str) -> Option<String> {
        let internal = fs::read(self.internal(bucket, key)).ok()?;
        let internal: serde_json::Value = serde_json::from_slice(&internal).ok()?;
        Some(internal.get("e_tag")?.as_str()?.to_owned())
    }

    /// Moves a staged object to its key. Blocking on purpose: a request that is dropped cannot stop it half-way.
    ///
    /// The internal file goes first and comes last, so wherever a kill cuts this off, the object counts as torn.
    pub fn publish(&self, staged: &str, bucket: &str, key: &str) -> io::Result<()> {
        let data = self.data(bucket, key);
        if let Some(folder) = data.parent() {
            fs::create_dir_all(folder)?;
        }
        if data.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        absent_is_fine(fs::remove_file(self.internal(bucket, key)))?;
        absent_is_fine(fs::remove_file(self.metadata(bucket, key)))?;
        absent_is_fine(fs::rename(self.metadata(STAGING, staged), self.metadata(bucket, key)))?;
        fs::rename(self.data(STAGING, staged), data)?;
        fs::rename(self.internal(STAGING, staged), self.internal(bucket, key))
    }

    /// s3s-fs leaves the JSON files behind, and a later upload of the key would inherit old checksums from them.
    pub fn remove(&self, bucket: &str, key: &str) -> io::Result<()> {
        for file in [self.internal(bucket, key), self.data(bucket, key), self.metadata(bucket, key)] {
            absent_is_fine(fs::remove_file(file))?;
        }
        Ok(())
    }

    pub fn data(&self, bucket: &str, key: &str) -> PathBuf {
        self.root.join(bucket).join(key)
    }

    fn metadata(&self, bucket: &str, key: &str) -> PathBuf {
        self.root.join(format!("{}.metadata.json", stem(bucket, key)))
    }

    fn internal(&self, bucket: &str, key: &str) -> PathBuf {
        self.root.join(format!("{}.internal.json", stem(bucket, key)))
    }
}

/// Keys become paths here, so only those pass that cannot leave the bucket or mean the same file as another key.
pub fn check_key(bucket: &str, key: &str) -> S3Result<()> {
    if key.len() > MAX_KEY {
        return Err(s3_error!(KeyTooLongError, "the key is longer than 1,024 bytes"));
    }
    if key.contains(|c: char| c.is_control() || c == '\\') {
        return Err(s3_error!(
            InvalidArgument,
            "the local S3 takes no control character or backslash in a key"
        ));
    }
    if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(s3_error!(InvalidArgument, "the local S3 takes no segment '', '.' or '..' in a key"));
    }
    if stem(bucket, key).len() + ".metadata.json".len() > MAX_FILE_NAME {
        return Err(s3_error!(
            KeyTooLongError,
            "the key is longer than a file name of the local S3 can hold"
        ));
    }
    Ok(())
}

/// The staged name of the uploads of a key: the same for all of them, so that an upload id is held to its key.
pub fn staged_upload(bucket: &str, key: &str) -> String {
    let digest = Sha256::digest(format!("{bucket}/{key}"));
    URL_SAFE_NO_PAD.encode(digest)
}

pub fn refuse(error: io::Error) -> s3s::S3Error {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory};
    match error.kind() {
        AlreadyExists | IsADirectory | NotADirectory => {
            s3_error!(InvalidRequest, "in the local S3 a key cannot be both an object and a folder of others")
        }
        _ => s3s::S3Error::with_source(S3ErrorCode::InternalError, Box::new(error)),
    }
}

fn stem(bucket: &str, key: &str) -> String {
    format!(".bucket-{}.object-{}", URL_SAFE_NO_PAD.encode(bucket), URL_SAFE_NO_PAD.encode(key))
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
