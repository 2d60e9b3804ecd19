//! `gemhook webhook`: the webhooks registered at the Gemini API, or at the local one.

mod create;
mod keep;
mod rotate;
mod update;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use reqwest::Url;
use serde_json::json;

use self::keep::Keeper;
use super::{
    render::{plain, print_json, print_line},
    target::{Target, TargetArgs},
    webhooks_api::{Webhook, WebhooksApi},
};
use gemhook::{
    config::{GEMINI_BASE_URL, base_url, environment},
    secrets::Secret,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Writes one JSON document: an object, or for `list` an array
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

const GET_EXAMPLE: &str = "\
Shows the id, the state, the address, the label, the events and the last four characters of each signing secret, with \
the time at which an old one expires. The API never says when a webhook was created or changed.

Example: gemhook webhook get --stack my-hook";

const PING_EXAMPLE: &str = "\
The API answers a ping with success also when it can reach nobody, so a success proves nothing. `gemhook doctor` sends \
a signed event of its own through the same address; that is the proof.

Example: gemhook webhook ping --stack my-hook";

/// The API's address and key come from GEMINI_BASE_URL and GEMINI_API_KEY where they are set, else from the place.
#[derive(Subcommand)]
enum Command {
    /// Registers a webhook and stores its signing secret, which the API shows only once
    #[command(after_help = create::EXAMPLE)]
    Create(create::Args),
    /// Shows a webhook
    #[command(after_help = GET_EXAMPLE)]
    Get(Which),
    /// Shows all webhooks of the project
    #[command(after_help = "Example: gemhook webhook list --json")]
    List,
    /// Asks Gemini to send a ping; a success does not prove that it arrives
    #[command(after_help = PING_EXAMPLE)]
    Ping(Which),
    /// Changes a webhook's address, events or label
    #[command(after_help = update::EXAMPLE)]
    Update(update::Args),
    /// Enables a webhook that is disabled, also one that Gemini disabled after failed deliveries
    #[command(after_help = "Example: gemhook webhook enable --stack my-hook")]
    Enable(Which),
    /// Disables a webhook, so that Gemini sends it nothing
    #[command(after_help = update::DISABLE_EXAMPLE)]
    Disable(Which),
    /// Replaces the signing secret without losing an event
    #[command(after_help = rotate::EXAMPLE)]
    Rotate(rotate::Args),
    /// Deletes a webhook, after which Gemini sends it no more events
    #[command(after_help = "Example: gemhook webhook delete --stack my-hook")]
    Delete(Which),
}

#[derive(clap::Args)]
struct Which {
    /// The webhook's id [default: the one that is registered for the stack's address]
    id: Option<String>,
}

impl Which {
    async fn find(self, target: Option<&Target>) -> Result<(WebhooksApi, String)> {
        let api = api(target).await?;
        if let Some(id) = self.id {
            return Ok((api, id));
        }
        let target =
            target.context("which one? Give an ID (`gemhook webhook list` shows them) or --stack NAME")?;
        let uri = target.need("WEBHOOK_URL")?;
        let mut found = create::registered(&api, uri).await?;
        match (found.pop(), found.len()) {
            (Some(webhook), 0) => Ok((api, webhook.id)),
            (None, _) => bail!(
                "no webhook is registered for {uri}: `gemhook webhook create` registers one, `gemhook webhook list` \
                 shows the others"
            ),
            (Some(one), more) => {
                bail!(
                    "{} webhooks are registered for {uri}, one of them is {}: name the one you mean; `gemhook webhook \
                     list` shows them",
                    more + 1,
                    one.id
                )
            }
        }
    }
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let Args { command, json, target } = args;
    let target = target.named().await?;
    let target = target.as_ref();
    match command {
        Command::Create(create) => return create::run(create, target, json).await,
        Command::Update(update) => return update::run(update, target, json).await,
        Command::Enable(which) => return update::set_state(which, "enabled", target, json).await,
        Command::Disable(which) => return update::set_state(which, "disabled", target, json).await,
        Command::Rotate(rotate) => return rotate::run(rotate, target, json).await,
        Command::Get(which) => {
            let (api, id) = which.find(target).await?;
            let webhook = api.get(&id).await?;
            if json { print_json(&webhook)? } else { print(&webhook)? }
        }
        Command::List => {
            let webhooks = api(target).await?.list().await?;
            match (json, webhooks.is_empty()) {
                (true, _) => print_json(&webhooks)?,
                (false, true) => {
                    print_line("no webhook is registered: `gemhook webhook create` registers one")?
                }
                (false, false) => webhooks.iter().try_for_each(print)?,
            }
        }
        Command::Ping(which) => {
            let (api, id) = which.find(target).await?;
            api.ping(&id).await?;
            if json {
                print_json(&json!({"pinged": id}))?
            } else {
                print_line(&plain(&format!(
                    "Gemini accepted the ping of {id}. That does not prove that it arrives: `gemhook deliveries list \
                     --type ping` shows whether it did, `gemhook doctor` tests the address."
                )))?
            }
        }
        Command::Delete(which) => {
            let (api, id) = which.find(target).await?;
            api.delete(&id).await?;
            if json {
                print_json(&json!({"deleted": id}))?
            } else {
                print_line(&plain(&format!("deleted {id}")))?
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The API that a command is meant for. The key is the environment's, else that of the place.
async fn api(target: Option<&Target>) -> Result<WebhooksApi> {
    let variable =
        |name| environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let key = match (variable("GEMINI_API_KEY"), target) {
        (Some(key), _) => Secret::new(key),
        (None, Some(target)) => target.gemini_key().await.context("GEMINI_API_KEY is not set")?,
        (None, None) => bail!("no API key: set GEMINI_API_KEY, name a --stack or say --local"),
    };
    let base: Url = match (variable("GEMINI_BASE_URL"), target) {
        (None, Some(target)) => target.gemini_url()?,
        (base, _) => {
            let base = base.unwrap_or_else(|| GEMINI_BASE_URL.to_owned());
            base_url(&base).map_err(|why| anyhow::anyhow!("GEMINI_BASE_URL {why}, not {base:?}"))?
        }
    };
    WebhooksApi::new(base, key)
}

fn print(webhook: &Webhook) -> Result<()> {
    print_line(&plain(&format!("{}  {}  {}", webhook.id, webhook.state, webhook.uri)))?;
    if let Some(name) = &webhook.name {
        print_line(&plain(&format!("  name     {name}")))?;
    }
    print_line(&plain(&format!("  events   {}", webhook.subscribed_events.join(" "))))?;
    for secret in &webhook.signing_secrets {
        let until = secret.expire_time.as_ref().map(|time| format!(" until {time}")).unwrap_or_default();
        print_line(&plain(&format!("  secret   {}{until}", secret.truncated_secret)))?;
    }
    Ok(())
}
