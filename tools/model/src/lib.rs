//! The ledger's protocol as a model. Every interleaving of its parts is explored, up to stated bounds, over the very
//! table of transitions that the ledger makes its DynamoDB expressions from (`gemhook::ledger::transitions`).
//!
//! `cargo test --package gemhook-model -- --nocapture` prints the number of states, and the shortest trace by which
//! each of the wrong designs in `tests/model.rs` breaks a promise.
//!
//! # What is modelled
//!
//! - Two deliveries, that is two webhook ids, name one job. A sender repeats the first until it is acknowledged or
//!   gives up. The second stands as well for a row that the reconciler puts.
//! - Two workers. A worker may ask for any row at any moment. This covers a stream record that comes in time, late,
//!   twice, in another order, or never, and it covers every sweep.
//! - The answer to a worker's write, or to a redrive, may be lost. The SDK repeats the call after whatever happens in
//!   between. A worker may die between any two calls, and between a write and its answer.
//! - A lease may end while its worker lives. The clock moves by a tick, forward or back, at any moment.
//! - The job is absent or open at first, or has ended. It appears, and ends, at any moment.
//! - A worker may put its row off, extend its lease, or fail its row, at any moment.
//! - A person redrives a row at any moment.
//!
//! # What is not modelled
//!
//! The bucket; ends of a job that have no output; rows that cannot be read; TTL and erasing; how followed jobs are
//! looked at; clocks that disagree; calls that are refused for load, which the SDK repeats and which change nothing.
//!
//! - [`table`]: a row, and what a transition makes of it.
//! - [`system`]: the state, and what each part does to it.
//! - [`promise`]: what must hold.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a specification of two rows, which only tests run"
)]

mod checks;
pub mod promise;
pub mod system;
pub mod table;

use std::sync::atomic::Ordering;

use promise::{Keeps, Promise};
use stateright::{Model, Property};
use system::{Api, LAST_TICK, Lease, State, System, Take, Worker, Write, Written};
use table::{Job, Time};

