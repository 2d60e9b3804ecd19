//! Leases: who works on a row, for how long, and what he may write while he does.
//!
//! Every lease raises the row's attempt, its fencing token; every later write names that token, so a worker that
//! lost its lease writes nothing.

use aws_sdk_dynamodb::{
    Client,
    operation::update_item::UpdateItemError::ConditionalCheckFailedException,
    types::{AttributeValue, ReturnValue::AllNew, ReturnValuesOnConditionCheckFailure::AllOld},
};

use super::{
    Delivery, GIVE_UP_AFTER, KEEP, LedgerError, MAX_CRASHES, Outcome, STREAM_GRACE,
    condition::{Binds, Item, Transition, text},
    delivery::shard_of,
    patience::{contended, patiently, unavailable},
    schema::attr,
    transitions,
};
use crate::clock::{Millis, SharedClock, millis};

/// An ordinary row stays within one write unit with a text of this length.
const LONGEST_ERROR: usize = 200;

/// What came of asking for a row.
#[derive(Debug)]
pub enum Lease {
    Taken(Delivery),
    /// Somebody else has it, it is not due, or it has ended.
    Refused,
    /// Its budget was used up: it has ended as `failed` just now.
    GaveUp(Delivery),
}

/// Whether a write of ours still counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fence {
    Held,
    Lost,
}

#[derive(Clone)]
pub struct Ledger {
    pub(super) dynamodb: Client,
    pub(super) deliveries: String,
    pub(super) jobs: String,
    pub(super) clock: SharedClock,
    /// Whether ends are announced after the commit.
    pub(super) announces: bool,
}

pub(super) enum Change {
    Made(Item),
    /// With the row that stood in the way, empty if there was none.
    Refused(Item),
}

impl Ledger {
    pub fn new(
        dynamodb: Client,
        deliveries: impl Into<String>,
        jobs: impl Into<String>,
        clock: SharedClock,
        announces: bool,
    ) -> Self {
        Self { dynamodb, deliveries: deliveries.into(), jobs: jobs.into(), clock, announces }
    }

    /// Takes the row, takes it over from a worker that died, or ends it when its budget is used up.
    pub async fn lease(&self, key: &str, until: Millis) -> Result<Lease, LedgerError> {
        let holder = uuid::Uuid::new_v4().simple().to_string();
        let binds = Binds::default()
            .number(":now", self.clock.now())
            .number(":lease_until", until)
            .number(":max_crashes", MAX_CRASHES)
            .text(":holder", holder.clone());
        let mut old = match self.update(key, &transitions::LEASE, &binds).await? {
            Change::Made(row) => return Ok(Lease::Taken(Delivery::read(&row)?)),
            Change::Refused(old) => old,
        };
        for transition in [&transitions::TAKE_OVER, &transitions::GIVE_UP] {
            if is_ours(&old, &holder) {
                return Ok(Lease::Taken(Delivery::read(&old)?));
            }
            if !transition.allows(&old, &binds) {
                continue;
            }
            let why = binds.clone().text(":last_error", why_given_up(&Delivery::read(&old)?));
            match self.update(key, transition, &why).await? {
                Change::Made(row) if text(&row, attr::STATE) == Some("failed") => {
                    return Ok(Lease::GaveUp(Delivery::read(&row)?));
                }
                Change::Made(row) => return Ok(Lease::Taken(Delivery::read(&row)?)),
                Change::Refused(now) => old = now,
            }
        }
        if is_ours(&old, &holder) {
            return Ok(Lease::Taken(Delivery::read(&old)?));
        }
        Ok(Lease::Refused)
    }

    /// Lengthens the lease, for work that takes long.
    pub async fn extend(&self, row: &Delivery, until: Millis) -> Result<Fence, LedgerError> {
        self.write(row, &transitions::EXTEND, &mine(row).number(":lease_until", until)).await
    }

    /// Puts the row off. A sweep finds it again when it is due.
    pub async fn wait(&self, row: &Delivery, due_at: Millis, why: &str) -> Result<Fence, LedgerError> {
        let binds = mine(row).number(":due_at", due_at).text(":last_error", words(why));
        self.write(row, &transitions::WAIT, &binds).await
    }

    pub async fn fail(&self, row: &Delivery, why: &str) -> Result<Fence, LedgerError> {
        let binds = mine(row).text(":last_error", words(why));
        self.write(row, &transitions::FAIL, &binds).await
    }

    /// Ends a row for which nothing was committed.
    pub async fn end(
        &self,
        row: &Delivery,
        outcome: Outcome,
        note: Option<&str>,
    ) -> Result<Fence, LedgerError> {
        self.write(row, &transitions::END, &self.ending(row, outcome, note)).await
    }

