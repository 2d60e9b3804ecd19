//! One row, from lease to end: what the stream, the sweep and a person's redrive all run.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    announce::{Announcement, Announcer},
    archive::{Archive, Checkpoints, Report, Task},
    clock::{Millis, SharedClock, millis, until},
    ledger::{
        Committed, Delivery, Fence, GIVE_UP_AFTER, Lease, Ledger, LedgerError, Outcome, PATIENCE,
        TroubleKind, Wait,
    },
    metrics,
    trouble::Trouble,
    webhook::Trust,
};

/// Work stops this long before the invocation does, so that the row can be put off in time.
const MARGIN: Duration = Duration::from_secs(20);

/// A lease at first. Work that takes longer extends it once, to the invocation's end and a little more.
const LEASE: Duration = Duration::from_secs(90);
const EXTEND_AFTER: Duration = Duration::from_secs(60);
const AFTERWARDS: Duration = Duration::from_secs(30);

/// For an announcement, also one that is begun at the deadline: it fits into the margin.
const ANNOUNCING: Duration = Duration::from_secs(12);

/// How long an open job is followed.
const WATCH: Duration = Duration::from_secs(7 * 86_400);

/// How a row remembers that its job, or an output of it, was looked for once.
const ABSENT: &str = "not found at first look";
const EXPIRED: &str = "no output at first look";

/// How long troubles are waited out. The local machine is quicker.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The first wait of a passing trouble, doubled with every attempt.
    pub first: Duration,
    pub longest: Duration,
    /// Waits that add up to no more are slept inside the lease.
    pub asleep: Duration,
    /// Between two looks for a job that the API does not know.
    pub absent: Duration,
    /// While our key does not work.
    pub key: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(60),
            longest: Duration::from_secs(3600),
            asleep: Duration::from_secs(60),
            absent: Duration::from_secs(30),
            key: Duration::from_secs(15 * 60),
        }
    }
}

impl Pace {
    /// What the other side asked for, else doubled with full jitter.
    fn wait(&self, attempt: i64, asked: Option<Duration>) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1).clamp(0, 20)).unwrap_or(0);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.longest);
        asked.unwrap_or_else(|| ceiling.mul_f64(fastrand::f64())).min(self.longest)
    }
}

/// What became of a row in one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worked {
    /// Somebody else has it, it is not due, or it has ended.
    NotOurs,
    Ended(Outcome),
    Finished,
    Waiting,
    Failed,
    /// The lease was lost on the way: another worker writes.
    Lost,
}

pub struct Worker {
    pub ledger: Ledger,
    pub archive: Archive,
    /// None where there is no bus: then a commit ends its row.
    pub announcer: Option<Announcer>,
    pub clock: SharedClock,
    pub pace: Pace,
}

impl Worker {
    /// Leases the row and works it until it has ended, waits, or the invocation is near its end.
    pub async fn work(&self, key: &str, end: Millis) -> Result<Worked, LedgerError> {
        let started = Instant::now();
        let last = end.saturating_add(millis(AFTERWARDS));
        let lease = self.clock.now().saturating_add(millis(LEASE)).min(last);
        let row = match self.ledger.lease(key, lease).await? {
            Lease::Refused => return Ok(Worked::NotOurs),
            Lease::NewerSchema(schema) => {
                tracing::error!(webhook_id = key, schema, "left for newer code");
                return Ok(Worked::NotOurs);
            }
            Lease::Unreadable(why) => {
                metrics::failed();
                tracing::error!(webhook_id = key, why, "failed");
                return Ok(Worked::Failed);
            }
            Lease::GaveUp(row) => {
                tell(&row, Worked::Failed, row.last_error.as_deref(), started);
                return Ok(Worked::Failed);
            }
            Lease::Taken(row) => row,
        };
        self.archive.first.keep(&self.archive.bucket, &row).await;
        let deadline = Instant::now() + until(self.clock.now(), end).saturating_sub(MARGIN);
        let checkpoints = Checkpoints::of(row.checkpoint.as_deref());
        let now = self.clock.now();
        let task = Task { row: &row, deadline, now, last_look: false, checkpoints: &checkpoints };
        if row.outcome.is_some() {
            let (worked, why) = self.announce(&row).await?;
            tell(&row, worked, why.as_deref(), started);
            return Ok(worked);
        }
        // Dropped at the deadline wherever it stands, so that the row can be put off in time. On the heap: nested in
        // the runtime's, the futures of an attempt are too deep for the compiler.
        let mut attempt = Box::pin(timeout_at(deadline, self.attempt(task)));
        let report = match timeout(EXTEND_AFTER, &mut attempt).await {
            Ok(report) => report,
            Err(_) => match self.ledger.extend(&row, last).await? {
                Fence::Held => attempt.await,
                Fence::Lost => return Ok(Worked::Lost),
            },
        };
        let report = report.unwrap_or(Err(Trouble::OutOfTime));
        let (worked, why) = self.settle(task, report).await?;
        tell(&row, worked, why.as_deref(), started);
        Ok(worked)
    }

