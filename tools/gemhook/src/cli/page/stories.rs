//! The whole of one delivery or one job, as JSON. A browser never reads any of it as HTML.

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};

use super::{Page, Problem, Shared};
use crate::{
    cli::{
        render::{as_json, field},
        resend::Recorded,
        verify,
    },
    dev::newest_announced,
};
use gemhook::ledger::{can_be_redriven, schema::attr};

/// As far back as an announcement of a job is looked for.
const MAX_ANNOUNCEMENTS: usize = 5000;

async fn row(page: &Page, id: &str) -> Result<Value, Problem> {
    let row = page.target.ledger()?.delivery(id).await?;
    row.map(as_json).ok_or_else(|| Problem::missing("there is no such delivery"))
}

/// The row, the job that it is of, what was seen and announced of it, and what can be done with it.
pub(super) async fn delivery(State(page): Shared, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    // Before the row, so that the row is at least as new as the last change.
    let changes = page.history.of(&id);
    let row = row(&page, &id).await?;
    let job = match row.get(attr::JOB_ID).and_then(Value::as_str) {
        Some(job) => page.target.ledger()?.job(job).await?.map(as_json),
        None => None,
    };
    let outcome = row.get(attr::OUTCOME).and_then(Value::as_str);
    let recorded = Recorded::read(&row);
    Ok(Json(json!({
        "job": job,
        "changes": changes,
        "announced": announced(&page, "webhook_id", &id).await?,
        "can_redrive": page.token.is_some() && can_be_redriven(field(&row, attr::STATE), outcome),
        "can_replay": page.token.is_some() && recorded.is_ok_and(|recorded| recorded.was_sent()),
        "row": row,
    })))
}

/// What of its verification can still be checked. It asks for secrets and keys, so it is a call of its own.
pub(super) async fn verification(
    State(page): Shared,
    Path(id): Path<String>,
) -> Result<Json<verify::Report>, Problem> {
    let row = row(&page, &id).await?;
    Ok(Json(verify::of_row(&page.target, row).await?))
}

pub(super) async fn job(State(page): Shared, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let row = page.target.ledger()?.job(&id).await?.map(as_json);
    let row = row.ok_or_else(|| Problem::missing("there is no such job"))?;
    Ok(Json(json!({"row": row, "announced": announced(&page, "job", &id).await?})))
}

/// The announcements that name this, newest first.
async fn announced(page: &Page, name: &'static str, value: &str) -> Result<Vec<Value>, Problem> {
    let Some(at) = &page.target.dev else { return Ok(Vec::new()) };
    let folder = at.data_dir.clone();
    let all = tokio::task::spawn_blocking(move || newest_announced(&folder, MAX_ANNOUNCEMENTS)).await??;
    let of_it = all.into_iter().filter(|event| field(&event.detail, name) == value);
    Ok(of_it.filter_map(|event| serde_json::to_value(event).ok()).collect())
}
