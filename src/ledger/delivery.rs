//! A row of the Deliveries table as it is read.
//!
//! Reading is strict: a row with a missing or mistyped attribute was not written by this code, and whoever leases
//! it ends it as `failed` instead of guessing.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use super::{
    condition::Item,
    schema::{SCHEMA, attr},
    state::{DeliveryState, ErrorKind, Outcome},
};
use crate::{
    clock::Millis,
    webhook::{EventKind, Trust},
};

/// A row as it is in the table. Times are milliseconds since the epoch.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub key: String,
    pub state: DeliveryState,
    /// How the row ended, or how it will end once its commit is announced.
    pub outcome: Option<Outcome>,
    /// The body as it was signed.
    pub body: Bytes,
    pub event_type: Option<String>,
    /// The event's own timestamp.
    pub event_time: Option<Millis>,
    pub received_at: Millis,
    /// The job as the event spells it.
    pub job_hint: Option<String>,
    /// The job's key in the Jobs table, after a commit.
    pub job_id: Option<String>,
    /// The form of the signature, and which key made it.
    pub scheme: Option<String>,
    pub key_id: Option<String>,
    /// What the signature proves about the sender.
    pub trust: Trust,
    /// Redacted, and only while first deliveries are recorded.
    pub headers: Option<BTreeMap<String, String>>,
    /// The fencing token of the last lease.
    pub attempt: i64,
    /// The nonce of the last lease call.
    pub holder: Option<String>,
    /// How many leases ran out without a word of their worker.
    pub crashes: i64,
    /// After this time the next lease ends the row as `failed`.
    pub give_up_at: Millis,
    pub last_error: Option<String>,
    /// What the row waits out, or waited out last.
    pub error_kind: Option<ErrorKind>,
    pub error_since: Option<Millis>,
    /// How far a transfer has come, in the words of who wrote it.
    pub checkpoint: Option<String>,
}

impl Delivery {
    /// Reads a row. Of another schema it takes the one before ours only. The error says what is wrong with the row.
    pub fn read(row: &Item) -> Result<Self, String> {
        let row = StrictRow(row);
        let schema = row.needed(attr::SCHEMA, StrictRow::number)?;
        if !(SCHEMA - 1..=SCHEMA).contains(&schema) {
            return Err(format!("its schema is {schema}"));
        }
        let state = row.needed(attr::STATE, |row, name| row.word(name, DeliveryState::of))?;
        match state {
            DeliveryState::Waiting => drop(row.needed(attr::DUE_AT, StrictRow::number)?),
            DeliveryState::Archiving => drop(row.needed(attr::LEASE_UNTIL, StrictRow::number)?),
            _ => {}
        }
        Ok(Self {
            key: row.needed(attr::WEBHOOK_ID, StrictRow::text)?,
            state,
            outcome: row.word(attr::OUTCOME, Outcome::of)?,
            body: row.needed(attr::BODY, StrictRow::bytes)?,
            event_type: row.text(attr::EVENT_TYPE)?,
            event_time: row.number(attr::EVENT_TIME)?,
            received_at: row.needed(attr::RECEIVED_AT, StrictRow::number)?,
            job_hint: row.text(attr::JOB_HINT)?,
            job_id: row.text(attr::JOB_ID)?,
            scheme: row.text(attr::SCHEME)?,
            key_id: row.text(attr::KEY_ID)?,
            trust: row.needed(attr::TRUST, |row, name| row.word(name, trust_of))?,
            headers: row.0.get(attr::HEADERS).and_then(headers),
            attempt: row.needed(attr::ATTEMPT, StrictRow::number)?,
            holder: row.text(attr::HOLDER)?,
            crashes: row.needed(attr::CRASHES, StrictRow::number)?,
            give_up_at: row.needed(attr::GIVE_UP_AT, StrictRow::number)?,
            last_error: row.text(attr::LAST_ERROR)?,
            error_kind: row.word(attr::ERROR_KIND, ErrorKind::of)?,
            error_since: row.number(attr::ERROR_SINCE)?,
            checkpoint: row.text(attr::CHECKPOINT)?,
        })
    }

    pub fn kind(&self) -> EventKind {
        EventKind::of(self.event_type.as_deref())
    }

    /// Since when the row has had an error of this class: `error_since` where it waits for the same class already,
    /// else now. `retry` counts from this time.
    pub fn error_began(&self, kind: ErrorKind, now: Millis) -> Millis {
        self.error_since.filter(|_| self.error_kind == Some(kind)).unwrap_or(now)
    }
}

/// A row whose attributes must have the types that this code writes.
struct StrictRow<'a>(&'a Item);

impl StrictRow<'_> {
    fn needed<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Result<Option<T>, String>,
    ) -> Result<T, String> {
        read(self, name)?.ok_or_else(|| format!("it has no {name}"))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("its {name} is no text")),
        }
    }

    fn number(&self, name: &'static str) -> Result<Option<i64>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let number = value.as_n().ok().and_then(|digits| digits.parse().ok());
        number.map(Some).ok_or_else(|| format!("its {name} is no whole number of 64 bits"))
    }

    fn word<T>(&self, name: &'static str, of: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, String> {
        let Some(word) = self.text(name)? else { return Ok(None) };
        of(&word).map(Some).ok_or_else(|| format!("its {name} is not one that this code knows"))
    }

    fn bytes(&self, name: &'static str) -> Result<Option<Bytes>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
            Some(AttributeValue::B(blob)) => Ok(Some(Bytes::copy_from_slice(blob.as_ref()))),
            Some(_) => Err(format!("its {name} is neither text nor bytes")),
        }
    }
}

fn trust_of(name: &str) -> Option<Trust> {
    [Trust::Project, Trust::Issuer].into_iter().find(|trust| trust.name() == name)
}

/// Headers are for people to read; what is not text is left out.
fn headers(value: &AttributeValue) -> Option<BTreeMap<String, String>> {
    let all = value.as_m().ok()?.iter();
    Some(all.filter_map(|(name, value)| Some((name.clone(), value.as_s().ok()?.clone()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{job::JobKind, ledger::NewDelivery};

    #[test]
    fn a_row_is_read_of_our_schema_and_of_the_one_before() {
        for (schema, is_read) in [(-1, false), (0, true), (1, true), (2, false)] {
            let mut row = NewDelivery::of_job("batches/b", JobKind::Batch, None, "r", 0).into_item();
            row.insert("schema".to_owned(), AttributeValue::N(schema.to_string()));
            assert_eq!(Delivery::read(&row).is_ok(), is_read, "schema {schema}");
        }
    }

    #[test]
    fn the_row_of_a_job_that_was_found_has_the_time_of_its_end() {
        let row = NewDelivery::of_job("batches/b", JobKind::Batch, Some(7), "r", 0).into_item();
        assert_eq!(Delivery::read(&row).unwrap().event_time, Some(7));
    }
}
