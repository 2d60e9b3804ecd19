//! From a job to its objects in the bucket. [`Archive::archive_job`] is the way in, and it returns a [`Report`].
//!
//! - `batch`, `video` and `interaction`: one file for each kind of job. They decide the outcome and the objects' keys.
//! - `output`: fetches one output. `source` reads its bytes, `bucket` writes an object, `parts` a large one in parts.
//! - `transfer` and `checkpoint`: an output that takes more than one invocation. `buffers`: the memory of all parts.
//! - `meter` and `line_counter`: digest, length and sums, counted while the bytes pass.
//! - `restore`: a job that the API has deleted, from the objects that are there.
//! - `event_report`: what the event says. `first_deliveries`: the record of the first deliveries.
//!
//! Nothing here writes to the tables. Each function can be run again at any point: an object's key depends on the job
//! alone, and an object that is there is never overwritten.

mod batch;
mod bucket;
mod buffers;
mod checkpoint;
mod event_report;
mod first_deliveries;
mod interaction;
mod line_counter;
mod meter;
mod output;
mod parts;
mod restore;
mod source;
mod transfer;
mod video;

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use event_report::EventReport;

pub use bucket::Bucket;
pub use checkpoint::Checkpoints;
pub use first_deliveries::FirstDeliveries;
#[cfg(any(test, fuzzing))]
pub(crate) use line_counter::LineCounter;

use crate::{
    clock::{Millis, millis},
    error::ProcessingError,
    gemini::{Gemini, Name},
    job::{EndedJob, OpenJob},
    ledger::{Delivery, Outcome},
    secrets::SecretStore,
    webhook::{
        Event, EventKind, Trust,
        binding::{self, BindingKey},
    },
};

/// The result of a delivery's job. Nothing of it is in the tables yet.
#[derive(Debug)]
pub enum Report {
    /// The job has ended: commit it.
    Ended { job: Box<EndedJob>, outcome: Outcome },
    /// The job is still open, and its event does not say otherwise: record it.
    Open(OpenJob),
    /// There is no job to look up, for this reason. The delivery ends as `recorded`.
    Nothing(&'static str),
}

impl Report {
    fn ended(job: EndedJob, outcome: Outcome) -> Self {
        Self::Ended { job: Box::new(job), outcome }
    }
}

/// A job that can be asked for.
enum Job {
    Batch(Name),
    Video(Name),
    Interaction(Name),
}

pub struct Archive {
    pub gemini: Gemini,
    pub bucket: Bucket,
    /// Where it is set, a job under Google's signature must carry a token of ours.
    pub binding: Option<SecretStore<BindingKey>>,
    pub first: FirstDeliveries,
}

/// How long after an event an output may still be missing because the API is not up to date.
const SETTLING: Duration = Duration::from_secs(3600);

/// A delivery's row and how long there is for it.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub row: &'a Delivery,
    pub deadline: Instant,
    pub now: Millis,
    /// Whether an output that is not found is lost: it was looked for before, a while ago.
    pub last_look: bool,
    /// Of transfers that do not end within this attempt.
    pub checkpoints: &'a Checkpoints,
}

impl Task<'_> {
    /// Whether the event is so new that the API may not show yet what the event reports.
    fn is_fresh(&self) -> bool {
        self.now < self.row.received_at.saturating_add(millis(SETTLING))
    }
}

impl Archive {
    /// Reads the secrets, so that the first row need not wait for them.
    pub async fn prepare(&self) {
        let binding = async {
            if let Some(binding) = &self.binding {
                let _ = binding.get().await;
            }
        };
        tokio::join!(self.gemini.prepare(), binding);
    }

    /// Reads the job, stores its outputs in the bucket and says what to commit. It can be run again at any point.
    pub async fn archive_job(&self, task: Task<'_>) -> Result<Report, ProcessingError> {
        let reported = EventReport::of(task.row);
        match self.job_of(task.row) {
            Ok(Job::Batch(name)) => batch::archive_job(self, task, &reported, name).await,
            Ok(Job::Video(name)) => video::archive_job(self, task, &reported, name).await,
            Ok(Job::Interaction(name)) => interaction::archive_job(self, task, &reported, name).await,
            Err(why) => Ok(Report::Nothing(why)),
        }
    }

    /// The name of the job that a delivery's event describes, if the API can be asked for it.
    pub fn job_name(&self, row: &Delivery) -> Option<Name> {
        self.job_of(row).ok().map(|job| match job {
            Job::Batch(name) | Job::Video(name) | Job::Interaction(name) => name,
        })
    }

    /// The job that an event describes, by a name that the API can be asked for.
    fn job_of(&self, row: &Delivery) -> Result<Job, &'static str> {
        let hint = row.job_hint.as_deref().ok_or("the event names no job");
        match row.kind() {
            EventKind::Batch => Name::batch(hint?).map(Job::Batch).ok_or("the event names no batch"),
            EventKind::Interaction => {
                Name::interaction(hint?).map(Job::Interaction).ok_or("the event names no interaction")
            }
            EventKind::Video => match Name::video(hint?) {
                Some(name) if name.is_in("interactions") => Ok(Job::Interaction(name)),
                Some(name) => Ok(Job::Video(name)),
                None => {
                    Err("the event does not name its operation in full, by which alone the API reads one")
                }
            },
            EventKind::Unknown => Err("not an event of a job"),
        }
    }

    /// Google signs the events of everybody's jobs. A job is ours if our key can read it and, where a binding key is
    /// set, if its metadata contain our token, in the event or in the job. Otherwise the error is `Foreign`.
    async fn check_ours(
        &self,
        row: &Delivery,
        reported: &EventReport,
        job: Option<&Map<String, Value>>,
    ) -> Result<(), ProcessingError> {
        let said = reported.event.user_metadata.as_ref();
        if row.trust == Trust::Project || self.binding.is_none() || self.binds([said, job]).await? {
            return Ok(());
        }
        Err(ProcessingError::Foreign("it carries no binding token of ours".to_owned()))
    }

    /// Whether a token of ours shows that the job is our own.
    pub async fn is_bound(
        &self,
        row: &Delivery,
        job: Option<&Map<String, Value>>,
    ) -> Result<bool, ProcessingError> {
        let said = Event::parse(&row.body).user_metadata;
        self.binds([said.as_ref(), job]).await
    }

    async fn binds(&self, metadata: [Option<&Map<String, Value>>; 2]) -> Result<bool, ProcessingError> {
        let Some(store) = &self.binding else { return Ok(false) };
        let metadata: Vec<_> = metadata.into_iter().flatten().collect();
        let bound = binding::is_bound(store, &metadata).await;
        bound.map_err(|error| ProcessingError::transient(error.to_string()))
    }
}
