//! What can be done with the two tables: every public operation of the functions, in the order of a row's way.
//!
//! Each operation is one transition (or two in one transaction) from `transitions`. `Fence::Lost` and
//! `Committed::Lost` mean that the row belongs to another worker by now, so the caller stops. Errors are classified in
//! [`LedgerError`].

use aws_sdk_dynamodb::{Client, types::AttributeValue};

use super::{
    Delivery, DeliveryWriter, DueRows, Inserted, Lease, LedgerError, NewDelivery, RETAIN_FOR, Watched,
    commit::{Commit, Committed, Written},
    condition::{Binds, Item, Transition},
    due_rows, lease,
    lease::one_line,
    schema::SHARDS,
    state::{ErrorKind, Outcome},
    store::{Change, Planned, Store, Table},
    transitions, watch,
};
use crate::{
    clock::{Millis, SharedClock, millis},
    job::{EndedJob, OpenJob},
    ledger::GIVE_UP_AFTER,
};

/// Whether our lease still held when we wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fence {
    /// Written, now or by an earlier try of the same call whose answer was lost.
    Held,
    /// Nothing was written: the row is another worker's by now, or in another state.
    Lost,
}

/// Why and until when a row is put off.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'a> {
    pub due_at: Millis,
    /// The row's `last_error`, for a person. At most 200 bytes of it are kept.
    pub why: &'a str,
    pub kind: ErrorKind,
    /// How far a transfer has come, in JSON of at most 4 KiB. None removes what the row has.
    pub checkpoint: Option<&'a str>,
}

/// The archiver's side of the tables. All times are milliseconds since the epoch.
#[derive(Clone)]
pub struct Ledger {
    pub(super) store: Store,
    pub(super) clock: SharedClock,
    /// Whether ends are announced after the commit.
    announces: bool,
}

impl Ledger {
    pub fn new(
        dynamodb: Client,
        deliveries: impl Into<String>,
        jobs: impl Into<String>,
        clock: SharedClock,
        announces: bool,
    ) -> Self {
        Self { store: Store::new(dynamodb, deliveries.into(), jobs.into()), clock, announces }
    }

    /// Inserts a job that reconcile has found, as if its event had been delivered.
    pub async fn enter(&self, delivery: NewDelivery) -> Result<Inserted, LedgerError> {
        self.delivery_writer().insert(delivery).await
    }

    /// As [`DeliveryWriter::connect`].
    pub async fn connect(&self) {
        self.delivery_writer().connect().await;
    }

    fn delivery_writer(&self) -> DeliveryWriter {
        DeliveryWriter::new(self.store.client.clone(), self.store.name(Table::Deliveries))
    }

    /// The parts of the index of due rows.
    pub fn shards() -> impl Iterator<Item = u8> {
        0..SHARDS
    }

    /// Rows of one shard that are due by `by`, the longest overdue first. The index is eventually consistent, so it may
    /// show an old state. Whether a row may be leased is decided by the row itself, when it is leased.
    pub async fn due(
        &self,
        shard: u8,
        by: Millis,
        after: Option<Item>,
        limit: i32,
    ) -> Result<DueRows, LedgerError> {
        due_rows::page(&self.store, shard, by, after, limit).await
    }

    /// Leases the row until `until`, takes it over from a worker that died, or ends it when its budget is used up.
    pub async fn lease(&self, key: &str, until: Millis) -> Result<Lease, LedgerError> {
        lease::take(&self.store, key, until, self.clock.now()).await
    }

    /// Lengthens the lease, for work that takes long.
    pub async fn extend(&self, row: &Delivery, until: Millis) -> Result<Fence, LedgerError> {
        self.write(row, &transitions::EXTEND, &mine(row).number(":lease_until", until)).await
    }

    /// Puts the row off. A sweep finds it again when it is due.
    pub async fn wait(&self, row: &Delivery, wait: Wait<'_>) -> Result<Fence, LedgerError> {
        let binds = mine(row)
            .number(":due_at", wait.due_at)
            .text(":last_error", one_line(wait.why))
            .text(":error_kind", wait.kind.name())
            .number(":error_since", row.error_began(wait.kind, self.clock.now()))
            .value(":checkpoint", wait.checkpoint.map(|text| AttributeValue::S(text.to_owned())));
        self.write(row, &transitions::WAIT, &binds).await
    }

    /// Ends the row as `failed`. A person can redrive it.
    pub async fn fail(&self, row: &Delivery, why: &str) -> Result<Fence, LedgerError> {
        self.write(row, &transitions::FAIL, &mine(row).text(":last_error", one_line(why))).await
    }

    /// Ends a row for which nothing was committed.
    pub async fn end(
        &self,
        row: &Delivery,
        outcome: Outcome,
        note: Option<&str>,
    ) -> Result<Fence, LedgerError> {
        self.write(row, &transitions::END, &self.ending(row, outcome, note)).await
    }

