//! Videos that an operation made: each sample an object.

use serde_json::{Value, json};

use super::{Archive, Report, Task, bucket::At, output::Brought};
use crate::{
    gemini::{Name, Operation},
    job::{EndedJob, JobKind, OpenJob, Sums},
    ledger::Outcome,
    trouble::Trouble,
};

pub(super) async fn bring(archive: &Archive, task: Task<'_>, name: Name) -> Result<Report, Trouble> {
    let operation = archive.gemini.operation(&name).await?;
    archive.check_ours(task.row, operation.user_metadata.as_ref()).await?;
    if !operation.done {
        return task.open(OpenJob {
            name: name.to_string(),
            kind: JobKind::Video,
            state: "not done".to_owned(),
            user_metadata: operation.user_metadata,
            calls: Vec::new(),
        });
    }
    let has_filtered = operation.filtered > 0 || operation.filtered_reasons.is_some();
    if operation.samples.is_empty() && operation.error.is_none() && !has_filtered {
        return Err(Trouble::passing("the operation is done, but its video is not there yet"));
    }
    let mut job = ended(&name, &operation, task);
    let mut lost = false;
    for (number, sample) in operation.samples.iter().enumerate() {
        let key = key(&name, number);
        let at = At { key: &key, job: name.as_str(), lines: false };
        lost |= archive.bring_media(task, at, sample, &operation.document).await?.keep(&mut job);
    }
    let outcome = match (job.outputs.is_empty(), lost) {
        (false, _) => Outcome::Archived,
        (true, true) => Outcome::Gone,
        (true, false) => Outcome::Ended,
    };
    Ok(Report::ended(job, outcome))
}

pub(super) async fn recover(
    archive: &Archive,
    task: Task<'_>,
    name: Name,
    why: &str,
) -> Result<Report, Trouble> {
    let mut job = task.ended(&name, JobKind::Video, "unknown");
    job.model = model(&name);
    for number in 0.. {
        let key = key(&name, number);
        let at = At { key: &key, job: name.as_str(), lines: false };
        match archive.bucket.adopt(at, None, task.deadline).await? {
            Some(archived) => drop(Brought::Stored(archived).keep(&mut job)),
            None => break,
        }
    }
    if job.outputs.is_empty() {
        job.error = Some(json!({ "message": why }));
        return Ok(Report::ended(job, Outcome::Gone));
    }
    Ok(Report::ended(job, Outcome::Archived))
}

/// The API has no word for how an operation ended.
fn ended(name: &Name, operation: &Operation, task: Task<'_>) -> EndedJob {
    let samples = operation.samples.len() as u64;
    let state = match (&operation.error, samples) {
        (Some(_), _) => "failed",
        (None, 0) => "filtered",
        (None, _) => "succeeded",
    };
    let told = task.ended(name, JobKind::Video, state);
    EndedJob {
        user_metadata: operation.user_metadata.clone().or(told.user_metadata),
        model: model(name),
        summary: Some(Sums::Video { samples, filtered: operation.filtered }),
        error: operation.error.clone().or_else(|| filtered(operation)).or(told.error),
        ..told
    }
}

fn filtered(operation: &Operation) -> Option<Value> {
    let reasons = operation.filtered_reasons.clone();
    (operation.filtered > 0 || reasons.is_some())
        .then(|| json!({"message": "filtered", "count": operation.filtered, "reasons": reasons}))
}

fn model(name: &Name) -> Option<String> {
    name.as_str().split_once("/operations/").map(|(model, _)| model.to_owned())
}

fn key(name: &Name, number: usize) -> String {
    format!("videos/{}/{number}.mp4", name.id())
}
