//! The upload of a file: resumable in two or more steps, or at once.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Path, Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedMutexGuard;

use super::{Problem, Shared, files::show, parameters, read_json, see_through};
use crate::{
    Simulator, random_id,
    uploads::{OpenUpload, ProcessingError, Upload},
};

/// SDKs do not agree on how these names are spelt.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NewFile {
    name: Option<String>,
    #[serde(alias = "display_name")]
    display_name: Option<String>,
    #[serde(alias = "mime_type")]
    mime_type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Announcement {
    file: NewFile,
}

pub(super) async fn receive(
    State(simulator): Shared,
    Path(version): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    if let Some(id) = parameters(request.uri()).get("upload_id") {
        let upload = simulator.uploads.get(id);
        let upload = upload.ok_or_else(|| Problem::not_found("The upload was not found."))?;
        return proceed(&simulator, version, upload, request).await;
    }
    match header(request.headers(), "x-goog-upload-protocol") {
        Some("resumable") => start(&simulator, &version, request).await,
        Some("raw") | None => at_once(&simulator, version, request).await,
        Some(other) => Err(Problem::invalid(format!("The upload protocol {other} is not simulated."))),
    }
}

async fn start(simulator: &Simulator, version: &str, request: Request) -> Result<Response, Problem> {
    if !commands(request.headers()).contains(&"start") {
        return Err(Problem::invalid("A resumable upload begins with X-Goog-Upload-Command: start."));
    }
    let headers = request.headers().clone();
    let body = Bytes::from_request(request, &()).await;
    let file = match body {
        Ok(body) if body.trim_ascii().is_empty() => NewFile::default(),
        body => read_json::<Announcement>(body)?.file,
    };
    let file_id = match file.name {
        Some(name) => named(simulator, &name)?,
        None => random_id(12),
    };
    let announced = header(&headers, "x-goog-upload-header-content-type").map(str::to_owned);
    let size = header(&headers, "x-goog-upload-header-content-length").and_then(|size| size.parse().ok());
    let mime_type = announced.or(file.mime_type).unwrap_or_else(|| "application/octet-stream".into());
    let upload = simulator.uploads.start(file_id, file.display_name, mime_type, size).await?;
    let id = upload.lock().await.id.clone();
    let uri =
        format!("{}/upload/{version}/files?upload_id={id}&upload_protocol=resumable", simulator.base_url);
    let headers = [("x-goog-upload-url", uri), ("x-goog-upload-status", "active".into())];
    Ok((headers, Json(json!({}))).into_response())
}

/// An id that the client has chosen.
fn named(simulator: &Simulator, name: &str) -> Result<String, Problem> {
    let id = name.strip_prefix("files/").unwrap_or(name);
    let allowed = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    if !(1..=40).contains(&id.len()) || !id.bytes().all(allowed) || id.starts_with('-') || id.ends_with('-') {
        return Err(Problem::invalid("A file's name has up to 40 lower-case letters, digits and dashes."));
    }
    match simulator.files.get(id) {
        Some(_) => Err(Problem::already_exists(format!("files/{id} exists already."))),
        None => Ok(id.to_owned()),
    }
}

async fn proceed(
    simulator: &Arc<Simulator>,
    version: String,
    upload: OpenUpload,
    request: Request,
) -> Result<Response, Problem> {
    let upload = upload.lock_owned().await;
    let (parts, body) = request.into_parts();
    let commands = commands(&parts.headers);
    if commands.contains(&"cancel") {
        simulator.uploads.remove(&upload).await?;
        return Ok(([("x-goog-upload-status", "cancelled")], Json(json!({}))).into_response());
    }
    if commands.contains(&"upload") {
        let received = simulator.uploads.received(&upload).await;
        let offset = header(&parts.headers, "x-goog-upload-offset").unwrap_or("0");
        if offset.parse() != Ok(received) {
            return Err(Problem::invalid(format!("The offset is {offset}, but {received} bytes have come.")));
        }
        simulator.uploads.append(&upload, body).await?;
    }
    if commands.contains(&"finalize") {
        return finish(simulator, version, upload).await;
    }
    if !commands.contains(&"upload") && !commands.contains(&"query") {
        return Err(Problem::invalid("X-Goog-Upload-Command must be upload, finalize, query or cancel."));
    }
    let received = simulator.uploads.received(&upload).await.to_string();
    let headers = [("x-goog-upload-status", "active".to_owned()), ("x-goog-upload-size-received", received)];
    Ok((headers, Json(json!({}))).into_response())
}

async fn at_once(simulator: &Arc<Simulator>, version: String, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mime_type = header(&parts.headers, "content-type").unwrap_or("application/octet-stream").to_owned();
    let upload = simulator.uploads.start(random_id(12), None, mime_type, None).await?;
    let upload = upload.lock_owned().await;
    let appended = simulator.uploads.append(&upload, body).await;
    if appended.is_err() {
        simulator.uploads.remove(&upload).await?;
    }
    appended?;
    finish(simulator, version, upload).await
}

async fn finish(
    simulator: &Arc<Simulator>,
    version: String,
    upload: OwnedMutexGuard<Upload>,
) -> Result<Response, Problem> {
    let simulator = Arc::clone(simulator);
    see_through(async move {
        let file = simulator.uploads.finish(&upload, &simulator.files).await?;
        let shown = json!({"file": show(&simulator, &version, file)});
        Ok(([("x-goog-upload-status", "final")], Json(shown)).into_response())
    })
    .await
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Several commands may come in one request, as in `upload, finalize`.
fn commands(headers: &HeaderMap) -> Vec<&str> {
    let commands = header(headers, "x-goog-upload-command").unwrap_or_default();
    commands.split(',').map(str::trim).collect()
}

impl From<ProcessingError> for Problem {
    fn from(error: ProcessingError) -> Self {
        match error {
            ProcessingError::Sender(message) => Self::invalid(message),
            ProcessingError::Ours(error) => error.into(),
        }
    }
}
