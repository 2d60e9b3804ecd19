//! The commit: the delivery's outcome and the job's row, in one transaction or not at all.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue, CancellationReason, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem,
        Update,
    },
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Delivery, GIVE_UP_AFTER, Ledger, LedgerError, Outcome,
    condition::{Binds, Transition, number},
    delivery::hex,
    lease::Fence,
    patience::{contended, is_contention, patiently, unavailable},
    schema::{SCHEMA, attr},
    transitions,
};
use crate::{
    clock::{Millis, millis},
    job::{EndedJob, OpenJob},
};

/// A text that a row carries for a person to see, at most this long; the bucket has all of it.
const LONGEST_VALUE: usize = 16 * 1024;

/// DynamoDB nests 32 levels; what is deeper is kept as text.
const DEEPEST_VALUE: usize = 20;

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// Written, now or by an earlier try of ours whose answer was lost.
    Done,
    /// The job's row had been written before: this delivery has ended as something less.
    Already(Outcome),
    /// The lease is not ours any more: nothing was written.
    Lost,
}

/// Which part of a refused transaction stood in the way.
enum Refused {
    Delivery { committed_by_us: bool },
    Job,
}

impl Ledger {
    /// Ends the job and its delivery together, or ends the delivery as `repeated` where the job had ended.
    pub async fn commit(
        &self,
        row: &Delivery,
        outcome: Outcome,
        job: &EndedJob,
        note: Option<&str>,
    ) -> Result<Committed, LedgerError> {
        let now = self.clock.now();
        let delivery = self
            .ending(row, outcome, note)
            .text(":job_id", &job.name)
            .number(":give_up_at", now + millis(GIVE_UP_AFTER));
        let transition = if self.announces { &transitions::COMMIT_TO_ANNOUNCE } else { &transitions::COMMIT };
        let ended = told_by(row)
            .text(":webhook_id", &row.key)
            .number(":now", now)
            .text(":kind", job.kind.name())
            .text(":state", &job.state)
            .value(
                ":event_time",
                Some(AttributeValue::N(job.event_time.unwrap_or(row.received_at).to_string())),
            )
            .value(":user_metadata", bounded(job.user_metadata.as_ref()))
            .value(":model", bounded(job.model.as_ref()))
            .value(":display_name", bounded(job.display_name.as_ref()))
            .value(":outputs", (!job.outputs.is_empty()).then(|| attribute(&job.outputs)).flatten())
            .value(":left", bounded((!job.left.is_empty()).then_some(&job.left)))
            .value(":summary", job.summary.as_ref().and_then(attribute))
            .value(":text", job.text.as_ref().map(|text| AttributeValue::S(text.text.clone())))
            .value(":text_cut", job.text.as_ref().filter(|text| text.cut).map(|_| AttributeValue::Bool(true)))
            .value(":error", bounded(job.error.as_ref()));
        let refused =
            self.transact(row, (transition, &delivery), (&job.name, &transitions::END_JOB, &ended)).await?;
        match refused {
            None | Some(Refused::Delivery { committed_by_us: true }) => Ok(Committed::Done),
            Some(Refused::Delivery { .. }) => Ok(Committed::Lost),
            Some(Refused::Job) => self.end_as(row, Outcome::Repeated).await,
        }
    }

    /// Records that a job is still open. A later state of the same job is left as it is.
    pub async fn record_open(
        &self,
        row: &Delivery,
        job: &OpenJob,
        watch_until: Millis,
    ) -> Result<Committed, LedgerError> {
        let delivery = self.ending(row, Outcome::Recorded, None);
        let open = told_by(row)
            .number(":event_time", row.event_time.unwrap_or(row.received_at))
            .number(":watch_until", watch_until)
            .text(":kind", job.kind.name())
            .text(":state", &job.state)
            .value(":user_metadata", bounded(job.user_metadata.as_ref()))
            .value(":calls", bounded((!job.calls.is_empty()).then_some(&job.calls)));
        let refused = self
            .transact(row, (&transitions::END, &delivery), (&job.name, &transitions::OPEN_JOB, &open))
            .await?;
        match refused {
            None => Ok(Committed::Done),
            Some(Refused::Delivery { .. }) => Ok(Committed::Lost),
            Some(Refused::Job) => self.end_as(row, Outcome::Recorded).await,
        }
    }