    /// Tries, and tries again inside the lease where the wait is short.
    async fn attempt(&self, task: Task<'_>) -> Result<Report, Trouble> {
        let mut slept = Duration::ZERO;
        for attempt in task.row.attempt.. {
            match self.archive.bring(task).await {
                Err(Trouble::Passing { why, after }) => {
                    let wait = self.pace.wait(attempt, after);
                    if slept + wait > self.pace.asleep || Instant::now() + wait >= task.deadline {
                        return Err(Trouble::Passing { why, after: Some(wait) });
                    }
                    sleep(wait).await;
                    slept += wait;
                }
                Err(Trouble::Absent(_)) if has_waited(task.row, ABSENT) => {
                    self.archive.gemini.probe().await?;
                    return match self.archive.bring(task).await {
                        Err(Trouble::Absent(why)) => self.missing(task, why).await,
                        other => other,
                    };
                }
                Err(Trouble::Expired(_)) if has_waited(task.row, EXPIRED) => {
                    self.archive.gemini.probe().await?;
                    return self.archive.bring(Task { last_look: true, ..task }).await;
                }
                other => return other,
            }
        }
        Err(Trouble::OutOfTime)
    }

    /// A job that is not there: gone, where it was ours for certain, else somebody else's.
    async fn missing(&self, task: Task<'_>, why: String) -> Result<Report, Trouble> {
        if task.row.trust == Trust::Project || self.archive.is_bound(task.row, None).await? {
            self.archive.recover(task, &why).await
        } else {
            Err(Trouble::Foreign(why))
        }
    }

    /// Writes what an attempt came to: the one place where a report or a trouble becomes a transition.
    async fn settle(&self, task: Task<'_>, report: Result<Report, Trouble>) -> Settled {
        let row = task.row;
        let now = self.clock.now();
        let told = report.as_ref().err().map(ToString::to_string);
        let checkpoint = task.checkpoints.text();
        let checkpoint = checkpoint.as_deref();
        let wait = |after: Duration, why: String, kind: TroubleKind| async move {
            let due_at = now.saturating_add(millis(after));
            let wait = Wait { due_at, why: &why, kind, checkpoint };
            Ok::<_, LedgerError>(fenced(self.ledger.wait(row, wait).await?, Worked::Waiting))
        };
        let worked = match report {
            Ok(Report::Ended { job, outcome }) => {
                let missed = job.missed();
                let committed = self.ledger.commit(row, outcome, &job, missed.as_deref()).await?;
                if committed == Committed::Done && self.announcer.is_some() {
                    let (worked, why) = self.announce(&as_committed(row, outcome, &job.name, now)).await?;
                    return Ok((worked, why.or(missed)));
                }
                return Ok((self.committed(committed, outcome), missed));
            }
            Ok(Report::Open(job)) => {
                let committed = self.ledger.record_open(row, &job, now.saturating_add(millis(WATCH))).await?;
                self.committed(committed, Outcome::Recorded)
            }
            Ok(Report::Nothing(note)) => {
                let fence = self.ledger.end(row, Outcome::Recorded, Some(note)).await?;
                fenced(fence, Worked::Ended(Outcome::Recorded))
            }
            Err(Trouble::Passing { why, after }) if now < patience_ends(row, TroubleKind::Transient, now) => {
                wait(after.unwrap_or(self.pace.longest), why, TroubleKind::Transient).await?
            }
            Err(Trouble::Passing { why, .. } | Trouble::Lasting(why)) => {
                fenced(self.ledger.fail(row, &why).await?, Worked::Failed)
            }
            Err(trouble @ Trouble::Foreign(_)) => {
                let note = trouble.to_string();
                let fence = self.ledger.end(row, Outcome::Foreign, Some(&note)).await?;
                fenced(fence, Worked::Ended(Outcome::Foreign))
            }
            Err(Trouble::Absent(why)) => {
                wait(self.pace.absent, format!("{ABSENT}: {why}"), TroubleKind::NotFound).await?
            }
            Err(Trouble::Expired(why)) => {
                wait(self.pace.absent, format!("{EXPIRED}: {why}"), TroubleKind::OutputMissing).await?
            }
            Err(trouble @ Trouble::KeyRefused(_)) => {
                metrics::key_refused();
                wait(self.pace.key, trouble.to_string(), TroubleKind::Unauthorized).await?
            }
            Err(trouble @ Trouble::Rejected(_)) => {
                wait(self.pace.key, trouble.to_string(), TroubleKind::Rejected).await?
            }
            Err(Trouble::OutOfTime) => {
                let why = match task.checkpoints.obstacle() {
                    Some(obstacle) => format!("{}: {obstacle}", Trouble::OutOfTime),
                    None => Trouble::OutOfTime.to_string(),
                };
                match now < patience_ends(row, TroubleKind::Deadline, now) {
                    true => wait(Duration::ZERO, why, TroubleKind::Deadline).await?,
                    false => fenced(self.ledger.fail(row, &why).await?, Worked::Failed),
                }
            }
        };
        Ok((worked, told))
    }

