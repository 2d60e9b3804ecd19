//! What the page's script asks for, as JSON. A browser never reads any of it as HTML.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::Page;
use crate::cli::{
    filter::{Filter, Newest},
    render::as_json,
};
use gemhook::ledger::schema::attr;

/// As many as a person looks through.
const MAX_ROWS: usize = 500;

type Shared = State<Arc<Page>>;

pub(super) struct Fault(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"error": format!("{:#}", self.0)}))).into_response()
    }
}

enum Table {
    Deliveries,
    Jobs,
}

/// The newest rows of a table, as `filter::newest` finds them: its future cannot go from thread to thread, as a
/// server's must.
async fn newest(page: &Page, table: Table) -> Result<Vec<Value>, Fault> {
    let (ledger, all) = (page.target.ledger()?, Filter::default());
    let (mut newest, mut after) = (Newest::new(&all, MAX_ROWS, page.target.clock.now()), None);
    loop {
        let (rows, next) = match table {
            Table::Deliveries => ledger.all_deliveries(after).await?,
            Table::Jobs => ledger.all_jobs(after).await?,
        };
        newest.take(rows);
        after = next;
        if after.is_none() {
            return Ok(newest.rows);
        }
    }
}

pub(super) async fn deliveries(State(page): Shared) -> Result<Json<Value>, Fault> {
    let rows = newest(&page, Table::Deliveries).await?;
    Ok(Json(rows.into_iter().map(without_body).collect()))
}

/// A list shows no bodies.
fn without_body(mut row: Value) -> Value {
    if let Some(row) = row.as_object_mut() {
        for name in [attr::BODY, "body_base64", attr::HEADERS, attr::CHECKPOINT] {
            row.remove(name);
        }
    }
    row
}

/// The row, the job that it is of, and what was seen of it.
pub(super) async fn delivery(State(page): Shared, Path(id): Path<String>) -> Result<Response, Fault> {
    let ledger = page.target.ledger()?;
    let Some(row) = ledger.delivery(&id).await? else { return Ok(missing("there is no such delivery")) };
    let row = as_json(row);
    let job = match row.get(attr::JOB_ID).and_then(Value::as_str) {
        Some(job) => ledger.job(job).await?.map(as_json),
        None => None,
    };
    Ok(Json(json!({"row": row, "job": job, "changes": page.history.of(&id)})).into_response())
}

pub(super) async fn jobs(State(page): Shared) -> Result<Json<Vec<Value>>, Fault> {
    Ok(Json(newest(&page, Table::Jobs).await?))
}

pub(super) async fn job(State(page): Shared, Path(id): Path<String>) -> Result<Response, Fault> {
    Ok(match page.target.ledger()?.job(&id).await? {
        Some(row) => Json(as_json(row)).into_response(),
        None => missing("there is no such job"),
    })
}

fn missing(what: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": what}))).into_response()
}

/// Each change as it happens. A page that was too slow for them gets `lagged` and asks for the list again.
pub(super) async fn changes(State(page): Shared) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = stream::unfold(page.history.live(), |mut live| async {
        let event = match live.recv().await {
            Ok(seen) => Event::default().event("change").json_data(seen).unwrap_or_default(),
            Err(RecvError::Lagged(_)) => Event::default().event("lagged").data("{}"),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), live))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}
