//! A Gemini API for one machine: jobs and files that behave like the real ones, results that are made up,
//! and signed events that are sent until they are accepted. All of it survives a crash.
//!
//! It needs no other part of this repository: whoever tests a client of the Gemini API or a receiver of its webhooks
//! can use it alone, as a library or by the program `gemini-simulator`.

mod api;
mod batch;
mod batch_runner;
mod batches;
mod catalogue;
pub mod clock;
mod deliveries;
mod delivery;
mod directives;
mod fake_model;
mod faults;
mod files;
mod interaction;
mod interactions;
mod job;
mod jobs;
mod keys;
mod movable_clock;
mod scheduler;
mod sending;
mod settings;
mod signing;
mod store;
mod synthetic;
mod uploads;
mod video;
mod webhooks;

use std::{
    error::Error,
    future::Future,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tokio::sync::broadcast;

use self::{
    batches::Batches,
    clock::{now, rfc3339},
    deliveries::Deliveries,
    faults::Faults,
    files::Files,
    interactions::Interactions,
    job::{Job, Kind},
    jobs::Jobs,
    signing::{Secret, SigningSecrets},
    uploads::Uploads,
    video::Videos,
    webhooks::Webhooks,
};
pub use self::{
    faults::{Fault, FaultKind, Gone, Quota, Rejection, Seconds},
    keys::{IssuerKeys, Subject},
    movable_clock::MovableClock,
    sending::Sent,
    settings::{DeliveryPolicy, DynamicForm, MAX_COPIES, MetadataPlace, Settings},
};

/// The file in its folder that says how far its clock is ahead, in milliseconds.
const CLOCK: &str = "clock";

/// The file in its folder that holds the keys of dynamic webhooks.
pub const ISSUER_KEYS: &str = "issuer-keys.json";

pub struct Simulator {
    base_url: String,
    answer_delay: Duration,
    legacy_outputs: bool,
    clock: Arc<MovableClock>,
    faults: Arc<Faults>,
    files: Arc<Files>,
    uploads: Uploads,
    webhooks: Arc<Webhooks>,
    issuer: Arc<IssuerKeys>,
    deliveries: Arc<Deliveries>,
    batches: Batches,
    interactions: Interactions,
    videos: Videos,
}

impl Simulator {
    /// Opens the data in `folder`, which nobody else may have open, or begins there anew. `base_url` is where
    /// the router will be served, `webhook_url` the registered webhook and `secret` what it is signed with.
    pub async fn open(
        folder: &Path,
        base_url: &str,
        webhook_url: &str,
        secret: &str,
        settings: Settings,
    ) -> anyhow::Result<Arc<Self>> {
        let secrets =
            SigningSecrets::parse(secret).map_err(|why| anyhow::anyhow!("the signing secret {why}"))?;
        let secret = Secret::new(secret);
        tokio::fs::create_dir_all(folder).await?;
        let clock = Arc::new(MovableClock::open(folder.join(CLOCK), settings.clock_forward).await?);
        let files = Arc::new(Files::open(folder.join("files"), &clock).await?);
        let uploads = Uploads::open(folder.join("uploads"), &files).await?;
        let webhooks = Arc::new(Webhooks::open(folder.join("webhooks"), webhook_url, &secret, &clock).await?);
        let faults = Arc::new(Faults::new(settings.faults.clone(), &clock));
        let issuer = Arc::new(IssuerKeys::open(folder.join(ISSUER_KEYS)).await?);
        let deliveries = Deliveries::open(
            folder.join("deliveries"),
            (webhook_url, secrets),
            Arc::clone(&webhooks),
            Arc::clone(&faults),
            Arc::clone(&issuer),
            Arc::clone(&clock),
            &settings,
        )
        .await?;
        let deliveries = Arc::new(deliveries);
        let after = settings.finish_after;
        let batches = Jobs::open(folder.join("batches"), after, &deliveries, &clock).await?;
        let interactions = Jobs::open(folder.join("interactions"), after, &deliveries, &clock).await?;
        let videos = Jobs::open(folder.join("videos"), after, &deliveries, &clock).await?;
        Ok(Arc::new(Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            answer_delay: settings.answer_delay,
            legacy_outputs: settings.legacy_outputs,
            clock,
            faults,
            batches: Batches::new(batches, &files),
            interactions: Interactions::new(interactions, &files),
            videos: Videos::new(videos, &files),
            files,
            uploads,
            webhooks,
            issuer,
            deliveries,
        }))
    }

    pub fn router(self: &Arc<Self>) -> axum::Router {
        api::router(Arc::clone(self))
    }

    /// Ends jobs that are due and sends the events that are owed, until `shutdown` completes. What is under
    /// way then is taken up again when the folder is next opened.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()> + Send) {
        tokio::select! {
            () = shutdown => {}
            () = self.batches.run() => {}
            () = self.interactions.run() => {}
            () = self.videos.run() => {}
            () = self.deliveries.run() => {}
        }
    }

    /// The faults that are in force from now on, instead of those that were.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.faults.set(faults);
    }

    /// Whether a fault hides the output of a job that is read at this path. One that runs has none to hide.
    fn hides_output<K: Kind>(&self, job: &Job<K>, path: &str) -> bool {
        let hides = |kind: &FaultKind| (*kind == FaultKind::NoOutput {}).then_some(());
        job.end.is_some() && self.faults.strike(path, hides).is_some()
    }

    /// The clock that jobs and faults go by.
    pub fn clock(&self) -> &Arc<MovableClock> {
        &self.clock
    }

    /// Every attempt to deliver an event, as it is made.
    pub fn watch(&self) -> broadcast::Receiver<Sent> {
        self.deliveries.watch()
    }
}

/// The whole chain of an error in one line. Some errors repeat their cause, which is shown once.
fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

/// An id like those of the API.
fn random_id(length: usize) -> String {
    let id = std::iter::repeat_with(|| char::from_digit(fastrand::u32(0..36), 36));
    id.flatten().take(length).collect()
}

// No code panics while it holds one of these, so what a poisoned one guards is whole.

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn locked_for_reading<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn locked_for_writing<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
