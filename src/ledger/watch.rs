//! Open jobs that somebody wants followed: which they are, and when each is looked at next.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    LedgerError,
    condition::{Item, number, text},
    conflict_retry::{is_conflict, retry_conflicts},
    schema::{WATCHED, attr},
    store::{Store, Table},
};
use crate::clock::Millis;

/// A job that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub job: String,
    pub until: Millis,
    /// How often it was looked at, and when it is next.
    pub looks: i64,
    pub look_at: Millis,
}

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

fn read(row: &Item) -> Option<Watched> {
    Some(Watched {
        job: text(row, attr::JOB_ID)?.to_owned(),
        until: number(row, attr::WATCH_UNTIL)?,
        looks: number(row, attr::LOOKS).unwrap_or(0),
        look_at: number(row, attr::LOOK_AT).unwrap_or(0),
    })
}
