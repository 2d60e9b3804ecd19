//! One row and its archivers alone: they take it over from each other whenever its lease has passed, and a seed decides
//! whose call goes through next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use fastrand::Rng;
use gemhook::clock::Millis;

use crate::{
    callers::Callers,
    jobs::{ENDINGS, Ending, Job, KINDS, Kind},
    leases::number,
    network::{Fault, PART_OF_ONE},
    promises::{Observer, settled},
    schedule::{Verdict, new_world, on_runtime},
    seeds::{self, each_of, report},
    world::{EXTENDS, LEASE_OVER, MINUTE, World, records},
};

const ID: &str = "msg_1";

/// Long enough for a worker to extend its lease; past a lease that was not extended; past any lease.
const JUMPS: [Millis; 4] = [EXTENDS, LEASE_OVER, 16 * MINUTE, 16 * MINUTE];

/// What the seeds come to, so that none of it is proved about something that never happens.
#[derive(Default)]
struct Counts {
    leases: AtomicUsize,
    extended: AtomicUsize,
    /// Archivers that died while an upload was open.
    torn: AtomicUsize,
    /// Uploads that a later archiver went on with.
    resumed: AtomicUsize,
    /// Objects that were made of parts.
    completed: AtomicUsize,
}

fn add(count: &AtomicUsize, more: usize) {
    count.fetch_add(more, Ordering::Relaxed);
}

struct OneRow {
    world: Arc<World>,
    random: Rng,
    jobs: BTreeMap<String, Job>,
    callers: Callers,
    /// Archivers that have yet to begin.
    to_begin: usize,
    /// What the archivers' invocations reported as errors.
    errors: Arc<Mutex<Vec<String>>>,
    observer: Observer,
    faults: usize,
    torn: usize,
}

/// Of a hundred steps.
struct Odds {
    /// Time passes, and another archiver begins.
    jumps: u8,
    /// An archiver dies.
    deaths: u8,
    /// A call of S3's meets a fault.
    faults: u8,
}

impl OneRow {
    async fn new(seed: u64, job: Job, archivers: usize, random: Rng) -> Self {
        let world = new_world(seed);
        world.network.gemini.has(&job);
        assert_eq!(world.post(ID, &job.event(), world.now()).await, 200);
        world.network.gate(true);
        let mut callers = Callers::new(Arc::clone(&world));
        callers.in_parts = job.is_long;
        let (to_begin, jobs) = (archivers, BTreeMap::from([(job.name(), job)]));
        let (errors, observer) = (Arc::default(), Observer::default());
        Self { world, random, jobs, callers, to_begin, errors, observer, faults: 0, torn: 0 }
    }

    async fn begin_one(&mut self) {
        self.to_begin -= 1;
        let (world, errors) = (Arc::clone(&self.world), Arc::clone(&self.errors));
        let invoked = async move {
            if let Err(error) = world.invoke(records([ID])).await {
                errors.lock().unwrap().push(error);
            }
        };
        self.callers.begin("archiver", invoked).await;
    }

    /// Until every archiver has come to its end.
    async fn run(&mut self, odds: Odds) {
        self.begin_one().await;
        while self.to_begin > 0 || !self.callers.is_empty() {
            let waiting = self.world.network.waiting().len();
            if self.is_it(odds.jumps) || self.callers.is_empty() {
                let by = JUMPS[self.random.usize(..JUMPS.len())];
                self.callers.later(by).await;
                if self.to_begin > 0 {
                    self.begin_one().await;
                }
            } else if waiting == 0 {
                self.callers.settle().await;
            } else if self.is_it(odds.deaths) {
                self.torn += usize::from(!self.world.network.stores.bucket().uploads.is_empty());
                let at = self.random.usize(..self.callers.len());
                self.callers.kill(at).await;
            } else {
                let at = self.random.usize(..waiting);
                // More for parts, so that transfers are left with their checkpoints.
                let faults = if self.is_part(at) { odds.faults * 2 } else { odds.faults };
                let fault = if self.is_it(faults) { self.fault(at) } else { Fault::None };
                if self.callers.let_go(at, fault).await {
                    self.observer.look(&self.world.network.stores, &self.jobs);
                }
            }
        }
    }

    fn is_it(&mut self, of_hundred: u8) -> bool {
        self.random.u8(..100) < of_hundred
    }

    fn is_part(&self, at: usize) -> bool {
        self.world.network.waiting()[at].caller == PART_OF_ONE
    }

    /// A fault of S3.
    fn fault(&mut self, at: usize) -> Fault {
        let call = self.world.network.waiting()[at].call.clone();
        if !["PUT", "POST", "DELETE", "GET", "HEAD"].iter().any(|method| call.starts_with(method)) {
            return Fault::None;
        }
        self.faults += 1;
        match self.random.u8(..8) {
            0 => Fault::NotSent,
            1 => Fault::AnswerLost,
            2 => Fault::Late,
            3 => Fault::Conflict,
            4 => Fault::Garbage,
            _ => Fault::Denied,
        }
    }

    fn verdict(self) -> Verdict {
        let mut broken = self.observer.broken;
        broken.extend(self.world.network.leases.broken());
        broken.extend(settled(&self.world, &self.jobs, &BTreeSet::from([ID.to_owned()])));
        let extended = self.world.network.leases.extended();
        Verdict { trace: self.callers.trace, broken, faults: self.faults, extended }
    }
}

