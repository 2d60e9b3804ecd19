//! The design of the functions keeps every promise in every state. Each wrong design breaks one, by the shortest trace
//! to it, which is printed.

use gemhook::ledger::{
    condition::{
        Condition::{Absent, All, Any, Is, Number},
        Order::{Above, Below},
        Transition,
        Write::{Remove, Set, Word, Zero},
    },
    schema::attr::{REDRIVE as REDRIVE_NONCE, *},
    transitions as t,
};
use gemhook_model::{
    promise::Promise,
    system::{Api, Bounds, Design, System},
};
use stateright::{Checker, HasDiscoveries, Model};

const DOCUMENTED: &str = include_str!("../../../docs/reliability.md");

/// Workers are slow, one dies, and an answer is lost.
const LARGE: Bounds = Bounds { leases: 3, crashes: 1, losses: 1, redrives: 0, give_up_at: 100 };
/// A worker dies, and an answer is lost.
const FAULTS: Bounds = Bounds { leases: 2, crashes: 1, losses: 1, redrives: 0, give_up_at: 100 };
/// Workers are slow: a row is leased three times and given up.
const SLOW: Bounds = Bounds { leases: 3, crashes: 0, losses: 0, redrives: 0, give_up_at: 100 };
/// A worker fails its row, a person redrives it, and an answer is lost.
const REDRIVE: Bounds = Bounds { leases: 2, crashes: 0, losses: 1, redrives: 1, give_up_at: 100 };
/// The budget of a row is used up early, and a person redrives it.
const SHORT: Bounds = Bounds { leases: 2, crashes: 1, losses: 0, redrives: 1, give_up_at: 3 };
fn keeps_every_promise(bus: bool, api: Api, bounds: Bounds) {
    let system = System::new(Design::right(bus), bus, api, bounds);
    let checker = system.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{states} states: bus {bus}, the job is {api:?} at first, {bounds:?}");
    checker.assert_properties();
    let figure = grouped(states);
    assert!(
        DOCUMENTED.contains(&format!("| {figure} |")),
        "docs/reliability.md has no exploration of {figure} states"
    );
}

/// With commas, as the page has it.
fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

#[test]
fn with_a_bus_a_crash_and_a_lost_answer_break_nothing() {
    keeps_every_promise(true, Api::Ended, FAULTS);
}

#[test]
fn without_a_bus_a_crash_and_a_lost_answer_break_nothing() {
    keeps_every_promise(false, Api::Ended, LARGE);
}

#[test]
fn slow_workers_break_nothing() {
    keeps_every_promise(true, Api::Ended, SLOW);
}

#[test]
fn an_open_job_never_overwrites_its_end() {
    keeps_every_promise(false, Api::Open, Bounds { crashes: 0, ..FAULTS });
    keeps_every_promise(true, Api::Open, Bounds { losses: 0, ..REDRIVE });
}

#[test]
fn a_gone_end_is_replaced_once() {
    keeps_every_promise(false, Api::Absent, Bounds { losses: 0, ..REDRIVE });
    keeps_every_promise(true, Api::Absent, Bounds { losses: 0, ..REDRIVE });
}

#[test]
fn a_redrive_whose_answer_is_lost_breaks_nothing() {
    keeps_every_promise(true, Api::Ended, REDRIVE);
}

#[test]
fn a_budget_that_is_used_up_loses_nothing() {
    keeps_every_promise(true, Api::Ended, SHORT);
    keeps_every_promise(false, Api::Ended, SHORT);
}

/// The first promise that a wrong design breaks. One thread explores breadth first, so the trace is the shortest.
fn breaks(promise: Promise, design: Design, bus: bool, bounds: Bounds) {
    let system = System::new(design, bus, Api::Ended, bounds);
    let checker = system.checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut found = checker.discoveries();
    let path = found.remove(promise.name());
    assert!(path.is_some(), "it does not break «{}», but {:?}", promise.name(), found.keys());
    println!("breaks «{}»:", promise.name());
    for action in path.into_iter().flat_map(|path| path.into_actions()) {
        println!("  {action:?}");
    }
}

#[test]
fn a_commit_without_the_fence_is_caught() {
    static UNFENCED: Transition = Transition { when: Absent(OUTCOME), ..t::COMMIT };
    breaks(Promise::Fenced, Design { commit: &UNFENCED, ..Design::right(false) }, false, FAULTS);
}

#[test]
fn a_jobs_row_that_is_asked_only_before_the_upload_is_caught() {
    static UNCONDITIONAL: Transition = Transition { when: All(&[]), ..t::END_JOB };
    let design = Design { end_job: &UNCONDITIONAL, asks_job_first: true, ..Design::right(false) };
    breaks(Promise::CommittedOnce, design, false, FAULTS);
}

#[test]
fn done_before_the_work_is_caught() {
    static EARLY: Transition = Transition { when: t::MINE, ..t::FINISH };
    static AFTERWARDS: Transition = Transition { when: Absent(OUTCOME), ..t::COMMIT };
    let design = Design { finish: &EARLY, commit: &AFTERWARDS, done_first: true, ..Design::right(false) };
    breaks(Promise::NotLost, design, false, FAULTS);
}

#[test]
fn a_take_over_without_the_time_is_caught() {
    static TIMELESS: Transition = Transition {
        when: All(&[
            Is(STATE, "archiving"),
            Number(CRASHES, Below, ":max_crashes"),
            Number(GIVE_UP_AT, Above, ":now"),
        ]),
        ..t::TAKE_OVER
    };
    breaks(Promise::TakenOverLate, Design { take_over: &TIMELESS, ..Design::right(true) }, true, FAULTS);
}

#[test]
fn a_refused_lease_that_is_not_looked_at_is_caught() {
    let design = Design { recognises_lease: false, ..Design::right(true) };
    breaks(Promise::NoLeaseLeft, design, true, FAULTS);
}

#[test]
fn a_lost_answer_of_a_commit_that_is_taken_for_a_refusal_is_caught() {
    let design = Design { recognises_commit: false, ..Design::right(true) };
    breaks(Promise::NoLeaseLeft, design, true, FAULTS);
}

#[test]
fn an_announcement_before_the_commit_is_caught() {
    let design = Design { announces_first: true, ..Design::right(true) };
    breaks(Promise::Announced, design, true, FAULTS);
}

#[test]
fn a_redrive_that_starts_the_attempts_afresh_is_caught() {
    static AFRESH: Transition = Transition {
        writes: &[
            Word(STATE, "received"),
            Zero(ATTEMPT),
            Zero(CRASHES),
            Set(GIVE_UP_AT, ":give_up_at"),
            Set(OPEN, ":open"),
            Set(DUE_AT, ":due_at"),
            Set(REDRIVE_NONCE, ":redrive"),
            Remove(ERROR_KIND),
            Remove(ERROR_SINCE),
        ],
        ..t::REDRIVE_FAILED
    };
    breaks(Promise::Fenced, Design { redrive_failed: &AFRESH, ..Design::right(false) }, false, SHORT);
}

#[test]
fn a_redrive_that_does_not_recognise_itself_is_caught() {
    static UNRECOGNISED: Transition = Transition { done: Any(&[]), ..t::REDRIVE_FAILED };
    breaks(
        Promise::RedriveKnown,
        Design { redrive_failed: &UNRECOGNISED, ..Design::right(true) },
        true,
        REDRIVE,
    );
}
