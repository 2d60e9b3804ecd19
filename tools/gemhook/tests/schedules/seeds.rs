//! Thousands of seeds, and that each of them can be run again.

use std::{
    env,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use crate::schedule::{self, Verdict};

/// Seeds at once. Most of a schedule's time is the functions' own short sleeps.
const THREADS: usize = 6;

const SEEDS: u64 = 200;

pub fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect(name))
}

/// Runs each number, several at once, and panics with the first report of something broken.
pub fn each_of(numbers: Range<u64>, run: impl Fn(u64) -> Option<String> + Sync) {
    let (next, broken) = (AtomicU64::new(numbers.start), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while broken.lock().unwrap().is_none() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    if let Some(report) = run(number) {
                        broken.lock().unwrap().get_or_insert(report);
                    }
                }
            });
        }
    });
    if let Some(report) = broken.into_inner().unwrap() {
        panic!("{report}");
    }
}

pub fn report(seed: u64, verdict: &Verdict) -> String {
    let trace = verdict.trace.join("\n  ");
    format!("GEMHOOK_SEED={seed} breaks a promise:\n  {}\n  {trace}", verdict.broken.join("\n"))
}

/// `GEMHOOK_SEED` runs one seed, `GEMHOOK_SEEDS` that many, from `GEMHOOK_FIRST_SEED` on.
#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = number("GEMHOOK_SEED") {
        let verdict = schedule::run(seed);
        println!("{}", verdict.trace.join("\n"));
        assert!(verdict.broken.is_empty(), "{}", report(seed, &verdict));
        return;
    }
    let first = number("GEMHOOK_FIRST_SEED").unwrap_or(0);
    let end = first + number("GEMHOOK_SEEDS").unwrap_or(SEEDS);
    let [calls, faults, extended] = [(); 3].map(|()| AtomicUsize::new(0));
    each_of(first..end, |seed| {
        let verdict = schedule::run(seed);
        calls.fetch_add(verdict.trace.len(), Ordering::Relaxed);
        faults.fetch_add(verdict.faults, Ordering::Relaxed);
        extended.fetch_add(verdict.extended, Ordering::Relaxed);
        (!verdict.broken.is_empty()).then(|| report(seed, &verdict))
    });
    let [calls, faults, extended] = [calls, faults, extended].map(AtomicUsize::into_inner);
    println!("seeds {first}..{end}: {calls} steps, {faults} faults, {extended} leases extended");
}

#[test]
fn a_seed_run_twice_makes_the_same_calls() {
    for seed in 0..8 {
        assert_eq!(schedule::run(seed).trace, schedule::run(seed).trace, "seed {seed}");
    }
}
