//! Which rows a sweep has to look at.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Ledger, LedgerError,
    condition::{Item, number, text},
    patience::{contended, patiently, unavailable},
    schema::{DUE, SHARDS, attr},
};
use crate::clock::Millis;

/// A page of due rows, and where the next one begins.
pub struct DuePage {
    pub keys: Vec<String>,
    /// When the oldest row of this page came in.
    pub oldest: Option<Millis>,
    pub next: Option<Item>,
}

impl Ledger {
    pub fn shards() -> impl Iterator<Item = u8> {
        0..SHARDS
    }

    /// Rows of one shard that are due by then, the longest overdue first. The index is read as it is, stale at
    /// times: whether a row may be taken is asked of the row itself, when it is leased.
    pub async fn due(
        &self,
        shard: u8,
        by: Millis,
        after: Option<Item>,
        limit: i32,
    ) -> Result<DuePage, LedgerError> {
        let query = self
            .dynamodb
            .query()
            .table_name(&self.deliveries)
            .index_name(DUE.name)
            .key_condition_expression("#open = :shard AND #due <= :by")
            .expression_attribute_names("#open", DUE.hash)
            .expression_attribute_names("#due", DUE.range)
            .expression_attribute_values(":shard", AttributeValue::S(shard.to_string()))
            .expression_attribute_values(":by", AttributeValue::N(by.to_string()))
            .set_exclusive_start_key(after)
            .limit(limit);
        let page = patiently(contended, || query.clone().send())
            .await
            .map_err(|error| unavailable("list the due deliveries", &error))?;
        let rows = page.items.unwrap_or_default();
        Ok(DuePage {
            keys: rows.iter().filter_map(|row| text(row, attr::WEBHOOK_ID).map(str::to_owned)).collect(),
            oldest: rows.iter().filter_map(|row| number(row, attr::RECEIVED_AT)).min(),
            next: page.last_evaluated_key,
        })
    }
}
