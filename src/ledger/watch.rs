//! Open jobs that somebody wants followed: which they are, and when each is looked at next.

use super::{
    Ledger, LedgerError,
    condition::{Binds, Item, number, text},
    lease::{Change, Fence},
    patience::{contended, patiently, unavailable},
    schema::{WATCHED, attr},
    transitions,
};
use crate::clock::Millis;

/// A job that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub job: String,
    pub until: Millis,
    /// How often it was looked at, and when it is next.
    pub looks: i64,
    pub look_at: Millis,
}

impl Ledger {
    /// Has an open job followed. `Lost` where it has ended here already.
    pub async fn watch(&self, job: &str, until: Millis) -> Result<Fence, LedgerError> {
        self.of_job(job, &transitions::WATCH_JOB, &Binds::default().number(":watch_until", until)).await
    }

    /// A look found the job open.
    pub async fn looked(&self, job: &str, again_at: Millis) -> Result<Fence, LedgerError> {
        self.of_job(job, &transitions::LOOK_AT_JOB, &Binds::default().number(":look_at", again_at)).await
    }

    /// Nobody wants the job followed any longer.
    pub async fn unwatch(&self, job: &str) -> Result<Fence, LedgerError> {
        self.of_job(job, &transitions::UNWATCH_JOB, &Binds::default()).await
    }

    /// A page of the jobs that are followed. The index holds no others, so reading all of it costs what they do.
    pub async fn watched(&self, after: Option<Item>) -> Result<(Vec<Watched>, Option<Item>), LedgerError> {
        let scan = self
            .dynamodb
            .scan()
            .table_name(&self.jobs)
            .index_name(WATCHED.name)
            .set_exclusive_start_key(after);
        let page = patiently(contended, || scan.clone().send())
            .await
            .map_err(|error| unavailable("list the watched jobs", &error))?;
        let watched = page.items.unwrap_or_default().iter().filter_map(read).collect();
        Ok((watched, page.last_evaluated_key))
    }

    async fn of_job(
        &self,
        job: &str,
        transition: &super::condition::Transition,
        binds: &Binds,
    ) -> Result<Fence, LedgerError> {
        match self.change(&self.jobs, (attr::JOB_ID, job), transition, binds).await? {
            Change::Made(_) => Ok(Fence::Held),
            Change::Refused(_) => Ok(Fence::Lost),
        }
    }
}

fn read(row: &Item) -> Option<Watched> {
    Some(Watched {
        job: text(row, attr::JOB_ID)?.to_owned(),
        until: number(row, attr::WATCH_UNTIL)?,
        looks: number(row, attr::LOOKS).unwrap_or(0),
        look_at: number(row, attr::LOOK_AT).unwrap_or(0),
    })
}
