//! `files`: looked at, downloaded and deleted.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{fs::File, io::AsyncReadExt};

use super::{Problem, Shared, parameters, see_through};
use crate::{
    clock::Millis,
    dev::gemini::{Simulator, files::FileRecord, rfc3339},
};

const KEPT: Millis = 48 * 3600 * 1000;
const CHUNK: usize = 64 * 1024;

pub(super) async fn read(
    simulator: Shared,
    Path((version, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    if name.contains(':') {
        return download(simulator, Path((version, name)), uri).await;
    }
    tokio::time::sleep(simulator.answer_delay).await;
    let file = simulator.files.get(&name).ok_or_else(|| missing(&name))?;
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
        download_uri: file.generated.then(download),
        state: "ACTIVE",
        source: if file.generated { "GENERATED" } else { "UPLOADED" },
        name,
    }
}

pub(super) async fn download(
    State(simulator): Shared,
    Path((_, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let Some((id, "download")) = name.rsplit_once(':') else {
        return Err(Problem::not_found(format!("files/{name} is not simulated.")));
    };
    tokio::time::sleep(simulator.answer_delay).await;
    let file = simulator.files.get(id).ok_or_else(|| missing(id))?;
    if !file.generated {
        return Err(Problem::invalid("Only generated files can be downloaded."));
    }
    if parameters(&uri).get("alt").map(String::as_str) != Some("media") {
        return Err(Problem::invalid("A download needs alt=media."));
    }
    let data = File::open(simulator.files.data(id)).await?;
    let length = data.metadata().await?.len();
    let headers = [(header::CONTENT_TYPE, file.mime_type), (header::CONTENT_LENGTH, length.to_string())];
    Ok((headers, stream_of(data)).into_response())
}

fn stream_of(data: File) -> Body {
    Body::from_stream(stream::try_unfold(data, |mut data| async {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = (&mut data).take(CHUNK as u64).read_to_end(&mut chunk).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(chunk), data)))
    }))
}

pub(super) async fn remove(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    see_through(async move {
        match simulator.files.remove(&id).await? {
            true => Ok(Json(json!({}))),
            false => Err(missing(&id)),
        }
    })
    .await
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("files/{id} was not found."))
}
