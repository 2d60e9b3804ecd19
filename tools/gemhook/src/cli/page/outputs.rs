//! The outputs of jobs, from the bucket. A browser gets their bytes under a type that we choose and in a sandbox, whatever
//! the object says it is.

use aws_sdk_s3::{
    error::SdkError,
    operation::get_object::{GetObjectError, GetObjectOutput},
};
use axum::{
    Json,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, Problem, Shared};
use gemhook::{aws::explain, job::Output, ledger::schema::attr};

/// Types that a browser shows without running anything in them. SVG and HTML are not among them.
const SHOWN: [&str; 12] = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "video/mp4",
    "video/webm",
    "video/quicktime",
    "audio/wav",
    "audio/mpeg",
    "audio/ogg",
    "audio/flac",
    "audio/aac",
];
const TEXTS: [&str; 4] = ["application/jsonl", "application/json", "text/markdown", "text/plain"];
/// What protects a reader who opens an output by itself.
const POLICY: &str =
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox";

const PREVIEW_BYTES: u64 = 64 * 1024;
const PREVIEW_LINES: usize = 20;
const PREVIEW_LINE_CHARS: usize = 2000;

/// Which output of which job.
#[derive(Deserialize)]
pub(super) struct Which {
    job: String,
    at: usize,
}

async fn output(page: &Page, which: &Which) -> Result<Output, Problem> {
    let row = page.target.ledger()?.job(&which.job).await?;
    let mut row = row.ok_or_else(|| Problem::missing("there is no such job"))?;
    let outputs: Vec<Output> = match row.remove(attr::OUTPUTS) {
        Some(outputs) => serde_dynamo::aws_sdk_dynamodb_1::from_attribute_value(outputs)?,
        None => Vec::new(),
    };
    outputs.into_iter().nth(which.at).ok_or_else(|| Problem::missing("the job has no such output"))
}

/// The content type without its parameters.
fn kind_of(output: &Output) -> &str {
    output.content_type.split(';').next().unwrap_or_default().trim()
}

/// The type under which a browser gets it.
fn served_type(output: &Output) -> &'static str {
    let kind = kind_of(output);
    let shown = SHOWN.into_iter().find(|shown| *shown == kind);
    match shown {
        Some(shown) => shown,
        None if TEXTS.contains(&kind) => "text/plain; charset=utf-8",
        None => "application/octet-stream",
    }
}

async fn get(page: &Page, output: &Output, range: Option<String>) -> Result<GetObjectOutput, Problem> {
    let get = page.target.s3.get_object().bucket(&output.bucket).key(&output.key).set_range(range);
    get.send().await.map_err(|error| {
        let status = match &error {
            SdkError::ServiceError(fault) if fault.raw().status().as_u16() == 416 => {
                StatusCode::RANGE_NOT_SATISFIABLE
            }
            SdkError::ServiceError(fault) if matches!(fault.err(), GetObjectError::NoSuchKey(_)) => {
                StatusCode::NOT_FOUND
            }
            _ => StatusCode::BAD_GATEWAY,
        };
        Problem(status, format!("cannot get {}: {}", output.key, explain(&error)))
    })
}

/// The object, or the range of it that is asked for: a player asks for parts.
pub(super) async fn object(
    State(page): Shared,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let output = output(&page, &which).await?;
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).map(str::to_owned);
    let got = get(&page, &output, range).await?;
    let part = got.content_range.as_deref().and_then(|range| HeaderValue::from_str(range).ok());
    let kind = served_type(&output);
    let place = if kind == "application/octet-stream" { "attachment" } else { "inline" };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let answered = response.headers_mut();
    answered.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answered.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answered.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let disposition = format!("{place}; filename=\"{}\"", file_name(&output.key));
    put(answered, header::CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).ok());
    put(answered, header::CONTENT_LENGTH, got.content_length.map(HeaderValue::from));
    put(answered, header::CONTENT_RANGE, part);
    let pieces = stream::unfold(got.body, |mut body| async { Some((body.next().await?, body)) });
    *response.body_mut() = Body::from_stream(pieces);
    Ok(response)
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

/// The last part of a key, as far as a header can hold it.
fn file_name(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or_default();
    name.chars()
        .map(|char| if char.is_ascii_alphanumeric() || "._-".contains(char) { char } else { '_' })
        .collect()
}

/// What a person sees of it at a glance: the first lines of a text, or in which element to show the rest.
pub(super) async fn preview(State(page): Shared, Query(which): Query<Which>) -> Result<Json<Value>, Problem> {
    let output = output(&page, &which).await?;
    let kind = kind_of(&output);
    if !TEXTS.contains(&kind) || output.bytes == 0 {
        let family = kind.split('/').next().filter(|_| SHOWN.contains(&kind) && output.bytes > 0);
        return Ok(Json(json!({"show": family.unwrap_or("nothing")})));
    }
    let got = get(&page, &output, Some(format!("bytes=0-{}", PREVIEW_BYTES - 1))).await?;
    let bytes = got.body.collect().await?.into_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let (lines, cut) = first_lines(&text, PREVIEW_BYTES < output.bytes);
    Ok(Json(json!({"show": "lines", "lines": lines, "cut": cut})))
}

/// The first lines, each not too long, and whether there is more than that.
fn first_lines(text: &str, mut cut: bool) -> (Vec<String>, bool) {
    let mut lines = Vec::new();
    for line in text.lines() {
        if lines.len() == PREVIEW_LINES {
            cut = true;
            break;
        }
        let short: String = line.chars().take(PREVIEW_LINE_CHARS).collect();
        cut |= short.len() < line.len();
        lines.push(short);
    }
    (lines, cut)
}
