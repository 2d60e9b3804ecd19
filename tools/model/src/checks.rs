//! When a promise holds: of the state itself, or of what becomes of it when only sweeps and redrives follow.

use std::{cell::RefCell, rc::Rc};

use gemhook::ledger::{DeliveryState, Outcome};

use crate::{
    promise::Promise,
    system::{Api, LAST_TICK, Lease, State, System, Take, Worker, Write},
    table::Row,
};

impl System {
    /// Whether the promise holds in this state. `Ends` and `NotLost` are asked of what becomes of the state if nothing
    /// but sweeps happen from here on: so from every state there is a way to the end, and it is the one that is taken.
    pub(crate) fn holds(&self, promise: Promise, state: &State) -> bool {
        match promise {
            Promise::Acknowledged => (0..2).all(|row| !state.acknowledged[row] || state.rows[row].is_some()),
            Promise::Ends => self.left_alone(state).swept.have_ended(),
            Promise::NotLost => {
                let last = &self.left_alone(state).redriven;
                let is_done = |row: &Row| row.state == DeliveryState::Done;
                let is_known = last.rows.iter().flatten().count() > 0;
                let is_archived = last.job.outcome == Some(Outcome::Archived);
                last.rows.iter().flatten().all(is_done) && (is_archived || !is_known)
            }
            Promise::Announced => state.broken != Some(promise) && self.announces_all(state),
            _ => state.broken != Some(promise),
        }
    }

    /// Left alone with time and the sweep: the workers are gone, and nothing is sent or lost any more.
    fn swept(&self, state: &State) -> State {
        let mut state = State { workers: [Worker::Idle; 2], redriving: None, ..state.clone() };
        for _ in 0..10 {
            if state.have_ended() {
                break;
            }
            state.now += 3;
            for row in 0..2 {
                self.sweep_row(&mut state, row);
            }
        }
        state
    }

    fn sweep_row(&self, state: &mut State, row: usize) {
        if !state.rows[row].is_some_and(|row| row.open) {
            return;
        }
        // No other call has this nonce.
        state.leases[row] += 100;
        let holder = state.leases[row];
        for take in [Take::Lease, Take::TakeOver, Take::GiveUp] {
            if self.take(state, row, take, holder) {
                self.taken(state, 0, (row, take, holder), true);
                break;
            }
        }
        state.leases[row] -= 99;
        while let Some((lease, write)) = self.next_write(state) {
            let written = self.write(state, lease, write);
            self.written(state, 0, lease, write, written);
        }
    }

    fn next_write(&self, state: &mut State) -> Option<(Lease, Write)> {
        match state.workers[0] {
            Worker::Working(lease) => Some((lease, self.look(state))),
            Worker::Knows(lease, write) => Some((lease, write)),
            Worker::Announcing(lease) => {
                Self::announce(state, lease);
                Some((lease, Write::Finish))
            }
            _ => None,
        }
    }

    /// The job has ended, a person redrives what failed or ended without an output, and it is swept again. Where the
    /// announcement of a `gone` end has failed, the first redrive announces it, and the second archives the job.
    fn redriven(&self, swept: &State) -> State {
        let now = swept.now.max(LAST_TICK + 1);
        let mut state = State { api: Api::Ended, now, ..swept.clone() };
        for _ in 0..2 {
            for row in 0..2 {
                let _ = self.redrive(&mut state, row, true).or_else(|| self.redrive(&mut state, row, false));
            }
            state = self.swept(&state);
        }
        state
    }

    /// Several promises ask for the same state, one after the other.
    fn left_alone(&self, state: &State) -> Rc<LeftAlone> {
        thread_local! { static LAST: RefCell<Option<(State, Rc<LeftAlone>)>> = RefCell::default(); }
        LAST.with_borrow_mut(|last| match last {
            Some((of, left)) if of == state => left.clone(),
            _ => {
                let swept = self.swept(state);
                let left = Rc::new(LeftAlone { redriven: self.redriven(&swept), swept });
                *last = Some((state.clone(), left.clone()));
                left
            }
        })
    }

    /// What is committed is announced by the sweep, or its row has failed and a redrive announces it.
    fn announces_all(&self, state: &State) -> bool {
        let is_said = |state: &State| match (state.job.ended_by, state.job.outcome) {
            (Some(by), Some(outcome)) => state.announced.contains(&(by.into(), outcome)),
            _ => true,
        };
        let left = self.left_alone(state);
        let has_failed = left.swept.rows.iter().flatten().any(|row| row.state == DeliveryState::Failed);
        !self.bus || ((is_said(&left.swept) || has_failed) && is_said(&left.redriven))
    }
}

/// What becomes of a state.
struct LeftAlone {
    swept: State,
    redriven: State,
}

impl State {
    fn have_ended(&self) -> bool {
        self.rows.iter().flatten().all(|row| row.has_ended())
    }
}
