//! One seed, from its jobs to its verdict.
//!
//! The faults come first: deliveries, archivers, sweeps, redrives and reconciles at once. One call at a time goes
//! through, and the seed says which and what befalls it. Then the faults end, and sweeps and redrives bring every row to
//! its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use tokio::task::JoinHandle;

use crate::{
    gemini::{ENDINGS, Ending, Job, KINDS},
    network::{CALLER, Fault},
    promises::{Observer, settled},
    world::{HOUR, MINUTE, World, records},
};

/// Most callers at once, while there are faults.
const MAX_CALLERS: usize = 6;

/// After so many sweeps on a clock that moves on, a row that is open is a row that does not end.
const MAX_SWEEPS: usize = 200;

/// More than there are blocking calls in a row between two calls over the network.
const MAX_BLOCKING: usize = 8;

pub struct Verdict {
    /// Every call with its caller and what befell it, and every other event.
    pub trace: Vec<String>,
    pub broken: Vec<String>,
    pub faults: usize,
}

struct Caller {
    name: String,
    handle: JoinHandle<()>,
}

impl Caller {
    /// Every other caller has one call under way, and no more.
    fn has_several_calls(name: &str) -> bool {
        name.starts_with("sweep") || name.starts_with("reconcile")
    }
}

struct Schedule {
    world: Arc<World>,
    random: Rng,
    jobs: BTreeMap<String, Job>,
    /// What senders still have to send: an id and the job that it names.
    unsent: Vec<(String, Job)>,
    accepted: Arc<Mutex<BTreeSet<String>>>,
    callers: Vec<Caller>,
    begun: usize,
    observer: Observer,
    trace: Vec<String>,
    faults: usize,
}

/// Runs a seed on a runtime of its own.
pub fn run(seed: u64) -> Verdict {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(async {
        let mut schedule = Schedule::new(seed);
        schedule.with_faults().await;
        schedule.finish_all().await;
        schedule.verdict()
    })
}

impl Schedule {
    fn new(seed: u64) -> Self {
        static WORLDS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = WORLDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let world = World::new(format!("seed {seed}, world {number}"));
        world.network.gate(true);
        let mut random = Rng::with_seed(seed);
        let (mut jobs, mut unsent) = (BTreeMap::new(), Vec::new());
        for number in 0..random.usize(1..=3) {
            let kind = KINDS[random.usize(..KINDS.len())];
            let ending = if random.u8(..4) == 0 { ENDINGS[random.usize(..5)] } else { Ending::Succeeded };
            let job = Job { kind, ending, number };
            world.network.gemini.has(&job);
            // Some of its events come twice under one id, and some under two ids.
            for copy in 0..random.usize(1..=3) {
                unsent.push((format!("msg_{number}_{}", copy % 2), job.clone()));
            }
            jobs.insert(job.name(), job);
        }
        Self {
            world,
            random,
            jobs,
            unsent,
            accepted: Arc::default(),
            callers: Vec::new(),
            begun: 0,
            observer: Observer::default(),
            trace: Vec::new(),
            faults: 0,
        }
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
                    let by = [1000, 95_000, 10 * MINUTE, 3 * HOUR][self.random.usize(..4)];
                    self.world.clock.later(by);
                    self.trace.push(format!("{by} ms later"));
                }
                22..26 => {
                    let pick = self.random.usize(..8);
                    if self.world.network.deliver_late(pick) {
                        self.trace.push("a late request is carried out".to_owned());
                        self.look();
                    }
                }
                26..28 if !self.callers.is_empty() => self.kill_one().await,
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
        let waiting = self.world.network.waiting();
        let caller = waiting[at].caller.clone();
        let several = Caller::has_several_calls(&caller);
        let call = waiting[at].call.clone();
        drop(waiting);
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
                self.begin("archiver", invoked).await;
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
                self.begin("reconcile", invoked).await;
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
        self.begin("sender", sending).await;
    }

    async fn redrive(&mut self, id: String) {
        let world = Arc::clone(&self.world);
        self.begin("redrive", async move { drop(world.ledger().redrive(&id).await) }).await;
    }

    async fn begin_sweep(&mut self) {
        let world = Arc::clone(&self.world);
        self.begin("sweep", async move { drop(world.sweep().await) }).await;
    }

    async fn begin(&mut self, what: &str, work: impl Future<Output = ()> + Send + 'static) {
        self.begun += 1;
        let name = format!("{what} {}", self.begun);
        self.trace.push(format!("{name} begins"));
        let (network, ended) = (Arc::clone(&self.world.network), name.clone());
        let work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(work);
        let work = async move {
            work.await;
            network.leases.ended(&ended);
            network.note(&ended);
        };
        let handle = tokio::spawn(CALLER.scope(name.clone(), work));
        self.callers.push(Caller { name: name.clone(), handle });
        self.wait_for(&name, 0).await;
    }

    async fn kill_one(&mut self) {
        let caller = self.callers.swap_remove(self.random.usize(..self.callers.len()));
        // A sender that dies is no sender that gives up: Gemini sends again.
        if caller.name.starts_with("sender") {
            self.callers.push(caller);
            return;
        }
        self.trace.push(format!("{} dies", caller.name));
        caller.handle.abort();
        let _ = caller.handle.await;
    }

    async fn let_go(&mut self, at: usize, fault: Fault) {
        let call = self.world.network.waiting().remove(at);
        let before = self.world.network.arrivals(&call.caller);
        let caller = call.caller.clone();
        self.trace.push(format!("{caller}: {} {fault:?}", call.call));
        let writes = ["PutItem", "UpdateItem", "TransactWriteItems", "PutEvents", "PUT"];
        let writes = writes.iter().any(|word| call.call.starts_with(word));
        call.go(fault);
        self.wait_for(&caller, before).await;
        if writes {
            self.look();
        }
    }

    /// Until this caller has come to its next call or to its end. One of several calls may end without either.
    async fn wait_for(&mut self, caller: &str, before: usize) {
        let network = Arc::clone(&self.world.network);
        let several = Caller::has_several_calls(caller);
        let mut rounds = 0;
        while network.arrivals(caller) == before && !(several && rounds == MAX_BLOCKING) {
            if several {
                // There is one thread for blocking calls, so what was asked before this has been done after it.
                let _ = tokio::task::spawn_blocking(|| ()).await;
                give_way().await;
                rounds += 1;
            } else {
                network.arrived().await;
            }
        }
        give_way().await;
        self.callers.retain(|one| !one.handle.is_finished());
    }

    fn look(&mut self) {
        self.observer.look(&self.world.network.stores, &self.jobs);
    }

    /// Without faults, every call in turn, until nobody calls any more.
    async fn finish(&mut self) {
        while !self.callers.is_empty() {
            if self.world.network.waiting().is_empty() {
                // One of the functions' own short sleeps.
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.callers.retain(|one| !one.handle.is_finished());
                continue;
            }
            self.let_go(0, Fault::None).await;
        }
    }

    async fn finish_all(&mut self) {
        self.trace.push("the faults end".to_owned());
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
        Verdict { trace: self.trace, broken, faults: self.faults }
    }
}

async fn give_way() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}
