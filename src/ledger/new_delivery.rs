//! A row of the Deliveries table as it is first written.
//!
//! [`NewDelivery`] can be made of a verified delivery, or of a job that reconcile has found at the API. There is no
//! third way, so the body of an unverified request cannot become a row.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    GIVE_UP_AFTER, STREAM_GRACE,
    condition::Item,
    schema::{SCHEMA, SHARDS, attr},
    state::DeliveryState,
};
use crate::{
    clock::{Millis, millis},
    hex::hex,
    job::JobKind,
    webhook::{Event, Trust, Verified},
};

/// No event type and no job has a longer name. A longer one is left out of the row, which DynamoDB limits to 400 KB
/// together with the body.
const MAX_WORD_BYTES: usize = 1024;

/// A row nobody has written yet. Only a verified delivery can become one, or a job that the API itself showed us.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    pub(super) key: String,
    pub(super) digest: String,
    item: Item,
}

impl NewDelivery {
    /// The row of a verified delivery. `receipt` is the invocation's request id: by it a repeat of our own write is
    /// distinguished from a duplicate. `now` becomes `received_at`.
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
        put_text(attr::STATE, DeliveryState::Received.name());
        put_text(attr::SCHEME, scheme);
        put_text(attr::KEY_ID, key_id);
        put_text(attr::TRUST, trust.name());
        put_text(attr::RECEIPT, receipt);
        put_text(attr::BODY_SHA256, &digest);
        for (name, value) in [(attr::EVENT_TYPE, &event.event_type), (attr::JOB_HINT, &event.job_hint)] {
            if let Some(value) = value.as_ref().filter(|value| value.len() <= MAX_WORD_BYTES) {
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

    /// Has its job count as ours only with a valid binding token.
    #[must_use]
    pub fn only_if_bound(mut self) -> Self {
        self.item.insert(attr::TRUST.to_owned(), AttributeValue::S(Trust::Issuer.name().to_owned()));
        self
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

    pub(super) fn receipt(&self) -> Option<&AttributeValue> {
        self.item.get(attr::RECEIPT)
    }

    pub fn into_item(self) -> Item {
        let mut item = self.item;
        item.insert(attr::OPEN.to_owned(), AttributeValue::S(shard_of(&self.key)));
        item.insert(attr::WEBHOOK_ID.to_owned(), AttributeValue::S(self.key));
        item
    }
}

/// Which part of the index an open row is in.
pub(super) fn shard_of(key: &str) -> String {
    let first = Sha256::digest(key.as_bytes()).first().copied().unwrap_or_default();
    (first % SHARDS).to_string()
}
