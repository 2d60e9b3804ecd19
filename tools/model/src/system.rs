//! The state of the whole system, and what each part does to it.

use std::sync::atomic::AtomicBool;

use gemhook::ledger::{Outcome, condition::Transition, transitions as t};

use crate::{
    promise::Promise,
    table::{Answer, Call, Job, Row, Time, ask},
};

/// The clock moves between 1 and this.
pub const LAST_TICK: Time = 3;
pub const MAX_CRASHES: u8 = 2;

/// How much may go wrong on one way from the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How often one row is leased, redrives included.
    pub leases: u8,
    /// Workers that die.
    pub crashes: u8,
    /// Answers that are lost.
    pub losses: u8,
    /// With one, a worker may also fail its row at any moment.
    pub redrives: u8,
    /// The budget of a row. A short one is used up while the clock moves.
    pub give_up_at: Time,
}

/// The transitions that the parts use, and the checks that they make around them.
#[derive(Clone, Copy)]
pub struct Design {
    pub take_over: &'static Transition,
    pub commit: &'static Transition,
    pub finish: &'static Transition,
    pub end_job: &'static Transition,
    pub redrive_failed: &'static Transition,
    /// A refused lease is looked at for our own nonce.
    pub recognises_lease: bool,
    /// A refused commit is looked at for our own outcome.
    pub recognises_commit: bool,
    /// The job's row is asked when the work begins, and the commit relies on that.
    pub asks_job_first: bool,
    /// The row is `done` before the work and not after it.
    pub done_first: bool,
    /// The end is announced before it is committed.
    pub announces_first: bool,
}

impl Design {
    /// What the functions do.
    pub fn right(bus: bool) -> Self {
        Self {
            take_over: &t::TAKE_OVER,
            commit: if bus { &t::COMMIT_TO_ANNOUNCE } else { &t::COMMIT },
            finish: &t::FINISH,
            end_job: &t::END_JOB,
            redrive_failed: &t::REDRIVE_FAILED,
            recognises_lease: true,
            recognises_commit: true,
            asks_job_first: false,
            done_first: false,
            announces_first: false,
        }
    }
}

/// What the Gemini API says of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    Absent,
    Open,
    Ended,
}

/// One configuration to explore.
pub struct System {
    pub design: Design,
    /// Whether ends are announced.
    pub bus: bool,
    /// What the API says at first. It says `Ended` from some moment on.
    pub api: Api,
    pub bounds: Bounds,
    /// Whether a broken promise was reported: the first is the one with the shortest trace.
    pub reported: AtomicBool,
}

/// The fence of a worker: its row, the attempt that the lease got, and the nonce of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub row: usize,
    pub attempt: u8,
    pub holder: u8,
}

/// The three ways to take a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Take {
    Lease,
    TakeOver,
    GiveUp,
}

/// What a worker writes under its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    Extend,
    Wait,
    Fail,
    RecordOpen,
    End(Outcome),
    Commit(Outcome),
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Worker {
    Idle,
    /// The answer to its call for a lease was lost. The SDK is about to repeat the call.
    Taking {
        row: usize,
        take: Take,
        holder: u8,
    },
    Working(Lease),
    /// It has read the job, stored its output, and knows what to write.
    Knows(Lease, Write),
    /// The answer to its write was lost. The SDK is about to repeat the write.
    Writing(Lease, Write),
    Announcing(Lease),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub now: Time,
    pub api: Api,
    pub rows: [Option<Row>; 2],
    pub job: Job,
    pub workers: [Worker; 2],
    pub sends_left: [u8; 2],
    /// The sender has received a 2xx for this row.
    pub acknowledged: [bool; 2],
    /// A redrive whose answer was lost, and whether the row had failed.
    pub redriving: Option<(usize, bool)>,
    pub crashes_left: u8,
    pub losses_left: u8,
    pub redrives_left: u8,
    /// Leases of each row so far. Each call that can succeed has a nonce of its own.
    pub leases: [u8; 2],
    pub committed: Vec<(usize, Outcome)>,
    pub announced: Vec<(usize, Outcome)>,
    /// The first promise that was broken on the way here.
    pub broken: Option<Promise>,
}

/// How a write of a worker came out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Now, or by the try whose answer was lost.
    Made,
    /// The delivery's row is not ours any more.
    Lost,
    /// The job's row refused its part.
    JobRefused,
}

