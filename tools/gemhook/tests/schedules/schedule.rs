//! One seed, from its jobs to its verdict.
//!
//! The faults come first: deliveries, archivers, sweeps, redrives and reconciles at once. One call at a time goes
//! through, and the seed says which and what befalls it. Then the faults end, and sweeps and redrives bring every row to
//! its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use fastrand::Rng;

use crate::{
    callers::Callers,
    jobs::{ENDINGS, Ending, Job, KINDS},
    network::Fault,
    promises::{Observer, settled},
    world::{EXTENDS, HOUR, LEASE_OVER, MAX_SWEEPS, MINUTE, World, records},
};

/// Most callers at once, while there are faults.
const MAX_CALLERS: usize = 6;

pub struct Verdict {
    /// Every call with its caller and what befell it, and every other event.
    pub trace: Vec<String>,
    pub broken: Vec<String>,
    pub faults: usize,
    /// How many leases were extended.
    pub extended: usize,
}

struct Schedule {
    world: Arc<World>,
    random: Rng,
    jobs: BTreeMap<String, Job>,
    /// What senders still have to send: an id and the job that it names.
    unsent: Vec<(String, Job)>,
    accepted: Arc<Mutex<BTreeSet<String>>>,
    callers: Callers,
    observer: Observer,
    faults: usize,
}

/// Runs a seed on a runtime of its own.
pub fn on_runtime<T>(seed: u64, work: impl Future<Output = T>) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(work)
}

/// A world of a seed's own.
pub fn new_world(seed: u64) -> Arc<World> {
    static WORLDS: AtomicUsize = AtomicUsize::new(0);
    let number = WORLDS.fetch_add(1, Ordering::Relaxed);
    World::new(format!("seed {seed}, world {number}"))
}