    /// Announces what this row has committed, and ends it. What the bus does not take is waited out.
    async fn announce(&self, row: &Delivery) -> Settled {
        let outcome = row.outcome.map(Outcome::name).unwrap_or_default();
        if let Some(announcer) = &self.announcer {
            let job = match row.job_id.as_deref() {
                Some(name) => self.ledger.job(name).await?,
                None => None,
            };
            let Some(job) = job else {
                let why = "the job's row is gone, so there is nothing to announce".to_owned();
                return Ok((fenced(self.ledger.fail(row, &why).await?, Worked::Failed), Some(why)));
            };
            let told = Announcement::of(&job, outcome);
            let late = |_| Err(Trouble::passing("not announced: the bus did not answer in time"));
            let said = timeout(ANNOUNCING, announcer.announce(&told)).await.unwrap_or_else(late);
            if let Err(trouble) = said {
                let (why, now) = (trouble.to_string(), self.clock.now());
                let worked = if now < patience_ends(row, TroubleKind::Announce, now) {
                    let due_at = now.saturating_add(millis(self.pace.wait(row.attempt, None)));
                    let wait = Wait { due_at, why: &why, kind: TroubleKind::Announce, checkpoint: None };
                    fenced(self.ledger.wait(row, wait).await?, Worked::Waiting)
                } else {
                    fenced(self.ledger.fail(row, &why).await?, Worked::Failed)
                };
                return Ok((worked, Some(why)));
            }
        }
        let ended = row.outcome.map_or(Worked::Finished, Worked::Ended);
        Ok((fenced(self.ledger.finish(row).await?, ended), None))
    }

    fn committed(&self, committed: Committed, outcome: Outcome) -> Worked {
        match committed {
            Committed::Done => Worked::Ended(outcome),
            Committed::Already(outcome) => Worked::Ended(outcome),
            Committed::Lost => Worked::Lost,
        }
    }
}

/// What was written, and the words for it where something is missing.
type Settled = Result<(Worked, Option<String>), LedgerError>;

/// The row as the commit left it: its budget begins afresh.
fn as_committed(row: &Delivery, outcome: Outcome, job: &str, now: Millis) -> Delivery {
    Delivery {
        outcome: Some(outcome),
        trouble: None,
        trouble_since: None,
        checkpoint: None,
        job_id: Some(job.to_owned()),
        crashes: 0,
        give_up_at: now.saturating_add(millis(GIVE_UP_AFTER)),
        ..row.clone()
    }
}

fn patience_ends(row: &Delivery, kind: TroubleKind, now: Millis) -> Millis {
    row.trouble_began(kind, now).saturating_add(millis(PATIENCE))
}

/// A row that says so was put off since, so this look is the second.
fn has_waited(row: &Delivery, for_what: &str) -> bool {
    row.last_error.as_deref().is_some_and(|last| last.starts_with(for_what))
}

fn fenced(fence: Fence, held: Worked) -> Worked {
    match fence {
        Fence::Held => held,
        Fence::Lost => Worked::Lost,
    }
}

fn tell(row: &Delivery, worked: Worked, why: Option<&str>, started: Instant) {
    let (webhook_id, event_type) = (row.key.as_str(), row.event_type.as_deref());
    let (job, attempt, ms) = (row.job_hint.as_deref(), row.attempt, started.elapsed().as_millis());
    match worked {
        Worked::Failed => {
            metrics::failed();
            tracing::error!(webhook_id, event_type, job, attempt, ms, why, "failed");
        }
        Worked::Waiting => {
            metrics::waiting();
            tracing::warn!(webhook_id, event_type, job, attempt, ms, why, "waiting");
        }
        Worked::Ended(outcome) => {
            metrics::ended(outcome);
            tracing::info!(webhook_id, event_type, job, attempt, ms, why, "{}", outcome.name());
        }
        Worked::Finished => {
            metrics::announced_late();
            tracing::info!(webhook_id, event_type, job, attempt, ms, "announced late");
        }
        other => tracing::info!(webhook_id, event_type, job, attempt, ms, "{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_obey_the_other_side() {
        let pace = Pace::default();
        for attempt in [1, 2, 3, 7, 100, i64::MAX] {
            for _ in 0..100 {
                let ceiling = [60, 120, 240].get(attempt as usize - 1).copied().unwrap_or(3600);
                assert!(pace.wait(attempt, None) <= Duration::from_secs(ceiling), "attempt {attempt}");
            }
        }
        assert_eq!(pace.wait(5, Some(Duration::from_millis(29_500))), Duration::from_millis(29_500));
        assert_eq!(pace.wait(1, Some(Duration::from_secs(86_400))), pace.longest);
    }
}
