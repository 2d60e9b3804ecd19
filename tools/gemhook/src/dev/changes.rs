//! What a row has become, as the table's stream reports it.

use std::collections::HashMap;

use aws_sdk_dynamodbstreams::types::{AttributeValue, Record};
use serde::Serialize;

use gemhook::{clock::Millis, ledger::schema::attr};

/// A delivery after a change of its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub webhook_id: String,
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The job's name, or the event's spelling of it until the job was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    pub attempt: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    pub received_at: Millis,
}

impl Change {
    pub(crate) fn read(record: &Record) -> Option<Self> {
        let row = record.dynamodb()?.new_image()?;
        let own = |name| text(row, name).map(str::to_owned);
        Some(Self {
            webhook_id: own(attr::WEBHOOK_ID)?,
            state: own(attr::STATE)?,
            outcome: own(attr::OUTCOME),
            event_type: own(attr::EVENT_TYPE),
            job: own(attr::JOB_ID).or_else(|| own(attr::JOB_HINT)),
            attempt: number(row, attr::ATTEMPT)?,
            last_error: own(attr::LAST_ERROR),
            received_at: number(row, attr::RECEIVED_AT)?,
        })
    }

    /// Whether nothing more happens to the row by itself.
    pub fn is_end(&self) -> bool {
        matches!(self.state.as_str(), "done" | "failed")
    }
}

fn text<'a>(row: &'a HashMap<String, AttributeValue>, name: &str) -> Option<&'a str> {
    row.get(name)?.as_s().ok().map(String::as_str)
}

fn number(row: &HashMap<String, AttributeValue>, name: &str) -> Option<i64> {
    row.get(name)?.as_n().ok()?.parse().ok()
}
