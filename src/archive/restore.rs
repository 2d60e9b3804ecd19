//! What is left of a job that the API does not know any more.

use serde_json::json;

use super::{
    Archive, Job, Report, Task, batch, bucket::ObjectTarget, event_report::EventReport, interaction, video,
};
use crate::{
    error::ProcessingError,
    gemini::Name,
    job::{JobKind, Sums},
    ledger::Outcome,
};

impl Archive {
    /// The objects of an earlier attempt, or nothing. A stored answer is enough for all that it holds itself.
    pub async fn restore(&self, task: Task<'_>, why: &str) -> Result<Report, ProcessingError> {
        let task = Task { last_look: true, ..task };
        let reported = EventReport::of(task.row);
        match self.job_of(task.row) {
            Ok(Job::Interaction(name)) => {
                let key = interaction::answer_key(&name);
                match self.bucket.document(object(&key, &name), task.deadline).await? {
                    Some(answer) => interaction::keep_stored(self, task, &reported, &name, answer).await,
                    None => {
                        self.gather(task, &reported, &name, (JobKind::Interaction, |_, _| None), why).await
                    }
                }
            }
            Ok(Job::Video(name)) => {
                let key = video::answer_key(&name);
                match self.bucket.document(object(&key, &name), task.deadline).await? {
                    Some(answer) => video::keep_stored(self, task, &reported, &name, answer).await,
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

    /// The objects under these keys. Those of a video are numbered without a gap.
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
