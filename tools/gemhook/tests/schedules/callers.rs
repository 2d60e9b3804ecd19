//! Who calls: deliveries, archivers, sweeps, redrives and reconciles, each a task of its own. One call at a time is let
//! go, and then everybody waits until its caller has come to the next one.

use std::{pin::Pin, sync::Arc, time::Duration};

use gemhook::clock::Millis;
use tokio::task::JoinHandle;

use crate::{
    network::{CALLER, Fault, PART_OF_ONE},
    world::World,
};

/// More than there are blocking calls in a row between two calls over the network.
const MAX_BLOCKING: usize = 8;

const WRITES: [&str; 6] = ["PutItem", "UpdateItem", "TransactWriteItems", "PutEvents", "PUT", "POST"];

pub struct Callers {
    world: Arc<World>,
    callers: Vec<Caller>,
    begun: usize,
    /// Every call with its caller and what befell it, and every other event.
    pub trace: Vec<String>,
    /// Whether outputs are sent in parts, several at once.
    pub in_parts: bool,
}

struct Caller {
    name: String,
    handle: JoinHandle<()>,
}

impl Callers {
    pub fn new(world: Arc<World>) -> Self {
        Self { world, callers: Vec::new(), begun: 0, trace: Vec::new(), in_parts: false }
    }

    pub fn len(&self) -> usize {
        self.callers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    pub fn note(&mut self, what: impl Into<String>) {
        self.trace.push(what.into());
    }

    /// Whether this caller may have other calls under way. An archiver has one more while it extends its lease.
    pub fn has_several_calls(&self, name: &str) -> bool {
        let works = name.starts_with("archiver") && self.in_parts;
        works
            || name.starts_with("sweep")
            || name.starts_with("reconcile")
            || name == PART_OF_ONE
            || self.world.network.waiting().iter().filter(|call| call.caller == name).count() > 1
    }

    /// Moves the clock. A worker that waits to extend its lease makes that call.
    pub async fn later(&mut self, by: Millis) {
        self.note(format!("{by} ms later"));
        self.world.clock.later(by);
        for _ in 0..MAX_BLOCKING {
            give_way().await;
        }
    }

    pub async fn begin(&mut self, what: &str, work: impl Future<Output = ()> + Send + 'static) {
        self.begun += 1;
        let name = format!("{what} {}", self.begun);
        self.note(format!("{name} begins"));
        let (network, ended) = (Arc::clone(&self.world.network), name.clone());
        let work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(work);
        let work = async move {
            work.await;
            network.leases.ended(&ended);
            network.note(&ended);
        };
        let handle = tokio::spawn(CALLER.scope(name.clone(), work));
        self.callers.push(Caller { name: name.clone(), handle });
        let several = self.has_several_calls(&name);
        self.wait_for(&name, 0, several).await;
    }

    /// A sender that dies is no sender that gives up: Gemini sends again.
    pub async fn kill(&mut self, at: usize) {
        let caller = self.callers.swap_remove(at);
        if caller.name.starts_with("sender") {
            self.callers.push(caller);
            return;
        }
        self.note(format!("{} dies", caller.name));
        self.world.network.leases.died(&caller.name);
        caller.handle.abort();
        let _ = caller.handle.await;
        // Parts that it was sending are tasks of their own.
        give_way().await;
    }

    /// Lets one call go. Returns whether it may have written anything.
    pub async fn let_go(&mut self, at: usize, fault: Fault) -> bool {
        let caller = self.world.network.waiting()[at].caller.clone();
        let several = self.has_several_calls(&caller);
        let call = self.world.network.waiting().remove(at);
        let before = self.world.network.arrivals(&call.caller);
        self.note(format!("{caller}: {} {fault:?}", call.call));
        let writes = WRITES.iter().any(|word| call.call.starts_with(word));
        call.go(fault);
        self.wait_for(&caller, before, several).await;
        writes
    }

    /// Until this caller has come to its next call or to its end. One of several calls may end without either.
    async fn wait_for(&mut self, caller: &str, before: usize, several: bool) {
        let network = Arc::clone(&self.world.network);
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

    /// Waits for a call. Where there is none, the callers are in one of the functions' own short sleeps, or at their end.
    pub async fn settle(&mut self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.callers.retain(|one| !one.handle.is_finished());
    }
}

async fn give_way() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}
