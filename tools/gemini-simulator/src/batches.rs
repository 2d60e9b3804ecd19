//! The batches: each request of theirs is answered when their time has come.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tempfile::NamedTempFile;

use super::{
    batch::{Batch, Input, Outcome, REQUESTS, RESPONSES},
    batch_runner::{self, Form, Work},
    files::{Content, FileRecord, Files},
    job::{Job, NOT_FOUND},
    jobs::Jobs,
    store::{blocking, finish},
};
use crate::clock::Millis;

pub(super) struct Batches {
    pub(super) jobs: Jobs<Batch>,
    files: Arc<Files>,
}

impl Batches {
    pub(super) fn new(jobs: Jobs<Batch>, files: &Arc<Files>) -> Self {
        Self { jobs, files: Arc::clone(files) }
    }

    /// The path of the inline responses: one JSON array.
    pub(super) fn responses(&self, id: &str) -> PathBuf {
        self.jobs.data(id, RESPONSES)
    }

    pub(super) async fn create(
        &self,
        job: Job<Batch>,
        requests: Option<Vec<serde_json::Value>>,
    ) -> anyhow::Result<()> {
        if let Some(requests) = requests {
            self.jobs.write_lines(&job.id, REQUESTS, requests).await?;
        }
        self.jobs.create(job).await
    }

    /// Ends a batch that has not ended. False if there is no such batch.
    pub(super) async fn cancel(&self, id: &str) -> anyhow::Result<bool> {
        let Some(job) = self.jobs.get(id).await else { return Ok(false) };
        self.end(&job, Outcome::Cancelled, self.partial(&job).await?).await
    }

    pub(super) async fn run(&self) {
        self.jobs.run(|job| self.finish(job)).await;
    }

    async fn finish(&self, job: Job<Batch>) -> anyhow::Result<()> {
        let (outcome, output) = match job.asked.requested() {
            Some(outcome) => (outcome, self.partial(&job).await?),
            None => self.work(&job, None).await?,
        };
        self.end(&job, outcome, output).await.map(drop)
    }

    async fn end(
        &self,
        job: &Job<Batch>,
        outcome: Outcome,
        output: Option<NamedTempFile>,
    ) -> anyhow::Result<bool> {
        let end = self.jobs.end_now(outcome);
        let publish = self.publish(job, end.at, output);
        self.jobs.end(&job.id, end, publish).await
    }

    /// The output of a batch that does not succeed, where it is to have one.
    async fn partial(&self, job: &Job<Batch>) -> anyhow::Result<Option<NamedTempFile>> {
        match job.asked.partial() {
            Some(partial) => Ok(self.work(job, Some(partial)).await?.1),
            None => Ok(None),
        }
    }

    async fn work(
        &self,
        job: &Job<Batch>,
        partial: Option<u64>,
    ) -> anyhow::Result<(Outcome, Option<NamedTempFile>)> {
        let (input, form, folder) = match &job.asked.input {
            Input::Inline => (self.jobs.data(&job.id, REQUESTS), Form::Array, self.jobs.folder()),
            Input::File(file) if self.files.get(file).is_some() => {
                (self.files.data(file), Form::Lines, self.files.folder())
            }
            Input::File(file) => {
                return Ok((Outcome::failed(NOT_FOUND, format!("files/{file} was not found")), None));
            }
        };
        let work = Work {
            batch_id: job.id.clone(),
            call: job.asked.call,
            model: job.asked.model.clone(),
            input,
            form,
            partial,
            missing: job.asked.directives.missing.unwrap_or(0),
            folder: folder.to_owned(),
        };
        let stop = StopWhenDropped::default();
        let stopped = Arc::clone(&stop.0);
        blocking(move || batch_runner::run(&work, &stopped)).await
    }

    async fn publish(
        &self,
        job: &Job<Batch>,
        at: Millis,
        output: Option<NamedTempFile>,
    ) -> anyhow::Result<()> {
        let Some(output) = output else { return Ok(()) };
        if job.asked.input == Input::Inline {
            let path = self.responses(&job.id);
            return blocking(move || finish(output, &path)).await;
        }
        let file = FileRecord {
            id: job.output_file(),
            display_name: None,
            mime_type: "application/jsonl".into(),
            size_bytes: output.as_file().metadata()?.len(),
            created: at,
            content: Content::Written,
        };
        self.files.add(file, output.path().to_owned()).await
    }
}

/// Signals to the work on another thread that nobody waits for it any more.
#[derive(Default)]
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