    async fn end_as(&self, row: &Delivery, outcome: Outcome) -> Result<Committed, LedgerError> {
        Ok(match self.end(row, outcome, None).await? {
            Fence::Held => Committed::Already(outcome),
            Fence::Lost => Committed::Lost,
        })
    }

    async fn transact(
        &self,
        row: &Delivery,
        (transition, delivery): (&Transition, &Binds),
        (job, end, binds): (&str, &Transition, &Binds),
    ) -> Result<Option<Refused>, LedgerError> {
        let key = AttributeValue::S(row.key.clone());
        let first = update(&self.deliveries, attr::WEBHOOK_ID, key, transition, delivery)?;
        let second = update(&self.jobs, attr::JOB_ID, AttributeValue::S(job.to_owned()), end, binds)?;
        let request = self
            .dynamodb
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().update(first).build())
            .transact_items(TransactWriteItem::builder().update(second).build())
            .client_request_token(token(row));
        match patiently(in_each_others_way, || request.clone().send()).await {
            Ok(_) => Ok(None),
            Err(error) => match reasons(&error) {
                [delivery, _] if refused(delivery) => {
                    Ok(Some(Refused::Delivery { committed_by_us: is_our_commit(delivery, row) }))
                }
                [_, job] if refused(job) => Ok(Some(Refused::Job)),
                _ => Err(unavailable("commit", &error)),
            },
        }
    }
}

fn update(
    table: &str,
    key_name: &str,
    key: AttributeValue,
    transition: &Transition,
    binds: &Binds,
) -> Result<Update, LedgerError> {
    let told = transition.expression(binds);
    Update::builder()
        .table_name(table)
        .key(key_name, key)
        .condition_expression(told.condition)
        .update_expression(told.update)
        .set_expression_attribute_names(Some(told.names))
        .set_expression_attribute_values(Some(told.values))
        .return_values_on_condition_check_failure(AllOld)
        .build()
        .map_err(|error| LedgerError::Unavailable(error.to_string()))
}

/// The same request of the same attempt is one request, however often it is sent.
fn token(row: &Delivery) -> String {
    let digest = Sha256::digest(format!("{} {}", row.attempt, row.key));
    hex(&digest).chars().take(36).collect()
}

fn reasons(error: &SdkError<TransactWriteItemsError>) -> &[CancellationReason] {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
            canceled.cancellation_reasons()
        }
        _ => &[],
    }
}

fn refused(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// A repeated commit meets its own work: our attempt, with an outcome.
fn is_our_commit(reason: &CancellationReason, row: &Delivery) -> bool {
    reason.item().is_some_and(|old| {
        number(old, attr::ATTEMPT) == Some(row.attempt)
            && old.contains_key(attr::OUTCOME)
            && old.contains_key(attr::JOB_ID)
    })
}

fn in_each_others_way(error: &SdkError<TransactWriteItemsError>) -> bool {
    let reasons = reasons(error);
    if reasons.is_empty() {
        return contended(error);
    }
    !reasons.iter().any(refused) && reasons.iter().any(|reason| reason.code().is_some_and(is_contention))
}

fn told_by(row: &Delivery) -> Binds {
    Binds::default()
        .number(":schema", SCHEMA)
        .value(":told_by", Some(AttributeValue::Ss(vec![row.key.clone()])))
}

fn attribute(value: &impl Serialize) -> Option<AttributeValue> {
    serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(value).ok()
}

/// A value from outside, as a row can hold it: whatever is too deep or too long becomes a shortened text.
fn bounded(value: Option<&impl Serialize>) -> Option<AttributeValue> {
    let value = serde_json::to_value(value?).ok()?;
    let text = value.to_string();
    if text.len() <= LONGEST_VALUE && depth(&value) <= DEEPEST_VALUE {
        return attribute(&value);
    }
    Some(AttributeValue::S(text.chars().take(LONGEST_VALUE).collect()))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_from_outside_fit_into_a_row() {
        let flat = serde_json::json!({"job_group": "nightly", "n": 1});
        assert!(bounded(Some(&flat)).unwrap().is_m());
        let deep = (0..60).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        assert!(bounded(Some(&deep)).unwrap().is_s());
        let long = Value::String("x".repeat(LONGEST_VALUE * 2));
        assert_eq!(bounded(Some(&long)).unwrap().as_s().unwrap().len(), LONGEST_VALUE);
        assert_eq!(bounded(None::<&Value>), None);
    }
}
