//! A row of the Deliveries table, as it is first written and as it is read.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    GIVE_UP_AFTER, LedgerError, STREAM_GRACE,
    condition::{Item, number, text},
    schema::{SCHEMA, SHARDS, attr},
};
use crate::{
    clock::{Millis, millis},
    job::JobKind,
    webhook::{Event, EventKind, Trust, Verified},
};

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Outputs safe and checked.
    Archived,
    /// The job ended with nothing to fetch.
    Ended,
    /// Ours, but deleted at Gemini before it could be read.
    Gone,
    /// Nothing was committed: not understood, or the job is still open.
    Recorded,
    /// The job's row had ended already.
    Repeated,
    /// Signed by Google, but for somebody else's job.
    Foreign,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Archived => "archived",
            Self::Ended => "ended",
            Self::Gone => "gone",
            Self::Recorded => "recorded",
            Self::Repeated => "repeated",
            Self::Foreign => "foreign",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        let all = [Self::Archived, Self::Ended, Self::Gone, Self::Recorded, Self::Repeated, Self::Foreign];
        all.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// A row nobody has written yet. Only a verified delivery can become one, or a job that the API itself showed us.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    pub(super) key: String,
    pub(super) digest: String,
    item: Item,
}

impl NewDelivery {
    /// `receipt` is the invocation's request id: it tells our own repeated write from a duplicate.
    pub fn new(delivery: &Verified, event: &Event, receipt: &str, now: Millis) -> Self {
        let proof = (delivery.scheme().name(), delivery.key_id(), delivery.scheme().trust());
        Self::row(delivery.row_key(), delivery.body(), proof, event, receipt, now)
    }

    /// Of a job that we found to have ended: its row is as if its event had come. Found again, it is a duplicate.
    pub fn of_job(job: &str, kind: JobKind, ended: Option<Millis>, receipt: &str, now: Millis) -> Self {
        let body = json!({"type": format!("{}.reconciled", kind.name()), "data": {"id": job}}).to_string();
        let event = Event { time: ended, ..Event::parse(body.as_bytes()) };
        Self::row(&format!("job~{job}"), body.as_bytes(), ("job", "-", Trust::Project), &event, receipt, now)
    }

    fn row(
        key: &str,
        body: &[u8],
        (scheme, key_id, trust): (&str, &str, Trust),
        event: &Event,
        receipt: &str,
        now: Millis,
    ) -> Self {
        let digest = hex(&Sha256::digest(body));
        let body = match std::str::from_utf8(body) {
            Ok(text) => AttributeValue::S(text.to_owned()),
            Err(_) => AttributeValue::B(Blob::new(body)),
        };
        let mut item = Item::from([
            (attr::BODY.to_owned(), body),
            (attr::SCHEMA.to_owned(), AttributeValue::N(SCHEMA.to_string())),
        ]);
        let mut put_text = |name: &str, value: &str| {
            item.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
        };
        put_text(attr::STATE, "received");
        put_text(attr::SCHEME, scheme);
        put_text(attr::KEY_ID, key_id);
        put_text(attr::TRUST, trust.name());
        put_text(attr::RECEIPT, receipt);
        put_text(attr::BODY_SHA256, &digest);
        for (name, value) in [(attr::EVENT_TYPE, &event.event_type), (attr::JOB_HINT, &event.job_hint)] {
            if let Some(value) = value {
                put_text(name, value);
            }
        }
        for (name, value) in [
            (attr::ATTEMPT, Some(0)),
            (attr::CRASHES, Some(0)),
            (attr::RECEIVED_AT, Some(now)),
            (attr::GIVE_UP_AT, Some(now + millis(GIVE_UP_AFTER))),
            (attr::DUE_AT, Some(now + millis(STREAM_GRACE))),
            (attr::EVENT_TIME, event.time),
        ] {
            if let Some(value) = value {
                item.insert(name.to_owned(), AttributeValue::N(value.to_string()));
            }
        }
        Self { key: key.to_owned(), digest, item }
    }

