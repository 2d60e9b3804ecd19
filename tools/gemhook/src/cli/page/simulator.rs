//! The simulator of the local machine, by its own HTTP API: its webhooks, its faults, its clock and how it delivers.

use axum::{Json, extract::State, http::StatusCode};
use gemini_simulator::Fault;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{Page, Problem, Shared, actions::machine};
use crate::cli::webhooks_api::WebhooksApi;

const FAULTS: &str = "simulator/faults";
const CLOCK: &str = "simulator/clock";
const DELIVERIES: &str = "simulator/deliveries";

pub(super) async fn show(State(page): Shared) -> Result<Json<Value>, Problem> {
    let at = machine(&page)?;
    let webhooks = WebhooksApi::new(page.target.gemini_url()?, page.target.gemini_key().await?)?;
    Ok(Json(json!({
        "url": at.gemini_url,
        "faults": call(&page, Method::GET, FAULTS, None).await?,
        "clock": call(&page, Method::GET, CLOCK, None).await?,
        "deliveries": call(&page, Method::GET, DELIVERIES, None).await?,
        // A fault of the simulator may strike this call too, and the faults must be shown all the same.
        "webhooks": webhooks.list().await.map_err(|error| error.to_string()).map_or_else(
            |error| json!({"error": error}),
            |webhooks| json!({"list": webhooks}),
        ),
    })))
}

/// The whole list: those that were there are replaced.
pub(super) async fn set_faults(
    State(page): Shared,
    Json(faults): Json<Vec<Fault>>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(call(&page, Method::PUT, FAULTS, Some(serde_json::to_value(faults)?)).await?))
}

/// `forward` says how many seconds the clock is to be ahead of real time.
pub(super) async fn move_clock(
    State(page): Shared,
    Json(wanted): Json<Value>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(call(&page, Method::PUT, CLOCK, Some(wanted)).await?))
}

/// How often, in how many copies and until when events are sent.
pub(super) async fn set_deliveries(
    State(page): Shared,
    Json(wanted): Json<Value>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(call(&page, Method::PUT, DELIVERIES, Some(wanted)).await?))
}

async fn call(page: &Page, method: Method, path: &str, body: Option<Value>) -> Result<Value, Problem> {
    let at = machine(page)?;
    let mut request = Client::new().request(method, format!("{}/{path}", at.gemini_url));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let answered: Value = answer.json().await?;
    if status.is_success() {
        return Ok(answered);
    }
    let why =
        answered.pointer("/error/message").and_then(Value::as_str).unwrap_or("the simulator refused it");
    Err(Problem(StatusCode::UNPROCESSABLE_ENTITY, why.to_owned()))
}
