//! Videos that an operation made: each sample is an object, and the API's answer is stored in `operation.json`.
//!
//! [`archive_job`] asks the API for the operation, [`keep`] stores what an answer holds, be it the API's or one that an
//! earlier attempt stored. The outcome is `archived` with at least one video, `gone` where all samples are lost, and `ended` where there
//! is none: the operation failed, or its samples were filtered.
//!
//! The answer is stored before anything else, for every operation that has ended. It says why there is no video, and it
//! holds what this code does not know how to read.

use serde_json::{Value, json};

use super::{Archive, Report, Task, bucket::ObjectTarget, event_report::EventReport, source::Source};
use crate::{
    error::ProcessingError,
    gemini::{Name, Operation},
    job::{EndedJob, JobKind, OpenJob, Skipped, Sums},
    ledger::Outcome,
};

/// Reads the operation and stores its samples. An operation that is done and shows neither a video nor a reason is a
/// transient error for an hour after its event: the video may appear.
pub(super) async fn archive_job(
    archive: &Archive,
    task: Task<'_>,
    reported: &EventReport,
    name: Name,
) -> Result<Report, ProcessingError> {
    let operation = archive.gemini.operation(&name).await?;
    archive.check_ours(task.row, reported, operation.user_metadata.as_ref()).await?;
    if !operation.done && operation.flaw.is_none() {
        return reported.open(OpenJob {
            name: name.to_string(),
            kind: JobKind::Video,
            state: "not done".to_owned(),
            user_metadata: operation.user_metadata,
            calls: Vec::new(),
        });
    }
    if operation.flaw.is_none() && state(&operation) == EMPTY && task.is_fresh() {
        return Err(ProcessingError::transient("the operation is done, but its video is not there yet"));
    }
    keep(archive, task, reported, &name, &operation).await
}

/// Stores the answer, then each sample, and says what to commit.
pub(super) async fn keep(
    archive: &Archive,
    task: Task<'_>,
    reported: &EventReport,
    name: &Name,
    operation: &Operation,
) -> Result<Report, ProcessingError> {
    let mut job = ended(task, reported, name, operation);
    let answer_key = answer_key(name);
    let target = ObjectTarget { key: &answer_key, job: name.as_str(), lines: false };
    let source = || Source::document(&operation.document, task.deadline);
    let answer = archive.archive_source(task, target, source).await?;
    let mut is_lost = false;
    for (number, sample) in operation.samples.iter().enumerate() {
        let key = sample_key(name, number);
        is_lost |= archive
            .archive_media(task, ObjectTarget { key: &key, ..target }, sample, &operation.document)
            .await?
            .keep(&mut job);
    }
    let outcome = match (job.outputs.is_empty(), is_lost) {
        (false, _) => Outcome::Archived,
        (true, true) => Outcome::Gone,
        (true, false) => Outcome::Ended,
    };
    // The first output is a video, if there is one.
    answer.keep(&mut job);
    if operation.more_samples > 0 {
        let why = format!("{} more samples than a row can name", operation.more_samples);
        job.skipped.push(Skipped { source: answer_key.clone(), why });
    }
    if let Some(flaw) = &operation.flaw {
        job.cannot_read(&answer_key, flaw);
    }
    Ok(Report::ended(job, outcome))
}

/// Done, with neither a video nor a reason.
const EMPTY: &str = "empty";

/// The word for `state` in the job's row. The API has none: an operation is `done`, with an error or a response.
fn state(operation: &Operation) -> &'static str {
    if operation.error.is_some() {
        "failed"
    } else if !operation.samples.is_empty() {
        "succeeded"
    } else if operation.has_filtered() {
        "filtered"
    } else if operation.done {
        EMPTY
    } else {
        "unknown"
    }
}

/// The job's row without outputs. What the API says counts before what the event says.
fn ended(task: Task<'_>, reported: &EventReport, name: &Name, operation: &Operation) -> EndedJob {
    let state = state(operation);
    let ended = reported.ended(task.row, name, JobKind::Video, state);
    let samples = (operation.samples.len() + operation.more_samples) as u64;
    let mut job = EndedJob {
        user_metadata: operation.user_metadata.clone().or(ended.user_metadata),
        model: model(name),
        summary: Some(Sums::Video { samples, filtered: operation.filtered }),
        error: operation.error.clone().or_else(|| filtered(operation)).or(ended.error),
        ..ended
    };
    if state == EMPTY && operation.flaw.is_none() && job.error.is_none() {
        job.error =
            Some(json!({"message": "the operation is done, but it has neither a video nor a reason"}));
    }
    job.skipped.extend(operation.cut.clone().map(|why| Skipped { source: name.to_string(), why }));
    job
}

/// The job's error where samples were held back (`raiMediaFilteredCount`, `raiMediaFilteredReasons`).
fn filtered(operation: &Operation) -> Option<Value> {
    let (count, reasons) = (operation.filtered, &operation.filtered_reasons);
    operation.has_filtered().then(|| json!({"message": "filtered", "count": count, "reasons": reasons}))
}

/// The model, which is part of an operation's name: `models/veo/operations/x` is of `models/veo`.
pub(super) fn model(name: &Name) -> Option<String> {
    name.as_str().split_once("/operations/").map(|(model, _)| model.to_owned())
}

/// The object of a sample, counted from 0.
pub(super) fn sample_key(name: &Name, number: usize) -> String {
    format!("videos/{}/{number}.mp4", name.id())
}

/// The object of the answer.
pub(super) fn answer_key(name: &Name) -> String {
    format!("videos/{}/operation.json", name.id())
}
