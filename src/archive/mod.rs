//! From a job to its objects: each kind of job has its place, and all end in a [`Report`].

mod batch;
mod bucket;
mod interaction;
mod parts;
mod source;
mod tally;
mod video;

use tokio::time::Instant;

pub use bucket::Bucket;

use crate::{
    gemini::Gemini,
    job::{EndedJob, OpenJob},
    ledger::{Delivery, Outcome},
    trouble::Trouble,
    webhook::EventKind,
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

    /// What is left of a job that the API does not know any more: the objects of an earlier attempt, or nothing.
    pub async fn recover(&self, task: Task<'_>, why: &str) -> Result<Report, Trouble> {
        match task.row.kind() {
            EventKind::Batch => batch::recover(self, task, why).await,
            _ => Ok(Report::Nothing("not an event of a job")),
        }
    }
}
