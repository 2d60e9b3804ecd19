//! The announcement of each job that ended, made of what the Jobs row says: to your own function and to the event bus.
//!
//! [`Announcement::of`] makes the event of a row, [`Announcer::announce`] sends it. It is sent after the commit and
//! before the delivery is done, so a consumer receives it at least once. Its `id` is the same each time, so a consumer
//! can deduplicate by it.

use std::time::Duration;

use aws_sdk_eventbridge::{Client, primitives::DateTime, types::PutEventsRequestEntry};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use crate::{
    clock::{Millis, rfc3339},
    error::ProcessingError,
    hex::hex,
    ledger::{
        self,
        condition::{Item, number, text},
        schema::attr,
        to_json,
    },
    on_job_ended::OnJobEnded,
};

pub const SOURCE: &str = "gemhook";
pub const DETAIL_TYPE: &str = "Gemini job ended";

/// EventBridge takes an entry of at most 256 KB, source and detail type included (EventBridge API reference,
/// `PutEvents`). The rest is room for those.
const MAX_DETAIL_BYTES: usize = 200 * 1024;

/// The attributes of a job's row that an announcement has.
const ANNOUNCED: [&str; 12] = [
    attr::KIND,
    attr::STATE,
    attr::MODEL,
    attr::DISPLAY_NAME,
    attr::USER_METADATA,
    attr::OUTPUTS,
    attr::SUMMARY,
    attr::ERROR,
    attr::TEXT,
    attr::TEXT_CUT,
    attr::SKIPPED,
    attr::REPLACES,
];

/// What is cut first where the event would be too long. Metadata is last, because rules route by it.
const SHORTENED_FIRST: [&str; 6] =
    [attr::SKIPPED, attr::OUTPUTS, attr::ERROR, attr::DISPLAY_NAME, attr::MODEL, attr::USER_METADATA];

/// An entry that fails is sent again a moment later. If it still fails, the row waits and the announcement is retried
/// by a later lease.
const MAX_ATTEMPTS: u32 = 3;
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Whom the end of a job is announced to: your own function, the event bus, or both.
pub struct Announcer {
    on_job_ended: Option<OnJobEnded>,
    bus: Option<(Client, String)>,
}

/// The announcement of a job's end.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    pub time: Millis,
    pub detail: Value,
}

impl Announcement {
    /// Of a job's row, as the commit of this delivery wrote it.
    pub fn of(job: &Item, outcome: &str) -> Self {
        let name = text(job, attr::JOB_ID).unwrap_or_default();
        let ended_by = text(job, attr::ENDED_BY).unwrap_or_default();
        let time = number(job, attr::ENDED_AT).unwrap_or_default();
        let mut detail = Map::new();
        detail.insert("id".into(), id(name, ended_by, text(job, attr::REPLACES)).into());
        detail.insert("job".into(), name.into());
        detail.insert("outcome".into(), outcome.into());
        detail.insert("webhook_id".into(), ended_by.into());
        detail.insert("ended_at".into(), rfc3339(time).into());
        for name in ANNOUNCED {
            if let Some(value) = job.get(name) {
                detail.insert(name.to_owned(), to_json(value));
            }
        }
        Self { time, detail: shortened(detail, ledger::shortened(job)) }
    }
}

/// The end of a job is named by the job and by what ended it. An end that replaced a `gone` end has another id, also
/// where the same delivery brought both.
fn id(job: &str, ended_by: &str, replaces: Option<&str>) -> String {
    let end = format!("{job}\n{ended_by}");
    let named = replaces.map_or(end.clone(), |replaced| format!("{end}\n{replaced}"));
    hex(Sha256::digest(named).get(..16).unwrap_or_default())
}

/// As much as the bus takes. `shortened` names what was left out or cut, here or in the row already.
fn shortened(mut detail: Map<String, Value>, mut cut: Vec<String>) -> Value {
    for name in SHORTENED_FIRST {
        while length(&detail) > MAX_DETAIL_BYTES {
            match detail.get_mut(name) {
                Some(Value::Array(items)) if items.len() > 1 => items.truncate(items.len() / 2),
                Some(_) => drop(detail.remove(name)),
                None => break,
            }
            if !cut.iter().any(|cut| cut == name) {
                cut.push(name.to_owned());
            }
        }
    }
    if !cut.is_empty() {
        detail.insert("shortened".into(), json!(cut));
    }
    Value::Object(detail)
}

fn length(detail: &Map<String, Value>) -> usize {
    serde_json::to_string(detail).map_or(usize::MAX, |text| text.len())
}

impl Announcer {
    /// None where there is neither a function nor a bus.
    pub fn new(on_job_ended: Option<OnJobEnded>, bus: Option<(Client, String)>) -> Option<Self> {
        (on_job_ended.is_some() || bus.is_some()).then_some(Self { on_job_ended, bus })
    }

