//! The calls to DynamoDB that everything in this folder shares: a transition as an update, two of them as a
//! transaction, and reads.
//!
//! Each answer is classified here and nowhere else: made, condition failed (with the row for which it failed), or an
//! error with its class.

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{
        transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError::ConditionalCheckFailedException as NotUpdated,
    },
    types::{
        AttributeValue, CancellationReason, ReturnValue::AllNew, ReturnValuesOnConditionCheckFailure::AllOld,
        TransactWriteItem, Update,
    },
};
use sha2::{Digest, Sha256};

use super::{
    LedgerError,
    condition::{Binds, Item, Transition},
    conflict_retry::{is_conflict, is_conflict_code, retry_conflicts},
    schema::attr,
};
use crate::hex::hex;

/// The length of a token that DynamoDB takes (API reference, `TransactWriteItems`, `ClientRequestToken`).
const TOKEN_LENGTH: usize = 36;

/// One of the two tables.
#[derive(Clone, Copy, Debug)]
pub(super) enum Table {
    Deliveries,
    Jobs,
}

/// A transition of one row, with its values.
#[derive(Clone, Copy)]
pub(super) struct Planned<'a> {
    pub table: Table,
    pub key: &'a str,
    pub transition: &'a Transition,
    pub binds: &'a Binds,
}

pub(super) enum Change {
    /// With the row as it is now. It was written by this call, or by an earlier try of it whose answer was lost.
    Made(Item),
    /// With the row for which the condition failed, empty if there was none.
    ConditionFailed(Item),
}

/// What came of two changes that happen together or not at all.
pub(super) enum Both {
    Made,
    /// The condition of the first failed, and the row does not show that this call has made the change.
    FirstConditionFailed,
    /// Only the condition of the second failed, for this row.
    SecondConditionFailed(Item),
}

/// The two tables and the means to reach them.
#[derive(Clone)]
pub(super) struct Store {
    pub client: Client,
    deliveries: String,
    jobs: String,
}

impl Store {
    pub fn new(client: Client, deliveries: String, jobs: String) -> Self {
        Self { client, deliveries, jobs }
    }

    pub fn name(&self, table: Table) -> &str {
        match table {
            Table::Deliveries => &self.deliveries,
            Table::Jobs => &self.jobs,
        }
    }

    /// Makes one change, and recognises it where only its answer was lost.
    pub async fn change(&self, planned: Planned<'_>) -> Result<Change, LedgerError> {
        let Planned { table, key, transition, binds } = planned;
        let reported = transition.expression(binds);
        let update = self
            .client
            .update_item()
            .table_name(self.name(table))
            .key(key_of(table), AttributeValue::S(key.to_owned()))
            .condition_expression(reported.condition)
            .update_expression(reported.update)
            .set_expression_attribute_names(Some(reported.names))
            .set_expression_attribute_values(Some(reported.values).filter(|values| !values.is_empty()))
            .return_values(AllNew)
            .return_values_on_condition_check_failure(AllOld);
        match retry_conflicts(is_conflict, || update.clone().send()).await {
            Ok(done) => Ok(Change::Made(done.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(NotUpdated(refused)) => {
                    let old = refused.item().cloned().unwrap_or_default();
                    Ok(if transition.is_done(&old, binds) {
                        Change::Made(old)
                    } else {
                        Change::ConditionFailed(old)
                    })
                }
                _ => Err(LedgerError::of(transition.name, &error)),
            },
        }
    }

    /// Makes two changes together. Whether the first was made by this call already is read from its row; the second
    /// was made with it.
    pub async fn change_both(
        &self,
        token: &str,
        first: Planned<'_>,
        second: Planned<'_>,
    ) -> Result<Both, LedgerError> {
        let request = self
            .client
            .transact_write_items()
            .transact_items(self.item(first)?)
            .transact_items(self.item(second)?)
            .client_request_token(token);
        let answer = retry_conflicts(only_contention, || request.clone().send()).await;
        let Err(error) = answer else { return Ok(Both::Made) };
        match reasons(&error) {
            [reason, _] if is_refusal(reason) => {
                let ours = reason.item().is_some_and(|old| first.transition.is_done(old, first.binds));
                Ok(if ours { Both::Made } else { Both::FirstConditionFailed })
            }
            [_, reason] if is_refusal(reason) => {
                Ok(Both::SecondConditionFailed(reason.item().cloned().unwrap_or_default()))
            }
            reasons => {
                let why = reasons.iter().find(|reason| reason.code().is_some_and(|code| code != "None"));
                Err(match why {
                    Some(why) => LedgerError::of_code(
                        why.code(),
                        format!("did not {}: {}", first.transition.name, explain_reason(why)),
                    ),
                    None => LedgerError::of(first.transition.name, &error),
                })
            }
        }
    }

    /// The token of a transaction: the same for every repeat of one call, and another for each call.
    ///
    /// DynamoDB keeps tokens by account and Region for ten minutes, and answers `IdempotentParameterMismatch` where
    /// one comes back with other parameters. So it is made of the tables (two stacks may share an account) and of
    /// whatever else `parts` name.
    pub fn token(&self, parts: &[&str]) -> String {
        let all = [&[self.deliveries.as_str(), self.jobs.as_str()], parts].concat();
        hex(&Sha256::digest(all.join("\n"))).chars().take(TOKEN_LENGTH).collect()
    }

    /// A row as it stands now.
    pub async fn get(&self, table: Table, key: &str) -> Result<Option<Item>, LedgerError> {
        let get = self
            .client
            .get_item()
            .table_name(self.name(table))
            .key(key_of(table), AttributeValue::S(key.to_owned()))
            .consistent_read(true);
        let row = retry_conflicts(is_conflict, || get.clone().send()).await;
        Ok(row.map_err(|error| LedgerError::of("read a row", &error))?.item)
    }

    fn item(&self, planned: Planned<'_>) -> Result<TransactWriteItem, LedgerError> {
        let reported = planned.transition.expression(planned.binds);
        let update = Update::builder()
            .table_name(self.name(planned.table))
            .key(key_of(planned.table), AttributeValue::S(planned.key.to_owned()))
            .condition_expression(reported.condition)
            .update_expression(reported.update)
            .set_expression_attribute_names(Some(reported.names))
            .set_expression_attribute_values(Some(reported.values).filter(|values| !values.is_empty()))
            .return_values_on_condition_check_failure(AllOld)
            .build()
            .map_err(|error| LedgerError::Invalid(error.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

fn key_of(table: Table) -> &'static str {
    match table {
        Table::Deliveries => attr::WEBHOOK_ID,
        Table::Jobs => attr::JOB_ID,
    }
}

fn reasons(error: &SdkError<TransactWriteItemsError>) -> &[CancellationReason] {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
            canceled.cancellation_reasons()
        }
        _ => &[],
    }
}

fn is_refusal(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

fn explain_reason(reason: &CancellationReason) -> String {
    format!("{} {}", reason.code().unwrap_or_default(), reason.message().unwrap_or_default())
}

/// Whether the transaction may succeed a moment later: it met other writes, and no condition failed.
fn only_contention(error: &SdkError<TransactWriteItemsError>) -> bool {
    let reasons = reasons(error);
    if reasons.is_empty() {
        return is_conflict(error);
    }
    let may_pass = |reason: &CancellationReason| reason.code().is_some_and(is_conflict_code);
    !reasons.iter().any(is_refusal) && reasons.iter().any(may_pass)
}