pub fn run(seed: u64) -> Verdict {
    on_runtime(seed, async {
        let mut schedule = Schedule::new(seed);
        schedule.with_faults().await;
        schedule.finish_all().await;
        schedule.verdict()
    })
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let world = new_world(seed);
        world.network.gate(true);
        let mut random = Rng::with_seed(seed);
        let (mut jobs, mut unsent) = (BTreeMap::new(), Vec::new());
        // Long outputs take their time, so few seeds have them.
        let is_long = seed % 16 == 15;
        for number in 0..random.usize(1..=3) {
            let kind = KINDS[random.usize(..KINDS.len())];
            let ending = if random.u8(..4) == 0 { ENDINGS[random.usize(..5)] } else { Ending::Succeeded };
            let job = Job { is_long, ..Job::new(kind, ending, number) };
            world.network.gemini.has(&job);
            // Some of its events come twice under one id, and some under two ids.
            for copy in 0..random.usize(1..=3) {
                unsent.push((format!("msg_{number}_{}", copy % 2), job.clone()));
            }
            jobs.insert(job.name(), job);
        }
        let mut callers = Callers::new(Arc::clone(&world));
        callers.in_parts = is_long;
        let (accepted, observer) = (Arc::default(), Observer::default());
        Self { world, random, jobs, unsent, accepted, callers, observer, faults: 0 }
    }

    async fn with_faults(&mut self) {
        let steps = self.random.usize(30..90);
        // Most seeds have faults, and some have orders only.
        let faulty = [0, 10, 25][self.random.usize(..3)];
        for _ in 0..steps {
            let waiting = self.world.network.waiting().len();
            match self.random.u8(..100) {
                0..18 if self.callers.len() < MAX_CALLERS => self.begin_one().await,
                18..22 => {
                    let by = [1000, EXTENDS, LEASE_OVER, 10 * MINUTE, 3 * HOUR][self.random.usize(..5)];
                    self.callers.later(by).await;
                }
                22..26 => {
                    let pick = self.random.usize(..8);
                    if self.world.network.deliver_late(pick) {
                        self.callers.note("a late request is carried out");
                        self.look();
                    }
                }
                26..28 if !self.callers.is_empty() => {
                    let at = self.random.usize(..self.callers.len());
                    self.callers.kill(at).await;
                }
                _ if waiting > 0 => {
                    let at = self.random.usize(..waiting);
                    let fault = if self.random.u8(..100) < faulty { self.fault(at) } else { Fault::None };
                    self.let_go(at, fault).await;
                }
                _ => self.begin_one().await,
            }
        }
    }

    /// A fault that can befall this call. The functions sleep in real time after some of them. A caller with several
    /// calls may then be at another one, and the order would hang on the machine's speed: it is spared those.
    fn fault(&mut self, at: usize) -> Fault {
        let (caller, call) = {
            let waiting = self.world.network.waiting();
            (waiting[at].caller.clone(), waiting[at].call.clone())
        };
        let several = self.callers.has_several_calls(&caller);
        if caller.starts_with("reconcile") && call.starts_with("gemini") || call.starts_with("again") {
            return Fault::None;
        }
        if several && (call.starts_with("PutEvents") || call.contains(":download")) {
            return Fault::None;
        }
        self.faults += 1;
        let query = call.starts_with("Query");
        match self.random.u8(..8) {
            0 => Fault::NotSent,
            1 => Fault::AnswerLost,
            2 => Fault::Late,
            3 if !several => Fault::Throttled,
            4 if !several => Fault::Conflict,
            5 => Fault::ServerError,
            6 if query => Fault::OlderPage(self.random.usize(..8)),
            6 | 7 => Fault::Garbage,
            _ => Fault::AnswerLost,
        }
    }

    async fn begin_one(&mut self) {
        let rows: Vec<String> = self.world.rows().into_keys().collect();
        match self.random.u8(..10) {
            0..4 if !self.unsent.is_empty() => {
                let (id, job) = self.unsent.swap_remove(self.random.usize(..self.unsent.len()));
                self.send(id, job).await;
            }
            // Late records, repeated ones and those in another order are all a choice of rows. The rest is lost.
            4..7 if !rows.is_empty() => {
                let ids: Vec<String> = (0..self.random.usize(1..=3))
                    .map(|_| rows[self.random.usize(..rows.len())].clone())
                    .collect();
                let world = Arc::clone(&self.world);
                let invoked =
                    async move { drop(world.invoke(records(ids.iter().map(String::as_str))).await) };
                self.callers.begin("archiver", invoked).await;
            }
            7 => self.begin_sweep().await,
            8 if !rows.is_empty() => {
                let id = rows[self.random.usize(..rows.len())].clone();
                self.redrive(id).await;
            }
            9 => {
                let world = Arc::clone(&self.world);
                let invoked = async move {
                    drop(world.invoke(serde_json::json!({"schedule": "reconcile"})).await);
                };
                self.callers.begin("reconcile", invoked).await;
            }
            _ => {}
        }
    }

    /// A sender repeats its delivery, signed anew, until it is accepted.
    async fn send(&mut self, id: String, job: Job) {
        let (world, accepted) = (Arc::clone(&self.world), Arc::clone(&self.accepted));
        let sending = async move {
            while world.post(&id, &job.event(), world.now()).await != 200 {
                world.network.leave(format!("again {id}")).await;
            }
            assert!(world.rows().contains_key(&id), "{id} was accepted without a row");
            accepted.lock().unwrap().insert(id);
        };
        self.callers.begin("sender", sending).await;
    }

    async fn redrive(&mut self, id: String) {
        let world = Arc::clone(&self.world);
        self.callers.begin("redrive", async move { drop(world.ledger().redrive(&id).await) }).await;
    }

    async fn begin_sweep(&mut self) {
        let world = Arc::clone(&self.world);
        self.callers.begin("sweep", async move { drop(world.sweep().await) }).await;
    }

    async fn let_go(&mut self, at: usize, fault: Fault) {
        if self.callers.let_go(at, fault).await {
            self.look();
        }
    }

    fn look(&mut self) {
        self.observer.look(&self.world.network.stores, &self.jobs);
    }

    /// Without faults, every call in turn, until nobody calls any more.
    async fn finish(&mut self) {
        while !self.callers.is_empty() {
            if self.world.network.waiting().is_empty() {
                self.callers.settle().await;
                continue;
            }
            self.let_go(0, Fault::None).await;
        }
    }

    async fn finish_all(&mut self) {
        self.callers.note("the faults end");
        while let Some((id, job)) = self.unsent.pop() {
            self.send(id, job).await;
        }
        while self.world.network.deliver_late(0) {}
        self.look();
        self.finish().await;
        for _ in 0..3 {
            self.sweep_all().await;
            let failed = self.rows_in("failed");
            if failed.is_empty() {
                break;
            }
            for id in failed {
                self.redrive(id).await;
                self.finish().await;
            }
        }
    }

    /// Sweeps, each when the next row is due, until no row is open.
    async fn sweep_all(&mut self) {
        for _ in 0..MAX_SWEEPS {
            if !self.world.wait_until_due() {
                return;
            }
            self.begin_sweep().await;
            self.finish().await;
        }
    }

    fn rows_in(&self, state: &str) -> Vec<String> {
        let rows = self.world.rows().into_iter();
        rows.filter(|(_, row)| row["state"]["S"] == state).map(|(id, _)| id).collect()
    }

    fn verdict(self) -> Verdict {
        let mut broken = self.observer.broken;
        broken.extend(self.world.network.leases.broken());
        broken.extend(settled(&self.world, &self.jobs, &self.accepted.lock().unwrap()));
        let extended = self.world.network.leases.extended();
        Verdict { trace: self.callers.trace, broken, faults: self.faults, extended }
    }
}
