//! What a person does with the tables through the `gemhook` command, and the local machine at its start: read,
//! redrive, erase. The functions use none of it.

use aws_sdk_dynamodb::{
    operation::{
        delete_item::DeleteItemError::ConditionalCheckFailedException as NotDeleted,
        put_item::PutItemError::ConditionalCheckFailedException as NotPut,
    },
    types::AttributeValue,
};

use super::{
    Fence, GIVE_UP_AFTER, Ledger, LedgerError, STREAM_GRACE,
    condition::{Binds, Item},
    conflict_retry::{is_conflict, retry_conflicts},
    new_delivery::shard_of,
    schema::attr,
    store::Table,
    transitions,
};
use crate::clock::millis;

/// Rows, and where the next ones begin.
pub type Page = (Vec<Item>, Option<Item>);

/// What stays of an ended job that is erased. Its outcome does not, because a `gone` end could be replaced.
const TOMBSTONE_ATTRIBUTES: [&str; 5] =
    [attr::JOB_ID, attr::KIND, attr::ENDED_BY, attr::ENDED_AT, attr::SCHEMA];

/// Whether a row in this state, with this outcome, can be redriven.
pub fn can_be_redriven(state: &str, outcome: Option<&str>) -> bool {
    let words = [(attr::STATE, Some(state)), (attr::OUTCOME, outcome)];
    let row: Item = words
        .into_iter()
        .filter_map(|(name, word)| Some((name.to_owned(), AttributeValue::S(word?.to_owned()))))
        .collect();
    let redrives = [&transitions::REDRIVE_FAILED, &transitions::REDRIVE_DONE];
    redrives.iter().any(|redrive| redrive.allows(&row, &Binds::default()))
}

impl Ledger {
    /// A delivery's row as it stands now.
    pub async fn delivery(&self, key: &str) -> Result<Option<Item>, LedgerError> {
        self.store.get(Table::Deliveries, key).await
    }

    /// A page of all deliveries, in no order.
    pub async fn all_deliveries(&self, after: Option<Item>) -> Result<Page, LedgerError> {
        self.scan(Table::Deliveries, after).await
    }

    /// A page of all jobs, in no order.
    pub async fn all_jobs(&self, after: Option<Item>) -> Result<Page, LedgerError> {
        self.scan(Table::Jobs, after).await
    }

    /// Lets a row run again that failed, or ended as `recorded`, `gone` or `foreign`. `Lost` where it did neither. The
    /// row gets 7 new days and no crashes. The stream brings it to the archiver at once, a sweep after two minutes.
    pub async fn redrive(&self, key: &str) -> Result<Fence, LedgerError> {
        let now = self.clock.now();
        let binds = Binds::default()
            .number(":give_up_at", now.saturating_add(millis(GIVE_UP_AFTER)))
            .number(":due_at", now.saturating_add(millis(STREAM_GRACE)))
            .text(":open", shard_of(key))
            .text(":redrive", uuid::Uuid::new_v4().simple().to_string());
        match self.change(Table::Deliveries, key, &transitions::REDRIVE_FAILED, &binds).await? {
            Fence::Held => Ok(Fence::Held),
            Fence::Lost => self.change(Table::Deliveries, key, &transitions::REDRIVE_DONE, &binds).await,
        }
    }

    /// Only for a process that has the tables to itself: a lease it finds has nobody behind it.
    pub async fn void_lease(&self, key: &str) -> Result<Fence, LedgerError> {
        self.change(Table::Deliveries, key, &transitions::VOID_LEASE, &Binds::default()).await
    }

    /// Erases a job's row, as it was read. That it has ended stays known, or a later event would bring it back.
    /// `Lost` where the job has ended since.
    pub async fn erase(&self, row: &Item) -> Result<Fence, LedgerError> {
        if row.contains_key(attr::ENDED_BY) {
            self.erase_ended(row).await
        } else {
            self.erase_open(row).await
        }
    }

    /// Replaces the row by a tombstone, if the job has ended.
    async fn erase_ended(&self, row: &Item) -> Result<Fence, LedgerError> {
        let reported = transitions::ERASE_ENDED_JOB.expression(&Binds::default());
        let kept = row.iter().filter(|(name, _)| TOMBSTONE_ATTRIBUTES.contains(&name.as_str()));
        let mut stone: Item = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        stone.insert(attr::STATE.to_owned(), AttributeValue::S("deleted".to_owned()));
        let put = self
            .store
            .client
            .put_item()
            .table_name(self.store.name(Table::Jobs))
            .set_item(Some(stone))
            .condition_expression(reported.condition)
            .set_expression_attribute_names(Some(reported.names));
        match retry_conflicts(is_conflict, || put.clone().send()).await {
            Ok(_) => Ok(Fence::Held),
            Err(error) if matches!(error.as_service_error(), Some(NotPut(_))) => Ok(Fence::Lost),
            Err(error) => Err(LedgerError::of("erase the job", &error)),
        }
    }

    /// Deletes the row, if the job has not ended.
    async fn erase_open(&self, row: &Item) -> Result<Fence, LedgerError> {
        let reported = transitions::ERASE_OPEN_JOB.expression(&Binds::default());
        let delete = self
            .store
            .client
            .delete_item()
            .table_name(self.store.name(Table::Jobs))
            .set_key(row.get(attr::JOB_ID).map(|id| Item::from([(attr::JOB_ID.to_owned(), id.clone())])))
            .condition_expression(reported.condition)
            .set_expression_attribute_names(Some(reported.names));
        match retry_conflicts(is_conflict, || delete.clone().send()).await {
            Ok(_) => Ok(Fence::Held),
            Err(error) if matches!(error.as_service_error(), Some(NotDeleted(_))) => Ok(Fence::Lost),
            Err(error) => Err(LedgerError::of("erase the job", &error)),
        }
    }

    async fn scan(&self, table: Table, after: Option<Item>) -> Result<Page, LedgerError> {
        let scan = self.store.client.scan().table_name(self.store.name(table)).set_exclusive_start_key(after);
        let page = retry_conflicts(is_conflict, || scan.clone().send()).await;
        let page = page.map_err(|error| LedgerError::of("read the table", &error))?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }
}
