//! One row, from lease to end. The stream, the sweep and a person's redrive all lead here.
//!
//! 1. The [`Worker`] takes a lease. If the row is leased by somebody else, not due or ended, it does nothing.
//! 2. A row without an outcome is archived: `attempt` reads the job and stores its outputs.
//! 3. `apply_result` writes the result as one transition: commit, end, wait or fail.
//! 4. A committed row is announced on the event bus and finished. A row that had an outcome before begins here.
//!
//! An invocation's time is divided ([`Time`]): the attempt ends at its deadline, whatever it waits for, and the time
//! that is left is for writing the result. A worker that is killed in the middle of a row leaves its lease behind. The
//! next one takes the row over and counts a crash.
//!
//! A row that has cost a worker is not worked beside other rows, so that a row which kills its process cannot make its
//! neighbours pay.

use std::time::Duration;

use tokio::{
    select,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    announce::{Announcement, Announcer},
    archive::{Archive, Checkpoints, Report, Task},
    attempt::{Attempt, Attempted},
    clock::{Millis, SharedClock, millis},
    error::ProcessingError,
    invocation::Time,
    ledger::{
        Committed, Delivery, ErrorKind, Fence, Lease, Ledger, LedgerError, Outcome, Wait, condition::text,
        schema::attr,
    },
    metrics,
    retry::{Known, Next},
    row_result::caught,
};
pub use crate::{
    retry::RetryPolicy,
    row_result::{NotWorked, RowResult},
};

/// A lease at first. Work that takes longer extends it once, to the invocation's end and a little more.
const LEASE: Duration = Duration::from_secs(90);
const EXTEND_AFTER: Duration = Duration::from_secs(60);
const LEASE_GRACE: Duration = Duration::from_secs(30);

/// For an announcement, where there is time for all of it.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(12);

/// The longest time for recording a first delivery (`RECORD_FIRST`), which is best effort.
const KEEPING: Duration = Duration::from_secs(5);

/// How long a job is watched that an event reported as open.
const WATCH_FOR: Duration = Duration::from_secs(7 * 86_400);

/// Everything that is needed to bring a row to its end. All parts are arguments, so that tests can replace clock and
/// waits.
pub struct Worker {
    pub ledger: Ledger,
    pub archive: Archive,
    /// None where there is no bus: then a commit ends its row.
    pub announcer: Option<Announcer>,
    pub clock: SharedClock,
    pub retry_policy: RetryPolicy,
    /// The address that our webhook is registered with.
    pub webhook_url: Option<String>,
}

/// What was written, and a note for the log where something is missing.
type Applied = Result<(RowResult, Option<String>), LedgerError>;

impl Worker {
    /// Leases the row and works it until it has ended, waits, or the invocation is near its end. The caller works no
    /// other row at the same time. `end` is when the invocation ends, in milliseconds since the epoch.
    ///
    /// After an error, a panic included, the row keeps its lease until it runs out.
    pub async fn work(&self, key: &str, end: Millis) -> Result<RowResult, NotWorked> {
        caught(Box::pin(self.run(key, end, true))).await
    }

    /// The same beside other rows of the same process. A row that has cost a worker is put back
    /// ([`RowResult::PutBack`]): if it kills this one too, its neighbours must not pay for it.
    pub async fn work_beside_others(&self, key: &str, end: Millis) -> Result<RowResult, NotWorked> {
        caught(Box::pin(self.run(key, end, false))).await
    }

    async fn run(&self, key: &str, end: Millis, alone: bool) -> Result<RowResult, LedgerError> {
        let started = Instant::now();
        let Some(time) = Time::new(self.clock.now(), end) else { return Ok(RowResult::NotOurs) };
        let last = end.saturating_add(millis(LEASE_GRACE));
        let lease = self.clock.now().saturating_add(millis(LEASE)).min(last);
        let row = match self.ledger.lease(key, lease).await? {
            Lease::NotTaken => return Ok(RowResult::NotOurs),
            Lease::NewerSchema(schema) => {
                tracing::error!(webhook_id = key, schema, "left for newer code");
                return Ok(RowResult::NotOurs);
            }
            Lease::Unreadable(why) => {
                metrics::failed();
                tracing::error!(webhook_id = key, why, "failed");
                return Ok(RowResult::Failed);
            }
            Lease::GaveUp(row) => {
                RowResult::Failed.log(&row, row.last_error.as_deref(), started);
                return Ok(RowResult::Failed);
            }
            Lease::Taken(row) => row,
        };
        if row.crashes > 0 && !alone {
            return self.put_back(&row).await;
        }
        let settled = match row.outcome {
            Some(outcome) => self.announce(&row, outcome, time).await,
            None => self.archive(&row, last, time).await,
        };
        let (result, why) = match settled {
            Ok(settled) => settled,
            Err(error) => self.not_written(&row, error).await?,
        };
        result.log(&row, why.as_deref(), started);
        Ok(result)
    }

