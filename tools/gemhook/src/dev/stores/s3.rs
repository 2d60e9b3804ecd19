//! The embedded S3: a folder per bucket, a file per object, served over plain HTTP with signatures checked.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tokio::{net::TcpListener, sync::watch, time};

use super::{ACCESS_KEY_ID, GRACE, SECRET_ACCESS_KEY, disk::Disk, fired, s3_semantics::S3Semantics};

/// Opens the folder of the buckets and makes sure of one.
pub fn bucket(folder: &Path, bucket: &str) -> Result<S3Semantics> {
    let root = folder.join("s3");
    let context = || format!("cannot open the bucket in {}", root.display());
    let disk = Disk::open(&root, bucket).with_context(context)?;
    S3Semantics::new(disk).with_context(context)
}

pub async fn serve(listener: TcpListener, strict: S3Semantics, shutdown: watch::Receiver<bool>) {
    let mut builder = S3ServiceBuilder::new(strict);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
    let service = builder.build();
    let http = auto::Builder::new(TokioExecutor::new());
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(fired(shutdown));
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    // Mostly too many open files: it passes as connections end.
                    tracing::warn!(%error, "the local S3 cannot accept a connection");
                    time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let _ = socket.set_nodelay(true);
        let connection = http.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection to the local S3 broke");
            }
        });
    }
    drop(listener);
    let _ = time::timeout(GRACE, connections.shutdown()).await;
}
