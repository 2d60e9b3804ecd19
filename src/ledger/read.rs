//! Reading the tables: what the announcement, the reconciler and people ask. Nothing here writes.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Ledger, LedgerError,
    condition::Item,
    patience::{contended, patiently, unavailable},
    schema::attr,
};

/// Rows, and where the next ones begin.
pub type Page = (Vec<Item>, Option<Item>);

impl Ledger {
    /// A job's row as it stands now.
    pub async fn job(&self, name: &str) -> Result<Option<Item>, LedgerError> {
        self.get(&self.jobs, attr::JOB_ID, name).await
    }

    /// A delivery's row as it stands now.
    pub async fn delivery(&self, key: &str) -> Result<Option<Item>, LedgerError> {
        self.get(&self.deliveries, attr::WEBHOOK_ID, key).await
    }

    /// Whether a job has ended here. Read as it comes, stale at times: who acts on it meets the row's condition.
    pub async fn has_ended(&self, job: &str) -> Result<bool, LedgerError> {
        let get = self
            .dynamodb
            .get_item()
            .table_name(&self.jobs)
            .key(attr::JOB_ID, AttributeValue::S(job.to_owned()))
            .projection_expression(attr::ENDED_BY);
        let row = patiently(contended, || get.clone().send()).await;
        let row = row.map_err(|error| unavailable("read a row", &error))?.item;
        Ok(row.is_some_and(|row| row.contains_key(attr::ENDED_BY)))
    }

    /// A page of all deliveries, in no order.
    pub async fn all_deliveries(&self, after: Option<Item>) -> Result<Page, LedgerError> {
        self.scan(&self.deliveries, after).await
    }

    /// A page of all jobs, in no order.
    pub async fn all_jobs(&self, after: Option<Item>) -> Result<Page, LedgerError> {
        self.scan(&self.jobs, after).await
    }

    async fn scan(&self, table: &str, after: Option<Item>) -> Result<Page, LedgerError> {
        let scan = self.dynamodb.scan().table_name(table).set_exclusive_start_key(after);
        let page = patiently(contended, || scan.clone().send()).await;
        let page = page.map_err(|error| unavailable("read the table", &error))?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }

    async fn get(&self, table: &str, key: &str, value: &str) -> Result<Option<Item>, LedgerError> {
        let get = self
            .dynamodb
            .get_item()
            .table_name(table)
            .key(key, AttributeValue::S(value.to_owned()))
            .consistent_read(true);
        let row = patiently(contended, || get.clone().send()).await;
        Ok(row.map_err(|error| unavailable("read a row", &error))?.item)
    }
}
