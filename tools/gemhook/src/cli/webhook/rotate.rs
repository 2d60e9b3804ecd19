//! `gemhook webhook rotate`: a new signing secret, and no event is lost.
//!
//! Gemini signs with the old and the new secret for 24 hours. The new one is written in front of the old one, so a receiver
//! that has read either list accepts each event. When the old one has expired, `--finish` drops it.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use tokio::time::sleep;

use super::{Keeper, Which};
use crate::cli::{
    render::{plain, print_json, print_line},
    target::Target,
    webhooks_api::{ApiError, TruncatedSecret, Webhook, WebhooksApi},
};
use gemhook::{
    clock::{Clock, SystemClock},
    secrets::Secret,
    webhook::SigningSecrets,
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// The Secrets Manager secret that holds the signing secrets [default: the stack's]
    #[arg(long, value_name = "ID")]
    secret_id: Option<String>,
    /// Prints the new signing secret instead of storing it
    #[arg(long, conflicts_with_all = ["secret_id", "finish"])]
    print_secret: bool,
    /// Drops the stored secrets that sign nothing any more, a day after the rotation
    #[arg(long)]
    finish: bool,
    /// Rotates a second time within a day, or finishes while an old secret still signs
    #[arg(long)]
    force: bool,
}

pub(super) const EXAMPLE: &str = "\
1. It writes the stored value once more, which proves that a new one can be written. Otherwise nothing is rotated.
2. The API makes a new secret. The old one signs beside it for 24 hours.
3. The new one is stored in front of the old one.
4. After 24 hours, `gemhook webhook rotate --finish` drops the old one.

The API shows a new secret once. Where its answer is lost, the webhook is looked at, and nothing is repeated.

Example: gemhook webhook rotate --stack my-hook";

/// How often the new secret is written. It cannot be read again.
const WRITES: u32 = 4;

pub(super) async fn run(args: Args, target: Option<&Target>, json: bool) -> Result<ExitCode> {
    let stack = target.filter(|target| target.stack.is_some());
    let keeper = match (args.print_secret, &args.secret_id, stack) {
        (true, ..) => None,
        (false, Some(id), _) => Some(Keeper::open(id).await?),
        (false, None, Some(stack)) => Some(Keeper::open(stack.need("WEBHOOK_SECRET_ID")?).await?),
        (false, None, None) => {
            bail!("where are the signing secrets stored? Say --stack NAME, --secret-id ID or --print-secret")
        }
    };
    let (api, id) = args.which.find(target).await?;
    match (keeper, args.finish) {
        (Some(keeper), true) => finish(&api, &id, &keeper, args.force, json).await,
        (keeper, _) => rotate(&api, &id, keeper.as_ref(), args.force, json).await,
    }
}

async fn rotate(
    api: &WebhooksApi,
    id: &str,
    keeper: Option<&Keeper>,
    force: bool,
    json: bool,
) -> Result<ExitCode> {
    let before = api.get(id).await?;
    if let (Some(until), false) = (signs_until(&before), force) {
        bail!(
            "{id} was rotated within the last day: an old secret signs until {until}. A receiver that has not read the \
             newer one yet could miss events; --force rotates all the same"
        );
    }
    if let Some(keeper) = keeper {
        keeper.prove().await.context("nothing was rotated, because the new secret could not be stored")?;
    }
    let secret = match api.rotate(id).await {
        Ok(secret) => secret,
        Err(lost @ ApiError::Lost(_)) => return Err(look_up(api, &before, &lost).await),
        Err(refused) => return Err(refused.into()),
    };
    if let Some(keeper) = keeper {
        keep(keeper, id, &secret).await?;
    }
    // The rotation is done. The answer only adds when the old secret expires.
    let until = api.get(id).await.ok().and_then(|after| signs_until(&after));
    report(id, &secret, keeper, until.as_deref(), json)?;
    Ok(ExitCode::SUCCESS)
}

/// When the last old secret expires, where one still signs.
fn signs_until(webhook: &Webhook) -> Option<String> {
    let now = SystemClock.now();
    let old = webhook.signing_secrets.iter().filter(|secret| secret.is_expiring(now));
    old.filter_map(|secret| secret.expire_time.clone()).max()
}