/// What may happen next. `lost`: the write is made, its answer is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// A delivery comes. Where its answer is lost, it comes again.
    Deliver {
        row: usize,
        lost: bool,
    },
    Take {
        row: usize,
        take: Take,
        lost: bool,
    },
    /// The SDK repeats the call whose answer was lost.
    Repeat(Worker),
    /// The worker reads the job.
    Look(Lease),
    Write {
        lease: Lease,
        write: Write,
        lost: bool,
    },
    Announce(Lease),
    /// The worker dies.
    Die(Worker),
    Redrive {
        row: usize,
        failed: bool,
        lost: bool,
    },
    RepeatRedrive,
    /// The API says from here on that the job has ended.
    JobEnds,
    /// The clock of all parts says this from here on.
    Clock(Time),
}

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 1,
            api: self.api,
            rows: [None; 2],
            job: Job::default(),
            workers: [Worker::Idle; 2],
            sends_left: [2, 1],
            acknowledged: [false; 2],
            redriving: None,
            crashes_left: self.bounds.crashes,
            losses_left: self.bounds.losses,
            redrives_left: self.bounds.redrives,
            leases: [0; 2],
            committed: Vec::new(),
            announced: Vec::new(),
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let losses: &[bool] = if state.losses_left > 0 { &[false, true] } else { &[false] };
        for row in 0..2 {
            for &lost in losses {
                if state.sends_left[row] > 0 && !state.acknowledged[row] {
                    actions.push(Action::Deliver { row, lost });
                }
                if state.workers.contains(&Worker::Idle) {
                    let takes = [Take::Lease, Take::TakeOver, Take::GiveUp];
                    actions.extend(takes.map(|take| Action::Take { row, take, lost }));
                }
                if state.redrives_left > 0 && state.redriving.is_none() {
                    actions.extend([true, false].map(|failed| Action::Redrive { row, failed, lost }));
                }
            }
        }
        let fail: &[Write] = if self.bounds.redrives > 0 { &[Write::Fail] } else { &[] };
        for worker in state.workers {
            match worker {
                Worker::Idle => continue,
                Worker::Taking { .. } | Worker::Writing(..) => actions.push(Action::Repeat(worker)),
                Worker::Working(lease) => {
                    if self.look_is_final(state) {
                        push_writes(actions, lease, &[self.look(state)], losses);
                    } else {
                        actions.push(Action::Look(lease));
                    }
                    push_writes(actions, lease, &[Write::Extend, Write::Wait], losses);
                    push_writes(actions, lease, fail, losses);
                }
                Worker::Knows(lease, write) => push_writes(actions, lease, &[write], losses),
                Worker::Announcing(lease) => {
                    actions.push(Action::Announce(lease));
                    push_writes(actions, lease, &[Write::Wait], losses);
                    push_writes(actions, lease, fail, losses);
                }
            }
            if state.crashes_left > 0 {
                actions.push(Action::Die(worker));
            }
        }
        if state.redriving.is_some() {
            actions.push(Action::RepeatRedrive);
        }
        if state.api != Api::Ended {
            actions.push(Action::JobEnds);
        }
        let clock = [state.now - 1, state.now + 1].into_iter().filter(|now| (1..=LAST_TICK).contains(now));
        actions.extend(clock.map(Action::Clock));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Deliver { row, lost } => {
                state.sends_left[row] -= 1;
                state.losses_left -= u8::from(lost);
                self.put(&mut state, row);
                state.acknowledged[row] = !lost;
            }
            Action::Take { row, take, lost } => {
                let worker = last.worker(Worker::Idle)?;
                let holder = self.next_holder(state.leases[row], take)?;
                // A refused call changes nothing, whoever hears of it.
                if !self.take(&mut state, row, take, holder) {
                    return None;
                }
                state.leases[row] += u8::from(take != Take::GiveUp);
                if lost {
                    state.losses_left -= 1;
                    state.workers[worker] = Worker::Taking { row, take, holder };
                } else {
                    self.taken(&mut state, worker, (row, take, holder), true);
                }
            }
            Action::Repeat(repeating) => {
                let worker = last.worker(repeating)?;
                match repeating {
                    Worker::Taking { row, take, holder } => {
                        let ours = self.take(&mut state, row, take, holder);
                        self.taken(&mut state, worker, (row, take, holder), ours);
                    }
                    Worker::Writing(lease, write) => {
                        let written = self.write(&mut state, lease, write);
                        self.written(&mut state, worker, lease, write, written);
                    }
                    _ => return None,
                }
            }
            Action::Look(lease) => {
                let worker = last.worker(Worker::Working(lease))?;
                let write = self.look(&state);
                if let Write::Commit(outcome) = write
                    && self.design.announces_first
                {
                    state.announce(lease.row, outcome);
                }
                state.workers[worker] = Worker::Knows(lease, write);
            }
            Action::Write { lease, write, lost } => {
                let worker = last.worker_of(lease)?;
                let written = self.write(&mut state, lease, write);
                match lost {
                    true if written != Written::Made => return None,
                    true => {
                        state.losses_left -= 1;
                        state.workers[worker] = Worker::Writing(lease, write);
                    }
                    false => self.written(&mut state, worker, lease, write, written),
                }
            }
            Action::Announce(lease) => {
                let worker = last.worker(Worker::Announcing(lease))?;
                Self::announce(&mut state, lease);
                state.workers[worker] = Worker::Knows(lease, Write::Finish);
            }
            Action::Die(dying) => {
                let worker = last.worker(dying)?;
                state.crashes_left -= 1;
                state.workers[worker] = Worker::Idle;
            }
            Action::Redrive { row, failed, lost } => {
                self.redrive(&mut state, row, failed)?;
                if lost {
                    state.losses_left -= 1;
                    state.redriving = Some((row, failed));
                } else {
                    state.redrives_left -= 1;
                }
            }
            Action::RepeatRedrive => {
                let (row, failed) = last.redriving?;
                let is_known = self.redrive(&mut state, row, failed)?;
                state.break_if(!is_known, Promise::RedriveKnown);
                state.redriving = None;
                state.redrives_left -= 1;
            }
            Action::JobEnds => state.api = Api::Ended,
            Action::Clock(now) => state.now = now,
        }
        state.forget_order();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = promise::properties();
        // The exploration reaches what it is about.
        all.push(Property::sometimes("a lease is taken over, and another row ends", |_, state: &State| {
            let rows = || state.rows.iter().flatten();
            rows().any(|row| row.crashes > 0) && rows().any(|row| row.has_ended())
        }));
        all
    }
}

impl Keeps for System {
    fn keeps(&self, promise: Promise, state: &State) -> bool {
        self.holds(promise, state) || self.reported.swap(true, Ordering::Relaxed)
    }
}

impl System {
    /// A nonce that no other call has, as long as the bound allows one more call.
    fn next_holder(&self, leases: u8, take: Take) -> Option<u8> {
        match take {
            Take::GiveUp => Some(50 + leases),
            _ => (leases < self.bounds.leases).then_some(leases + 1),
        }
    }
}

impl State {
    fn worker(&self, which: Worker) -> Option<usize> {
        self.workers.iter().position(|worker| *worker == which)
    }

    /// The worker that is about to write under this lease.
    fn worker_of(&self, lease: Lease) -> Option<usize> {
        self.workers.iter().position(|worker| match worker {
            Worker::Working(its) | Worker::Knows(its, _) | Worker::Announcing(its) => *its == lease,
            _ => false,
        })
    }

    /// Workers are alike: states that differ in nothing but their order are one.
    fn forget_order(&mut self) {
        self.workers.sort_by_key(|worker| match *worker {
            Worker::Idle => (0, 0, 0),
            Worker::Taking { row, holder, .. } => (1, row, holder),
            Worker::Working(lease) => (2, lease.row, lease.holder),
            Worker::Knows(lease, _) => (3, lease.row, lease.holder),
            Worker::Writing(lease, _) => (4, lease.row, lease.holder),
            Worker::Announcing(lease) => (5, lease.row, lease.holder),
        });
        self.announced.sort_by_key(|(row, outcome)| (*row, outcome.name()));
    }
}

fn push_writes(actions: &mut Vec<Action>, lease: Lease, writes: &[Write], losses: &[bool]) {
    for &write in writes {
        actions.extend(losses.iter().map(|&lost| Action::Write { lease, write, lost }));
    }
}