    /// Ends a row whose commit has been announced.
    pub async fn finish(&self, row: &Delivery) -> Result<Fence, LedgerError> {
        let binds = mine(row).number(":expires_at", self.expires_at());
        self.write(row, &transitions::FINISH, &binds).await
    }

    /// Lets a failed or merely recorded row run again. `Lost` where it is neither.
    pub async fn redrive(&self, key: &str) -> Result<Fence, LedgerError> {
        let now = self.clock.now();
        let binds = Binds::default()
            .number(":give_up_at", now + millis(GIVE_UP_AFTER))
            .number(":due_at", now + millis(STREAM_GRACE))
            .text(":open", shard_of(key));
        for transition in [&transitions::REDRIVE_FAILED, &transitions::REDRIVE_RECORDED] {
            if let Change::Made(_) = self.update(key, transition, &binds).await? {
                return Ok(Fence::Held);
            }
        }
        Ok(Fence::Lost)
    }

    /// Only for a process that has the tables to itself: a lease it finds has nobody behind it.
    pub async fn void_lease(&self, key: &str) -> Result<Fence, LedgerError> {
        match self.update(key, &transitions::VOID_LEASE, &Binds::default()).await? {
            Change::Made(_) => Ok(Fence::Held),
            Change::Refused(_) => Ok(Fence::Lost),
        }
    }

    pub(super) fn ending(&self, row: &Delivery, outcome: Outcome, note: Option<&str>) -> Binds {
        mine(row)
            .text(":outcome", outcome.name())
            .number(":expires_at", self.expires_at())
            .value(":last_error", note.map(|note| AttributeValue::S(words(note))))
    }

    /// TTL is in seconds, everything else here in milliseconds.
    fn expires_at(&self) -> i64 {
        (self.clock.now() + millis(KEEP)) / 1000
    }

    async fn write(
        &self,
        row: &Delivery,
        transition: &Transition,
        binds: &Binds,
    ) -> Result<Fence, LedgerError> {
        Ok(match self.update(&row.key, transition, binds).await? {
            Change::Made(_) => Fence::Held,
            Change::Refused(_) => Fence::Lost,
        })
    }

    async fn update(&self, key: &str, transition: &Transition, binds: &Binds) -> Result<Change, LedgerError> {
        self.change(&self.deliveries, (attr::WEBHOOK_ID, key), transition, binds).await
    }

    pub(super) async fn change(
        &self,
        table: &str,
        (name, key): (&str, &str),
        transition: &Transition,
        binds: &Binds,
    ) -> Result<Change, LedgerError> {
        let told = transition.expression(binds);
        let update = self
            .dynamodb
            .update_item()
            .table_name(table)
            .key(name, AttributeValue::S(key.to_owned()))
            .condition_expression(told.condition)
            .update_expression(told.update)
            .set_expression_attribute_names(Some(told.names))
            .set_expression_attribute_values(Some(told.values).filter(|values| !values.is_empty()))
            .return_values(AllNew)
            .return_values_on_condition_check_failure(AllOld);
        match patiently(contended, || update.clone().send()).await {
            Ok(done) => Ok(Change::Made(done.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(ConditionalCheckFailedException(refused)) => {
                    Ok(Change::Refused(refused.item().cloned().unwrap_or_default()))
                }
                _ => Err(unavailable(transition.name, &error)),
            },
        }
    }
}

/// The fence of every write under a lease.
pub(super) fn mine(row: &Delivery) -> Binds {
    Binds::default().number(":mine", row.attempt)
}

/// The SDK repeats a write whose answer was lost: then the row that refused us shows our own nonce.
fn is_ours(row: &Item, holder: &str) -> bool {
    text(row, attr::STATE) == Some("archiving") && text(row, attr::HOLDER) == Some(holder)
}

fn why_given_up(row: &Delivery) -> String {
    let why = if row.crashes >= MAX_CRASHES {
        format!("given up: {} workers died on it", row.crashes)
    } else {
        "given up: not done within its time".to_owned()
    };
    words(&match &row.last_error {
        Some(last) => format!("{why}; last: {last}"),
        None => why,
    })
}

/// An error as a row keeps it.
pub(super) fn words(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.char_indices().map(|(at, char)| at + char.len_utf8());
    let end = end.take_while(|end| *end <= LONGEST_ERROR).last().unwrap_or(0);
    line.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_kept_short_and_whole_characters() {
        assert_eq!(words("a\n  b"), "a b");
        assert_eq!(words(&"é".repeat(300)), "é".repeat(100));
        assert_eq!(words(""), "");
    }
}
