//! Stores for tests, and what the tests ask of them over and over.

use std::{collections::BTreeSet, path::Path, time::Duration};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::head_object::HeadObjectOutput,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use tokio::{net::TcpListener, sync::watch};

use super::Stores;

pub const BUCKET: &str = "gemhook-results";

/// Stores in a folder of their own, on ports of their own.
pub struct TestStores {
    pub stores: Stores,
    pub folder: tempfile::TempDir,
    shutdown: watch::Sender<bool>,
}

impl TestStores {
    pub async fn open() -> Self {
        Self::open_in(tempfile::tempdir().unwrap()).await
    }

    pub async fn open_in(folder: tempfile::TempDir) -> Self {
        let (shutdown, fires) = watch::channel(false);
        let stores = super::open(folder.path(), port().await, port().await, fires).await.unwrap();
        Self { stores, folder, shutdown }
    }

    pub async fn close(self) -> tempfile::TempDir {
        self.shutdown.send(true).unwrap();
        self.stores.stopped().await;
        self.folder
    }

    pub async fn reopen(self) -> Self {
        Self::open_in(self.close().await).await
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        self.stores.dynamodb(gemhook::aws::archiver_timeouts())
    }

    pub fn s3(&self) -> Client {
        self.stores.s3(gemhook::aws::archiver_timeouts())
    }
}

pub async fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.as_service_error().and_then(|error| error.code()).unwrap_or("no answer")
}

pub async fn read(s3: &Client, key: &str) -> Vec<u8> {
    let object = s3.get_object().bucket(BUCKET).key(key).send().await.unwrap();
    object.body.collect().await.unwrap().to_vec()
}

pub async fn head(s3: &Client, key: &str) -> Option<HeadObjectOutput> {
    s3.head_object().bucket(BUCKET).key(key).send().await.ok()
}

pub fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found
}

pub async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
}

pub async fn upload(s3: &Client, key: &str, parts: &[Vec<u8>]) -> (String, CompletedMultipartUpload) {
    let upload = s3.create_multipart_upload().bucket(BUCKET).key(key).metadata("gemhook-job", "batches/1");
    let id = upload.send().await.unwrap().upload_id.unwrap();
    let mut list = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(parts) {
        let body = ByteStream::from(part.clone());
        let put = s3.upload_part().bucket(BUCKET).key(key).upload_id(&id).part_number(number).body(body);
        let put = put.send().await.unwrap();
        list = list.parts(CompletedPart::builder().part_number(number).set_e_tag(put.e_tag).build());
    }
    (id, list.build())
}
