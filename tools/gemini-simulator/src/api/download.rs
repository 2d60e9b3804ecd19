//! The content of files: whole or a range of it, from the disk or made up, and with the faults that are in force.

use std::{io, ops::Range, pin::Pin, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream};
use http_range_header::parse_range_header;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom, Take},
};

use super::{Problem, Shared, file_lookup::find, parameters};
use crate::{
    Simulator,
    faults::FaultKind,
    files::{Content, FileRecord},
    synthetic,
};

/// Where a download is redirected to: a link as good as signed, so whoever brings a key along has told it to a host
/// that it is not for.
pub(super) const REDIRECTED: &str = "/redirected/files/{id}";

const CHUNK: usize = 64 * 1024;
const TIME_TO_LEAVE: Duration = Duration::from_millis(100);

type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

pub(super) async fn by_name(
    State(simulator): Shared,
    Path((_, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some((id, "download")) = name.rsplit_once(':') else {
        return Err(Problem::not_found(format!("files/{name} is not simulated.")));
    };
    let file = find(&simulator, id, &uri).await?;
    if parameters(&uri).get("alt").map(String::as_str) != Some("media") {
        return Err(Problem::invalid("A download needs alt=media."));
    }
    answer(&simulator, file, &uri, &headers).await
}

/// SDKs take the id out of an address that begins with `https`, as those of the real API do. Ours begin with `http`,
/// and are put whole where the id should be, their own parameters included.
pub(super) async fn by_address(
    State(simulator): Shared,
    Path((_, address)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = address.rsplit_once("files/").map_or(address.as_str(), |(_, name)| name);
    let id = name.split(':').next().unwrap_or_default();
    let file = find(&simulator, id, &uri).await?;
    answer(&simulator, file, &uri, &headers).await
}

/// The content itself, or where else it is available.
async fn answer(
    simulator: &Arc<Simulator>,
    file: FileRecord,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let elsewhere = simulator.faults.strike(uri.path(), |kind| match kind {
        FaultKind::Redirected { to } => Some(to.clone().unwrap_or_else(|| other_name(&simulator.base_url))),
        _ => None,
    });
    match elsewhere {
        Some(host) => {
            let location = format!("{}{}", host.trim_end_matches('/'), REDIRECTED.replace("{id}", &file.id));
            Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
        }
        None => send(simulator, file, uri, headers).await,
    }
}

/// The same machine, to a client another host.
fn other_name(base_url: &str) -> String {
    match base_url.contains("127.0.0.1") {
        true => base_url.replace("127.0.0.1", "localhost"),
        false => base_url.replace("localhost", "127.0.0.1"),
    }
}

pub(super) async fn redirected(
    State(simulator): Shared,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if headers.contains_key("x-goog-api-key") || parameters(&uri).contains_key("key") {
        return Err(Problem::forbidden("An API key was sent to a host that it is not for."));
    }
    let file = find(&simulator, &id, &uri).await?;
    send(&simulator, file, &uri, &headers).await
}

async fn send(
    simulator: &Arc<Simulator>,
    mut file: FileRecord,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if file.content == Content::Uploaded {
        return Err(Problem::invalid("Only generated files can be downloaded."));
    }
    let etag = format!("\"{}\"", file.id);
    let strike = |kind: fn(&FaultKind) -> Option<i128>| simulator.faults.strike(uri.path(), kind);
    if strike(|kind| (*kind == FaultKind::Empty {}).then_some(0)).is_some() {
        file.size_bytes = 0;
    }
    let no_ranges = strike(|kind| (*kind == FaultKind::NoRanges {}).then_some(0)).is_some();
    let part = match no_ranges {
        true => None,
        false => range(headers, &etag, file.size_bytes)?,
    };
    let sent = part.clone().unwrap_or(0..file.size_bytes);
    let length = sent.end.saturating_sub(sent.start);
    let by = strike(|kind| match kind {
        FaultKind::WrongLength { by } => Some(i128::from(*by)),
        _ => None,
    });
    let stated = i128::from(length).saturating_add(by.unwrap_or(0)).max(0);
    let after = strike(|kind| match kind {
        FaultKind::Cut { after } => Some(i128::from(*after)),
        _ => None,
    });
    let after = after.and_then(|after| u64::try_from(after).ok()).filter(|after| *after < length);
    let body =
        pieces(simulator, &file, sent.start..after.map_or(sent.end, |after| sent.start + after)).await?;
    let body = match (after, by) {
        (None, None) => Body::from_stream(body),
        (after, _) => Body::from_stream(body.chain(broken_off(after.is_some()))),
    };
    let mut answer = body.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, file.mime_type.parse()?);
    headers.insert(header::CONTENT_LENGTH, stated.to_string().parse()?);
    headers.insert(header::ETAG, etag.parse()?);
    if !no_ranges {
        headers.insert(header::ACCEPT_RANGES, "bytes".parse()?);
    }
    if part.is_some() {
        let place = format!("bytes {}-{}/{}", sent.start, sent.end.saturating_sub(1), file.size_bytes);
        headers.insert(header::CONTENT_RANGE, place.parse()?);
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(answer)
}

/// The end of an answer that is not what it was said to be. Whatever is not sent when a connection breaks is lost, so
/// what came before is given the time to leave.
fn broken_off(early: bool) -> impl Stream<Item = io::Result<Bytes>> {
    stream::once(async move {
        tokio::time::sleep(TIME_TO_LEAVE).await;
        if early { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(Bytes::new()) }
    })
}

/// The one range that is asked for. A header that asks for anything else is as if it was not there.
fn range(headers: &HeaderMap, etag: &str, size: u64) -> Result<Option<Range<u64>>, Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::IF_RANGE).is_some_and(|only| only != etag) {
        return Ok(None);
    }
    let Some(asked) = text(header::RANGE).and_then(|text| parse_range_header(text).ok()) else {
        return Ok(None);
    };
    match asked.validate(size).as_deref() {
        Ok([one]) => Ok(Some(*one.start()..one.end().saturating_add(1))),
        Ok(_) => Ok(None),
        Err(_) => Err(Problem::unsatisfiable(format!("The file has {size} bytes."))),
    }
}

async fn pieces(simulator: &Simulator, file: &FileRecord, range: Range<u64>) -> anyhow::Result<Pieces> {
    if file.content == Content::MadeUp {
        return Ok(Box::pin(synthetic::stream(synthetic::Form::Bytes, &file.id, range)));
    }
    let mut data = File::open(simulator.files.data(&file.id)).await?;
    data.seek(SeekFrom::Start(range.start)).await?;
    Ok(Box::pin(stream::try_unfold(data.take(range.end - range.start), next_piece)))
}

async fn next_piece(mut data: Take<File>) -> io::Result<Option<(Bytes, Take<File>)>> {
    let mut piece = Vec::with_capacity(CHUNK);
    let read = (&mut data).take(CHUNK as u64).read_to_end(&mut piece).await?;
    Ok((read > 0).then(|| (Bytes::from(piece), data)))
}
