//! Batches: one object of lines, whatever form the results came in.

use serde_json::{Map, Value, json};

use super::{
    Archive, Report, Task,
    bucket::{Archived, Place},
    source::Source,
};
use crate::{
    gemini::{Batch, BatchOutput, BatchState, Name},
    job::{EndedJob, JobKind, OpenJob},
    ledger::{Delivery, Outcome},
    trouble::Trouble,
    webhook::Event,
};

const LINES: &str = "application/jsonl";

pub(super) async fn bring(archive: &Archive, task: Task<'_>) -> Result<Report, Trouble> {
    let Some(hinted) = task.row.job_hint.as_deref().and_then(Name::batch) else {
        return Ok(Report::Nothing("the event names no batch"));
    };
    let mut batch = archive.gemini.batch(&hinted).await?;
    archive.check_ours(task.row, batch.user_metadata.as_ref()).await?;
    let name = batch.name.take().unwrap_or(hinted);
    match batch.state {
        BatchState::Open => still_open(&name, batch, task.row),
        BatchState::EndedWithout => {
            let job = ended(&name, &batch, task.row);
            Ok(Report::Ended { job, outcome: Outcome::Ended })
        }
        BatchState::Succeeded => {
            let Some(output) = batch.output.take() else {
                return Err(Trouble::passing("the batch has succeeded, but its output is not there yet"));
            };
            let key = key(&name);
            let place = Place { key: &key, job: name.as_str() };
            let mut job = ended(&name, &batch, task.row);
            keep(&mut job, fetch(archive, task, place, batch, output).await?);
            Ok(Report::Ended { job, outcome: Outcome::Archived })
        }
    }
}

pub(super) async fn recover(archive: &Archive, task: Task<'_>, why: &str) -> Result<Report, Trouble> {
    let Some(name) = task.row.job_hint.as_deref().and_then(Name::batch) else {
        return Ok(Report::Nothing("the event names no batch"));
    };
    let key = key(&name);
    let place = Place { key: &key, job: name.as_str() };
    let event = Event::parse(&task.row.body);
    let mut job = EndedJob {
        name: name.to_string(),
        kind: JobKind::Batch,
        state: "UNKNOWN".to_owned(),
        event_time: task.row.event_time,
        user_metadata: event.user_metadata,
        model: None,
        display_name: None,
        outputs: Vec::new(),
        summary: None,
        error: None,
    };
    match archive.bucket.adopt(place, None, task.deadline).await? {
        Some(archived) => {
            keep(&mut job, archived);
            Ok(Report::Ended { job, outcome: Outcome::Archived })
        }
        None => {
            job.error = Some(json!({ "message": why }));
            Ok(Report::Ended { job, outcome: Outcome::Gone })
        }
    }
}

async fn fetch(
    archive: &Archive,
    task: Task<'_>,
    place: Place<'_>,
    batch: Batch,
    output: BatchOutput,
) -> Result<Archived, Trouble> {
    // A first attempt has left nothing to be found, so it does not pay for looking.
    if task.row.attempt > 1
        && let Some(archived) = archive.bucket.adopt(place, None, task.deadline).await?
    {
        return Ok(archived);
    }
    let source = match output {
        BatchOutput::Inline(at) => Source::inline(batch, at, task.deadline),
        BatchOutput::File(file) => {
            let Some(name) = Name::parse(&file) else {
                return Err(Trouble::Lasting(format!("the output is no file of the API: {file:?}")));
            };
            let download = archive.gemini.download(&name).await.map_err(not_yet)?;
            Source::file(download, name.as_str(), LINES, task.deadline)
        }
    };
    archive.bucket.store(place, source, task.deadline).await
}

/// A job that is there with a file that is not: soon after the end the file may still be on its way.
fn not_yet(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Absent(why) => Trouble::passing(why),
        other => other,
    }
}

fn still_open(name: &Name, batch: Batch, row: &Delivery) -> Result<Report, Trouble> {
    if Event::parse(&row.body).tells_of_an_end() {
        // The API is read eventually consistent: an end must not be used up as "still open".
        return Err(Trouble::passing(format!(
            "the event tells of an end, but the job is {}",
            batch.state_word
        )));
    }
    Ok(Report::Open(OpenJob {
        name: name.to_string(),
        kind: JobKind::Batch,
        state: batch.state_word,
        user_metadata: batch.user_metadata,
    }))
}

fn ended(name: &Name, batch: &Batch, row: &Delivery) -> EndedJob {
    let event = Event::parse(&row.body);
    EndedJob {
        name: name.to_string(),
        kind: JobKind::Batch,
        state: batch.state_word.clone(),
        event_time: row.event_time,
        user_metadata: batch.user_metadata.clone().or(event.user_metadata),
        model: batch.model.clone(),
        display_name: batch.display_name.clone(),
        outputs: Vec::new(),
        summary: None,
        error: batch.error.clone().or_else(|| told_error(&row.body)),
    }
}

fn keep(job: &mut EndedJob, archived: Archived) {
    job.outputs = vec![archived.output];
    job.summary = Some(archived.summary);
}

/// The error that the event told, where the API keeps none.
fn told_error(body: &[u8]) -> Option<Value> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let data = event.get("data")?;
    let told: Map<String, Value> = [("code", "error_code"), ("message", "error_message")]
        .into_iter()
        .filter_map(|(name, told)| Some((name.to_owned(), data.get(told)?.clone())))
        .collect();
    if told.is_empty() { data.get("error").cloned() } else { Some(Value::Object(told)) }
}

fn key(name: &Name) -> String {
    format!("batches/{}/responses.jsonl", name.id())
}
