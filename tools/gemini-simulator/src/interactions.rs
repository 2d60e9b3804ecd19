//! The interactions: what a model or an agent was asked, and what it says when its time has come.

use std::sync::Arc;

use super::{
    files::Files,
    interaction::{Interaction, Outcome, Part},
    job::Job,
    jobs::Jobs,
};

pub(super) struct Interactions {
    pub(super) jobs: Jobs<Interaction>,
    files: Arc<Files>,
}

impl Interactions {
    pub(super) fn new(jobs: Jobs<Interaction>, files: &Arc<Files>) -> Self {
        Self { jobs, files: Arc::clone(files) }
    }

    /// Whoever does not ask for the background waits for the end.
    pub(super) async fn create(&self, job: Job<Interaction>) -> anyhow::Result<Job<Interaction>> {
        let (id, background) = (job.id.clone(), job.asked.background);
        self.jobs.create(job.clone()).await?;
        if background {
            return Ok(job);
        }
        self.finish(job.clone()).await?;
        Ok(self.jobs.get(&id).await.unwrap_or(job))
    }

    /// Ends an interaction that has not ended. Nothing if there is no such interaction.
    pub(super) async fn cancel(&self, id: &str) -> anyhow::Result<Option<Job<Interaction>>> {
        self.jobs.end(id, self.jobs.end_now(Outcome::Cancelled), async { Ok(()) }).await?;
        Ok(self.jobs.get(id).await)
    }

    pub(super) async fn run(&self) {
        self.jobs.run(|job| self.finish(job)).await;
    }

    async fn finish(&self, job: Job<Interaction>) -> anyhow::Result<()> {
        let outcome = job.asked.outcome();
        let completed = outcome == Outcome::Completed;
        let publish = async {
            for part in job.asked.output() {
                if let Part::Media(media, size) = part
                    && media.as_file
                    && completed
                {
                    self.files.make_up(job.file(), &media.mime_type, size).await?;
                }
            }
            Ok(())
        };
        self.jobs.end(&job.id, self.jobs.end_now(outcome), publish).await.map(|_| ())
    }
}
