//! Batches: one object with a line for each result, whether the API answers with a file or with inline results.
//!
//! [`archive_job`] reads the batch once and decides by its state:
//!
//! | the batch | what happens |
//! | --- | --- |
//! | is still open | the job is recorded as open; a transient error where the event reports an end |
//! | has ended with results | they are stored as `batches/<id>/responses.jsonl`; outcome `archived` |
//! | succeeded, but its output is not shown yet | a transient error: the row is retried |
//! | failed, expired or was cancelled without results | outcome `ended`, with the batch's own error |
//! | had an output file that does not exist any more | outcome `gone`, or `ended` where the batch did not succeed |
//!
//! Results are archived however the batch ended: a cancelled batch may have some. An answer that cannot be read to its
//! end is stored as it came, in `batches/<id>/answer.json`. The lines are counted while they are stored, and the sums
//! are compared with the batch's own `batchStats`. If they differ, the job's summary has both.

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

/// The content type of the lines, whatever the API serves a file with.
const LINES: &str = "application/jsonl";

/// Reads the batch that the event names and stores its results. `hinted` is the name in the event. Where the API's
/// answer has a name, that one counts.
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

/// Stores the results, in lines, and compares their sums with what the batch says of itself.
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

/// Stores the answer as it came, because it cannot be read to its end. `flaw` says why, and goes into the job's row.
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

/// The job's row without outputs. What the API says counts before what the event says.
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

/// The object of the results. A key is a function of the job's name alone, so a second attempt finds the first one's.
pub(super) fn lines_key(name: &Name) -> String {
    format!("batches/{}/responses.jsonl", name.id())
}

/// The object of an answer that could not be read to its end.
pub(super) fn answer_key(name: &Name) -> String {
    format!("batches/{}/answer.json", name.id())
}
