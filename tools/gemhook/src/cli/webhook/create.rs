//! `gemhook webhook create`: nothing is asked of the API before it is known where the secret goes.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use reqwest::Url;
use serde_json::json;

use super::{Keeper, api, print};
use crate::cli::{
    render::{plain, print_json, print_line},
    target::Target,
    webhooks_api::{ApiError, Webhook, WebhooksApi},
};
use gemhook::{
    gemini::catalogue::{GUIDE_ONLY_EVENTS, SUBSCRIBABLE_EVENTS, can_be_subscribed},
    secrets::Secret,
    webhook::SigningSecrets,
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The address that Gemini sends its events to [default: the stack's function URL]
    url: Option<Url>,
    /// The events to subscribe to, separated by commas [default: all seven that the API takes]
    #[arg(long, value_name = "EVENT,...", value_delimiter = ',')]
    events: Vec<String>,
    /// A label
    #[arg(long, default_value = "gemhook")]
    name: String,
    /// The Secrets Manager secret to write the signing secret to [default: the stack's]
    #[arg(long, value_name = "ID")]
    secret_id: Option<String>,
    /// Prints the signing secret instead of storing it
    #[arg(long, conflicts_with = "secret_id")]
    print_secret: bool,
    /// Creates it even if one is registered for this address already
    #[arg(long)]
    another: bool,
    /// Sends event names that the API is known to refuse
    #[arg(long)]
    force: bool,
}

pub(super) const EXAMPLE: &str = "\
The API takes exactly seven event names: batch.succeeded, batch.failed, batch.expired, interaction.completed, \
interaction.failed, interaction.requires_action and video.generated. It refuses any other name, also the two *.cancelled \
ones of Google's guide.

Example: gemhook webhook create --stack my-hook";

pub(super) async fn run(args: Args, target: Option<&Target>, json: bool) -> Result<ExitCode> {
    let uri = match (&args.url, target) {
        (Some(url), _) => url.to_string(),
        (None, Some(target)) => target.need("WEBHOOK_URL")?.to_owned(),
        (None, None) => bail!("which address? Give a URL or --stack NAME"),
    };
    let stack = target.filter(|target| target.stack.is_some());
    let keeper = match (args.print_secret, &args.secret_id, stack) {
        (true, ..) => None,
        (false, Some(id), _) => Some(Keeper::open(id).await?),
        (false, None, Some(stack)) => Some(Keeper::open(stack.need("WEBHOOK_SECRET_ID")?).await?),
        (false, None, None) => bail!(
            "the API shows the signing secret once, so say where it goes: --stack NAME, --secret-id ID or \
             --print-secret"
        ),
    };
    let events = events(args.events, args.force)?;
    let api = api(target).await?;
    let before = registered(&api, &uri).await?;
    if let (Some(there), false) = (before.first(), args.another) {
        bail!(
            "{uri} is registered already, as {} ({}): delete that one first, or say --another",
            there.id,
            there.state
        );
    }
    let (webhook, secret) = match api.create(&uri, &events, &args.name).await {
        Ok(created) => created,
        Err(lost @ ApiError::Lost(_)) => return Err(look_up(&api, &uri, &before, &lost).await),
        Err(refused) => return Err(refused.into()),
    };
    if let Some(keeper) = &keeper {
        keep(&api, keeper, &webhook, &secret).await?;
    }
    tell(&webhook, &secret, keeper.as_ref(), json)?;
    Ok(ExitCode::SUCCESS)
}

/// The events to subscribe to. A name that the API is known to refuse stops here, before anything is created; one that
/// this version does not know may be new, so the API decides.
pub(super) fn events(chosen: Vec<String>, force: bool) -> Result<Vec<String>> {
    if chosen.is_empty() {
        return Ok(SUBSCRIBABLE_EVENTS.map(str::to_owned).to_vec());
    }
    for event in chosen.iter().filter(|event| !can_be_subscribed(event)) {
        let refused = GUIDE_ONLY_EVENTS.contains(&event.as_str());
        if refused && !force {
            bail!(
                "the API refuses {event}, although Google's guide names it; it takes {}. --force sends it all the same",
                SUBSCRIBABLE_EVENTS.join(", ")
            );
        }
        let why = if refused { "is refused by the API" } else { "is not an event that this version knows" };
        eprintln!("warning: {} {why}", plain(event));
    }
    Ok(chosen)
}

/// The webhooks for an address, whatever their state.
pub(super) async fn registered(api: &WebhooksApi, uri: &str) -> Result<Vec<Webhook>> {
    let all = api.list().await?;
    Ok(all.into_iter().filter(|webhook| is_same(&webhook.uri, uri)).collect())
}

/// Whether two addresses differ in nothing but a slash at the end.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// What came of a creation whose answer was lost. It is not repeated: the secret of a second one would be the
/// only one we know, and the first would go on sending what we cannot verify.
async fn look_up(api: &WebhooksApi, uri: &str, before: &[Webhook], why: &ApiError) -> anyhow::Error {
    let Ok(now) = registered(api, uri).await else {
        return anyhow!(
            "{why}; whether the webhook exists could not be looked up: see `gemhook webhook list` before you try again"
        );
    };
    match now.iter().find(|webhook| before.iter().all(|old| old.id != webhook.id)) {
        Some(made) => anyhow!(
            "{why}; but the webhook was made, as {0}, with a secret that nobody knows: \
             `gemhook webhook delete {0}`, then create it again",
            made.id
        ),
        None => anyhow!("{why}; the list shows no new webhook, so it can be tried again"),
    }
}

/// A webhook whose secret is lost is worth nothing, so it goes again.
async fn keep(api: &WebhooksApi, keeper: &Keeper, webhook: &Webhook, secret: &Secret) -> Result<()> {
    let kept = match SigningSecrets::parse(secret.expose()) {
        Ok(_) => keeper.put(secret).await,
        Err(why) => Err(anyhow!("the API's signing secret {why}")),
    };
    let Err(why) = kept else { return Ok(()) };
    Err(match api.delete(&webhook.id).await {
        Ok(()) => anyhow!("{why:#}; the webhook {} was deleted again", webhook.id),
        Err(error) => anyhow!(
            "{why:#}; the webhook {0} is there without a secret that is known ({error}): \
             `gemhook webhook delete {0}`",
            webhook.id
        ),
    })
}

fn tell(webhook: &Webhook, secret: &Secret, keeper: Option<&Keeper>, json: bool) -> Result<()> {
    if json {
        let mut told = serde_json::to_value(webhook)?;
        if let Some(told) = told.as_object_mut() {
            match keeper {
                Some(keeper) => told.insert("secret_id".into(), keeper.id().into()),
                None => told.insert("new_signing_secret".into(), json!(secret.expose())),
            };
        }
        return print_json(&told);
    }
    print(webhook)?;
    print_line(&match keeper {
        Some(keeper) => format!(
            "\nIts signing secret is in {}, in front of what was there. A receiver that has read an older value \
             takes the new one within five minutes.",
            keeper.id()
        ),
        None => format!("\nsigning secret, shown this once: {}", secret.expose()),
    })
}
