//! The receiver's side of the ledger: [`DeliveryWriter`] can insert a delivery and nothing else.
//!
//! What a duplicate is, is decided here. The write is one `PutItem` on the condition that no row has this
//! `webhook-id`. If the condition fails, DynamoDB returns the row that is there, so no second read is needed:
//!
//! | the row that is there | result |
//! | --- | --- |
//! | none | [`Inserted::Stored`] |
//! | has our `receipt`, the id of this invocation | [`Inserted::StoredBefore`]: our first try's answer was lost |
//! | has another body | [`Inserted::OtherBody`]: this delivery gets a row of its own |
//! | any other | [`Inserted::Duplicate`]: nothing is written |
//!
//! Every result except an error means that a row with this body is durable, so the receiver may answer 200. Standard
//! Webhooks asks receivers to deduplicate by `webhook-id` (specification, "Webhook headers").

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

/// The result of an insert. Each of them means that a row with this body is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The id was new.
    Stored,
    /// Stored by an earlier try of this very call, whose answer was lost.
    StoredBefore,
    /// The id and the body are known.
    Duplicate,
    /// The id is known with another body, so this delivery has a row of its own, under this key.
    OtherBody(String),
}

impl Inserted {
    /// For the log line of the delivery.
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

/// The Deliveries table for the receiver, whose role allows `dynamodb:PutItem` on it and no other action.
pub struct DeliveryWriter {
    dynamodb: Client,
    table: String,
}

impl DeliveryWriter {
    pub fn new(dynamodb: Client, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into() }
    }

    /// Writes the row if its key is new. After an error it is unknown whether the row was written, unless
    /// [`LedgerError::wrote_nothing`] says so. Calling it again with the same delivery is safe.
    pub async fn insert(&self, delivery: NewDelivery) -> Result<Inserted, LedgerError> {
        let binds = Binds::default().value(":receipt", delivery.receipt().cloned());
        let Some(old) = self.put(delivery.clone()).await? else { return Ok(Inserted::Stored) };
        let known = text(&old, attr::BODY_SHA256);
        if known.is_some_and(|known| known != delivery.digest) {
            let beside = delivery.beside();
            let key = beside.key.clone();
            self.put(beside).await?;
            return Ok(Inserted::OtherBody(key));
        }
        Ok(if transitions::PUT.is_done(&old, &binds) { Inserted::StoredBefore } else { Inserted::Duplicate })
    }

    /// Opens the connection to DynamoDB and makes ready what the SDK prepares at its first call: a `GET /`, which DynamoDB
    /// answers to anybody and does not bill. What it answers, or whether it does, does not matter.
    pub async fn connect(&self) {
        let call = self.dynamodb.put_item().table_name(&self.table).customize();
        let get = call.mutate_request(|request| {
            // It fails only for what is no method.
            let _ = request.set_method("GET");
            for header in ["x-amz-target", "content-type", "content-length"] {
                request.headers_mut().remove(header);
            }
            *request.body_mut() = "".into();
        });
        let _ = get.send().await;
    }

    /// Puts the row. None if it was written, else the row that has the key (empty if DynamoDB did not return it).
    async fn put(&self, delivery: NewDelivery) -> Result<Option<Item>, LedgerError> {
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