impl System {
    pub fn new(design: Design, bus: bool, api: Api, bounds: Bounds) -> Self {
        Self { design, bus, api, bounds, reported: AtomicBool::new(false) }
    }

    fn call(&self, state: &State) -> Call {
        Call {
            now: state.now,
            // A lease holds until the clock moves on.
            lease_until: state.now,
            due_at: state.now + 1,
            // Not short for what is left alone: see `promise`.
            give_up_at: if state.now > LAST_TICK { u8::MAX } else { self.bounds.give_up_at },
            max_crashes: MAX_CRASHES,
            redrive: state.redrives_left,
            ..Call::default()
        }
    }

    /// The receiver, or the reconciler for a job that it has found: one conditional put.
    pub fn put(&self, state: &mut State, row: usize) {
        let call = self.call(state);
        if matches!(ask(&t::PUT, state.rows[row], call), Answer::Made(_)) {
            state.break_if(state.rows[row].is_some(), Promise::Absorbing);
            state.rows[row] = Some(Row::new(call.give_up_at));
        }
    }

    /// One call for a row. True if it has changed the row, now or by the try whose answer was lost.
    pub fn take(&self, state: &mut State, row: usize, take: Take, holder: u8) -> bool {
        let transition = match take {
            Take::Lease => &t::LEASE,
            Take::TakeOver => self.design.take_over,
            Take::GiveUp => &t::GIVE_UP,
        };
        match ask(transition, state.rows[row], Call { holder, ..self.call(state) }) {
            Answer::Made(after) => {
                let until = state.rows[row].and_then(|row| row.lease_until);
                let is_live = take == Take::TakeOver && until.is_some_and(|until| until >= state.now);
                state.break_if(is_live, Promise::TakenOverLate);
                state.change(row, after);
                true
            }
            Answer::Refused { done } => done && self.design.recognises_lease,
        }
    }

    /// What a worker does with the answer to its call for a row.
    pub fn taken(
        &self,
        state: &mut State,
        worker: usize,
        (row, take, holder): (usize, Take, u8),
        ours: bool,
    ) {
        let Some(after) = state.rows[row] else { return };
        let lease = Lease { row, attempt: after.attempt, holder };
        state.workers[worker] = match after.outcome {
            _ if !ours || take == Take::GiveUp => Worker::Idle,
            Some(_) => Worker::Announcing(lease),
            None if self.design.done_first => Worker::Knows(lease, Write::Finish),
            None => Worker::Working(lease),
        };
        state.check_left_behind(worker, row, holder);
    }

    /// What a worker finds that it has to write, after it has read the job and stored what there is. An object's key
    /// is a function of the job alone.
    pub fn look(&self, state: &State) -> Write {
        match state.api {
            Api::Ended if self.design.asks_job_first && state.job.ended_by.is_some() => {
                Write::End(Outcome::Repeated)
            }
            Api::Ended => Write::Commit(Outcome::Archived),
            Api::Open => Write::RecordOpen,
            Api::Absent => Write::Commit(Outcome::Gone),
        }
    }

    /// Whether nothing that comes between reading the job and writing can change what is written.
    pub fn look_is_final(&self, state: &State) -> bool {
        state.api == Api::Ended && !self.design.asks_job_first && !self.design.announces_first
    }

    /// A write under a lease: one transition, or two in one transaction where it concerns the job's row too.
    pub fn write(&self, state: &mut State, lease: Lease, write: Write) -> Written {
        let (transition, outcome) = match write {
            Write::Extend => (&t::EXTEND, None),
            Write::Wait => (&t::WAIT, None),
            Write::Fail => (&t::FAIL, None),
            Write::Finish => (self.design.finish, None),
            Write::RecordOpen => (&t::END, Some(Outcome::Recorded)),
            Write::End(outcome) => (&t::END, Some(outcome)),
            Write::Commit(outcome) => (self.design.commit, Some(outcome)),
        };
        let (mine, holder, by) = (lease.attempt, lease.holder, lease.row as u8);
        let call = Call { mine, holder, by, outcome, event_time: by + 1, ..self.call(state) };
        let row = match ask(transition, state.rows[lease.row], call) {
            Answer::Made(row) => row,
            Answer::Refused { done: true } if self.design.recognises_commit => return Written::Made,
            Answer::Refused { .. } => return Written::Lost,
        };
        let job = match write {
            Write::RecordOpen => ask(&t::OPEN_JOB, state.job, call),
            Write::Commit(Outcome::Archived) if state.job.outcome == Some(Outcome::Gone) => {
                ask(&t::REPLACE_GONE_JOB, state.job, Call { replaces: state.job.ended_by, ..call })
            }
            Write::Commit(_) => ask(self.design.end_job, state.job, call),
            _ => Answer::Made(state.job),
        };
        let Answer::Made(job) = job else { return Written::JobRefused };
        let is_fenced = state.rows[lease.row].is_some_and(|row| row.holder == Some(holder));
        state.break_if(!is_fenced, Promise::Fenced);
        state.change(lease.row, row);
        state.change_job(job);
        if let Write::Commit(outcome) = write {
            state.committed.push((lease.row, outcome));
        }
        Written::Made
    }

