//! Batches: one object of lines, whatever form the results came in.

use serde_json::json;

use super::{
    Archive, Report, Task,
    bucket::{Archived, At},
    output::Brought,
    source::Source,
};
use crate::{
    gemini::{Batch, BatchOutput, BatchState, Name},
    job::{EndedJob, JobKind, OpenJob, Sums},
    ledger::Outcome,
    trouble::Trouble,
};

const LINES: &str = "application/jsonl";

pub(super) async fn bring(archive: &Archive, task: Task<'_>, hinted: Name) -> Result<Report, Trouble> {
    let mut batch = archive.gemini.batch(&hinted).await?;
    archive.check_ours(task.row, batch.user_metadata.as_ref()).await?;
    let name = batch.name.take().unwrap_or(hinted);
    match batch.state {
        BatchState::Open => task.open(OpenJob {
            name: name.to_string(),
            kind: JobKind::Batch,
            state: batch.state_word,
            user_metadata: batch.user_metadata,
            calls: Vec::new(),
        }),
        BatchState::EndedWithout => Ok(Report::ended(ended(&name, &batch, task), Outcome::Ended)),
        BatchState::Succeeded => {
            let Some(output) = batch.output.take() else {
                return Err(Trouble::passing("the batch has succeeded, but its output is not there yet"));
            };
            let key = key(&name);
            let at = At { key: &key, job: name.as_str(), lines: true };
            let mut job = ended(&name, &batch, task);
            let outcome = match fetch(archive, task, at, batch, output).await? {
                Brought::Stored(archived) => keep(&mut job, archived),
                Brought::Lost(left) => {
                    job.error = Some(json!({ "message": left.why }));
                    job.left.push(left);
                    Outcome::Gone
                }
                Brought::Left(left) => {
                    return Err(Trouble::Lasting(format!(
                        "the output {:?} is not fetched: {}",
                        left.source, left.why
                    )));
                }
            };
            Ok(Report::ended(job, outcome))
        }
    }
}

pub(super) async fn recover(
    archive: &Archive,
    task: Task<'_>,
    name: Name,
    why: &str,
) -> Result<Report, Trouble> {
    let key = key(&name);
    let at = At { key: &key, job: name.as_str(), lines: true };
    let mut job = task.ended(&name, JobKind::Batch, "UNKNOWN");
    let outcome = match archive.bucket.adopt(at, None, task.deadline).await? {
        Some(archived) => keep(&mut job, archived),
        None => {
            job.error = Some(json!({ "message": why }));
            Outcome::Gone
        }
    };
    Ok(Report::ended(job, outcome))
}

async fn fetch(
    archive: &Archive,
    task: Task<'_>,
    at: At<'_>,
    batch: Batch,
    output: BatchOutput,
) -> Result<Brought, Trouble> {
    match output {
        BatchOutput::File(file) => archive.bring_file(task, at, &file, |_| LINES.to_owned()).await,
        BatchOutput::Inline(place) => {
            let source = || Source::inline(batch, place, task.deadline);
            archive.bring_source(task, at, source).await.map(Brought::Stored)
        }
    }
}

fn ended(name: &Name, batch: &Batch, task: Task<'_>) -> EndedJob {
    let told = task.ended(name, JobKind::Batch, &batch.state_word);
    EndedJob {
        user_metadata: batch.user_metadata.clone().or(told.user_metadata),
        model: batch.model.clone(),
        display_name: batch.display_name.clone(),
        error: batch.error.clone().or(told.error),
        ..told
    }
}

fn keep(job: &mut EndedJob, archived: Archived) -> Outcome {
    job.outputs = vec![archived.output];
    job.summary = archived.summary.map(Sums::Batch);
    Outcome::Archived
}

fn key(name: &Name) -> String {
    format!("batches/{}/responses.jsonl", name.id())
}