    /// Calls your function, then the bus. Whatever fails is transient, whatever it says: both may see the same
    /// announcement again.
    pub async fn announce(&self, announcement: &Announcement) -> Result<(), ProcessingError> {
        if let Some(on_job_ended) = self.on_job_ended {
            let done = on_job_ended(announcement.clone()).await;
            done.map_err(|why| ProcessingError::transient(format!("on_job_ended: {why}")))?;
        }
        let Some((client, bus)) = &self.bus else { return Ok(()) };
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(bus)
            .source(SOURCE)
            .detail_type(DETAIL_TYPE)
            .time(DateTime::from_millis(announcement.time))
            .detail(announcement.detail.to_string())
            .build();
        let mut tried = 0;
        loop {
            let Err(why) = put(client, entry.clone()).await else { return Ok(()) };
            tried += 1;
            if tried == MAX_ATTEMPTS {
                return Err(ProcessingError::transient(format!("not announced on bus {bus}: {why}")));
            }
            sleep(RETRY_DELAY.mul_f64(f64::from(tried) * (0.5 + fastrand::f64()))).await;
        }
    }
}

/// `PutEvents` answers 200 and may still have failed to take an entry: `FailedEntryCount` says so (EventBridge API
/// reference).
async fn put(client: &Client, entry: PutEventsRequestEntry) -> Result<(), String> {
    let put = client.put_events().entries(entry).send().await;
    let answer = put.map_err(|error| crate::aws::explain(&error))?;
    if answer.failed_entry_count() == 0 {
        return Ok(());
    }
    let refused = answer.entries().iter().find(|entry| entry.error_code().is_some());
    let code = refused.and_then(|entry| entry.error_code()).unwrap_or("refused");
    let message = refused.and_then(|entry| entry.error_message()).unwrap_or_default();
    Err(format!("{code} {message}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    fn job(more: &[(&str, Value)]) -> Item {
        let mut row = Item::from([
            ("job_id".to_owned(), AttributeValue::S("batches/b".into())),
            ("ended_by".to_owned(), AttributeValue::S("msg_1".into())),
            ("ended_at".to_owned(), AttributeValue::N("1769083200000".into())),
            ("schema".to_owned(), AttributeValue::N("1".into())),
        ]);
        for (name, value) in more {
            row.insert((*name).into(), serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(value).unwrap());
        }
        row
    }

    #[test]
    fn an_announcement_says_what_the_row_says() {
        let row =
            job(&[("state", json!("BATCH_STATE_SUCCEEDED")), ("user_metadata", json!({"job_group": "n"}))]);
        let announcement = Announcement::of(&row, "archived");
        // printf 'batches/b\nmsg_1' | sha256sum
        let id = "a1e0d5bedad5eb1772efb9ee58f5a730";
        assert_eq!(
            announcement.detail,
            json!({
                "id": id, "job": "batches/b", "outcome": "archived", "webhook_id": "msg_1",
                "ended_at": "2026-01-22T12:00:00Z", "state": "BATCH_STATE_SUCCEEDED",
                "user_metadata": {"job_group": "n"},
            })
        );
        assert_eq!(announcement.time, 1_769_083_200_000);
    }

    #[test]
    fn an_end_that_replaces_a_gone_one_has_an_id_of_its_own_and_says_so() {
        let gone = Announcement::of(&job(&[]), "gone").detail;
        let replacement = Announcement::of(&job(&[("replaces", json!("msg_1"))]), "archived").detail;
        assert_ne!(gone["id"], replacement["id"]);
        assert_eq!((&replacement["replaces"], gone.get("replaces")), (&json!("msg_1"), None));
        let other = Announcement::of(&job(&[("replaces", json!("msg_0"))]), "archived").detail;
        assert_ne!(replacement["id"], other["id"]);
    }

    #[test]
    fn too_much_is_shortened_and_said_so() {
        let outputs: Vec<Value> =
            (0..5000).map(|n| json!({"key": format!("videos/{n}"), "sha256": "f".repeat(64)})).collect();
        let row = job(&[("outputs", json!(outputs)), ("user_metadata", json!({"job_group": "n"}))]);
        let announcement = Announcement::of(&row, "archived").detail;
        let left = announcement["outputs"].as_array().unwrap().len();
        assert!(left > 500 && left < 2000, "{left}");
        assert!(announcement.to_string().len() <= 256 * 1024);
        assert_eq!(
            (&announcement["shortened"], &announcement["user_metadata"]["job_group"]),
            (&json!(["outputs"]), &json!("n"))
        );
        let row = job(&[("error", json!("e".repeat(300_000)))]);
        let announcement = Announcement::of(&row, "ended").detail;
        assert_eq!((announcement.get("error"), &announcement["shortened"]), (None, &json!(["error"])));
        let row = job(&[("skipped", json!(["s".repeat(300_000)]))]);
        let announcement = Announcement::of(&row, "ended").detail;
        assert_eq!((announcement.get("skipped"), &announcement["shortened"]), (None, &json!(["skipped"])));
    }

    #[test]
    fn what_just_fits_is_left_as_it_is() {
        let of =
            |bytes: usize| Announcement::of(&job(&[("error", json!("e".repeat(bytes)))]), "ended").detail;
        let fits = 200 * 1024 - of(0).to_string().len();
        assert_eq!(of(fits).to_string().len(), 200 * 1024);
        assert_eq!(of(fits).get("shortened"), None);
        assert_eq!(of(fits + 1)["shortened"], json!(["error"]));
    }
}
