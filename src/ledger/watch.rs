//! Open jobs that are watched: which they are, and when each is looked at next.
//!
//! The Gemini API lists batches only. An application that wants its videos and interactions found, even when their
//! event is lost, writes `watch_until` into the job's row. The hourly reconcile reads the list of such rows ([`page`])
//! and asks the API about each job that is due. The list is a sparse index: a row is in it only while it has
//! `watch_until`, so reading all of it costs what the watched jobs cost and not what the table costs.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    LedgerError,
    condition::{Item, number, text},
    conflict_retry::{is_conflict, retry_conflicts},
    schema::{WATCHED, attr},
    store::{Store, Table},
};
use crate::clock::Millis;

/// A watched job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The job's name as the Jobs table has it, for example `interactions/v1_abc`.
    pub job: String,
    /// When the watch ends.
    pub until: Millis,
    /// How often it was looked at, and when it is next. 0 where it was not looked at yet.
    pub looks: i64,
    pub look_at: Millis,
}

/// One page of the watched jobs, and where the next page begins. A row that has no readable `watch_until` is left out.
pub(super) async fn page(
    store: &Store,
    after: Option<Item>,
) -> Result<(Vec<Watched>, Option<Item>), LedgerError> {
    let scan = store
        .client
        .scan()
        .table_name(store.name(Table::Jobs))
        .index_name(WATCHED.name)
        .set_exclusive_start_key(after);
    let page = retry_conflicts(is_conflict, || scan.clone().send())
        .await
        .map_err(|error| LedgerError::of("list the watched jobs", &error))?;
    let watched = page.items.unwrap_or_default().iter().filter_map(read).collect();
    Ok((watched, page.last_evaluated_key))
}

/// Whether the job's row has an end. The read is eventually consistent, which costs half of a consistent one. A stale
/// answer does no harm, because whoever acts on it writes on the condition that the job has not ended.
pub(super) async fn has_ended(store: &Store, job: &str) -> Result<bool, LedgerError> {
    let get = store
        .client
        .get_item()
        .table_name(store.name(Table::Jobs))
        .key(attr::JOB_ID, AttributeValue::S(job.to_owned()))
        .projection_expression(attr::ENDED_BY);
    let row = retry_conflicts(is_conflict, || get.clone().send()).await;
    let row = row.map_err(|error| LedgerError::of("read a row", &error))?.item;
    Ok(row.is_some_and(|row| row.contains_key(attr::ENDED_BY)))
}

/// Lenient about the counts: an application writes `watch_until` alone.
fn read(row: &Item) -> Option<Watched> {
    Some(Watched {
        job: text(row, attr::JOB_ID)?.to_owned(),
        until: number(row, attr::WATCH_UNTIL)?,
        looks: number(row, attr::LOOKS).unwrap_or(0),
        look_at: number(row, attr::LOOK_AT).unwrap_or(0),
    })
}