/// What came of a rotation whose answer was lost. Repeated blindly, it could make one secret too many that nobody knows.
async fn look_up(api: &WebhooksApi, before: &Webhook, why: &ApiError) -> anyhow::Error {
    let id = &before.id;
    let Ok(now) = api.get(id).await else {
        return anyhow!(
            "{why}; whether {id} was rotated could not be looked up: see `gemhook webhook get {id}` before you try again"
        );
    };
    let newest = |webhook: &Webhook| {
        let newest = webhook.signing_secrets.iter().find(|secret| secret.expire_time.is_none());
        newest.map(|secret| secret.truncated_secret.clone())
    };
    if newest(&now) == newest(before) && now.signing_secrets.len() == before.signing_secrets.len() {
        return anyhow!("{why}; {id} has the secrets that it had, so it can be tried again");
    }
    let until = signs_until(&now).unwrap_or_else(|| "a time that the API does not show".to_owned());
    anyhow!(
        "{why}; but {id} was rotated, to a secret that nobody knows. The old one signs until {until}: \
         `gemhook webhook rotate {id} --force` makes one that is stored"
    )
}

/// The old secret signs for a day more, so there is time to store a new one.
async fn keep(keeper: &Keeper, id: &str, secret: &Secret) -> Result<()> {
    let again = format!(
        "{id} was rotated, but its new secret is not stored. The old one signs for 24 hours more: \
         `gemhook webhook rotate {id} --force` makes another one"
    );
    if let Err(why) = SigningSecrets::parse(secret.expose()) {
        bail!("the API's signing secret {why}; {again}");
    }
    let mut wait = Duration::from_millis(500);
    for _ in 1..WRITES {
        match keeper.put(secret).await {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("warning: {}; it is tried again", plain(&format!("{error:#}"))),
        }
        sleep(wait).await;
        wait *= 2;
    }
    keeper.put(secret).await.with_context(|| again)
}

fn report(id: &str, secret: &Secret, keeper: Option<&Keeper>, until: Option<&str>, json: bool) -> Result<()> {
    if json {
        let (name, value) = match keeper {
            Some(keeper) => ("secret_id", keeper.id()),
            None => ("new_signing_secret", secret.expose()),
        };
        return print_json(&json!({"rotated": id, "old_signs_until": until, name: value}));
    }
    let until = until.unwrap_or("24 hours from now");
    print_line(&plain(&match keeper {
        Some(keeper) => format!(
            "rotated {id}: its new signing secret is in {}, in front of the old one. Both sign until {until}; a receiver \
             with an older value reads the new one in time. After that, `gemhook webhook rotate --finish` drops the old one.",
            keeper.id()
        ),
        None => format!(
            "rotated {id}. The old secret signs until {until}; keep both until then.\nsigning secret, shown this once: {}",
            secret.expose()
        ),
    }))
}

/// Keeps the stored secrets that sign, for this webhook or for another one of the project.
async fn finish(api: &WebhooksApi, id: &str, keeper: &Keeper, force: bool, json: bool) -> Result<ExitCode> {
    let webhook = api.get(id).await?;
    if let (Some(until), false) = (signs_until(&webhook), force) {
        bail!("an old secret of {id} signs until {until}: finish after that, or say --force");
    }
    let now = SystemClock.now();
    let signs =
        |secret: &&TruncatedSecret| secret.expire_time.is_none() || (!force && secret.is_expiring(now));
    let known = keeper.words();
    let own: Vec<_> = webhook.signing_secrets.iter().filter(signs).collect();
    if !known.iter().any(|word| own.iter().any(|secret| secret.can_be(word))) {
        bail!(
            "none of the secrets in {} is the one that signs for {id}, so it is left as it is: `gemhook webhook rotate` \
             makes one that is stored",
            keeper.id()
        );
    }
    // Another webhook's secrets may be stored beside this one's. What could be one of them stays.
    let others = api.list().await?;
    let all: Vec<_> = others
        .iter()
        .filter(|other| other.id != id)
        .flat_map(|other| &other.signing_secrets)
        .chain(own)
        .collect();
    let kept: Vec<&str> =
        known.iter().copied().filter(|word| all.iter().any(|secret| secret.can_be(word))).collect();
    let dropped = known.len() - kept.len();
    if dropped > 0 {
        keeper.keep_only(&kept).await?;
    }
    if json {
        print_json(
            &json!({"finished": id, "secret_id": keeper.id(), "kept": kept.len(), "dropped": dropped}),
        )?;
    } else {
        let line = format!("{}: {dropped} dropped, {} kept, which signs for {id}", keeper.id(), kept.len());
        print_line(&plain(&line))?;
    }
    Ok(ExitCode::SUCCESS)
}
