//! What the page's buttons do. Each is what a command does too, by the same function.

use anyhow::{Context, anyhow};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, Problem, Shared};
use crate::{
    cli::{
        deliveries::not_redriven,
        replay::sendable,
        resend::{self, Resender},
        sender::Answer,
        trigger::{
            event::Change,
            job::{self, JobKind},
            send_sample,
        },
    },
    dev::Addresses,
};
use gemhook::ledger::Fence;

/// The local machine. On a stack nothing is made up.
pub(super) fn machine(page: &Page) -> Result<&Addresses, Problem> {
    page.target.dev.as_ref().ok_or_else(|| Problem::missing("only a `gemhook dev` has this"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewJob {
    kind: JobKind,
    /// The event with which it ends; without one it ends well.
    event_type: Option<String>,
}

/// Makes a sample job in the simulator. Its event comes when it ends, to every webhook that is registered.
pub(super) async fn create_job(
    State(page): Shared,
    Json(wanted): Json<NewJob>,
) -> Result<Json<Value>, Problem> {
    let at = machine(&page)?;
    let made = job::create(at, wanted.kind, wanted.event_type.as_deref(), &json!({})).await;
    Ok(Json(json!({"job": made.map_err(|error| Problem::refused(&error))?})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEvent {
    event_type: String,
    /// As `gemhook trigger --set` takes them.
    #[serde(default)]
    set: Vec<String>,
}

pub(super) async fn trigger(
    State(page): Shared,
    Json(wanted): Json<NewEvent>,
) -> Result<Json<Answer>, Problem> {
    machine(&page)?;
    let changes: Result<Vec<Change>, String> = wanted.set.iter().map(|text| text.parse()).collect();
    let changes = changes.map_err(|why| Problem::refused(&anyhow!(why)))?;
    let sent = send_sample(&page.target, &wanted.event_type, &changes).await;
    Ok(Json(sent.map_err(|error| Problem::refused(&error))?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    #[serde(default)]
    new_id: bool,
    /// Where it goes; without it back to the place itself.
    to: Option<String>,
}

pub(super) async fn replay(
    State(page): Shared,
    Path(id): Path<String>,
    Json(wanted): Json<Replay>,
) -> Result<Json<Value>, Problem> {
    let replayed = async {
        let to =
            wanted.to.map(|to| Url::parse(&to).with_context(|| format!("{to} is no address"))).transpose()?;
        let recorded = sendable(&page.target, &id).await?;
        let resender = Resender::of_place(to, &page.target).await?;
        let answer = resender.replay(&recorded, wanted.new_id).await?;
        resend::as_json(&recorded, &answer)
    };
    Ok(Json(replayed.await.map_err(|error| Problem::refused(&error))?))
}

pub(super) async fn redrive(State(page): Shared, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    match page.target.ledger()?.redrive(&id).await? {
        Fence::Held => Ok(Json(json!({"redriven": id}))),
        Fence::Lost => Err(Problem(StatusCode::CONFLICT, not_redriven(&id))),
    }
}
