//! How long a row waits after an error, and when it is given up. [`RetryPolicy`] has the times, [`Next`] the decision.
//!
//! | error | next try | ends |
//! | --- | --- | --- |
//! | transient | what the API asks for, else doubled from 1 min up to 1 h with full jitter | `failed` after 72 h |
//! | API key does not work, or is of another project | 15 min | `failed` after 7 days |
//! | request rejected, job is ours | 15 min | `failed` after 7 days |
//! | request rejected, only Google-signed | after 30 s, 10 min, 2 h, 8 h, 24 h, then daily | `failed` after 7 days |
//! | job not found, ours | as long as it has been looked for, between 30 s and 6 h | `gone` after 48 h |
//! | job not found, only Google-signed | after 30 s, 10 min, 2 h, 8 h and 24 h in all | `foreign` after 24 h |
//! | output of an ended job is missing after its retention | 30 s | lost at the second look: `gone`, or in `skipped` |
//! | not announced | doubled from 1 min up to 1 h with full jitter | `failed` after 72 h; a redrive announces it |
//! | out of time | at once, or doubled where there is no progress | `failed` after 72 h without progress |
//! | permanent | none | `failed` at once |
//!
//! 72, 48 and 24 hours count from when the row met this class of error (`error_since`); another class in between starts
//! them again. The 7 days are the row's `give_up_at`, whatever the errors were, and count from its insert, its commit
//! or its last redrive. The next lease enforces them.
//!
//! "Full jitter" means a random wait between 0 and the doubled time (AWS Architecture Blog, "Exponential Backoff And
//! Jitter"), so that rows which failed together are not retried together.

use std::time::Duration;

use crate::{
    clock::{Millis, until},
    error::ProcessingError,
    ledger::{Delivery, ErrorKind, RETRY_FOR},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const FOREIGN_LOOKS: [Duration; 5] = [
    Duration::from_secs(30),
    Duration::from_secs(10 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(8 * 3600),
    Duration::from_secs(24 * 3600),
];

/// In the first attempts of a row, up to this number, the wait that the API asks for is used as it is. Later attempts
/// take the longer one of that and the doubled wait.
const OBEDIENT_ATTEMPTS: i64 = 3;

/// The waits. The default is for production. The local machine has shorter ones, so that a demo ends in seconds.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The first wait after a transient error, doubled with every attempt.
    pub first: Duration,
    /// The longest wait that is not asked for by the API.
    pub longest: Duration,
    /// No wait is shorter, whatever the API asks for.
    pub shortest: Duration,
    /// No wait that the API asks for is obeyed beyond this.
    pub longest_asked: Duration,
    /// While the waits of one lease add up to no more than this, the worker sleeps instead of putting the row off.
    pub asleep: Duration,
    /// How often the API is asked about a job in one lease.
    pub tries: u32,
    /// The first wait for a job that the API does not know, or for an output that is not there.
    pub absent: Duration,
    /// The longest wait for a job that the API does not know.
    pub longest_absent: Duration,
    /// How long a job that is ours for certain is looked for (`MISSING_JOB_HOURS`).
    pub missing: Duration,
    /// When a job is looked for that only Google's signature speaks for, counted from the first look. They are few,
    /// so that a stranger cannot make us poll.
    pub foreign_looks: &'static [Duration],
    /// The wait while our API key does not work, or the API rejects the request.
    pub key: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: MINUTE,
            longest: HOUR,
            shortest: Duration::from_secs(1),
            longest_asked: HOUR.saturating_mul(6),
            asleep: MINUTE,
            tries: 10,
            absent: Duration::from_secs(30),
            longest_absent: HOUR.saturating_mul(6),
            missing: HOUR.saturating_mul(48),
            foreign_looks: &FOREIGN_LOOKS,
            key: MINUTE.saturating_mul(15),
        }
    }
}

/// What happens to a row whose attempt ended with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is tried again after this, and counts under this class until then.
    Wait(Duration, ErrorKind),
    /// It ends as `failed`. A person can redrive it.
    Fail,
    /// It ends as `foreign`.
    Foreign,
}

