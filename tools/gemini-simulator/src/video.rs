//! The videos: operations of a model that end with files, or with a reason why there are none.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    directives::Directives,
    files::Files,
    job::{EventData, Failure, INVALID_ARGUMENT, Job, Kind},
    jobs::Jobs,
};

/// Of a video for which no size was wished for.
const SIZE: u64 = 64 * 1024;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Video {
    /// With its prefix `models/`.
    pub model: String,
    pub samples: u32,
    pub directives: Directives,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Generated { samples: u32, filtered: u32 },
    Failed(Failure),
}

impl Job<Video> {
    pub(super) fn name(&self) -> String {
        format!("{}/operations/{}", self.asked.model, self.id)
    }

    /// The id of the file of a sample. SDKs take an id to end at the first dash, so there is none.
    pub(super) fn file(&self, sample: u32) -> String {
        format!("{}{sample}", self.id)
    }
}

impl Kind for Video {
    type Outcome = Outcome;

    const DATA: &'static [&'static str] = &[];

    /// There is no event for a video that failed. One that was filtered has no file to name.
    fn ending_event(job: &Job<Self>, outcome: &Outcome) -> Option<(&'static str, EventData)> {
        let data = EventData::of(job.name());
        match outcome {
            Outcome::Generated { samples: 0, .. } => Some(("video.generated", data)),
            Outcome::Generated { .. } => {
                Some(("video.generated", data.with_file(format!("files/{}", job.file(0)))))
            }
            Outcome::Failed(_) => None,
        }
    }
}

pub(super) struct Videos {
    pub(super) jobs: Jobs<Video>,
    files: Arc<Files>,
}

impl Videos {
    pub(super) fn new(jobs: Jobs<Video>, files: &Arc<Files>) -> Self {
        Self { jobs, files: Arc::clone(files) }
    }

    pub(super) async fn run(&self) {
        self.jobs.run(|job| self.finish(job)).await;
    }

    async fn finish(&self, job: Job<Video>) -> anyhow::Result<()> {
        let directives = &job.asked.directives;
        let filtered = directives.filtered.of(job.asked.samples);
        let (outcome, samples) = match &directives.fail {
            Some(why) => (Outcome::Failed(Failure::new(INVALID_ARGUMENT, why)), 0),
            None => {
                let samples = job.asked.samples.saturating_sub(filtered);
                (Outcome::Generated { samples, filtered }, samples)
            }
        };
        let publish = async {
            for sample in 0..samples {
                self.files.make_up(job.file(sample), "video/mp4", directives.size.unwrap_or(SIZE)).await?;
            }
            Ok(())
        };
        self.jobs.end(&job.id, self.jobs.end_now(outcome), publish).await.map(|_| ())
    }
}
