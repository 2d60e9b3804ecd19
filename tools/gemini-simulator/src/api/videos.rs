//! `models/…:predictLongRunning` and the operations that come of it.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Problem, Shared, check_uris, read_json, see_through};
use crate::{
    Simulator,
    clock::Clock,
    directives::Directives,
    job::{Job, WebhookConfig},
    random_id,
    video::{Outcome, Video},
};

const RESPONSE: &str = "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse";
const MAX_SAMPLES: u32 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewVideo {
    instances: Vec<Instance>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(default)]
    webhook_config: WebhookConfig,
}

#[derive(Deserialize)]
struct Instance {
    #[serde(default)]
    prompt: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    #[serde(alias = "numberOfVideos")]
    sample_count: Option<u32>,
}

pub(super) async fn create(
    simulator: Arc<Simulator>,
    model: String,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request: NewVideo = read_json(body)?;
    check_uris(&request.webhook_config)?;
    let [instance] = request.instances.as_slice() else {
        return Err(Problem::invalid("instances must hold one instance."));
    };
    let directives = Directives::read_for(&instance.prompt, &[])?;
    let samples = directives.samples.or(request.parameters.sample_count).unwrap_or(1);
    let fewest = if directives.samples.is_some() { 0 } else { 1 };
    if !(fewest..=MAX_SAMPLES).contains(&samples) {
        return Err(Problem::invalid(format!("sampleCount must be between 1 and {MAX_SAMPLES}.")));
    }
    let asked = Video { model, samples, directives };
    see_through(async move {
        let job = Job::new(random_id(12), asked, request.webhook_config, simulator.clock.now());
        let name = job.name();
        simulator.videos.jobs.create(job).await?;
        Ok(Json(json!({"name": name})).into_response())
    })
    .await
}

pub(super) async fn read(
    State(simulator): Shared,
    Path((version, model, id)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    tokio::time::sleep(simulator.answer_delay).await;
    let job = simulator.videos.jobs.get(&id).await;
    let job = job.filter(|job| job.asked.model == format!("models/{model}"));
    let job =
        job.ok_or_else(|| Problem::not_found(format!("models/{model}/operations/{id} was not found.")))?;
    let name = job.name();
    let hidden = simulator.hides_output(&job, uri.path());
    Ok(Json(match job.outcome() {
        None => json!({"name": name}),
        Some(Outcome::Failed(failure)) => json!({"name": name, "done": true, "error": failure}),
        Some(Outcome::Generated { samples, filtered }) => {
            let base = &simulator.base_url;
            let uri = |sample| format!("{base}/{version}/files/{}:download?alt=media", job.file(sample));
            let (samples, filtered) = if hidden { (0, 0) } else { (*samples, *filtered) };
            let response = response((0..samples).map(uri), filtered);
            json!({
                "name": name,
                "done": true,
                "response": {"@type": RESPONSE, "generateVideoResponse": response},
            })
        }
    }))
}

fn response(uris: impl Iterator<Item = String>, filtered: u32) -> Map<String, Value> {
    let samples: Vec<Value> = uris.map(|uri| json!({"video": {"uri": uri}})).collect();
    let mut response = Map::new();
    if !samples.is_empty() {
        response.insert("generatedSamples".into(), samples.into());
    }
    if filtered > 0 {
        response.insert("raiMediaFilteredCount".into(), filtered.into());
        response.insert("raiMediaFilteredReasons".into(), json!(["It was simulated to be filtered."]));
    }
    response
}
