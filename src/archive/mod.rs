//! From a job to its objects: each kind of job has its place, and all end in a [`Report`].

mod batch;
mod bucket;
mod interaction;
mod parts;
mod source;
mod tally;
mod video;

use serde_json::{Map, Value};
use tokio::time::Instant;

pub use bucket::Bucket;

use crate::{
    gemini::Gemini,
    job::{EndedJob, OpenJob},
    ledger::{Delivery, Outcome},
    secrets::SecretStore,
    trouble::Trouble,
    webhook::{Event, EventKind, Trust, binding::BindingKey},
};

/// What a delivery's job came to. Nothing is in the tables yet.
#[derive(Debug)]
pub enum Report {
    /// To be committed.
    Ended { job: EndedJob, outcome: Outcome },
    /// The job goes on, and the event said so.
    Open(OpenJob),
    /// Nothing to look up or to keep.
    Nothing(&'static str),
}

pub struct Archive {
    pub gemini: Gemini,
    pub bucket: Bucket,
    /// Where it is set, a job under Google's signature must carry a token of ours.
    pub binding: Option<SecretStore<BindingKey>>,
}

/// A delivery's row and how long there is for it.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub row: &'a Delivery,
    pub deadline: Instant,
}

impl Archive {
    /// Looks the job up, brings its outputs into the bucket and says what to commit. It can be run again at any
    /// point: objects are a function of the job.
    pub async fn bring(&self, task: Task<'_>) -> Result<Report, Trouble> {
        match task.row.kind() {
            EventKind::Batch => batch::bring(self, task).await,
            EventKind::Interaction => Ok(interaction::bring()),
            EventKind::Video => Ok(video::bring()),
            EventKind::Unknown => Ok(Report::Nothing("not an event of a job")),
        }
    }

    /// Google signs events of everybody's jobs. Ours is one that our key can read and, where a binding key is set,
    /// one whose metadata carry our token, in the event or in the job.
    async fn check_ours(&self, row: &Delivery, job: Option<&Map<String, Value>>) -> Result<(), Trouble> {
        if row.trust == Trust::Project || self.binding.is_none() || self.is_bound(row, job).await? {
            return Ok(());
        }
        Err(Trouble::Foreign("it carries no binding token of ours".to_owned()))
    }

    /// Whether a token of ours shows that the job is our own.
    pub async fn is_bound(&self, row: &Delivery, job: Option<&Map<String, Value>>) -> Result<bool, Trouble> {
        let Some(store) = &self.binding else { return Ok(false) };
        let key = store.get().await.map_err(|error| Trouble::passing(error.to_string()))?;
        let told = Event::parse(&row.body).user_metadata;
        Ok([told.as_ref(), job].into_iter().flatten().any(|metadata| key.binds(metadata)))
    }

    /// What is left of a job that the API does not know any more: the objects of an earlier attempt, or nothing.
    pub async fn recover(&self, task: Task<'_>, why: &str) -> Result<Report, Trouble> {
        match task.row.kind() {
            EventKind::Batch => batch::recover(self, task, why).await,
            _ => Ok(Report::Nothing("not an event of a job")),
        }
    }
}
