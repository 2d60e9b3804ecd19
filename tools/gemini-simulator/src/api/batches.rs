//! `batches`, and the calls of `models/…` that make them.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    Problem, Shared, changed, check_uris,
    operation::Operation,
    paging::{Paging, read_token, token},
    read_json, see_through,
};
use crate::{
    Simulator,
    batch::{Batch, Call, Input},
    batch_runner,
    clock::Clock,
    directives::{Directives, Ending},
    job::{Job, WebhookConfig},
    random_id,
    store::blocking,
};

const PAGES: Paging =
    Paging { names: ["pageSize", "pageToken"], default_size: 50, max_size: 1000, read_token };

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
    simulator: Arc<Simulator>,
    call: Call,
    model: String,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request = read_json::<NewBatch>(body)?.batch;
    check_uris(&request.webhook_config)?;
    see_through(async move {
        let job = start(&simulator, call, model, request).await?;
        Ok(Json(Operation::of(&job, None, job.created)).into_response())
    })
    .await
}

async fn start(
    simulator: &Arc<Simulator>,
    call: Call,
    model: String,
    request: BatchRequest,
) -> Result<Job<Batch>, Problem> {
    let requested = request.display_name.as_deref().unwrap_or_default();
    let directives = Directives::read_for(requested, &[Ending::Expired, Ending::Cancelled])?;
    let (input, count, requests) = match (request.input_config.file_name, request.input_config.requests) {
        (Some(name), None) => {
            let id = name.strip_prefix("files/").filter(|id| !id.is_empty());
            let id =
                id.ok_or_else(|| Problem::invalid("inputConfig.fileName must be files/<id>."))?.to_owned();
            let count = match simulator.files.get(&id) {
                Some(_) => {
                    let data = simulator.files.data(&id);
                    // A file that is deleted just now is found missing again when the batch runs.
                    blocking(move || Ok(batch_runner::count(&data).ok())).await?
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
    let asked = Batch { call, model, display_name: request.display_name, input, requests: count, directives };
    let job = Job::new(random_id(36), asked, request.webhook_config, simulator.clock.now());
    simulator.batches.create(job.clone(), requests).await?;
    Ok(job)
}

pub(super) async fn read(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    tokio::time::sleep(simulator.answer_delay).await;
    let batch = simulator.batches.jobs.get(&id).await.ok_or_else(|| missing(&id))?;
    let responses = match (batch.outcome(), &batch.asked.input) {
        (Some(outcome), Input::Inline) if batch.asked.has_output(outcome) => {
            let text = tokio::fs::read_to_string(simulator.batches.responses(&id)).await?;
            Some(RawValue::from_string(text)?)
        }
        _ => None,
    };
    let mut operation = Operation::of(&batch, responses.as_deref(), simulator.clock.now());
    if simulator.hides_output(&batch, uri.path()) {
        operation.hide_output();
    }
    Ok(Json(operation).into_response())
}

pub(super) async fn list(State(simulator): Shared, uri: Uri) -> Result<Response, Problem> {
    let (size, after) = PAGES.asked(&uri)?;
    let (batches, more) = simulator.batches.jobs.list(after, size).await;
    let mut answer = Map::new();
    let now = simulator.clock.now();
    if !batches.is_empty() {
        let operations: Vec<_> = batches.iter().map(|batch| Operation::of(batch, None, now)).collect();
        answer.insert("operations".into(), serde_json::to_value(operations)?);
    }
    // No token without a batch to follow: there is an SDK that fails on an empty last page.
    if let Some(last) = batches.last().filter(|_| more) {
        answer.insert("nextPageToken".into(), token(last.created, &last.id).into());
    }
    Ok(Json(answer).into_response())
}

/// The place of the last batch of a page.
pub(super) async fn call(
    State(simulator): Shared,
    Path((_, call)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let Some((id, "cancel")) = call.rsplit_once(':') else {
        return Err(Problem::not_found(format!("batches/{call} is not simulated.")));
    };
    let id = id.to_owned();
    see_through(async move { changed(simulator.batches.cancel(&id).await?, || missing(&id)) }).await
}

pub(super) async fn remove(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    see_through(async move { changed(simulator.batches.jobs.remove(&id).await?, || missing(&id)) }).await
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("batches/{id} was not found."))
}
