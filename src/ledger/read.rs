//! Reading the tables: what the announcement, the reconciler and people ask. Nothing here writes.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Ledger, LedgerError,
    condition::Item,
    patience::{contended, patiently, unavailable},
    schema::attr,
};

impl Ledger {
    /// A job's row as it stands now.
    pub async fn job(&self, name: &str) -> Result<Option<Item>, LedgerError> {
        self.get(&self.jobs, attr::JOB_ID, name).await
    }

    /// A delivery's row as it stands now.
    pub async fn delivery(&self, key: &str) -> Result<Option<Item>, LedgerError> {
        self.get(&self.deliveries, attr::WEBHOOK_ID, key).await
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
