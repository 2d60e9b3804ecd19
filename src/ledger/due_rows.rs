//! Which rows a sweep has to look at: the sparse index `due`, in eight shards.
//!
//! A row is in the index only while it has `open`, so a sweep reads only rows that have not ended, however many others
//! the table has. Global secondary indexes are eventually consistent, so a row may show an old state here.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    LedgerError,
    condition::{Item, number, text},
    conflict_retry::{is_conflict, retry_conflicts},
    schema::{DUE, attr},
    state::ErrorKind,
    store::{Store, Table},
};
use crate::clock::Millis;

/// A due row, as the index shows it: perhaps older than the row itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRow {
    pub key: String,
    pub due_at: Millis,
    pub received_at: Option<Millis>,
    /// How many leases of the row ran out without a word of their worker.
    pub crashes: i64,
    /// The class of error that the row waits for, where it waits.
    pub error_kind: Option<ErrorKind>,
}

/// A page of due rows, and where the next one begins.
pub struct DueRows {
    pub rows: Vec<DueRow>,
    pub next: Option<Item>,
}

impl DueRows {
    /// When the oldest row of this page was received. Rows that wait for a job which is not found do not count: an
    /// application that deletes its own jobs must not look like a backlog.
    pub fn oldest(&self) -> Option<Millis> {
        let rows = self.rows.iter().filter(|row| row.error_kind != Some(ErrorKind::NotFound));
        rows.filter_map(|row| row.received_at).min()
    }

    /// When the oldest row was received that waits for a job which is not found.
    pub fn oldest_not_found(&self) -> Option<Millis> {
        let rows = self.rows.iter().filter(|row| row.error_kind == Some(ErrorKind::NotFound));
        rows.filter_map(|row| row.received_at).min()
    }
}

pub(super) async fn page(
    store: &Store,
    shard: u8,
    by: Millis,
    after: Option<Item>,
    limit: i32,
) -> Result<DueRows, LedgerError> {
    let query = store
        .client
        .query()
        .table_name(store.name(Table::Deliveries))
        .index_name(DUE.name)
        .key_condition_expression("#open = :shard AND #due <= :by")
        .expression_attribute_names("#open", DUE.hash)
        .expression_attribute_names("#due", DUE.range)
        .expression_attribute_values(":shard", AttributeValue::S(shard.to_string()))
        .expression_attribute_values(":by", AttributeValue::N(by.to_string()))
        .set_exclusive_start_key(after)
        .limit(limit);
    let page = retry_conflicts(is_conflict, || query.clone().send())
        .await
        .map_err(|error| LedgerError::of("list the due deliveries", &error))?;
    let rows = page.items.unwrap_or_default();
    Ok(DueRows { rows: rows.iter().filter_map(read).collect(), next: page.last_evaluated_key })
}

/// Lenient, because whatever is wrong with a row is found when it is leased.
fn read(row: &Item) -> Option<DueRow> {
    Some(DueRow {
        key: text(row, attr::WEBHOOK_ID)?.to_owned(),
        due_at: number(row, attr::DUE_AT).unwrap_or(0),
        received_at: number(row, attr::RECEIVED_AT),
        crashes: number(row, attr::CRASHES).unwrap_or(0),
        error_kind: text(row, attr::ERROR_KIND).and_then(ErrorKind::of),
    })
}
