//! `webhooks`: the management of registered webhooks. Unlike the rest of the API it speaks snake_case and refuses
//! camelCase, as the real service does.

use std::net::IpAddr;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::Uri,
};
use reqwest::Url;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    Problem, Shared,
    paging::{Paging, Position},
    read_json, see_through,
};
use crate::{
    catalogue::{SUBSCRIBABLE_EVENTS, can_be_subscribed},
    clock::{Clock, Millis},
    rfc3339,
    signing::Secret,
    webhooks::{NewWebhook, Refused, State as WebhookState, Webhook},
};

const PAGES: Paging =
    Paging { names: ["page_size", "page_token"], default_size: 50, max_size: 1000, read_token };

/// The fields that a client may write.
const FIELDS: [&str; 4] = ["name", "uri", "subscribed_events", "state"];

#[derive(Default, Deserialize)]
struct Written {
    name: Option<String>,
    uri: Option<String>,
    subscribed_events: Option<Vec<String>>,
    state: Option<String>,
}

/// A webhook in an answer. No endpoint returns `create_time` or `update_time`, although Google's SDKs have both.
#[derive(Serialize)]
struct Shown {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    uri: String,
    subscribed_events: Vec<String>,
    state: WebhookState,
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

fn show(webhook: &Webhook, new_secret: Option<&Secret>, now: Millis) -> Result<Json<Value>, Problem> {
    Ok(Json(serde_json::to_value(Shown {
        id: webhook.id.clone(),
        name: webhook.name.clone(),
        uri: webhook.uri.clone(),
        subscribed_events: webhook.subscribed_events.clone(),
        state: webhook.state,
        signing_secrets: webhook
            .current(now)
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
    let written: Written = read_fields(body, &FIELDS)?;
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
        show(&webhook, Some(&secret), simulator.clock.now())
    })
    .await
}

pub(super) async fn read(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    show(&simulator.webhooks.get(&id).ok_or_else(|| missing(&id))?, None, simulator.clock.now())
}

pub(super) async fn list(State(simulator): Shared, uri: Uri) -> Result<Json<Value>, Problem> {
    let (size, after) = PAGES.asked(&uri)?;
    let mut found = simulator.webhooks.list();
    found.retain(|webhook| {
        after.as_ref().is_none_or(|(created, id)| (webhook.created, &webhook.id) > (*created, id))
    });
    let more = found.len() > size;
    found.truncate(size);
    let mut answer = json!({});
    if !found.is_empty() {
        let shown: Vec<Value> = found
            .iter()
            .map(|webhook| show(webhook, None, simulator.clock.now()).map(|Json(shown)| shown))
            .collect::<Result<_, _>>()?;
        answer = json!({ "webhooks": shown });
    }
    if let (Some(last), Some(answer)) = (found.last().filter(|_| more), answer.as_object_mut()) {
        answer.insert("next_page_token".into(), page_token(last).into());
    }
    Ok(Json(answer))
}

/// The token of the page after this webhook. Real tokens hold control characters, so a client has to escape them
/// both in JSON and in a URL; this one does, too.
fn page_token(last: &Webhook) -> String {
    format!("\n\u{1}{}\u{10}{}", last.created, last.id)
}

fn read_token(token: &str) -> Option<Position> {
    let (created, id) = token.strip_prefix("\n\u{1}")?.split_once('\u{10}')?;
    Some((created.parse().ok()?, id.to_owned()))
}

/// Applies the fields of the body. `update_mask` and other query parameters are ignored.
pub(super) async fn update(
    State(simulator): Shared,
    Path((_, id)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let Written { name, uri, subscribed_events, state } = read_fields(body, &FIELDS)?;
    let uri = uri.map(|uri| checked_uri(Some(uri))).transpose()?;
    let events = subscribed_events.map(|events| checked_events(Some(events))).transpose()?;
    let state = state.as_deref().map(checked_state).transpose()?;
    see_through(async move {
        let change = |webhook: &mut Webhook| {
            webhook.name = name.or(webhook.name.take());
            webhook.state = state.unwrap_or(webhook.state);
            if let Some(uri) = uri {
                webhook.uri = uri;
            }
            if let Some(events) = events {
                webhook.subscribed_events = events;
            }
        };
        let changed = simulator.webhooks.change(&id, change).await;
        show(&changed.map_err(|refused| problem(refused, &id))?, None, simulator.clock.now())
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

/// The two values of `revocation_behavior`. The guide's upper-case spelling is refused.
const AFTER_24_HOURS: &str = "revoke_previous_secrets_after_h24";
const IMMEDIATELY: &str = "revoke_previous_secrets_immediately";

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
        body => read_fields(body, &["revocation_behavior"])?,
    };
    let at_once = match rotation.revocation_behavior.as_deref() {
        None | Some(AFTER_24_HOURS) => false,
        Some(IMMEDIATELY) => true,
        Some(other) => {
            return Err(Problem::invalid(format!(
                "Invalid value {other:?} for 'revocation_behavior'. Supported values are: {AFTER_24_HOURS}, \
                 {IMMEDIATELY}."
            )));
        }
    };
    see_through(async move {
        let secret = simulator.webhooks.rotate(&id, at_once).await;
        let secret = secret.map_err(|refused| problem(refused, &id))?;
        Ok(Json(json!({"secret": secret.expose()})))
    })
    .await
}

/// Reads a body that may have these fields only. The message is the one of the real service.
fn read_fields<T: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
    known: &[&str],
) -> Result<T, Problem> {
    let fields: Map<String, Value> = read_json(body)?;
    if let Some(unknown) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        let meant = snake_case(unknown);
        let hint = match known.contains(&meant.as_str()) {
            true => format!(" Did you mean '{meant}'?"),
            false => String::new(),
        };
        return Err(Problem::invalid(format!("Unknown parameter '{unknown}'.{hint}")));
    }
    serde_json::from_value(fields.into())
        .map_err(|error| Problem::invalid(format!("Invalid JSON payload received. {error}")))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for char in name.chars() {
        if char.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(char.to_ascii_lowercase());
    }
    snake
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
    if let Some(unknown) = events.iter().find(|event| !can_be_subscribed(event)) {
        return Err(Problem::invalid(format!(
            "Invalid value {unknown:?} in 'subscribed_events'. Supported values are: {}.",
            SUBSCRIBABLE_EVENTS.join(", ")
        )));
    }
    events.dedup();
    Ok(events)
}

fn checked_state(state: &str) -> Result<WebhookState, Problem> {
    match state {
        "enabled" => Ok(WebhookState::Enabled),
        "disabled" => Ok(WebhookState::Disabled),
        _ => Err(Problem::invalid("state can be set to enabled or disabled.")),
    }
}

fn problem(refused: Refused, id: &str) -> Problem {
    match refused {
        Refused::Missing => missing(id),
        Refused::BuiltIn => {
            Problem::precondition(format!("webhooks/{id} is the local machine's own and stays."))
        }
        Refused::ProcessingError(error) => error.into(),
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
