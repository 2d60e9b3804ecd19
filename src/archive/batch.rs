//! Batches: one object of lines, whatever form the results came in.
//!
//! What a batch has put out is archived however it ended. An answer whose results cannot be read to their end is kept
//! as it came, in `answer.json` beside the lines.

use serde_json::json;

use super::{Archive, Report, Task, bucket::At, output::Brought, source::Source, told::Told};
use crate::{
    gemini::{Batch, BatchOutput, BatchState, Name},
    job::{EndedJob, JobKind, Left, OpenJob, Sums},
    ledger::Outcome,
    trouble::Trouble,
};

const LINES: &str = "application/jsonl";

pub(super) async fn bring(
    archive: &Archive,
    task: Task<'_>,
    told: &Told,
    hinted: Name,
) -> Result<Report, Trouble> {
    let mut batch = archive.gemini.batch(&hinted).await?;
    archive.check_ours(task.row, told, batch.user_metadata.as_ref()).await?;
    let name = batch.name.take().unwrap_or(hinted);
    if batch.state == BatchState::Open && (batch.flaw.is_none() || !batch.state_word.is_empty()) {
        return told.open(OpenJob {
            name: name.to_string(),
            kind: JobKind::Batch,
            state: batch.state_word,
            user_metadata: batch.user_metadata,
            calls: Vec::new(),
        });
    }
    let mut job = ended(task, told, &name, &batch);
    if let Some(flaw) = batch.flaw.clone().filter(|_| !matches!(batch.output, Some(BatchOutput::File(_)))) {
        keep_answer(archive, task, &name, &batch, &flaw, &mut job).await?;
    }
    let outcome = match batch.output.take() {
        Some(BatchOutput::Inline(_)) if batch.state == BatchState::EndedWithout && batch.is_empty => {
            Outcome::Ended
        }
        Some(output) => keep(archive, task, &name, &batch, output, &mut job).await?,
        None if batch.state == BatchState::Succeeded && batch.flaw.is_none() => {
            return Err(Trouble::passing("the batch has succeeded, but its output is not there yet"));
        }
        None => Outcome::Ended,
    };
    Ok(Report::ended(job, outcome))
}

/// The results, in lines. What they add up to is compared with what the batch says of itself.
async fn keep(
    archive: &Archive,
    task: Task<'_>,
    name: &Name,
    batch: &Batch,
    output: BatchOutput,
    job: &mut EndedJob,
) -> Result<Outcome, Trouble> {
    let key = lines_key(name);
    let at = At { key: &key, job: name.as_str(), lines: true };
    let brought = match &output {
        BatchOutput::File(file) => archive.bring_file(task, at, file, |_| LINES.to_owned()).await?,
        BatchOutput::Inline(place) => {
            let source = || Source::inline(&batch.document, *place, task.deadline);
            Brought::Stored(archive.bring_source(task, at, source).await?)
        }
    };
    match brought {
        Brought::Stored(archived) => {
            let summary = archived.summary.map(|counted| counted.compared_with(batch.stated));
            if let Some(counted) = summary.filter(|counted| counted.stated.is_some()) {
                let stated = batch.stated;
                tracing::warn!(
                    job = job.name,
                    ?counted,
                    ?stated,
                    "the batch states other counts than its results have"
                );
            }
            job.summary = summary.map(Sums::Batch);
            archived.keep(job);
            Ok(Outcome::Archived)
        }
        // What had ended without a result was not sure to have an output.
        Brought::Lost(left) if batch.state == BatchState::EndedWithout => {
            job.left.push(left);
            Ok(Outcome::Ended)
        }
        Brought::Lost(left) => {
            job.error = Some(json!({ "message": left.why }));
            job.left.push(left);
            Ok(Outcome::Gone)
        }
        Brought::Left(left) => {
            let Left { source, why } = left;
            Err(Trouble::Lasting(format!("the output {source:?} is not fetched: {why}")))
        }
    }
}

/// The answer as it came, because it cannot be read to its end.
async fn keep_answer(
    archive: &Archive,
    task: Task<'_>,
    name: &Name,
    batch: &Batch,
    flaw: &str,
    job: &mut EndedJob,
) -> Result<(), Trouble> {
    let key = answer_key(name);
    let at = At { key: &key, job: name.as_str(), lines: false };
    let source = || Source::document(&batch.document, task.deadline);
    archive.bring_source(task, at, source).await?.keep(job);
    job.cannot_read(&key, flaw);
    Ok(())
}

fn ended(task: Task<'_>, told: &Told, name: &Name, batch: &Batch) -> EndedJob {
    let state = if batch.state_word.is_empty() { "unknown" } else { &batch.state_word };
    let ended = told.ended(task.row, name, JobKind::Batch, state);
    let mut job = EndedJob {
        user_metadata: batch.user_metadata.clone().or(ended.user_metadata),
        model: batch.model.clone(),
        display_name: batch.display_name.clone(),
        error: batch.error.clone().or(ended.error),
        ..ended
    };
    job.left.extend(batch.cut.clone().map(|why| Left { source: name.to_string(), why }));
    job
}

pub(super) fn lines_key(name: &Name) -> String {
    format!("batches/{}/responses.jsonl", name.id())
}

pub(super) fn answer_key(name: &Name) -> String {
    format!("batches/{}/answer.json", name.id())
}
