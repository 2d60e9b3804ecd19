//! The routes of the API. Every answer, also to what is unknown or malformed, has the shape that Google's have.

mod batches;
mod clock;
mod delivery_policy;
mod download;
mod faults;
mod file_lookup;
mod files;
mod interaction;
mod interactions;
mod keys;
mod operation;
mod paging;
mod problem;
mod upload;
mod videos;
mod webhooks;

use std::{collections::HashMap, future::Future, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, Request, State, rejection::BytesRejection},
    http::Uri,
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use self::problem::Problem;
use super::{Simulator, batch::Call, job::WebhookConfig};

/// What the real API takes in one request; a file may be larger, its upload has no limit.
const MAX_BODY_BYTES: usize = 20 << 20;

type Shared = State<Arc<Simulator>>;

pub(super) fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/{version}/models/{call}", post(call_model))
        .route("/{version}/models/{model}/operations/{id}", get(videos::read))
        .route("/{version}/interactions", post(interactions::create))
        .route("/{version}/interactions/{id}", get(interactions::read).delete(interactions::remove))
        .route("/{version}/interactions/{id}/cancel", post(interactions::cancel))
        .route("/{version}/batches", get(batches::list))
        .route("/{version}/batches/{name}", get(batches::read).post(batches::call).delete(batches::remove))
        .route("/{version}/files", get(files::list))
        .route("/{version}/files/{name}", get(files::read).delete(files::remove))
        .route("/{version}/files/http:/{*address}", get(download::by_address))
        .route("/download/{version}/files/{name}", get(download::by_name))
        .route("/upload/{version}/files", post(upload::receive).put(upload::receive))
        .route("/{version}/webhooks", get(webhooks::list).post(webhooks::create))
        .route(
            "/{version}/webhooks/{name}",
            get(webhooks::read).post(webhooks::call).patch(webhooks::update).delete(webhooks::remove),
        )
        .route("/{version}/webhooks/{name}/rotate_secret", post(webhooks::rotate_as_in_the_guide))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(from_fn_with_state(Arc::clone(&simulator), faults::strike))
        .layer(from_fn(admit))
        .route(download::REDIRECTED, get(download::redirected))
        .route("/simulator/faults", get(faults::list).put(faults::replace))
        .route("/simulator/deliveries", get(delivery_policy::show).put(delivery_policy::replace))
        .route("/simulator/clock", get(clock::show).put(clock::set))
        // Whoever verifies a signature has no API key, and the rotation is no part of Google's API.
        .route("/.well-known/jwks.json", get(keys::list))
        .route("/simulator/keys/rotate", post(keys::rotate))
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(simulator)
}

/// Whatever a model is asked for.
async fn call_model(
    State(simulator): Shared,
    Path((_, call)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (model, verb) = call.rsplit_once(':').unwrap_or((&call, ""));
    if model.is_empty() {
        return Err(Problem::invalid("The model has no name."));
    }
    let model = format!("models/{model}");
    match verb {
        "batchGenerateContent" => batches::create(simulator, Call::GenerateContent, model, body).await,
        "asyncBatchEmbedContent" => batches::create(simulator, Call::EmbedContent, model, body).await,
        "predictLongRunning" => videos::create(simulator, model, body).await,
        _ => Err(Problem::not_found(format!("models/{call} is not simulated."))),
    }
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
        Problem::invalid(format!("The body cannot be read ({error}); it may hold {MAX_BODY_BYTES} bytes."))
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

/// The empty answer, where there was something to change.
fn changed(found: bool, missing: impl FnOnce() -> Problem) -> Result<Json<Value>, Problem> {
    if found { Ok(Json(json!({}))) } else { Err(missing()) }
}

fn check_uris(config: &WebhookConfig) -> Result<(), Problem> {
    for uri in &config.uris {
        let scheme = reqwest::Url::parse(uri).map(|url| url.scheme().to_owned());
        if !scheme.is_ok_and(|scheme| ["http", "https"].contains(&scheme.as_str())) {
            return Err(Problem::invalid(format!("The webhook's uris hold {uri:?}, which is no address.")));
        }
    }
    Ok(())
}