/// What an attempt has found out besides its error.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Whether the job is ours for certain. It counts only for a job that cannot be read.
    pub ours: bool,
    /// Whether a transfer that an earlier attempt began has come further.
    pub progress: bool,
}

impl RetryPolicy {
    /// The wait before the next try after a transient error: what the API asked for, else doubled with full jitter.
    pub fn wait(&self, attempt: i64, asked: Option<Duration>) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1).clamp(0, 20)).unwrap_or(0);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.longest);
        let ours = ceiling.mul_f64(fastrand::f64());
        let wait = match asked {
            None => ours,
            Some(asked) if attempt <= OBEDIENT_ATTEMPTS => asked,
            Some(asked) => asked.max(ours),
        };
        wait.clamp(self.shortest, self.longest_asked)
    }

    /// How long until a job is looked for again that has been looked for this long. None: long enough.
    pub fn look_again(&self, ours: bool, waited: Duration) -> Option<Duration> {
        // A look that comes a moment early counts as the one that was planned.
        let waited = waited.saturating_add(self.shortest);
        if ours {
            let left = self.missing.checked_sub(waited).filter(|left| !left.is_zero())?;
            return Some(waited.clamp(self.absent, self.longest_absent).min(left).max(self.shortest));
        }
        self.foreign_looks.iter().find_map(|look| look.checked_sub(waited).filter(|left| !left.is_zero()))
    }

    /// What happens to a row whose announcement the event bus did not take.
    pub fn announce_again(&self, row: &Delivery, now: Millis) -> Next {
        match until(row.error_began(ErrorKind::Announce, now), now) < RETRY_FOR {
            true => Next::Wait(self.wait(row.attempt, None), ErrorKind::Announce),
            false => Next::Fail,
        }
    }

    /// What happens to a row after an attempt that ended with this error.
    pub fn next(&self, error: &ProcessingError, row: &Delivery, known: Known, now: Millis) -> Next {
        let waited = |kind| until(row.error_began(kind, now), now);
        let rare = self.foreign_looks.last().copied().unwrap_or(self.longest);
        match error {
            ProcessingError::Transient { after, .. } if waited(ErrorKind::Transient) < RETRY_FOR => {
                let wait = after.unwrap_or_else(|| self.wait(row.attempt, None));
                Next::Wait(wait.clamp(self.shortest, self.longest_asked), ErrorKind::Transient)
            }
            ProcessingError::DeadlineExceeded if known.progress => {
                Next::Wait(Duration::ZERO, ErrorKind::Deadline)
            }
            ProcessingError::DeadlineExceeded if waited(ErrorKind::Deadline) < RETRY_FOR => {
                let first = row.attempt <= OBEDIENT_ATTEMPTS;
                let wait = if first { Duration::ZERO } else { self.wait(row.attempt, None) };
                Next::Wait(wait, ErrorKind::Deadline)
            }
            ProcessingError::Transient { .. }
            | ProcessingError::DeadlineExceeded
            | ProcessingError::Permanent(_) => Next::Fail,
            ProcessingError::Foreign(_) => Next::Foreign,
            ProcessingError::NotFound(_) => {
                let wait = self.look_again(known.ours, waited(ErrorKind::NotFound)).unwrap_or(self.absent);
                Next::Wait(wait, ErrorKind::NotFound)
            }
            ProcessingError::OutputExpired(_) => Next::Wait(self.absent, ErrorKind::OutputMissing),
            ProcessingError::Unauthorized(_) | ProcessingError::OtherProject(_) => {
                Next::Wait(self.key, ErrorKind::Unauthorized)
            }
            ProcessingError::Rejected(_) if known.ours => Next::Wait(self.key, ErrorKind::Rejected),
            ProcessingError::Rejected(_) => {
                let wait = self.look_again(false, waited(ErrorKind::Rejected)).unwrap_or(rare);
                Next::Wait(wait, ErrorKind::Rejected)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{job::JobKind, ledger::NewDelivery};

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry_policy = RetryPolicy::default();
        for attempt in [1, 2, 3, 7, 100, i64::MAX] {
            for _ in 0..100 {
                let ceiling = [60, 120, 240].get(attempt as usize - 1).copied().unwrap_or(3600);
                assert!(
                    retry_policy.wait(attempt, None) <= Duration::from_secs(ceiling),
                    "attempt {attempt}"
                );
            }
        }
    }

    #[test]
    fn the_api_is_obeyed_between_a_second_and_six_hours() {
        let retry_policy = RetryPolicy::default();
        for attempt in [1, 3] {
            let asked = Duration::from_millis(29_500);
            assert_eq!(retry_policy.wait(attempt, Some(asked)), asked);
        }
        // The doubled wait is up to an hour here.
        let often: Vec<Duration> = (0..100).map(|_| retry_policy.wait(9, Some(MINUTE))).collect();
        assert!(often.iter().all(|wait| *wait >= MINUTE));
        assert!(
            often.iter().any(|wait| *wait > MINUTE),
            "a row that was tried often may wait longer than asked"
        );
        assert_eq!(retry_policy.wait(1, Some(HOUR * 24)), HOUR * 6);
        for _ in 0..1000 {
            for asked in [Some(Duration::ZERO), Some(Duration::from_nanos(1)), None] {
                assert!(retry_policy.wait(1, asked) >= Duration::from_secs(1));
            }
        }
    }

    fn row(error_kind: ErrorKind) -> Delivery {
        let row = NewDelivery::of_job("batches/b", JobKind::Batch, None, "r", 0).into_item();
        let row = Delivery::read(&row).unwrap();
        Delivery { attempt: 5, error_kind: Some(error_kind), error_since: Some(0), ..row }
    }

    #[test]
    fn an_error_is_retried_for_72_hours_and_no_longer() {
        let retry_policy = RetryPolicy::default();
        let known = Known { ours: true, progress: false };
        let over = 72 * 3_600_000;
        for (error, kind) in [
            (ProcessingError::transient("x"), ErrorKind::Transient),
            (ProcessingError::DeadlineExceeded, ErrorKind::Deadline),
        ] {
            let row = row(kind);
            assert!(matches!(retry_policy.next(&error, &row, known, over - 1), Next::Wait(..)), "{error}");
            assert_eq!(retry_policy.next(&error, &row, known, over), Next::Fail, "{error}");
        }
        let row = row(ErrorKind::Announce);
        assert!(matches!(retry_policy.announce_again(&row, over - 1), Next::Wait(..)));
        assert_eq!(retry_policy.announce_again(&row, over), Next::Fail);
    }

    #[test]
    fn a_transfer_that_makes_progress_goes_on_at_once_however_long_it_takes() {
        let known = Known { ours: true, progress: true };
        let error = ProcessingError::DeadlineExceeded;
        let next = RetryPolicy::default().next(&error, &row(ErrorKind::Deadline), known, 72 * 3_600_000);
        assert_eq!(next, Next::Wait(Duration::ZERO, ErrorKind::Deadline));
    }

    /// Hours from the first look at which a job is looked for, if each look comes when it is due.
    fn looks(ours: bool) -> Vec<f64> {
        let (retry_policy, mut waited) = (RetryPolicy::default(), Duration::ZERO);
        let mut looks = Vec::new();
        while let Some(wait) = retry_policy.look_again(ours, waited) {
            waited += wait;
            looks.push(waited.as_secs_f64() / 3600.0);
        }
        looks
    }

    #[test]
    fn a_job_of_ours_is_looked_for_during_two_days_and_a_strangers_a_few_times_in_one() {
        let ours = looks(true);
        assert!((10..=25).contains(&ours.len()), "{ours:?}");
        assert!((47.9..48.1).contains(ours.last().unwrap()), "{ours:?}");
        assert!(ours.windows(2).all(|pair| pair[1] - pair[0] < 6.01), "{ours:?}");
        let strange = looks(false);
        assert_eq!(strange.len(), 5, "{strange:?}");
        assert!((23.9..24.1).contains(strange.last().unwrap()), "{strange:?}");
    }
}