    /// Ends the lease and makes the row due at once, with the error that it had.
    async fn put_back(&self, row: &Delivery) -> Result<RowResult, LedgerError> {
        let why = row.last_error.as_deref().unwrap_or("a worker died on it, so it is worked alone");
        let kind = row.error_kind.unwrap_or(ErrorKind::Transient);
        let checkpoint = row.checkpoint.as_deref();
        let wait = Wait { due_at: self.clock.now(), why, kind, checkpoint };
        Ok(fenced(self.ledger.wait(row, wait).await?, RowResult::PutBack))
    }

    /// One attempt at the row's job, and its result written. After 60 s the lease is extended once, to `last`. If that
    /// fails, another worker has the row, and the attempt is dropped.
    async fn archive(&self, row: &Delivery, last: Millis, time: Time) -> Applied {
        let _ = timeout(KEEPING, self.archive.first.keep(&self.archive.bucket, row)).await;
        let checkpoints = Checkpoints::of(row.checkpoint.as_deref());
        let now = self.clock.now();
        let task = Task { row, deadline: time.deadline, now, last_look: false, checkpoints: &checkpoints };
        let attempt = Attempt {
            archive: &self.archive,
            ledger: &self.ledger,
            retry_policy: &self.retry_policy,
            webhook_url: self.webhook_url.as_deref(),
        };
        // On the heap: nested in the runtime's, the futures of an attempt are too deep for the compiler.
        let mut attempt = Box::pin(timeout_at(time.drop, Box::pin(attempt.run(task))));
        let attempted = select! {
            biased;
            attempted = &mut attempt => attempted,
            () = self.clock.sleep(EXTEND_AFTER) => match self.ledger.extend(row, last).await? {
                Fence::Held => attempt.await,
                Fence::Lost => return Ok((RowResult::Lost, None)),
            },
        };
        let out_of_time = |_| Attempted { report: Err(ProcessingError::DeadlineExceeded), ours: true };
        let attempted = attempted.unwrap_or_else(out_of_time);
        self.apply_result(row, attempted, &checkpoints, time).await
    }

    /// Writes the result of an attempt: the one place where a report or an error becomes a transition.
    /// `checkpoints` has how far a transfer has come, also where its attempt was dropped.
    async fn apply_result(
        &self,
        row: &Delivery,
        attempted: Attempted,
        checkpoints: &Checkpoints,
        time: Time,
    ) -> Applied {
        let now = self.clock.now();
        match attempted.report {
            Ok(Report::Ended { job, outcome }) => {
                let missed = job.missed();
                let committed = self.ledger.commit(row, outcome, &job, missed.as_deref()).await?;
                if committed != Committed::Done {
                    return Ok((self.committed(committed, outcome), missed));
                }
                metrics::committed(&job);
                if self.announcer.is_none() {
                    return Ok((RowResult::Ended(outcome), missed));
                }
                // As the commit left the row. A wait must not write the checkpoint again.
                let row = Delivery { job_id: Some(job.name), checkpoint: None, ..row.clone() };
                let (result, why) = self.announce(&row, outcome, time).await?;
                Ok((result, why.or(missed)))
            }
            Ok(Report::Open(job)) => {
                let committed =
                    self.ledger.record_open(row, &job, now.saturating_add(millis(WATCH_FOR))).await?;
                Ok((self.committed(committed, Outcome::Recorded), None))
            }
            Ok(Report::Nothing(note)) => {
                let fence = self.ledger.end(row, Outcome::Recorded, Some(note)).await?;
                Ok((fenced(fence, RowResult::Ended(Outcome::Recorded)), None))
            }
            Err(error) => {
                let checkpoint = checkpoints.text();
                let progress = checkpoints.have_advanced();
                let known = Known { ours: attempted.ours, progress };
                let next = self.retry_policy.next(&error, row, known, now);
                let why = match (&error, checkpoints.obstacle()) {
                    (ProcessingError::DeadlineExceeded, Some(obstacle)) => format!("{error}: {obstacle}"),
                    _ => error.to_string(),
                };
                // A transfer that has made progress has 72 hours more.
                let error_since = row.error_since.filter(|_| !progress);
                self.follow(&Delivery { checkpoint, error_since, ..row.clone() }, next, why).await
            }
        }
    }

