//! `interactions`: made in the background or waited for, looked at, cancelled and deleted.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::Uri,
    response::Response,
};
use serde::Deserialize;
use serde_json::Value;

use super::{Problem, Shared, changed, check_uris, interaction, parameters, read_json, see_through};
use crate::{
    Simulator,
    clock::Clock,
    directives::{Directives, Ending},
    interaction::{Answerer, Function, Interaction, Media, Outcome},
    job::{Job, WebhookConfig},
    random_id,
};

const ENDINGS: [Ending; 4] = [Ending::Cancelled, Ending::Incomplete, Ending::BudgetExceeded, Ending::Idle];

#[derive(Deserialize)]
struct NewInteraction {
    model: Option<String>,
    agent: Option<String>,
    input: Value,
    #[serde(default)]
    background: bool,
    #[serde(default)]
    stream: bool,
    store: Option<bool>,
    previous_interaction_id: Option<String>,
    #[serde(default)]
    tools: Vec<Value>,
    response_format: Option<Value>,
    webhook_config: Option<WebhookConfig>,
}

pub(super) async fn create(
    State(simulator): Shared,
    Path(version): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request: NewInteraction = read_json(body)?;
    see_through(async move {
        let webhook = check(&request)?;
        let asked = read_request(&simulator, request).await?;
        let id = format!("v1_{}", random_id(36));
        let job = simulator.interactions.create(Job::new(id, asked, webhook, simulator.clock.now())).await?;
        Ok(interaction::show(&simulator, &version, &job, true)?)
    })
    .await
}

fn check(request: &NewInteraction) -> Result<WebhookConfig, Problem> {
    if request.stream {
        return Err(Problem::invalid("stream is not simulated."));
    }
    if request.background && request.store == Some(false) {
        return Err(Problem::invalid("store=false cannot be used with background=true."));
    }
    if !request.background && request.webhook_config.is_some() {
        return Err(Problem::invalid("webhook_config needs background=true."));
    }
    let webhook = request.webhook_config.clone().unwrap_or_default();
    check_uris(&webhook)?;
    Ok(webhook)
}

async fn read_request(simulator: &Arc<Simulator>, request: NewInteraction) -> Result<Interaction, Problem> {
    let answerer = match (request.model, request.agent) {
        (Some(model), None) => (Answerer::Model, model),
        (None, Some(agent)) => (Answerer::Agent, agent),
        _ => return Err(Problem::invalid("Either model or agent is required.")),
    };
    let steps = interaction::steps(request.input);
    let said = interaction::said(&steps);
    let results: Vec<&Value> = steps.iter().filter(|step| step["type"] == "function_result").collect();
    let previous = match &request.previous_interaction_id {
        Some(id) => Some(simulator.interactions.jobs.get(id).await.ok_or_else(|| missing(id))?),
        None => None,
    };
    let mut waits = previous.as_ref().filter(|job| job.outcome() == Some(&Outcome::RequiresAction));
    for result in &results {
        let call = result["call_id"].as_str().unwrap_or_default();
        if waits.take_if(|job| job.call_id() == call).is_none() {
            return Err(Problem::invalid(format!("No call {call:?} of the previous interaction waits.")));
        }
    }
    if steps.is_empty() {
        return Err(Problem::invalid("input is required."));
    }
    let directives = Directives::read_for(&said, &ENDINGS)?;
    let requested =
        || directives.requires_action.then(|| Function { name: "simulated".into(), parameters: Vec::new() });
    let function = request.tools.iter().find_map(function).or_else(requested);
    Ok(Interaction {
        answerer,
        function: function.filter(|_| results.is_empty()),
        media: request.response_format.as_ref().and_then(media),
        previous: request.previous_interaction_id,
        background: request.background,
        said,
        steps,
        directives,
    })
}

fn function(tool: &Value) -> Option<Function> {
    let name = tool["name"].as_str().filter(|_| tool["type"] == "function")?;
    let parameters = tool.pointer("/parameters/properties").and_then(Value::as_object);
    let parameters = parameters.map_or_else(Vec::new, |parameters| parameters.keys().cloned().collect());
    Some(Function { name: name.to_owned(), parameters })
}

/// The first format that is not one of text.
fn media(format: &Value) -> Option<Media> {
    let formats = format.as_array().map_or(std::slice::from_ref(format), Vec::as_slice);
    formats.iter().find_map(|format| {
        let kind = format["type"].as_str()?;
        let usual = match kind {
            "image" => "image/png",
            "video" => "video/mp4",
            "audio" => "audio/wav",
            _ => return None,
        };
        Some(Media {
            kind: kind.to_owned(),
            mime_type: format["mime_type"].as_str().unwrap_or(usual).to_owned(),
            as_file: format["delivery"] == "uri",
        })
    })
}

pub(super) async fn read(
    State(simulator): Shared,
    Path((version, id)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    if parameters(&uri).get("stream").is_some_and(|stream| stream != "false") {
        return Err(Problem::invalid("stream is not simulated."));
    }
    tokio::time::sleep(simulator.answer_delay).await;
    let job = simulator.interactions.jobs.get(&id).await.ok_or_else(|| missing(&id))?;
    Ok(interaction::show(&simulator, &version, &job, !simulator.hides_output(&job, uri.path()))?)
}

pub(super) async fn cancel(
    State(simulator): Shared,
    Path((version, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    see_through(async move {
        let job = simulator.interactions.cancel(&id).await?.ok_or_else(|| missing(&id))?;
        Ok(interaction::show(&simulator, &version, &job, true)?)
    })
    .await
}

pub(super) async fn remove(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    see_through(async move { changed(simulator.interactions.jobs.remove(&id).await?, || missing(&id)) }).await
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("interactions/{id} was not found."))
}
