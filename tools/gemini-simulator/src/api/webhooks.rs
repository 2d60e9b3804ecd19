//! `webhooks`: the management of registered webhooks. Unlike the rest of the API it speaks snake_case.

use std::net::IpAddr;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::Uri,
};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Problem, Shared, parameters, read_json, see_through};
use crate::{
    catalogue::is_known,
    clock::Millis,
    rfc3339,
    signing::Secret,
    webhooks::{NewWebhook, Refused, State as WebhookState, Webhook},
};

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

/// What a client may write. Other names are refused, so that a camelCase one is noticed.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    uri: Option<String>,
    subscribed_events: Option<Vec<String>>,
    state: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    uri: String,
    subscribed_events: Vec<String>,
    state: WebhookState,
    create_time: String,
    update_time: String,
    signing_secrets: Vec<ShownSecret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_signing_secret: Option<String>,
}

#[derive(Serialize)]
struct ShownSecret {
    truncated_secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
}

fn show(webhook: &Webhook, new_secret: Option<&Secret>) -> Result<Json<Value>, Problem> {
    Ok(Json(serde_json::to_value(Shown {
        id: webhook.id.clone(),
        name: webhook.name.clone(),
        uri: webhook.uri.clone(),
        subscribed_events: webhook.subscribed_events.clone(),
        state: webhook.state,
        create_time: rfc3339(webhook.created),
        update_time: rfc3339(webhook.updated),
        signing_secrets: webhook
            .current()
            .map(|secret| ShownSecret {
                truncated_secret: secret.truncated(),
                expire_time: secret.expires.map(rfc3339),
            })
            .collect(),
        new_signing_secret: new_secret.map(|secret| secret.expose().to_owned()),
    })?))
}

pub(super) async fn create(
    State(simulator): Shared,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let written: Written = read_json(body)?;
    if written.state.is_some() {
        return Err(Problem::invalid("state is output only when a webhook is created."));
    }
    let new = NewWebhook {
        name: written.name,
        uri: checked_uri(written.uri)?,
        subscribed_events: checked_events(written.subscribed_events)?,
    };
    see_through(async move {
        let (webhook, secret) = simulator.webhooks.create(new).await?;
        show(&webhook, Some(&secret))
    })
    .await
}

pub(super) async fn read(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    show(&simulator.webhooks.get(&id).ok_or_else(|| missing(&id))?, None)
}

pub(super) async fn list(State(simulator): Shared, uri: Uri) -> Result<Json<Value>, Problem> {
    let parameters = parameters(&uri);
    let size = match parameters.get("page_size").filter(|size| *size != "0") {
        Some(size) => size.parse().map_err(|_| Problem::invalid("page_size must be a number."))?,
        None => DEFAULT_PAGE,
    };
    let after = match parameters.get("page_token").filter(|token| !token.is_empty()) {
        Some(token) => Some(read_token(token).ok_or_else(|| Problem::invalid("page_token is not valid."))?),
        None => None,
    };
    let mut found = simulator.webhooks.list();
    found.retain(|webhook| {
        after.as_ref().is_none_or(|(created, id)| (webhook.created, &webhook.id) > (*created, id))
    });
    let more = found.len() > size.min(LARGEST_PAGE);
    found.truncate(size.min(LARGEST_PAGE));
    let mut answer = json!({});
    if !found.is_empty() {
        let shown: Vec<Value> = found
            .iter()
            .map(|webhook| show(webhook, None).map(|Json(shown)| shown))
            .collect::<Result<_, _>>()?;
        answer = json!({ "webhooks": shown });
    }
    if let (Some(last), Some(answer)) = (found.last().filter(|_| more), answer.as_object_mut()) {
        answer.insert("next_page_token".into(), format!("{}-{}", last.created, last.id).into());
    }
    Ok(Json(answer))
}

/// The place of the last webhook of a page.
fn read_token(token: &str) -> Option<(Millis, String)> {
    let (created, id) = token.split_once('-')?;
    Some((created.parse().ok()?, id.to_owned()))
}