    /// Writes what the retry policy has decided. `why` becomes the row's `last_error`.
    async fn follow(&self, row: &Delivery, next: Next, why: String) -> Applied {
        let result = match next {
            Next::Wait(after, kind) => {
                let due_at = self.clock.now().saturating_add(millis(after));
                let wait = Wait { due_at, why: &why, kind, checkpoint: row.checkpoint.as_deref() };
                fenced(self.ledger.wait(row, wait).await?, RowResult::Waiting(kind))
            }
            Next::Fail => fenced(self.ledger.fail(row, &why).await?, RowResult::Failed),
            Next::Foreign => {
                let fence = self.ledger.end(row, Outcome::Foreign, Some(&why)).await?;
                fenced(fence, RowResult::Ended(Outcome::Foreign))
            }
        };
        Ok((result, Some(why)))
    }

    /// A write that DynamoDB did not take is not a crash. If it can never be taken (the item is too large), the row
    /// ends as `failed`, and its outputs stay in the bucket. Any other write is retried later. If that cannot be
    /// written either, the caller gets the first error.
    async fn not_written(&self, row: &Delivery, error: LedgerError) -> Applied {
        let why = error.to_string();
        let known = Known { ours: true, progress: false };
        let next = match error {
            LedgerError::Invalid(_) => Next::Fail,
            _ => self.retry_policy.next(&ProcessingError::transient(&why), row, known, self.clock.now()),
        };
        self.follow(row, next, why).await.map_err(|_| error)
    }

    /// Announces what this row has committed, and ends the row. If the bus does not take it, the row waits.
    async fn announce(&self, row: &Delivery, outcome: Outcome, time: Time) -> Applied {
        let Some(announcer) = &self.announcer else { return self.finish(row, outcome).await };
        let job = match row.job_id.as_deref() {
            Some(name) => self.ledger.job(name).await?,
            None => None,
        };
        let Some(job) = job else {
            let why = "the job's row is gone, so there is nothing to announce".to_owned();
            return self.follow(row, Next::Fail, why).await;
        };
        if text(&job, attr::ENDED_BY) != Some(&row.key) {
            // The end was `gone`, and another delivery has replaced it. That one announces what is true now.
            return self.finish(row, outcome).await;
        }
        let announcement = Announcement::of(&job, outcome.name());
        let by = time.last_write.min(Instant::now() + ANNOUNCE_TIMEOUT);
        let late = |_| Err(ProcessingError::transient("not announced: there was no answer in time"));
        let said = timeout_at(by, announcer.announce(&announcement)).await.unwrap_or_else(late);
        let Err(error) = said else { return self.finish(row, outcome).await };
        let next = self.retry_policy.announce_again(row, self.clock.now());
        self.follow(row, next, error.to_string()).await
    }

    /// Ends a row that needs no announcement, or none any more.
    async fn finish(&self, row: &Delivery, outcome: Outcome) -> Applied {
        Ok((fenced(self.ledger.finish(row).await?, RowResult::Ended(outcome)), None))
    }

    fn committed(&self, committed: Committed, outcome: Outcome) -> RowResult {
        match committed {
            Committed::Done => RowResult::Ended(outcome),
            Committed::Already(outcome) => RowResult::Ended(outcome),
            Committed::Lost => RowResult::Lost,
        }
    }
}

fn fenced(fence: Fence, held: RowResult) -> RowResult {
    match fence {
        Fence::Held => held,
        Fence::Lost => RowResult::Lost,
    }
}
