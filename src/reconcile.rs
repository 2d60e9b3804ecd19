//! Reconciling: finds jobs that ended without an event and enters them as if the event had come, and notices a webhook
//! that Gemini has disabled. It only puts rows. The archiver works them like any other.
//!
//! An error of one job does not stop the others: it is reported, and the next run looks at that job again.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::{
    clock::{Millis, SharedClock},
    error::ProcessingError,
    gemini::{Gemini, JobState, Listed, Name, Webhook},
    job::JobKind,
    ledger::{Inserted, Ledger, LedgerError, NewDelivery, Watched},
    metrics,
};

const HOUR: Millis = 3_600_000;

/// On schedule, jobs that ended in this window before now: the push has had its time, and the files are still there.
const SCHEDULED: (Millis, Millis) = (47 * HOUR, HOUR);

/// A batch ends at most this long after it was made: it expires after 48 hours (batch guide), and a day more.
const LONGEST_BATCH: Millis = 72 * HOUR;

/// Rows looked up at once.
const MAX_CONCURRENCY: usize = 8;

/// How often a page of a list is asked for while the error is transient.
const MAX_ATTEMPTS: u32 = 3;
const MAX_PAUSE: Duration = Duration::from_secs(20);

/// For one call of the API, begun before the plan's end. The archiver's plan ends a minute before its invocation.
const CALL: Duration = Duration::from_secs(45);

/// Between two looks at a followed job: doubled from an hour on, and never so long that a video could be gone.
const MAX_LOOK_INTERVAL: Millis = 6 * HOUR;
/// A schedule is not to the second: a look that is nearly due is due.
const SCHEDULE_SLACK: Millis = 5 * 60_000;
/// A job may be followed before the API shows it, so that often an absent one counts as open.
const MAX_NOT_FOUND_LOOKS: i64 = 2;

/// Which batches are looked for.
#[derive(Clone, Debug, Default)]
pub struct Batches {
    /// They ended between these times.
    pub from: Millis,
    pub to: Millis,
    /// They are listed only where a static webhook of the key's project has our address. Without one, the project's
    /// batches may be of other applications.
    pub only_ours: bool,
    /// The page of the list to begin with, the first where there is none.
    pub page: Option<String>,
}

impl Batches {
    pub fn scheduled(now: Millis) -> Self {
        Self { from: now - SCHEDULED.0, to: now - SCHEDULED.1, ..Self::default() }
    }
}

/// What is to be looked for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// No batches are listed without it.
    pub batches: Option<Batches>,
    /// The address of our webhook. Without it every webhook of the project counts as ours.
    pub webhook_url: Option<String>,
    /// Whether a listed batch counts as ours only with a valid binding token: where a binding key is set.
    pub bound: bool,
    /// Whether a webhook that Gemini switched off is switched on again.
    pub reenable: bool,
    /// Whether a followed job is looked at whatever its turn.
    pub all_watched: bool,
    /// Nothing is written, here or at Gemini.
    pub dry_run: bool,
    /// No new page or look is begun after that.
    pub end: Millis,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReconcileResult {
    /// Batches on the pages that were read.
    pub listed: u64,
    /// Of those, the ones that ended in the window.
    pub ended: u64,
    /// Followed jobs that were looked at.
    pub looked_at: u64,
    /// Jobs that were entered, or would be.
    pub entered: Vec<String>,
    /// Addresses of webhooks that Gemini has switched off.
    pub disabled_webhooks: Vec<String>,
    /// Of those, the ones that were switched on again.
    pub reenabled_webhooks: Vec<String>,
    /// What could not be done; the next run tries again.
    pub errors: Vec<String>,
    /// Where the list of batches goes on, if there was no time for all of it.
    #[serde(skip)]
    pub next_page: Option<String>,
}