/// Changes what the mask names or, without one, what the body holds.
pub(super) async fn update(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let written: Written = read_json(body)?;
    let mask = parameters(&uri).remove("update_mask");
    let mask: Vec<&str> = match &mask {
        Some(mask) => mask.split(',').map(str::trim).filter(|field| !field.is_empty()).collect(),
        None => [
            ("name", written.name.is_some()),
            ("uri", written.uri.is_some()),
            ("subscribed_events", written.subscribed_events.is_some()),
            ("state", written.state.is_some()),
        ]
        .into_iter()
        .filter_map(|(field, given)| given.then_some(field))
        .collect(),
    };
    let (mut name, mut address, mut events, mut state) = (None, None, None, None);
    for field in mask {
        match field {
            "name" => name = Some(written.name.clone()),
            "uri" => address = Some(checked_uri(written.uri.clone())?),
            "subscribed_events" => events = Some(checked_events(written.subscribed_events.clone())?),
            "state" => state = Some(checked_state(written.state.as_deref())?),
            other => {
                return Err(Problem::invalid(format!("update_mask names {other}, which cannot be updated.")));
            }
        }
    }
    see_through(async move {
        let change = |webhook: &mut Webhook| {
            webhook.name = name.unwrap_or(webhook.name.take());
            webhook.state = state.unwrap_or(webhook.state);
            if let Some(uri) = address {
                webhook.uri = uri;
            }
            if let Some(events) = events {
                webhook.subscribed_events = events;
            }
        };
        let changed = simulator.webhooks.change(&id, change).await;
        show(&changed.map_err(|refused| problem(refused, &id))?, None)
    })
    .await
}

pub(super) async fn remove(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    see_through(async move {
        simulator.webhooks.remove(&id).await.map_err(|refused| problem(refused, &id))?;
        Ok(Json(json!({})))
    })
    .await
}

pub(super) async fn call(
    simulator: Shared,
    Path((_, call)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    match call.rsplit_once(':') {
        Some((id, "ping")) => ping(simulator, id.to_owned()).await,
        Some((id, "rotateSigningSecret")) => rotate(simulator, id.to_owned(), body).await,
        _ => Err(Problem::not_found(format!("webhooks/{call} is not simulated."))),
    }
}

/// The guide's spelling of the rotation.
pub(super) async fn rotate_as_in_the_guide(
    simulator: Shared,
    Path((_, id)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    rotate(simulator, id, body).await
}

async fn ping(State(simulator): Shared, id: String) -> Result<Json<Value>, Problem> {
    let webhook = simulator.webhooks.get(&id).ok_or_else(|| missing(&id))?;
    if webhook.state != WebhookState::Enabled {
        return Err(Problem::precondition(format!("webhooks/{id} is not enabled.")));
    }
    see_through(async move {
        simulator.deliveries.ping(&id).await?;
        Ok(Json(json!({})))
    })
    .await
}

#[derive(Default, Deserialize)]
struct Rotation {
    revocation_behavior: Option<String>,
}

async fn rotate(
    State(simulator): Shared,
    id: String,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let rotation: Rotation = match body {
        Ok(body) if body.trim_ascii().is_empty() => Rotation::default(),
        body => read_json(body)?,
    };
    let behavior = rotation.revocation_behavior.map(|text| text.to_ascii_lowercase());
    let at_once = match behavior.as_deref() {
        None | Some("revoke_previous_secrets_after_h24") => false,
        Some("revoke_previous_secrets_immediately") => true,
        Some(other) => return Err(Problem::invalid(format!("revocation_behavior cannot be {other}."))),
    };
    see_through(async move {
        let secret = simulator.webhooks.rotate(&id, at_once).await;
        let secret = secret.map_err(|refused| problem(refused, &id))?;
        Ok(Json(json!({"secret": secret.expose()})))
    })
    .await
}

/// The real service wants https; on this machine there is seldom a certificate.
fn checked_uri(uri: Option<String>) -> Result<String, Problem> {
    let uri = uri.filter(|uri| !uri.is_empty()).ok_or_else(|| Problem::invalid("uri is required."))?;
    let url = Url::parse(&uri);
    if url.is_ok_and(|url| url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url))) {
        return Ok(uri);
    }
    Err(Problem::invalid("uri must be an https address (plain http only on this machine)."))
}

fn checked_events(events: Option<Vec<String>>) -> Result<Vec<String>, Problem> {
    let mut events = events.unwrap_or_default();
    if events.is_empty() {
        return Err(Problem::invalid("subscribed_events must hold at least one event."));
    }
    if let Some(unknown) = events.iter().find(|event| !is_known(event)) {
        return Err(Problem::invalid(format!("subscribed_events holds {unknown:?}, which is no event.")));
    }
    events.dedup();
    Ok(events)
}

fn checked_state(state: Option<&str>) -> Result<WebhookState, Problem> {
    match state {
        Some("enabled") => Ok(WebhookState::Enabled),
        Some("disabled") => Ok(WebhookState::Disabled),
        _ => Err(Problem::invalid("state can be set to enabled or disabled.")),
    }
}

fn problem(refused: Refused, id: &str) -> Problem {
    match refused {
        Refused::Missing => missing(id),
        Refused::BuiltIn => {
            Problem::precondition(format!("webhooks/{id} is the local machine's own and stays."))
        }
        Refused::Trouble(error) => error.into(),
    }
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("webhooks/{id} was not found."))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
