//! Erasing a job that a person wants gone. That it has ended stays known, or a later event would bring it back.

use aws_sdk_dynamodb::{
    operation::{
        delete_item::DeleteItemError::ConditionalCheckFailedException as NotDeleted,
        put_item::PutItemError::ConditionalCheckFailedException as NotPut,
    },
    types::AttributeValue,
};

use super::{
    Ledger, LedgerError,
    condition::{Binds, Item},
    lease::Fence,
    patience::{contended, patiently, unavailable},
    schema::attr,
    transitions,
};

/// What stays of a job that has ended.
const STAYS: [&str; 5] = [attr::JOB_ID, attr::KIND, attr::ENDED_BY, attr::ENDED_AT, attr::SCHEMA];

impl Ledger {
    /// Erases a job's row, as it was read. `Lost` where the job has ended since.
    pub async fn erase(&self, row: &Item) -> Result<Fence, LedgerError> {
        if row.contains_key(attr::ENDED_BY) {
            self.erase_ended(row).await
        } else {
            self.erase_open(row).await
        }
    }

    async fn erase_ended(&self, row: &Item) -> Result<Fence, LedgerError> {
        let told = transitions::ERASE_ENDED_JOB.expression(&Binds::default());
        let kept = row.iter().filter(|(name, _)| STAYS.contains(&name.as_str()));
        let mut stone: Item = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        stone.insert(attr::STATE.to_owned(), AttributeValue::S("deleted".to_owned()));
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.jobs)
            .set_item(Some(stone))
            .condition_expression(told.condition)
            .set_expression_attribute_names(Some(told.names));
        match patiently(contended, || put.clone().send()).await {
            Ok(_) => Ok(Fence::Held),
            Err(error) if matches!(error.as_service_error(), Some(NotPut(_))) => Ok(Fence::Lost),
            Err(error) => Err(unavailable("erase the job", &error)),
        }
    }

    async fn erase_open(&self, row: &Item) -> Result<Fence, LedgerError> {
        let told = transitions::ERASE_OPEN_JOB.expression(&Binds::default());
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.jobs)
            .set_key(row.get(attr::JOB_ID).map(|id| Item::from([(attr::JOB_ID.to_owned(), id.clone())])))
            .condition_expression(told.condition)
            .set_expression_attribute_names(Some(told.names));
        match patiently(contended, || delete.clone().send()).await {
            Ok(_) => Ok(Fence::Held),
            Err(error) if matches!(error.as_service_error(), Some(NotDeleted(_))) => Ok(Fence::Lost),
            Err(error) => Err(unavailable("erase the job", &error)),
        }
    }
}
