//! Reconciling: jobs that ended without an event are entered as if it had come, and a webhook that Gemini switched
//! off is noticed. It puts rows and nothing more: the archiver works them like any other.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    clock::{Millis, SharedClock},
    gemini::{Gemini, Listed, Name, Standing, Webhook},
    job::JobKind,
    ledger::{Ledger, LedgerError, NewDelivery, Put, Watched},
    metrics,
    trouble::Trouble,
};

const HOUR: Millis = 3_600_000;

/// On schedule, jobs that ended in this window before now: the push has had its time, and the files are still there.
const SCHEDULED: (Millis, Millis) = (47 * HOUR, HOUR);

/// Rows looked up at once.
const AT_ONCE: usize = 8;

/// A list is asked for again this often where the trouble is passing.
const TRIES: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Between two looks at a followed job: doubled from an hour on, and never so long that a video could be gone.
const LONGEST_LOOK: Millis = 6 * HOUR;
/// A schedule is not to the second: a look that is nearly due is due.
const SLACK: Millis = 5 * 60_000;
/// A job may be followed before the API shows it, so that often an absent one counts as open.
const ABSENT_LOOKS: i64 = 2;

/// What is to be looked for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Batches that ended from then to then; none are listed without it.
    pub batches: Option<(Millis, Millis)>,
    /// The address of our webhook. Without it every webhook of the project counts as ours.
    pub webhook_url: Option<String>,
    /// Whether a webhook that Gemini switched off is switched on again.
    pub reenable: bool,
    /// Whether a followed job is looked at whatever its turn.
    pub all_watched: bool,
    /// Nothing is written, here or at Gemini.
    pub dry_run: bool,
    /// No new page or look is begun after that.
    pub end: Millis,
}

impl Plan {
    pub fn scheduled(now: Millis) -> (Millis, Millis) {
        (now - SCHEDULED.0, now - SCHEDULED.1)
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Batches on all pages of the list.
    pub listed: u64,
    /// Of those, the ones that ended in the window.
    pub ended: u64,
    /// Followed jobs that were looked at.
    pub looked_at: u64,
    /// Jobs that were entered, or would be.
    pub entered: Vec<String>,
    /// Addresses of webhooks that Gemini has switched off.
    pub switched_off: Vec<String>,
    /// Of those, the ones that were switched on again.
    pub switched_on: Vec<String>,
    /// What could not be done; the next run tries again.
    pub troubles: Vec<String>,
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
    Gemini(#[from] Trouble),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Reconciler<'_> {
    /// Each of the three parts goes on where another one fails.
    pub async fn run(&self) -> Reconciled {
        let mut found = Reconciled::default();
        let batches = self.batches(&mut found).await;
        let watched = self.watched(&mut found).await;
        let webhooks = self.webhooks(&mut found).await;
        for failed in [batches, watched, webhooks].into_iter().filter_map(Result::err) {
            tracing::error!(reason = "reconcile_failed", why = %failed, "not all was reconciled");
            found.troubles.push(failed.to_string());
        }
        tracing::info!(
            listed = found.listed,
            ended = found.ended,
            looked_at = found.looked_at,
            entered = found.entered.len(),
            switched_off = found.switched_off.len(),
            "reconciled"
        );
        found
    }

    async fn batches(&self, found: &mut Reconciled) -> Result<(), Failed> {
        let Some((from, to)) = self.plan.batches else { return Ok(()) };
        let mut token = None;
        while self.in_time() {
            let (page, next) = self.page(token.as_deref()).await?;
            found.listed += page.len() as u64;
            let ended = page
                .into_iter()
                .filter(|batch| batch.has_ended && batch.time.is_none_or(|time| (from..=to).contains(&time)));
            let ended: Vec<Listed> = ended.collect();
            found.ended += ended.len() as u64;
            let looks = ended.into_iter().map(|batch| async move {
                let known = self.ledger.has_ended(batch.name.as_str()).await?;
                Ok::<_, LedgerError>((!known).then_some(batch))
            });
            let missing: Vec<_> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
            for batch in missing.into_iter().flatten() {
                self.enter(&batch.name, JobKind::Batch, batch.time, found).await?;
            }
            token = next;
            if token.is_none() {
                return Ok(());
            }
        }
        Err(Trouble::OutOfTime.into())
    }

    async fn page(&self, token: Option<&str>) -> Result<(Vec<Listed>, Option<String>), Trouble> {
        let mut tried = 1;
        loop {
            match self.gemini.list_batches(token).await {
                Err(Trouble::Passing { after, .. }) if tried < TRIES && self.in_time() => {
                    let pause = after.unwrap_or(Duration::from_secs(1) * tried);
                    sleep(pause.min(LONGEST_PAUSE)).await;
                    tried += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn watched(&self, found: &mut Reconciled) -> Result<(), Failed> {
        let mut after = None;
        loop {
            let (page, next) = self.ledger.watched(after).await?;
            for watched in &page {
                if !self.in_time() {
                    return Err(Trouble::OutOfTime.into());
                }
                self.look(watched, found).await?;
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn look(&self, watched: &Watched, found: &mut Reconciled) -> Result<(), Failed> {
        let now = self.clock.now();
        if watched.until <= now {
            return self.forget(watched, "it was followed for as long as was asked").await;
        }
        if watched.look_at > now + SLACK && !self.plan.all_watched {
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
        let standing = self.gemini.standing(&name).await?;
        let gone = standing == Standing::Unknown && watched.looks >= ABSENT_LOOKS;
        if standing == Standing::Ended || gone {
            if name.as_str() != watched.job && self.ledger.has_ended(name.as_str()).await? {
                return self.forget(watched, "it has ended under its full name").await;
            }
            self.enter(&name, kind, None, found).await?;
        }
        if !self.plan.dry_run {
            let doublings = watched.looks.clamp(0, 8);
            let again_at = now + (HOUR << doublings).min(LONGEST_LOOK);
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
        found: &mut Reconciled,
    ) -> Result<(), LedgerError> {
        if !self.plan.dry_run {
            let receipt = uuid::Uuid::new_v4().to_string();
            let row = NewDelivery::of_job(job.as_str(), kind, ended, &receipt, self.clock.now());
            if !matches!(self.ledger.enter(row).await?, Put::Stored | Put::StoredBefore) {
                return Ok(());
            }
            tracing::warn!(job = %job, kind = kind.name(), "ended without an event that reached us: entered");
        }
        found.entered.push(job.to_string());
        Ok(())
    }

    async fn webhooks(&self, found: &mut Reconciled) -> Result<(), Failed> {
        let Some(webhooks) = self.gemini.webhooks().await? else { return Ok(()) };
        for webhook in webhooks.iter().filter(|webhook| webhook.is_switched_off() && self.is_ours(webhook)) {
            notice(webhook);
            found.switched_off.push(webhook.uri.clone());
            if self.plan.reenable && !self.plan.dry_run {
                match self.gemini.enable_webhook(webhook).await {
                    Ok(()) => {
                        tracing::warn!(webhook = webhook.id, uri = webhook.uri, "switched on again");
                        found.switched_on.push(webhook.uri.clone());
                    }
                    Err(trouble) => found.troubles.push(trouble.to_string()),
                }
            }
        }
        Ok(())
    }

    fn is_ours(&self, webhook: &Webhook) -> bool {
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        self.plan.webhook_url.as_deref().is_none_or(|ours| bare(ours) == bare(&webhook.uri))
    }

    fn in_time(&self) -> bool {
        self.clock.now() < self.plan.end
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
