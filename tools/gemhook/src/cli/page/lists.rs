//! The lists of the page: the newest deliveries, jobs and announcements.

use std::time::Duration;

use axum::{Json, extract::State};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use super::{Page, Problem, Shared};
use crate::{
    cli::filter::{Filter, Newest},
    dev::{Announced, newest_announced},
};
use gemhook::ledger::schema::attr;

/// As many as a person looks through.
const MAX_ROWS: usize = 500;
/// A list of a deployed table is made by reading all of it, which costs money.
const DEPLOYED_TTL: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Kept(Mutex<Option<(Instant, Vec<Value>)>>);

/// Lists that were read a moment ago.
pub(super) struct Lists {
    deliveries: Kept,
    jobs: Kept,
    ttl: Duration,
}

impl Lists {
    pub(super) fn new(local: bool) -> Self {
        let ttl = if local { Duration::ZERO } else { DEPLOYED_TTL };
        Self { deliveries: Kept::default(), jobs: Kept::default(), ttl }
    }
}

#[derive(Clone, Copy)]
enum Table {
    Deliveries,
    Jobs,
}

/// The newest rows of a table. One request reads it, and those that come meanwhile get the same.
async fn newest(page: &Page, table: Table) -> Result<Vec<Value>, Problem> {
    let kept = match table {
        Table::Deliveries => &page.lists.deliveries,
        Table::Jobs => &page.lists.jobs,
    };
    let mut kept = kept.0.lock().await;
    if let Some((at, rows)) = kept.as_ref()
        && at.elapsed() < page.lists.ttl
    {
        return Ok(rows.clone());
    }
    let rows = read(page, table).await?;
    *kept = Some((Instant::now(), rows.clone()));
    Ok(rows)
}

/// As `filter::newest` does it, whose future cannot go from thread to thread, as a server's must.
async fn read(page: &Page, table: Table) -> Result<Vec<Value>, Problem> {
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

pub(super) async fn deliveries(State(page): Shared) -> Result<Json<Value>, Problem> {
    let rows = newest(&page, Table::Deliveries).await?;
    let left_out = [attr::BODY, "body_base64", attr::HEADERS, attr::CHECKPOINT];
    Ok(Json(rows.into_iter().map(|row| without(row, &left_out)).collect()))
}

pub(super) async fn jobs(State(page): Shared) -> Result<Json<Value>, Problem> {
    let rows = newest(&page, Table::Jobs).await?;
    Ok(Json(rows.into_iter().map(|row| without(row, &[attr::TEXT])).collect()))
}

/// A list does not show what is long.
fn without(mut row: Value, names: &[&str]) -> Value {
    if let Some(row) = row.as_object_mut() {
        row.retain(|name, _| !names.contains(&name.as_str()));
    }
    row
}

/// Newest first. Of a stack there are none: an event bus keeps nothing that could be read.
pub(super) async fn announcements(State(page): Shared) -> Result<Json<Vec<Announced>>, Problem> {
    let Some(at) = &page.target.dev else { return Ok(Json(Vec::new())) };
    let folder = at.data_dir.clone();
    Ok(Json(tokio::task::spawn_blocking(move || newest_announced(&folder, MAX_ROWS)).await??))
}
