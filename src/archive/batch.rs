//! Batches: one object of lines, whatever form the results came in.
//!
//! What a batch has put out is archived however it ended. An answer whose results cannot be read to their end is kept
//! as it came, in `answer.json` beside the lines.

use serde_json::json;

use super::{
    Archive, Report, Task, bucket::ObjectTarget, event_report::EventReport, output::FetchOutcome,
    source::Source,
};
use crate::{
    error::ProcessingError,
    gemini::{Batch, BatchOutput, BatchState, Name},
    job::{EndedJob, JobKind, OpenJob, Skipped, Sums},
    ledger::Outcome,
};

const LINES: &str = "application/jsonl";

pub(super) async fn archive_job(
    archive: &Archive,
    task: Task<'_>,
    reported: &EventReport,
    hinted: Name,
) -> Result<Report, ProcessingError> {
    let mut batch = archive.gemini.batch(&hinted).await?;
    archive.check_ours(task.row, reported, batch.user_metadata.as_ref()).await?;
    let name = batch.name.take().unwrap_or(hinted);
    if batch.state == BatchState::Open && (batch.flaw.is_none() || !batch.state_word.is_empty()) {
        return reported.open(OpenJob {
            name: name.to_string(),
            kind: JobKind::Batch,
            state: batch.state_word,
            user_metadata: batch.user_metadata,
            calls: Vec::new(),
        });
    }
    let mut job = ended(task, reported, &name, &batch);
    if let Some(flaw) = batch.flaw.clone().filter(|_| !matches!(batch.output, Some(BatchOutput::File(_)))) {
        keep_answer(archive, task, &name, &batch, &flaw, &mut job).await?;
    }
    let outcome = match batch.output.take() {
        Some(BatchOutput::Inline(_)) if batch.state == BatchState::EndedWithout && batch.is_empty => {
            Outcome::Ended
        }
        Some(output) => keep(archive, task, &name, &batch, output, &mut job).await?,
        None if batch.state == BatchState::Succeeded && batch.flaw.is_none() => {
            return Err(ProcessingError::transient(
                "the batch has succeeded, but its output is not there yet",
            ));
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
) -> Result<Outcome, ProcessingError> {
    let key = lines_key(name);
    let target = ObjectTarget { key: &key, job: name.as_str(), lines: true };
    let brought = match &output {
        BatchOutput::File(file) => archive.archive_file(task, target, file, |_| LINES.to_owned()).await?,
        BatchOutput::Inline(place) => {
            let source = || Source::inline(&batch.document, *place, task.deadline);
            FetchOutcome::Stored(archive.archive_source(task, target, source).await?)
        }
    };
    match brought {
        FetchOutcome::Stored(archived) => {
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
        FetchOutcome::Lost(skipped) if batch.state == BatchState::EndedWithout => {
            job.skipped.push(skipped);
            Ok(Outcome::Ended)
        }
        FetchOutcome::Lost(skipped) => {
            job.error = Some(json!({ "message": skipped.why }));
            job.skipped.push(skipped);
            Ok(Outcome::Gone)
        }
        FetchOutcome::Skipped(skipped) => {
            let Skipped { source, why } = skipped;
            Err(ProcessingError::Permanent(format!("the output {source:?} is not fetched: {why}")))
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
) -> Result<(), ProcessingError> {
    let key = answer_key(name);
    let target = ObjectTarget { key: &key, job: name.as_str(), lines: false };
    let source = || Source::document(&batch.document, task.deadline);
    archive.archive_source(task, target, source).await?.keep(job);
    job.cannot_read(&key, flaw);
    Ok(())
}

fn ended(task: Task<'_>, reported: &EventReport, name: &Name, batch: &Batch) -> EndedJob {
    let state = if batch.state_word.is_empty() { "unknown" } else { &batch.state_word };
    let ended = reported.ended(task.row, name, JobKind::Batch, state);
    let mut job = EndedJob {
        user_metadata: batch.user_metadata.clone().or(ended.user_metadata),
        model: batch.model.clone(),
        display_name: batch.display_name.clone(),
        error: batch.error.clone().or(ended.error),
        ..ended
    };
    job.skipped.extend(batch.cut.clone().map(|why| Skipped { source: name.to_string(), why }));
    job
}

pub(super) fn lines_key(name: &Name) -> String {
    format!("batches/{}/responses.jsonl", name.id())
}

pub(super) fn answer_key(name: &Name) -> String {
    format!("batches/{}/answer.json", name.id())
}
