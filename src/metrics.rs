//! Metrics: one line of CloudWatch's embedded metric format on standard output for each thing that is counted.
//!
//! Only a function's process writes them ([`init`]); the local machine counts nothing. The function's name is the
//! only dimension, so their number does not grow with traffic; a reason stands beside a metric as a property, which
//! costs nothing and which Logs Insights can group by. The template's alarms name these metrics, and a test holds
//! them to the constants here.

use std::{io::Write, sync::OnceLock};

use serde_json::{Value, json};

use crate::{
    clock::{Clock, Millis, SystemClock},
    ledger::{Outcome, Put},
    webhook::Refusal,
};

pub const NAMESPACE: &str = "gemhook";
pub const DIMENSION: &str = "FunctionName";

pub const ACCEPTED: &str = "Accepted";
pub const DUPLICATES: &str = "Duplicates";
/// With the reason beside it.
pub const REFUSED: &str = "Refused";
/// Also among the refused: perhaps Gemini's own retry, so it has an alarm of its own.
pub const TOO_OLD: &str = "TooOld";
/// Not taken, for a reason of ours.
pub const TROUBLE: &str = "Trouble";

/// With the outcome beside it.
pub const ENDED: &str = "Ended";
pub const GONE: &str = "Gone";
pub const FAILED: &str = "Failed";
pub const WAITING: &str = "Waiting";
pub const CONFLICTS: &str = "Conflicts";
pub const KEY_REFUSED: &str = "KeyRefused";
pub const WEBHOOK_DISABLED: &str = "WebhookDisabled";

/// The heartbeat: its absence is an alarm.
pub const SWEPT: &str = "Swept";
pub const DUE: &str = "Due";
pub const OLDEST_OPEN_SECONDS: &str = "OldestOpenSeconds";

pub const ALL: [&str; 15] = [
    ACCEPTED,
    DUPLICATES,
    REFUSED,
    TOO_OLD,
    TROUBLE,
    ENDED,
    GONE,
    FAILED,
    WAITING,
    CONFLICTS,
    KEY_REFUSED,
    WEBHOOK_DISABLED,
    SWEPT,
    DUE,
    OLDEST_OPEN_SECONDS,
];

/// The function whose process this is. Unset everywhere else, and then nothing is written.
static FUNCTION: OnceLock<String> = OnceLock::new();

/// Switches metrics on where Lambda says which function this is.
pub fn init() {
    if let Ok(name) = std::env::var("AWS_LAMBDA_FUNCTION_NAME") {
        FUNCTION.get_or_init(|| name);
    }
}

pub fn taken(put: &Put) {
    write(&[(if matches!(put, Put::Duplicate) { DUPLICATES } else { ACCEPTED }, 1)], None);
}

pub fn refused(refusal: Refusal) {
    match refusal {
        Refusal::TimestampTooOld => write(&[(REFUSED, 1), (TOO_OLD, 1)], Some(refusal.code())),
        _ => write(&[(REFUSED, 1)], Some(refusal.code())),
    }
}

pub fn trouble() {
    write(&[(TROUBLE, 1)], None);
}

pub fn ended(outcome: Outcome) {
    match outcome {
        Outcome::Gone => write(&[(ENDED, 1), (GONE, 1)], Some(outcome.name())),
        _ => write(&[(ENDED, 1)], Some(outcome.name())),
    }
}

pub fn announced_late() {
    write(&[(ENDED, 1)], Some("announced late"));
}

pub fn waiting() {
    write(&[(WAITING, 1)], None);
}

pub fn failed() {
    write(&[(FAILED, 1)], None);
}

pub fn conflict() {
    write(&[(CONFLICTS, 1)], None);
}

pub fn key_refused() {
    write(&[(KEY_REFUSED, 1)], None);
}

pub fn webhook_disabled() {
    write(&[(WEBHOOK_DISABLED, 1)], None);
}

/// One sweep, done. The age is of the rows that were due; one that waits is due at least once an hour.
pub fn swept(due: u64, oldest_received_at: Option<Millis>, now: Millis) {
    let age = oldest_received_at.map_or(0, |received| now.saturating_sub(received) / 1000);
    let age = u64::try_from(age).unwrap_or(0);
    write(&[(SWEPT, 1), (DUE, due), (OLDEST_OPEN_SECONDS, age)], None);
}

/// What makes a log line one of the embedded metric format: members for [`crate::log`] to put behind others, or
/// nothing where no function runs. `names` are metrics to count by one each, separated by blanks.
pub(crate) fn members(names: &str, now: Millis) -> String {
    let Some(function) = FUNCTION.get() else { return String::new() };
    let counted: Vec<(&str, u64)> = names.split_ascii_whitespace().map(|name| (name, 1)).collect();
    let members = line(function, now, &counted, None).to_string();
    members
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .map_or_else(String::new, |text| format!(",{text}"))
}

fn write(metrics: &[(&str, u64)], reason: Option<&str>) {
    if let Some(function) = FUNCTION.get() {
        let line = line(function, SystemClock.now(), metrics, reason);
        // A closed standard output must not fail a delivery.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

fn line(function: &str, now: Millis, metrics: &[(&str, u64)], reason: Option<&str>) -> Value {
    let unit = |name| if name == OLDEST_OPEN_SECONDS { "Seconds" } else { "Count" };
    let told: Vec<Value> =
        metrics.iter().map(|(name, _)| json!({"Name": name, "Unit": unit(*name)})).collect();
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": told});
    let mut line = json!({"_aws": {"Timestamp": now, "CloudWatchMetrics": [directive]}, DIMENSION: function});
    if let Value::Object(line) = &mut line {
        line.extend(metrics.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        line.extend(reason.map(|reason| ("reason".to_owned(), json!(reason))));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_the_embedded_metric_format_asks_for() {
        let line = line("stack-receiver", 1_700_000_000_123, &[(REFUSED, 1), (TOO_OLD, 1)], Some("too_old"));
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": 1_700_000_000_123_i64, "CloudWatchMetrics": [{
                    "Namespace": "gemhook",
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [{"Name": "Refused", "Unit": "Count"}, {"Name": "TooOld", "Unit": "Count"}],
                }]},
                "FunctionName": "stack-receiver",
                "Refused": 1,
                "TooOld": 1,
                "reason": "too_old",
            })
        );
    }

    #[test]
    fn an_age_is_told_in_seconds() {
        let line = line("f", 0, &[(OLDEST_OPEN_SECONDS, 61)], None);
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"], "Seconds");
        assert_eq!(line["OldestOpenSeconds"], 61);
        assert_eq!(line.get("reason"), None);
    }
}