/// Two or three archivers, and nothing else: no fault, no death, no sweep.
fn taken_over(seed: u64, counts: &Counts) -> Verdict {
    on_runtime(seed, async {
        let mut random = Rng::with_seed(seed);
        let kind = KINDS[random.usize(..KINDS.len())];
        let ending = if random.u8(..4) == 0 { ENDINGS[random.usize(..4)] } else { Ending::Succeeded };
        let archivers = random.usize(2..=3);
        let mut row = OneRow::new(seed, Job::new(kind, ending, 1), archivers, random).await;
        row.run(Odds { jumps: 40, deaths: 0, faults: 0 }).await;
        let attempts = number(&row.world.rows()[ID], "attempt");
        add(&counts.leases, usize::try_from(attempts).unwrap());
        let errors = std::mem::take(&mut *row.errors.lock().unwrap());
        let mut verdict = row.verdict();
        add(&counts.extended, verdict.extended);
        verdict.broken.extend(errors.into_iter().map(|error| format!("an archiver reports: {error}")));
        verdict
    })
}

#[test]
fn fault_36_archivers_that_take_a_row_over_from_each_other_archive_it_once_and_end_without_harm() {
    let (seeds, counts) = (seeds::number("GEMHOOK_SEEDS").unwrap_or(500), Counts::default());
    each_of(0..seeds, |seed| {
        let verdict = taken_over(seed, &counts);
        (!verdict.broken.is_empty()).then(|| report(seed, &verdict))
    });
    let (leases, extended) = (counts.leases.into_inner(), counts.extended.into_inner());
    println!("{seeds} rows were leased {leases} times, and {extended} leases were extended");
    let seeds = usize::try_from(seeds).unwrap();
    assert!(leases > seeds * 3 / 2, "too few archivers meet: {leases} leases");
    assert!(extended > seeds / 4, "too few leases are extended: {extended}");
}

#[test]
fn a_worker_extends_its_lease_before_it_runs_out_and_keeps_its_row() {
    on_runtime(1, async {
        let job = Job::new(Kind::Video, Ending::Succeeded, 1);
        let mut row = OneRow::new(1, job, 2, Rng::with_seed(1)).await;
        row.begin_one().await;
        row.callers.let_go(0, Fault::None).await;
        row.callers.later(EXTENDS).await;
        let extension =
            row.world.network.waiting().iter().position(|call| call.call.starts_with("UpdateItem"));
        row.callers.let_go(extension.expect("nobody extends a lease"), Fault::None).await;
        row.callers.later(LEASE_OVER).await;
        row.begin_one().await;
        // The second archiver comes to its end first.
        while row.callers.len() == 2 {
            let last = row.world.network.waiting().len() - 1;
            row.callers.let_go(last, Fault::None).await;
        }
        while !row.callers.is_empty() {
            let waiting = row.world.network.waiting().len();
            if waiting == 0 {
                row.callers.settle().await;
            } else {
                row.callers.let_go(0, Fault::None).await;
            }
        }
        let rows = row.world.rows();
        let counts = ["attempt", "crashes"].map(|name| number(&rows[ID], name));
        assert_eq!((row.world.ends(), counts), (vec!["done/archived".to_owned()], [1, 0]));
    });
}

/// An output of three parts, archivers that die in the middle of it, faults of S3, and sweeps at the end.
fn torn(seed: u64, counts: &Counts) -> Verdict {
    on_runtime(seed, async {
        let job = Job { is_long: true, ..Job::new(Kind::Video, Ending::Succeeded, 1) };
        let mut row = OneRow::new(seed, job, 6, Rng::with_seed(seed)).await;
        let faults = [0, 15, 30][row.random.usize(..3)];
        row.run(Odds { jumps: 5, deaths: 3, faults }).await;
        row.callers.note("the faults end");
        while row.world.network.deliver_late(0) {}
        row.world.network.gate(false);
        row.world.sweep_to_the_end().await;
        if row.world.ends() == ["failed/"] {
            // It has cost five workers.
            let _ = row.world.ledger().redrive(ID).await.unwrap();
            row.world.sweep_to_the_end().await;
        }
        row.observer.look(&row.world.network.stores, &row.jobs);
        let world = Arc::clone(&row.world);
        add(&counts.torn, row.torn);
        let mut verdict = row.verdict();
        let bucket = world.network.stores.bucket();
        add(&counts.completed, bucket.completed);
        add(&counts.resumed, bucket.resumed);
        for (name, upload) in &bucket.uploads {
            // The bucket's lifecycle rule removes what is left here, and only that.
            let is_disturbed =
                upload.touched_by.iter().any(|caller| world.network.leases.was_disturbed(caller));
            if !is_disturbed && !upload.is_overtaken {
                verdict
                    .broken
                    .push(format!("upload {name} is open, and nothing befell {:?}", upload.touched_by));
            }
        }
        verdict
    })
}

#[test]
fn fault_41_an_output_in_parts_whose_archivers_die_becomes_one_whole_object() {
    let (seeds, counts) = (seeds::number("GEMHOOK_SEEDS").unwrap_or(100).min(500), Counts::default());
    each_of(0..seeds, |seed| {
        let verdict = torn(seed, &counts);
        (!verdict.broken.is_empty()).then(|| report(seed, &verdict))
    });
    let Counts { torn, resumed, completed, .. } = counts;
    let (torn, resumed) = (torn.into_inner(), resumed.into_inner());
    println!("{seeds} outputs in parts: {torn} times an archiver died, {resumed} times another one went on");
    assert!(torn > 10 && resumed > 10, "{torn} {resumed}");
    assert_eq!(
        completed.into_inner(),
        usize::try_from(seeds).unwrap(),
        "each object was made of parts, once"
    );
}

#[test]
fn a_seed_of_one_row_run_twice_makes_the_same_calls() {
    let counts = Counts::default();
    for seed in 0..4 {
        assert_eq!(taken_over(seed, &counts).trace, taken_over(seed, &counts).trace, "seed {seed}");
        assert_eq!(torn(seed, &counts).trace, torn(seed, &counts).trace, "seed {seed}, in parts");
    }
}
