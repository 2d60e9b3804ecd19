//! `files`: looked at, listed and deleted.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Problem, Shared, changed, download,
    file_lookup::{find, missing},
    paging::{Paging, read_token, token},
    see_through,
};
use crate::{
    Simulator,
    clock::Millis,
    files::{Content, FileRecord},
    rfc3339,
};

/// In characters.
const LONGEST_DELETED_ID: usize = 40;

const KEPT: Millis = 48 * 3600 * 1000;

/// The sizes are those of Google's reference of `files.list`.
const PAGES: Paging =
    Paging { names: ["pageSize", "pageToken"], default_size: 10, max_size: 100, read_token };

pub(super) async fn read(
    simulator: Shared,
    Path((version, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if name.contains(':') {
        return download::by_name(simulator, Path((version, name)), uri, headers).await;
    }
    let file = find(&simulator, &name, &uri).await?;
    Ok(Json(show(&simulator, &version, file)).into_response())
}

/// A file as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    mime_type: String,
    size_bytes: String,
    create_time: String,
    update_time: String,
    expiration_time: String,
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    download_uri: Option<String>,
    state: &'static str,
    source: &'static str,
}

pub(super) fn show(simulator: &Simulator, version: &str, file: FileRecord) -> Shown {
    let generated = file.content != Content::Uploaded;
    let (base, name) = (&simulator.base_url, format!("files/{}", file.id));
    let download = || format!("{base}/download/{version}/{name}:download?alt=media");
    Shown {
        display_name: file.display_name,
        mime_type: file.mime_type,
        size_bytes: file.size_bytes.to_string(),
        create_time: rfc3339(file.created),
        update_time: rfc3339(file.created),
        expiration_time: rfc3339(file.created.saturating_add(KEPT)),
        uri: format!("{base}/{version}/{name}"),
        download_uri: generated.then(download),
        state: "ACTIVE",
        source: if generated { "GENERATED" } else { "UPLOADED" },
        name,
    }
}

/// One page, newest file first. A page token is the creation time and the id of the last file of a page.
pub(super) async fn list(
    State(simulator): Shared,
    Path(version): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let (size, after) = PAGES.asked(&uri)?;
    let (files, more) = simulator.files.list(after, size);
    let mut answer = Map::new();
    if let Some(last) = files.last().filter(|_| more) {
        answer.insert("nextPageToken".into(), token(last.created, &last.id).into());
    }
    if !files.is_empty() {
        let shown: Vec<_> = files.into_iter().map(|file| show(&simulator, &version, file)).collect();
        answer.insert("files".into(), serde_json::to_value(shown)?);
    }
    Ok(Json(answer.into()))
}

pub(super) async fn remove(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    check_deletable(&id)?;
    see_through(async move { changed(simulator.files.remove(&id).await?, || missing(&id)) }).await
}

/// The output file of a batch is `batch-` and 36 characters. It can be read and downloaded, but the check of a
/// deletion is stricter, so it stays until it expires (googleapis/python-genai#1759).
fn check_deletable(id: &str) -> Result<(), Problem> {
    match id.len() > LONGEST_DELETED_ID {
        true => {
            Err(Problem::invalid(format!("* File ID (name) must be at most {LONGEST_DELETED_ID} characters")))
        }
        false => Ok(()),
    }
}
