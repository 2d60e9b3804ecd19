//! The receiver's end of the ledger: it can put a delivery and nothing else.

use aws_sdk_dynamodb::{
    Client, operation::put_item::PutItemError::ConditionalCheckFailedException,
    types::ReturnValuesOnConditionCheckFailure::AllOld,
};

use super::{
    LedgerError, NewDelivery,
    condition::{Binds, Item, text},
    conflict_retry::{is_conflict, retry_conflicts},
    schema::attr,
    transitions,
};

/// What became of a put. Every one of them means that a row with this body is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    Stored,
    /// Stored by an earlier try of this very call.
    StoredBefore,
    Duplicate,
    /// The id is known with another body, so this one has a row of its own, under this key.
    OtherBody(String),
}

impl Inserted {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::StoredBefore => "stored before",
            Self::Duplicate => "duplicate",
            Self::OtherBody(_) => "other body",
        }
    }

    /// The key of the row, where it is not the delivery's id.
    pub fn beside(&self) -> Option<&str> {
        match self {
            Self::OtherBody(key) => Some(key),
            _ => None,
        }
    }
}

/// The one thing that the receiver may do with the table.
pub struct DeliveryWriter {
    dynamodb: Client,
    table: String,
}

impl DeliveryWriter {
    pub fn new(dynamodb: Client, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into() }
    }

    pub async fn insert(&self, delivery: NewDelivery) -> Result<Inserted, LedgerError> {
        let binds = Binds::default().value(":receipt", delivery.receipt().cloned());
        let Some(old) = self.refused_by(delivery.clone()).await? else { return Ok(Inserted::Stored) };
        let known = text(&old, attr::BODY_SHA256);
        if known.is_some_and(|known| known != delivery.digest) {
            let beside = delivery.beside();
            let key = beside.key.clone();
            self.refused_by(beside).await?;
            return Ok(Inserted::OtherBody(key));
        }
        Ok(if transitions::PUT.is_done(&old, &binds) { Inserted::StoredBefore } else { Inserted::Duplicate })
    }

    /// Puts, and returns the row that stood in the way (empty if DynamoDB did not show it).
    async fn refused_by(&self, delivery: NewDelivery) -> Result<Option<Item>, LedgerError> {
        let condition = transitions::PUT.expression(&Binds::default());
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(delivery.into_item()))
            .condition_expression(condition.condition)
            .set_expression_attribute_names(Some(condition.names))
            .return_values_on_condition_check_failure(AllOld);
        match retry_conflicts(is_conflict, || put.clone().send()).await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(ConditionalCheckFailedException(refused)) => {
                    Ok(Some(refused.item().cloned().unwrap_or_default()))
                }
                _ => Err(LedgerError::of("store the delivery", &error)),
            },
        }
    }
}
