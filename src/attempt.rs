//! One attempt at a row's job: the job is read, tried again where a short wait may help, and its absence is proved
//! before it is believed. What a foreign job and a gone job are, is decided here.
//!
//! A job that the API does not know (404) need not be gone: background interactions were unknown for two days and then
//! there (googleapis/python-genai#2985), and the key of another project gets a 404 for every job. So the job is looked
//! for several times first ([`RetryPolicy::look_again`](crate::retry::RetryPolicy::look_again)). After that its absence
//! ends the row, but only where these checks succeed:
//!
//! | check | rules out |
//! | --- | --- |
//! | [`Gemini::probe`](crate::gemini::Gemini::probe): the key can list batches | a key that does not work |
//! | the project of the key has a webhook at our URL (for a job of ours; not where its token proves that) | a key of another project |
//! | the job is still not found | a job that has appeared meanwhile |
//!
//! A job that is certainly ours is then `gone`, unless its objects are in the bucket already (`archive::restore`). Any
//! other job is `foreign`. A job is certainly ours by our own signing secret, by our list of batches, by a binding
//! token, or because the application watches it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    archive::{Archive, Report, Task},
    clock::until,
    error::ProcessingError,
    ledger::{Delivery, ErrorKind, Ledger, schema::attr},
    retry::RetryPolicy,
    webhook::Trust,
};

/// The result of an attempt.
pub struct Attempted {
    pub report: Result<Report, ProcessingError>,
    /// Whether the job is ours for certain. It is found out only where the job could not be read, else it is true.
    pub ours: bool,
}

/// What an attempt uses. It reads the ledger and writes nothing to it.
pub struct Attempt<'a> {
    pub archive: &'a Archive,
    pub ledger: &'a Ledger,
    pub retry_policy: &'a RetryPolicy,
    /// The address that our webhook is registered with.
    pub webhook_url: Option<&'a str>,
}

/// What proves that a job is ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Our own signing secret, or our list of batches.
    Project,
    /// A binding token: the application named our address in the job itself.
    Token,
    /// The application watches the job.
    Watched,
}

impl Proof {
    /// Whether a webhook of the key's project must be at our URL. A job with a token needs no registered webhook.
    fn needs_webhook(self) -> bool {
        self != Self::Token
    }
}

impl Attempt<'_> {
    /// Reads the job and stores its outputs in the bucket.
    pub async fn run(&self, task: Task<'_>) -> Attempted {
        let report = self.try_in_lease(task).await;
        if !matches!(report, Err(ProcessingError::NotFound(_) | ProcessingError::Rejected(_))) {
            return Attempted { report, ours: true };
        }
        let proof = match self.proof(task.row).await {
            Ok(proof) => proof,
            Err(error) => return Attempted { report: Err(error), ours: true },
        };
        let report = match report {
            Err(ProcessingError::NotFound(why)) => self.absent(task, proof, why).await,
            // If the API rejects every request of the key, the error is of the key and not of the job.
            rejected => match self.archive.gemini.probe().await {
                Ok(()) => rejected,
                Err(error) => Err(error),
            },
        };
        Attempted { report, ours: proof.is_some() }
    }

    /// Tries, and tries again inside the lease while the waits are short. An output that was missing before is lost
    /// when it is missing again, provided that the key works and is of our project.
    async fn try_in_lease(&self, task: Task<'_>) -> Result<Report, ProcessingError> {
        let (mut slept, mut tries) = (Duration::ZERO, 0);
        loop {
            match self.archive.archive_job(task).await {
                Err(ProcessingError::Transient { why, after }) => {
                    let wait = self.retry_policy.wait(task.row.attempt.saturating_add(tries.into()), after);
                    tries += 1;
                    let is_last = tries >= self.retry_policy.tries
                        || slept + wait > self.retry_policy.asleep
                        || Instant::now() + wait >= task.deadline;
                    if is_last {
                        return Err(ProcessingError::Transient { why, after: Some(wait) });
                    }
                    sleep(wait).await;
                    slept += wait;
                }
                Err(ProcessingError::OutputExpired(_))
                    if task.row.error_kind == Some(ErrorKind::OutputMissing) =>
                {
                    self.archive.gemini.probe().await?;
                    // The key has just read the job. Where Google's key signed the event, no webhook need be listed.
                    if task.row.trust == Trust::Project {
                        self.check_project().await?;
                    }
                    return self.archive.archive_job(Task { last_look: true, ..task }).await;
                }
                other => return other,
            }
        }
    }

    /// A job that the API does not know. It is looked for again, and in the end it is gone where it was ours, else
    /// foreign.
    async fn absent(
        &self,
        task: Task<'_>,
        proof: Option<Proof>,
        why: String,
    ) -> Result<Report, ProcessingError> {
        let row = task.row;
        let (ours, needs_webhook) = (proof.is_some(), proof.is_some_and(Proof::needs_webhook));
        let was_unauthorized = row.error_kind == Some(ErrorKind::Unauthorized);
        if ours && was_unauthorized {
            self.archive.gemini.probe().await?;
        }
        // Where our own secret signed the event, its webhook must be listed: a key of another project shows at once.
        if needs_webhook && (was_unauthorized || row.scheme.as_deref() == Some("v1")) {
            self.check_project().await?;
        }
        let waited = until(row.error_began(ErrorKind::NotFound, task.now), task.now);
        if self.retry_policy.look_again(ours, waited).is_some() {
            return Err(ProcessingError::NotFound(why));
        }
        self.archive.gemini.probe().await?;
        if needs_webhook {
            self.check_project().await?;
        }
        match self.archive.archive_job(task).await {
            Err(ProcessingError::NotFound(why)) if ours => self.archive.restore(task, &why).await,
            Err(ProcessingError::NotFound(why)) => Err(ProcessingError::Foreign(why)),
            other => other,
        }
    }

    /// Fails where no webhook of the key's project is at our URL: the key is of another project. It succeeds where that
    /// cannot be decided: our URL is not known (`WEBHOOK_URL`), or the API has no webhooks (404).
    async fn check_project(&self) -> Result<(), ProcessingError> {
        let Some(url) = self.webhook_url else { return Ok(()) };
        match self.archive.gemini.webhooks().await? {
            Some(webhooks) if !webhooks.iter().any(|webhook| webhook.is_at(url)) => {
                Err(ProcessingError::OtherProject(url.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// What proves that the job is ours, if anything does.
    async fn proof(&self, row: &Delivery) -> Result<Option<Proof>, ProcessingError> {
        if row.trust == Trust::Project {
            return Ok(Some(Proof::Project));
        }
        if self.archive.is_bound(row, None).await? {
            return Ok(Some(Proof::Token));
        }
        // An application may follow a job by the name that the API gave it, or as the event spells it.
        let name = self.archive.job_name(row).map(|name| name.to_string());
        let hint = row.job_hint.clone().filter(|hint| Some(hint) != name.as_ref());
        for name in [hint, name].into_iter().flatten() {
            let job = self
                .ledger
                .job(&name)
                .await
                .map_err(|error| ProcessingError::transient(error.to_string()))?;
            if job.is_some_and(|job| job.contains_key(attr::WATCH_UNTIL)) {
                return Ok(Some(Proof::Watched));
            }
        }
        Ok(None)
    }
}
