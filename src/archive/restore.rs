//! Restores a job that the API does not know any more, from the objects that an earlier attempt left in the bucket.
//!
//! It runs only after the job was looked for during `MISSING_JOB_HOURS`. An attempt may have died between its last
//! object and its commit, and then the results are complete although the API has deleted the job.
//!
//! - Interactions and videos have their answer stored first. With that answer the job is worked as if the API had sent
//!   it, except that an output which is only referred to may be lost.
//! - Without a stored answer, and for batches, the objects under the job's keys are what there is.
//! - With nothing in the bucket the outcome is `gone`.

use serde_json::json;

use super::{
    Archive, Job, Report, Task, batch, bucket::ObjectTarget, event_report::EventReport, interaction, video,
};
use crate::{
    error::ProcessingError,
    gemini::{Interaction, Name, Operation, run_blocking},
    job::{JobKind, Sums},
    ledger::Outcome,
};

impl Archive {
    /// What to commit for a job that the API does not know. `why` is the API's own answer. It becomes the job's error
    /// where the job is `gone`.
    pub async fn restore(&self, task: Task<'_>, why: &str) -> Result<Report, ProcessingError> {
        let task = Task { last_look: true, ..task };
        let reported = EventReport::of(task.row);
        match self.job_of(task.row) {
            Ok(Job::Interaction(name)) => {
                let key = interaction::answer_key(&name);
                match self.bucket.document(object(&key, &name), task.deadline).await? {
                    Some(answer) => {
                        let answer = run_blocking(move || Interaction::read(answer)).await?;
                        interaction::keep(self, task, &reported, &name, &answer).await
                    }
                    None => {
                        self.gather(task, &reported, &name, (JobKind::Interaction, |_, _| None), why).await
                    }
                }
            }
            Ok(Job::Video(name)) => {
                let key = video::answer_key(&name);
                match self.bucket.document(object(&key, &name), task.deadline).await? {
                    Some(answer) => {
                        let answer = run_blocking(move || Operation::read(answer)).await?;
                        video::keep(self, task, &reported, &name, &answer).await
                    }
                    None => {
                        let keys = |name: &Name, number| Some(video::sample_key(name, number));
                        self.gather(task, &reported, &name, (JobKind::Video, keys), why).await
                    }
                }
            }
            Ok(Job::Batch(name)) => {
                let keys = |name: &Name, number| match number {
                    0 => Some(batch::lines_key(name)),
                    1 => Some(batch::answer_key(name)),
                    _ => None,
                };
                self.gather(task, &reported, &name, (JobKind::Batch, keys), why).await
            }
            Err(why) => Ok(Report::Nothing(why)),
        }
    }

    /// Takes the objects under these keys as the job's outputs. Videos are numbered without a gap, so the first missing
    /// number ends the search.
    async fn gather(
        &self,
        task: Task<'_>,
        reported: &EventReport,
        name: &Name,
        (kind, keys): (JobKind, impl Fn(&Name, usize) -> Option<String>),
        why: &str,
    ) -> Result<Report, ProcessingError> {
        let mut job = reported.ended(task.row, name, kind, "unknown");
        job.model = video::model(name);
        let mut number = 0;
        while let Some(key) = keys(name, number) {
            let target = ObjectTarget { lines: kind == JobKind::Batch && number == 0, ..object(&key, name) };
            match self.bucket.reuse_existing(target, None, task.deadline).await? {
                Some(archived) => {
                    job.summary = job.summary.or(archived.summary.map(Sums::Batch));
                    archived.keep(&mut job);
                }
                None if kind == JobKind::Video => break,
                None => {}
            }
            number += 1;
        }
        if job.outputs.is_empty() {
            job.error = Some(json!({ "message": why }));
            return Ok(Report::ended(job, Outcome::Gone));
        }
        // Of a batch there may be the answer alone.
        let has_results = kind != JobKind::Batch || job.summary.is_some();
        Ok(Report::ended(job, if has_results { Outcome::Archived } else { Outcome::Ended }))
    }
}

fn object<'a>(key: &'a str, name: &'a Name) -> ObjectTarget<'a> {
    ObjectTarget { key, job: name.as_str(), lines: false }
}
