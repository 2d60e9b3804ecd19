//! Metrics: one line of CloudWatch's embedded metric format on standard output for each thing that is counted.
//!
//! Only a function's process writes them ([`init`]). The local machine counts nothing. The function's name is the only
//! dimension, so the number of metrics does not grow with traffic. A reason is written beside a metric as a property,
//! which costs nothing and which Logs Insights can group by. The template's alarms name these metrics, and a test
//! compares them with the constants here.

use std::{io::Write, sync::OnceLock};

use serde_json::{Value, json};

use crate::{
    clock::{Clock, Millis, SystemClock},
    job::EndedJob,
    ledger::{ErrorKind, Inserted, Outcome},
    webhook::Rejection,
};

pub const NAMESPACE: &str = "gemhook";
pub const DIMENSION: &str = "FunctionName";

pub const ACCEPTED: &str = "Accepted";
pub const DUPLICATES: &str = "Duplicates";
/// With the reason beside it.
pub const REJECTED: &str = "Rejected";
/// Also counted in `Rejected`: signed, but older than the tolerance. Perhaps Gemini's own retry, so it has an alarm of
/// its own. A delivery that nobody signed is never counted here, however old.
pub const TOO_OLD: &str = "TooOld";
/// Deliveries that were answered 503, for a reason on our side.
pub const UNAVAILABLE: &str = "Unavailable";

/// With the outcome beside it.
pub const ENDED: &str = "Ended";
pub const GONE: &str = "Gone";
pub const FAILED: &str = "Failed";
/// Rows that were put off, with the class of the error beside it.
pub const WAITING: &str = "Waiting";
pub const CONFLICTS: &str = "Conflicts";
/// Committed jobs whose outputs are not all in the bucket: `skipped` of the job's row has an entry.
pub const INCOMPLETE: &str = "Incomplete";
/// Batches whose results are not as many as the batch says.
pub const COUNT_MISMATCH: &str = "CountMismatch";
/// Also counted in `Ended`: deliveries under Google's signature for jobs that are not ours.
pub const FOREIGN: &str = "Foreign";
/// Also counted in `Waiting`: our API key does not work, or is of another project.
pub const UNAUTHORIZED: &str = "Unauthorized";
/// Also counted in `Waiting`: the API rejects the request that reads a job (400, 402 or 403).
pub const REQUEST_REJECTED: &str = "RequestRejected";
/// Also counted in `Waiting`: the API knows no such job (404 or 410).
pub const JOB_NOT_FOUND: &str = "JobNotFound";
pub const WEBHOOK_DISABLED: &str = "WebhookDisabled";

/// The heartbeat: its absence is an alarm.
pub const SWEPT: &str = "Swept";
pub const DUE: &str = "Due";
pub const OLDEST_OPEN_SECONDS: &str = "OldestOpenSeconds";

pub const ALL: [&str; 20] = [
    ACCEPTED,
    DUPLICATES,
    REJECTED,
    TOO_OLD,
    UNAVAILABLE,
    ENDED,
    GONE,
    FAILED,
    INCOMPLETE,
    COUNT_MISMATCH,
    WAITING,
    CONFLICTS,
    FOREIGN,
    UNAUTHORIZED,
    REQUEST_REJECTED,
    JOB_NOT_FOUND,
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

/// For the field `metrics` of the log line, so that a delivery writes one line.
pub fn of_inserted(inserted: &Inserted) -> &'static str {
    if matches!(inserted, Inserted::Duplicate) { DUPLICATES } else { ACCEPTED }
}

/// For the field `metrics` of the log line. The reason is a field of that line, too.
pub fn of_rejection(rejection: Rejection) -> &'static str {
    // `Rejected` and `TooOld`, separated by a blank.
    if rejection == Rejection::TimestampTooOld { "Rejected TooOld" } else { REJECTED }
}

