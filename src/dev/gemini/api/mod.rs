//! The routes of the API. Every answer, also to what is unknown or malformed, has the shape that Google's have.

mod batches;
mod files;
mod operation;
mod problem;
mod upload;
mod webhooks;

use std::{collections::HashMap, future::Future, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, Request, rejection::BytesRejection},
    http::Uri,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use percent_encoding::percent_decode_str;

use self::problem::Problem;
use super::Simulator;

/// What the real API takes in one request; a file may be larger, its upload has no limit.
const LONGEST_BODY: usize = 20 << 20;

type Shared = axum::extract::State<Arc<Simulator>>;

pub(super) fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/{version}/models/{call}", post(batches::create))
        .route("/{version}/batches", get(batches::list))
        .route("/{version}/batches/{name}", get(batches::read).post(batches::call).delete(batches::remove))
        .route("/{version}/files/{name}", get(files::read).delete(files::remove))
        .route("/download/{version}/files/{name}", get(files::download))
        .route("/upload/{version}/files", post(upload::receive).put(upload::receive))
        .route("/{version}/webhooks", get(webhooks::list).post(webhooks::create))
        .route(
            "/{version}/webhooks/{name}",
            get(webhooks::read).post(webhooks::call).patch(webhooks::update).delete(webhooks::remove),
        )
        .route("/{version}/webhooks/{name}/rotate_secret", post(webhooks::rotate_as_in_the_guide))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(from_fn(admit))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(simulator)
}

async fn unknown() -> Problem {
    Problem::not_found("The requested URL was not found on this server.")
}

/// Lets in who has a key and asks for a version that there is.
async fn admit(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if percent_decode_str(path).decode_utf8().is_err() {
        return Problem::invalid("The path is not UTF-8.").into_response();
    }
    let mut segments = path.split('/').skip(1);
    let version = match segments.next() {
        Some("upload" | "download") => segments.next(),
        first => first,
    };
    if !matches!(version, Some("v1" | "v1beta")) {
        return unknown().await.into_response();
    }
    let parameters = parameters(request.uri());
    let header = request.headers().get("x-goog-api-key").map(|key| key.as_bytes());
    let has_key = header.is_some_and(|key| !key.trim_ascii().is_empty())
        || parameters.get("key").is_some_and(|key| !key.trim().is_empty());
    // The address of an upload is a secret itself, and not every client sends its key there.
    if !has_key && !parameters.contains_key("upload_id") {
        return Problem::no_key().into_response();
    }
    next.run(request).await
}

fn parameters(uri: &Uri) -> HashMap<String, String> {
    Query::try_from_uri(uri).map(|Query(parameters)| parameters).unwrap_or_default()
}

fn read_json<T: serde::de::DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let body = body.map_err(|error| {
        Problem::invalid(format!("The body cannot be read ({error}); it may hold {LONGEST_BODY} bytes."))
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid(format!("Invalid JSON payload received. {error}")))
}

/// Sees a change through, also when the client goes away meanwhile.
async fn see_through<T: Send + 'static>(
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(change).await?
}