    /// What a worker does with the answer to its write.
    pub fn written(&self, state: &mut State, worker: usize, lease: Lease, write: Write, written: Written) {
        state.workers[worker] = match (written, write) {
            (Written::Made, Write::Extend) => Worker::Working(lease),
            (Written::Made, Write::Commit(_)) if self.bus => Worker::Announcing(lease),
            (Written::Made, Write::Finish) if self.design.done_first => Worker::Working(lease),
            (Written::JobRefused, Write::RecordOpen) => Worker::Knows(lease, Write::End(Outcome::Recorded)),
            (Written::JobRefused, Write::Commit(outcome)) => {
                // Looked for again after a redrive, the job is what it was.
                let again = outcome == Outcome::Gone
                    && state.job.outcome == Some(Outcome::Gone)
                    && state.job.ended_by == Some(lease.row as u8);
                let outcome = if again { Outcome::Gone } else { Outcome::Repeated };
                Worker::Knows(lease, Write::End(outcome))
            }
            _ => Worker::Idle,
        };
        state.check_left_behind(worker, lease.row, lease.holder);
    }

    /// The worker announces what the job's row says, if this delivery has ended the job.
    pub fn announce(state: &mut State, lease: Lease) {
        if let (Some(by), Some(outcome)) = (state.job.ended_by, state.job.outcome)
            && usize::from(by) == lease.row
        {
            state.announce(lease.row, outcome);
        }
    }

    /// A person redrives a row. None where it can not be redriven; else whether the person learns that it was done.
    pub fn redrive(&self, state: &mut State, row: usize, failed: bool) -> Option<bool> {
        let transition = if failed { self.design.redrive_failed } else { &t::REDRIVE_DONE };
        match ask(transition, state.rows[row], self.call(state)) {
            Answer::Made(after) => {
                state.rows[row] = after;
                Some(true)
            }
            Answer::Refused { done } => state.redriving.map(|_| done),
        }
    }
}

impl State {
    pub fn break_if(&mut self, broken: bool, promise: Promise) {
        if broken {
            self.broken.get_or_insert(promise);
        }
    }

    /// Every change of a delivery's row but a redrive.
    fn change(&mut self, row: usize, after: Option<Row>) {
        let ended = self.rows[row].is_some_and(Row::has_ended);
        self.break_if(ended && after != self.rows[row], Promise::Absorbing);
        self.rows[row] = after;
    }

    /// Every change of the job's row: an end is written once, and a `gone` end is replaced once by one with an output.
    fn change_job(&mut self, after: Job) {
        let before = self.job;
        let may_change = match before.outcome {
            None => {
                before.event_time.is_none()
                    || after.ended_by.is_some()
                    || after.event_time >= before.event_time
            }
            Some(Outcome::Gone) => after.outcome == Some(Outcome::Archived),
            Some(_) => false,
        };
        self.break_if(after != before && !may_change, Promise::CommittedOnce);
        self.job = after;
    }

    pub fn announce(&mut self, row: usize, outcome: Outcome) {
        let said = (row, outcome);
        self.break_if(!self.committed.contains(&said), Promise::Announced);
        if !self.announced.contains(&said) {
            self.announced.push(said);
        }
    }

    /// A worker that goes on to other work must not leave a lease of its own: its row would wait for the lease's end.
    fn check_left_behind(&mut self, worker: usize, row: usize, holder: u8) {
        let is_left = self.rows[row].is_some_and(|row| row.is_held_by(holder));
        self.break_if(self.workers[worker] == Worker::Idle && is_left, Promise::NoLeaseLeft);
    }
}