pub fn ended(outcome: Outcome) {
    match outcome {
        Outcome::Gone => write(&[(ENDED, 1), (GONE, 1)], Some(outcome.name())),
        Outcome::Foreign => write(&[(ENDED, 1), (FOREIGN, 1)], Some(outcome.name())),
        _ => write(&[(ENDED, 1)], Some(outcome.name())),
    }
}

/// A row is put off. Three classes also have a metric of their own: two that a person must see, and jobs that are not
/// found, which say nothing about this stack.
pub fn waiting(kind: ErrorKind) {
    let apart = match kind {
        ErrorKind::Unauthorized => UNAUTHORIZED,
        ErrorKind::Rejected => REQUEST_REJECTED,
        ErrorKind::NotFound => JOB_NOT_FOUND,
        _ => return write(&[(WAITING, 1)], Some(kind.name())),
    };
    write(&[(WAITING, 1), (apart, 1)], Some(kind.name()));
}

/// A job that was committed, for what it lacks.
pub fn committed(job: &EndedJob) {
    for name in lacks(job) {
        write(&[(name, 1)], Some(job.kind.name()));
    }
}

fn lacks(job: &EndedJob) -> Vec<&'static str> {
    let incomplete = (!job.skipped.is_empty()).then_some(INCOMPLETE);
    incomplete.into_iter().chain(job.mismatch().map(|_| COUNT_MISMATCH)).collect()
}

pub fn announced_late() {
    write(&[(ENDED, 1)], Some("announced late"));
}

pub fn failed() {
    write(&[(FAILED, 1)], None);
}

pub fn conflict() {
    write(&[(CONFLICTS, 1)], None);
}

pub fn webhook_disabled() {
    write(&[(WEBHOOK_DISABLED, 1)], None);
}

/// One sweep, done. The age is of the rows that were due and do not wait for an absent job.
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
    let counted: Vec<Value> =
        metrics.iter().map(|(name, _)| json!({"Name": name, "Unit": unit(*name)})).collect();
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": counted});
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
    use crate::job::{JobKind, Skipped, Stated, Summary, Sums};

    #[test]
    fn a_line_is_what_the_embedded_metric_format_asks_for() {
        let line = line("stack-receiver", 1_700_000_000_123, &[(REJECTED, 1), (TOO_OLD, 1)], Some("too_old"));
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": 1_700_000_000_123_i64, "CloudWatchMetrics": [{
                    "Namespace": "gemhook",
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [{"Name": "Rejected", "Unit": "Count"}, {"Name": "TooOld", "Unit": "Count"}],
                }]},
                "FunctionName": "stack-receiver",
                "Rejected": 1,
                "TooOld": 1,
                "reason": "too_old",
            })
        );
    }

    #[test]
    fn a_delivery_that_is_too_old_counts_as_rejected_too() {
        assert_eq!(of_rejection(Rejection::TimestampTooOld), format!("{REJECTED} {TOO_OLD}"));
        assert_eq!(of_rejection(Rejection::BodyTooLarge), REJECTED);
    }

    #[test]
    fn what_a_job_lacks_is_counted() {
        let mut job = EndedJob::new("batches/b", JobKind::Batch, "BATCH_STATE_SUCCEEDED");
        job.summary = Some(Sums::Batch(Summary { requests: 1, succeeded: 1, ..Summary::default() }));
        assert!(lacks(&job).is_empty());
        job.skipped.push(Skipped { source: "files/a".into(), why: "404".into() });
        let stated = Stated { requests: Some(3), ..Stated::default() };
        job.summary = Some(Sums::Batch(
            Summary { requests: 1, succeeded: 1, ..Summary::default() }.compared_with(stated),
        ));
        assert_eq!(lacks(&job), [INCOMPLETE, COUNT_MISMATCH]);
    }

    #[test]
    fn an_age_is_counted_in_seconds() {
        let line = line("f", 0, &[(OLDEST_OPEN_SECONDS, 61)], None);
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"], "Seconds");
        assert_eq!(line["OldestOpenSeconds"], 61);
        assert_eq!(line.get("reason"), None);
    }
}
