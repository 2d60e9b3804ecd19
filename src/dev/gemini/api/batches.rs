//! `batches` and `models/…:batchGenerateContent`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use uuid::Uuid;

use super::{Problem, Shared, operation::Operation, parameters, read_json, see_through};
use crate::{
    clock::Millis,
    dev::gemini::{
        Simulator,
        batch::{Batch, Input, WebhookConfig},
        now, random_id,
        store::blocking,
        work,
    },
};

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

#[derive(Deserialize)]
pub(super) struct NewBatch {
    batch: BatchRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchRequest {
    display_name: Option<String>,
    input_config: InputConfig,
    #[serde(default)]
    webhook_config: WebhookConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InputConfig {
    #[serde(alias = "file_name")]
    file_name: Option<String>,
    requests: Option<InlinedRequests>,
}

#[derive(Deserialize)]
struct InlinedRequests {
    #[serde(default)]
    requests: Vec<Map<String, Value>>,
}

pub(super) async fn create(
    State(simulator): Shared,
    Path((_, call)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Some((model, "batchGenerateContent")) = call.rsplit_once(':') else {
        return Err(Problem::not_found(format!("models/{call} is not simulated.")));
    };
    if model.is_empty() {
        return Err(Problem::invalid("The model has no name."));
    }
    let model = format!("models/{model}");
    let request = read_json::<NewBatch>(body)?.batch;
    check_uris(&request.webhook_config)?;
    see_through(async move {
        let batch = start(&simulator, model, request).await?;
        Ok(Json(Operation::of(&batch, None, batch.created)).into_response())
    })
    .await
}

async fn start(simulator: &Arc<Simulator>, model: String, request: BatchRequest) -> Result<Batch, Problem> {
    let (input, count, requests) = match (request.input_config.file_name, request.input_config.requests) {
        (Some(name), None) => {
            let id = name.strip_prefix("files/").filter(|id| !id.is_empty());
            let id =
                id.ok_or_else(|| Problem::invalid("inputConfig.fileName must be files/<id>."))?.to_owned();
            let count = match simulator.files.get(&id) {
                Some(_) => {
                    let data = simulator.files.data(&id);
                    // A file that is deleted just now is found missing again when the batch runs.
                    blocking(move || Ok(work::count(&data).ok())).await?
                }
                None => None,
            };
            (Input::File(id), count, None)
        }
        (None, Some(inlined)) if !inlined.requests.is_empty() => {
            let requests: Vec<Value> = inlined.requests.into_iter().map(Value::Object).collect();
            (Input::Inline, u64::try_from(requests.len()).ok(), Some(requests))
        }
        _ => return Err(Problem::invalid("inputConfig must hold either fileName or requests.")),
    };
    let batch = Batch {
        id: random_id(36),
        model,
        display_name: request.display_name,
        input,
        requests: count,
        webhook: request.webhook_config,
        webhook_id: format!("msg_{}", Uuid::new_v4()),
        created: now(),
        end: None,
    };
    simulator.batches.create(batch.clone(), requests).await?;
    Ok(batch)
}

fn check_uris(config: &WebhookConfig) -> Result<(), Problem> {
    for uri in &config.uris {
        let scheme = reqwest::Url::parse(uri).map(|url| url.scheme().to_owned());
        if !scheme.is_ok_and(|scheme| ["http", "https"].contains(&scheme.as_str())) {
            return Err(Problem::invalid(format!("webhookConfig.uris holds {uri:?}, which is no address.")));
        }
    }
    Ok(())
}

pub(super) async fn read(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    tokio::time::sleep(simulator.answer_delay).await;
    let batch = simulator.batches.get(&id).await.ok_or_else(|| missing(&id))?;
    let responses = match (&batch.end, &batch.input) {
        (Some(end), Input::Inline) if end.outcome.succeeded() => {
            let text = tokio::fs::read_to_string(simulator.batches.responses(&id)).await?;
            Some(RawValue::from_string(text)?)
        }
        _ => None,
    };
    Ok(Json(Operation::of(&batch, responses.as_deref(), now())).into_response())
}

pub(super) async fn list(State(simulator): Shared, uri: Uri) -> Result<Response, Problem> {
    let parameters = parameters(&uri);
    let size = match parameters.get("pageSize").filter(|size| *size != "0") {
        Some(size) => size.parse().map_err(|_| Problem::invalid("pageSize must be a number."))?,
        None => DEFAULT_PAGE,
    };
    let after = match parameters.get("pageToken").filter(|token| !token.is_empty()) {
        Some(token) => Some(read_token(token).ok_or_else(|| Problem::invalid("pageToken is not valid."))?),
        None => None,
    };
    let (batches, more) = simulator.batches.list(after, size.min(LARGEST_PAGE)).await;
    let mut answer = Map::new();
    let now = now();
    if !batches.is_empty() {
        let operations: Vec<_> = batches.iter().map(|batch| Operation::of(batch, None, now)).collect();
        answer.insert("operations".into(), serde_json::to_value(operations)?);
    }
    // No token without a batch to follow: there is an SDK that fails on an empty last page.
    if let Some(last) = batches.last().filter(|_| more) {
        answer.insert("nextPageToken".into(), format!("{}-{}", last.created, last.id).into());
    }
    Ok(Json(answer).into_response())
}

/// The place of the last batch of a page.
fn read_token(token: &str) -> Option<(Millis, String)> {
    let (created, id) = token.split_once('-')?;
    Some((created.parse().ok()?, id.to_owned()))
}

pub(super) async fn call(
    State(simulator): Shared,
    Path((_, call)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let Some((id, "cancel")) = call.rsplit_once(':') else {
        return Err(Problem::not_found(format!("batches/{call} is not simulated.")));
    };
    let id = id.to_owned();
    see_through(async move {
        match simulator.batches.cancel(&id).await? {
            true => Ok(Json(json!({}))),
            false => Err(missing(&id)),
        }
    })
    .await
}

pub(super) async fn remove(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    see_through(async move {
        match simulator.batches.remove(&id).await? {
            true => Ok(Json(json!({}))),
            false => Err(missing(&id)),
        }
    })
    .await
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("batches/{id} was not found."))
}