    /// Keeps the headers as a person may see them.
    pub fn with_headers(mut self, headers: BTreeMap<String, String>) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name, AttributeValue::S(value)));
        self.item.insert(attr::HEADERS.to_owned(), AttributeValue::M(headers.collect()));
        self
    }

    /// The same delivery beside another one of its id: a second body under a known id is kept, not believed.
    pub(super) fn beside(&self) -> Self {
        let tail = self.digest.get(..16).unwrap_or(&self.digest);
        Self { key: format!("{}~{tail}", self.key), ..self.clone() }
    }

    pub(super) fn receipt(&self) -> Option<&str> {
        text(&self.item, attr::RECEIPT)
    }

    pub fn into_item(self) -> Item {
        let mut item = self.item;
        item.insert(attr::OPEN.to_owned(), AttributeValue::S(shard_of(&self.key)));
        item.insert(attr::WEBHOOK_ID.to_owned(), AttributeValue::S(self.key));
        item
    }
}

fn headers(value: &AttributeValue) -> Option<BTreeMap<String, String>> {
    let told = value.as_m().ok()?.iter();
    Some(told.filter_map(|(name, value)| Some((name.clone(), value.as_s().ok()?.clone()))).collect())
}

/// Which part of the index an open row is in.
pub(super) fn shard_of(key: &str) -> String {
    let first = Sha256::digest(key.as_bytes()).first().copied().unwrap_or_default();
    (first % SHARDS).to_string()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row as it stands in the table.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub key: String,
    pub state: String,
    pub outcome: Option<String>,
    pub body: Bytes,
    pub event_type: Option<String>,
    pub event_time: Option<Millis>,
    pub received_at: Millis,
    pub job_hint: Option<String>,
    pub job_id: Option<String>,
    pub scheme: Option<String>,
    pub key_id: Option<String>,
    pub trust: Trust,
    pub headers: Option<BTreeMap<String, String>>,
    pub attempt: i64,
    pub crashes: i64,
    pub give_up_at: Millis,
    pub last_error: Option<String>,
}

impl Delivery {
    pub fn read(row: &Item) -> Result<Self, LedgerError> {
        let key = text(row, attr::WEBHOOK_ID).unwrap_or_default().to_owned();
        let fault = |why| LedgerError::Unreadable(key.clone(), why);
        if number(row, attr::SCHEMA).is_none_or(|schema| !(SCHEMA - 1..=SCHEMA).contains(&schema)) {
            return Err(fault("its schema is of another version"));
        }
        let owned = |name| text(row, name).map(str::to_owned);
        let body = match row.get(attr::BODY) {
            Some(AttributeValue::S(text)) => Bytes::copy_from_slice(text.as_bytes()),
            Some(AttributeValue::B(blob)) => Bytes::copy_from_slice(blob.as_ref()),
            _ => return Err(fault("it has no body")),
        };
        Ok(Self {
            state: owned(attr::STATE).ok_or_else(|| fault("it has no state"))?,
            outcome: owned(attr::OUTCOME),
            body,
            event_type: owned(attr::EVENT_TYPE),
            event_time: number(row, attr::EVENT_TIME),
            received_at: number(row, attr::RECEIVED_AT).ok_or_else(|| fault("it has no received_at"))?,
            job_hint: owned(attr::JOB_HINT),
            job_id: owned(attr::JOB_ID),
            scheme: owned(attr::SCHEME),
            key_id: owned(attr::KEY_ID),
            headers: row.get(attr::HEADERS).and_then(headers),
            trust: match text(row, attr::TRUST) {
                Some("project") => Trust::Project,
                _ => Trust::Issuer,
            },
            attempt: number(row, attr::ATTEMPT).ok_or_else(|| fault("it has no attempt"))?,
            crashes: number(row, attr::CRASHES).unwrap_or(0),
            give_up_at: number(row, attr::GIVE_UP_AT).ok_or_else(|| fault("it has no give_up_at"))?,
            last_error: owned(attr::LAST_ERROR),
            key,
        })
    }

    pub fn kind(&self) -> EventKind {
        EventKind::of(self.event_type.as_deref())
    }

    /// When ordinary troubles have been waited out.
    pub fn patience_ends(&self) -> Millis {
        self.give_up_at - millis(GIVE_UP_AFTER) + millis(super::PATIENCE)
    }
}