pub struct Reconciler<'a> {
    pub gemini: &'a Gemini,
    pub ledger: &'a Ledger,
    pub clock: &'a SharedClock,
    pub plan: Plan,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Gemini(#[from] ProcessingError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Reconciler<'_> {
    /// Each of the three parts goes on where another one fails.
    pub async fn run(&self) -> ReconcileResult {
        let mut found = ReconcileResult::default();
        let has_webhook = self.webhooks(&mut found).await;
        let batches = match (&self.plan.batches, &has_webhook) {
            (Some(batches), Ok(true)) => self.batches(batches, &mut found).await,
            (Some(batches), _) if !batches.only_ours => self.batches(batches, &mut found).await,
            _ => Ok(()),
        };
        let watched = self.watched(&mut found).await;
        for failed in [has_webhook.map(|_| ()), batches, watched].into_iter().filter_map(Result::err) {
            found.errors.push(failed.to_string());
        }
        for why in &found.errors {
            tracing::error!(reason = "reconcile_failed", why, "not all was reconciled");
        }
        tracing::info!(
            listed = found.listed,
            ended = found.ended,
            looked_at = found.looked_at,
            entered = found.entered.len(),
            disabled_webhooks = found.disabled_webhooks.len(),
            "reconciled"
        );
        found
    }

    /// Goes through the list, page by page. A list that has come newest first until now is left where it is so old
    /// that nothing behind can have ended in the window.
    async fn batches(&self, batches: &Batches, found: &mut ReconcileResult) -> Result<(), Failed> {
        found.next_page.clone_from(&batches.page);
        let (mut last_created, mut newest_first) = (Millis::MAX, true);
        while self.in_time() {
            let (page, next) = match self.page(found.next_page.as_deref()).await {
                // A page that was remembered from the last run may not be there any more.
                Err(ProcessingError::Rejected(_) | ProcessingError::NotFound(_))
                    if found.next_page == batches.page && batches.page.is_some() =>
                {
                    self.page(None).await?
                }
                page => page?,
            };
            found.listed += page.len() as u64;
            for created in page.iter().filter_map(|batch| batch.created) {
                newest_first &= created <= last_created;
                last_created = created;
            }
            self.enter_missing(page, batches, found).await?;
            found.next_page = next;
            let is_past = newest_first && last_created < batches.from.saturating_sub(LONGEST_BATCH);
            if found.next_page.is_none() || is_past {
                found.next_page = None;
                return Ok(());
            }
        }
        Err(ProcessingError::DeadlineExceeded.into())
    }

    /// Enters what of a page has ended in the window and has not ended here.
    async fn enter_missing(
        &self,
        page: Vec<Listed>,
        batches: &Batches,
        found: &mut ReconcileResult,
    ) -> Result<(), Failed> {
        let window = batches.from..=batches.to;
        let ended = page
            .into_iter()
            .filter(|batch| batch.has_ended && batch.time.is_none_or(|time| window.contains(&time)));
        let ended: Vec<Listed> = ended.collect();
        found.ended += ended.len() as u64;
        let looks = ended.into_iter().map(|batch| async move {
            let known = self.ledger.has_ended(batch.name.as_str()).await?;
            Ok::<_, LedgerError>((!known).then_some(batch))
        });
        let missing: Vec<_> = stream::iter(looks).buffered(MAX_CONCURRENCY).try_collect().await?;
        for batch in missing.into_iter().flatten() {
            if let Err(error) =
                self.enter(&batch.name, JobKind::Batch, batch.time, self.plan.bound, found).await
            {
                found.errors.push(format!("{}: {error}", batch.name));
            }
        }
        Ok(())
    }

    async fn page(&self, token: Option<&str>) -> Result<(Vec<Listed>, Option<String>), ProcessingError> {
        let mut tried = 1;
        loop {
            match self.call(self.gemini.list_batches(token)).await {
                Err(ProcessingError::Transient { after, .. }) if tried < MAX_ATTEMPTS && self.in_time() => {
                    let pause = after.unwrap_or(Duration::from_secs(1) * tried);
                    sleep(pause.clamp(Duration::from_secs(1), MAX_PAUSE)).await;
                    tried += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn watched(&self, found: &mut ReconcileResult) -> Result<(), Failed> {
        let mut after = None;
        loop {
            let (page, next) = self.ledger.watched(after).await?;
            for watched in &page {
                if !self.in_time() {
                    return Err(ProcessingError::DeadlineExceeded.into());
                }
                match self.look(watched, found).await {
                    Ok(()) => {}
                    // Nothing is said about any job.
                    Err(Failed::Gemini(refused @ ProcessingError::Unauthorized(_))) => {
                        return Err(refused.into());
                    }
                    Err(failed) => {
                        found.errors.push(format!("{}: {failed}", watched.job));
                        self.look_later(watched).await?;
                    }
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn look(&self, watched: &Watched, found: &mut ReconcileResult) -> Result<(), Failed> {
        let now = self.clock.now();
        if watched.until <= now {
            return self.forget(watched, "it was followed for as long as was asked").await;
        }
        if watched.look_at > now.saturating_add(SCHEDULE_SLACK) && !self.plan.all_watched {
            return Ok(());
        }
        // An application may follow an interaction by the bare id that the API gave it.
        let name = match watched.job.contains('/') {
            true => Name::parse(&watched.job),
            false => Name::parse(&format!("interactions/{}", watched.job)),
        };
        let Some((name, kind)) = name.and_then(|name| JobKind::of(&name).map(|kind| (name, kind))) else {
            return self.forget(watched, "it is no name of a job").await;
        };
        found.looked_at += 1;
        let job_state = self.call(self.gemini.job_state(&name)).await?;
        let gone = job_state == JobState::Unknown && watched.looks >= MAX_NOT_FOUND_LOOKS;
        if job_state == JobState::Ended || gone {
            if name.as_str() != watched.job && self.ledger.has_ended(name.as_str()).await? {
                return self.forget(watched, "it has ended under its full name").await;
            }
            // Who follows a job in our own table shows that it is ours.
            self.enter(&name, kind, None, false, found).await?;
        }
        Ok(self.look_later(watched).await?)
    }

    /// The next look is an hour later at first, then twice as long each time.
    async fn look_later(&self, watched: &Watched) -> Result<(), LedgerError> {
        if !self.plan.dry_run {
            let doublings = watched.looks.clamp(0, 8);
            let again_at = self.clock.now().saturating_add((HOUR << doublings).min(MAX_LOOK_INTERVAL));
            let _ = self.ledger.looked(watched, again_at).await?;
        }
        Ok(())
    }

    async fn forget(&self, watched: &Watched, why: &str) -> Result<(), Failed> {
        tracing::info!(job = watched.job, why, "not followed any longer");
        if !self.plan.dry_run {
            let _ = self.ledger.unwatch(&watched.job).await?;
        }
        Ok(())
    }

    async fn enter(
        &self,
        job: &Name,
        kind: JobKind,
        ended: Option<Millis>,
        bound: bool,
        found: &mut ReconcileResult,
    ) -> Result<(), LedgerError> {
        if !self.plan.dry_run {
            let receipt = uuid::Uuid::new_v4().to_string();
            let row = NewDelivery::of_job(job.as_str(), kind, ended, &receipt, self.clock.now());
            let row = if bound { row.only_if_bound() } else { row };
            if !matches!(self.ledger.enter(row).await?, Inserted::Stored | Inserted::StoredBefore) {
                return Ok(());
            }
            tracing::warn!(job = %job, kind = kind.name(), "ended without an event that reached us: entered");
        }
        found.entered.push(job.to_string());
        Ok(())
    }

    /// Notices webhooks that Gemini has switched off. Whether a webhook of the key's project is ours.
    async fn webhooks(&self, found: &mut ReconcileResult) -> Result<bool, Failed> {
        let Some(webhooks) = self.call(self.gemini.webhooks()).await? else { return Ok(false) };
        for webhook in webhooks.iter().filter(|webhook| webhook.is_disabled() && self.is_ours(webhook)) {
            notice(webhook);
            found.disabled_webhooks.push(webhook.uri.clone());
            if self.plan.reenable && !self.plan.dry_run {
                match self.call(self.gemini.enable_webhook(webhook)).await {
                    Ok(()) => {
                        tracing::warn!(webhook = webhook.id, uri = webhook.uri, "switched on again");
                        found.reenabled_webhooks.push(webhook.uri.clone());
                    }
                    Err(error) => found.errors.push(error.to_string()),
                }
            }
        }
        Ok(webhooks.iter().any(|webhook| self.is_ours(webhook)))
    }

    fn is_ours(&self, webhook: &Webhook) -> bool {
        self.plan.webhook_url.as_deref().is_none_or(|ours| webhook.is_at(ours))
    }

    fn in_time(&self) -> bool {
        self.clock.now() < self.plan.end
    }

    /// A call of the API, which must not outlast the invocation.
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ProcessingError>>,
    ) -> Result<T, ProcessingError> {
        let late = |_| Err(ProcessingError::transient(format!("no answer within {} s", CALL.as_secs())));
        timeout(CALL, call).await.unwrap_or_else(late)
    }
}

fn notice(webhook: &Webhook) {
    metrics::webhook_disabled();
    tracing::error!(
        reason = "webhook_disabled",
        webhook = webhook.id,
        uri = webhook.uri,
        "Gemini has switched the webhook off because deliveries failed"
    );
}