    /// Ends the job and its delivery together, or ends the delivery as `repeated` where the job had ended.
    pub async fn commit(
        &self,
        row: &Delivery,
        outcome: Outcome,
        job: &EndedJob,
        note: Option<&str>,
    ) -> Result<Committed, LedgerError> {
        let now = self.clock.now();
        let delivery = self
            .ending(row, outcome, note)
            .text(":job_id", &job.name)
            .number(":give_up_at", now.saturating_add(millis(GIVE_UP_AFTER)));
        let transition = if self.announces { &transitions::COMMIT_TO_ANNOUNCE } else { &transitions::COMMIT };
        let commit = Commit { store: &self.store, row, transition, delivery, now };
        let written = commit.end_job(outcome, job).await?;
        self.committed(row, written, &job.name).await
    }

    /// Records that a job is still open, and ends the delivery as `recorded`.
    pub async fn record_open(
        &self,
        row: &Delivery,
        job: &OpenJob,
        watch_until: Millis,
    ) -> Result<Committed, LedgerError> {
        let (now, delivery) = (self.clock.now(), self.ending(row, Outcome::Recorded, None));
        let commit = Commit { store: &self.store, row, transition: &transitions::END, delivery, now };
        let written = commit.record_open(job, watch_until).await?;
        self.committed(row, written, &job.name).await
    }

    /// Ends a row whose commit has been announced.
    pub async fn finish(&self, row: &Delivery) -> Result<Fence, LedgerError> {
        let binds = mine(row).number(":expires_at", self.expires_at());
        self.write(row, &transitions::FINISH, &binds).await
    }

    /// A job's row as it stands now.
    pub async fn job(&self, name: &str) -> Result<Option<Item>, LedgerError> {
        self.store.get(Table::Jobs, name).await
    }

    /// Whether the job's row has an end. The read is eventually consistent. A later write is protected by its
    /// condition.
    pub async fn has_ended(&self, job: &str) -> Result<bool, LedgerError> {
        watch::has_ended(&self.store, job).await
    }

    /// Lets an open job be watched. `Lost` if its row has an end already.
    pub async fn watch(&self, job: &str, until: Millis) -> Result<Fence, LedgerError> {
        let binds = Binds::default().number(":watch_until", until);
        self.change(Table::Jobs, job, &transitions::WATCH_JOB, &binds).await
    }

    /// Counts a look that found the job open, and sets the time of the next one.
    pub async fn looked(&self, watched: &Watched, again_at: Millis) -> Result<Fence, LedgerError> {
        let looks = watched.looks.saturating_add(1);
        let binds = Binds::default().number(":look_at", again_at).number(":looks", looks);
        self.change(Table::Jobs, &watched.job, &transitions::LOOK_AT_JOB, &binds).await
    }

    /// Ends the watch of a job.
    pub async fn unwatch(&self, job: &str) -> Result<Fence, LedgerError> {
        self.change(Table::Jobs, job, &transitions::UNWATCH_JOB, &Binds::default()).await
    }

    /// A page of the watched jobs. The index has no others, so reading all of it costs only what they cost.
    pub async fn watched(&self, after: Option<Item>) -> Result<(Vec<Watched>, Option<Item>), LedgerError> {
        watch::page(&self.store, after).await
    }
}

impl Ledger {
    async fn committed(&self, row: &Delivery, written: Written, job: &str) -> Result<Committed, LedgerError> {
        let (outcome, note) = match written {
            Written::Done => return Ok(Committed::Done),
            Written::Lost => return Ok(Committed::Lost),
            Written::StillToEnd(outcome, note) => (outcome, note),
        };
        let named = (outcome == Outcome::Gone).then(|| AttributeValue::S(job.to_owned()));
        let binds = self.ending(row, outcome, note).value(":job_id", named);
        Ok(match self.write(row, &transitions::END, &binds).await? {
            Fence::Held => Committed::Already(outcome),
            Fence::Lost => Committed::Lost,
        })
    }

    fn ending(&self, row: &Delivery, outcome: Outcome, note: Option<&str>) -> Binds {
        mine(row)
            .text(":outcome", outcome.name())
            .number(":expires_at", self.expires_at())
            .value(":last_error", note.map(|note| AttributeValue::S(one_line(note))))
    }

    /// TTL is in seconds, everything else here in milliseconds.
    fn expires_at(&self) -> i64 {
        self.clock.now().saturating_add(millis(RETAIN_FOR)) / 1000
    }

    async fn write(
        &self,
        row: &Delivery,
        transition: &Transition,
        binds: &Binds,
    ) -> Result<Fence, LedgerError> {
        self.change(Table::Deliveries, &row.key, transition, binds).await
    }

    pub(super) async fn change(
        &self,
        table: Table,
        key: &str,
        transition: &Transition,
        binds: &Binds,
    ) -> Result<Fence, LedgerError> {
        Ok(match self.store.change(Planned { table, key, transition, binds }).await? {
            Change::Made(_) => Fence::Held,
            Change::ConditionFailed(_) => Fence::Lost,
        })
    }
}

/// The fencing token of every write under a lease, and the nonce by which a repeated write recognises its first try.
fn mine(row: &Delivery) -> Binds {
    let holder = row.holder.clone().map(AttributeValue::S);
    Binds::default().number(":mine", row.attempt).value(":holder", holder)
}
