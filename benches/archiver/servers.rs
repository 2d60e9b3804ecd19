//! A Gemini API whose outputs are generated while they are read, and an S3 that counts what it is sent and forgets it.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::net::TcpListener;

const CHUNK_BYTES: usize = 64 * 1024;

type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

/// Serves both, and returns their addresses: the API's, then S3's. `taken` counts the bytes of objects.
pub async fn start(taken: &Arc<AtomicU64>) -> (String, String) {
    let s3 = serve(Router::new().fallback(take).with_state(Arc::clone(taken))).await;
    (serve(Router::new().fallback(give)).await, s3)
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A job whose name says what its output is, and that output, made while it is read.
async fn give(request: Request) -> Response {
    let path = request.uri().path().trim_end_matches(":download").to_owned();
    let id = path.rsplit('/').next().unwrap().to_owned();
    let words: Vec<&str> = id.split('-').collect();
    let (kind, count, bytes): (_, u64, u64) =
        (words[0], words[1].parse().unwrap(), words[2].parse().unwrap());
    let name = path.trim_start_matches("/v1beta/");
    if path.contains("/files/") {
        return generated("", "{\"key\":\"k\",\"response\":{\"a\":\"", ("x", bytes), "\"}}\n", "", count);
    }
    let host = request.headers()["host"].to_str().unwrap();
    match kind {
        "failed" => json!({"name": name, "done": true, "metadata": {"state": "BATCH_STATE_FAILED"}})
            .to_string()
            .into_response(),
        "file" => json!({"name": name, "done": true, "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
            "response": {"responsesFile": format!("files/{id}")}})
        .to_string()
        .into_response(),
        "video" => {
            let uri = format!("http://{host}/v1beta/files/{id}:download?alt=media");
            json!({"name": name, "done": true, "response": {"generateVideoResponse": {
                "generatedSamples": [{"video": {"uri": uri}}]}}})
            .to_string()
            .into_response()
        }
        "inline" => {
            let before = format!(
                "{{\"name\":\"{name}\",\"done\":true,\"metadata\":{{\"state\":\"BATCH_STATE_SUCCEEDED\"}},\
                 \"response\":{{\"inlinedResponses\":{{\"inlinedResponses\":["
            );
            let item = "{\"metadata\":{\"key\":\"k\"},\"response\":{\"a\":\"";
            generated(&before, item, ("x", bytes), "\"}},", "null]}}}", count)
        }
        _ => {
            let before = format!(
                "{{\"id\":\"{id}\",\"status\":\"completed\",\"steps\":[{{\"type\":\"model_output\",\"content\":["
            );
            let item = "{\"type\":\"image\",\"mime_type\":\"image/png\",\"data\":\"";
            // Four letters of base64 stand for three bytes.
            generated(
                &before,
                item,
                ("AAAA", bytes.div_ceil(3)),
                "\"},",
                "{\"type\":\"text\",\"text\":\"t\"}]}]}",
                count,
            )
        }
    }
}

/// An answer of `count` items, each with a long text between its two ends.
fn generated(
    before: &str,
    begin: &'static str,
    (letter, times): (&str, u64),
    end: &'static str,
    after: &'static str,
    count: u64,
) -> Response {
    let fixed = before.len() + after.len();
    let item_bytes = begin.len() as u64 + times * letter.len() as u64 + end.len() as u64;
    let length = fixed as u64 + count * item_bytes;
    let items: Pieces = if item_bytes < CHUNK_BYTES as u64 {
        short_items([begin, &letter.repeat(usize::try_from(times).unwrap()), end].concat(), count)
    } else {
        long_items(begin, letter, times, end, count)
    };
    let before = iter::once(Bytes::from(before.to_owned()));
    let pieces = before.chain(items).chain([Bytes::from_static(after.as_bytes())]);
    let body = Body::from_stream(stream::iter(pieces.map(Ok::<_, std::io::Error>)));
    Response::builder().header("content-length", length).body(body).unwrap()
}

/// As many items in a piece as it holds, so that generating them is not what is measured.
fn short_items(item: String, count: u64) -> Pieces {
    let (per_piece, bytes) = (CHUNK_BYTES / item.len(), item.len());
    let piece = Bytes::from(item.repeat(per_piece));
    let whole = count / per_piece as u64;
    let rest = usize::try_from(count % per_piece as u64).unwrap() * bytes;
    Box::new(
        (0..whole)
            .map({
                let piece = piece.clone();
                move |_| piece.clone()
            })
            .chain([piece.slice(..rest)]),
    )
}

fn long_items(begin: &'static str, letter: &str, times: u64, end: &'static str, count: u64) -> Pieces {
    let piece = Bytes::from(letter.repeat(CHUNK_BYTES / letter.len()));
    let (per_piece, of) = ((CHUNK_BYTES / letter.len()) as u64, letter.len() as u64);
    let item = move |_| {
        let piece = piece.clone();
        let pieces = (0..times.div_ceil(per_piece)).map(move |number| {
            let left = (times - number * per_piece).min(per_piece) * of;
            piece.slice(..usize::try_from(left).unwrap())
        });
        let begin = iter::once(Bytes::from_static(begin.as_bytes()));
        begin.chain(pieces).chain([Bytes::from_static(end.as_bytes())])
    };
    Box::new((0..count).flat_map(item))
}

/// Of S3, as much as an upload asks. What it is sent is counted and forgotten.
async fn take(State(taken): State<Arc<AtomicU64>>, headers: HeaderMap, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let put = request.method() == "PUT";
    let mut body = request.into_body().into_data_stream();
    let mut length = 0;
    while let Some(Ok(piece)) = body.next().await {
        length += piece.len() as u64;
    }
    if put {
        assert_eq!(headers.get("content-length").unwrap().to_str().unwrap(), length.to_string());
        taken.fetch_add(length, Ordering::Relaxed);
        return [("etag", "\"e\"")].into_response();
    }
    let answer = match query.contains("uploads") {
        true => "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        false => "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>",
    };
    ([("content-type", "application/xml")], answer).into_response()
}
