//! `gemhook webhook`: the webhooks registered at the Gemini API, or at the local one.

mod create;
mod keep;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use reqwest::Url;
use serde_json::json;

use self::keep::Keeper;
use super::{
    local::Local,
    show::{plain, print_json, print_line},
    stack::{self, Stack},
    webhooks_api::{Webhook, WebhooksApi},
};
use gemhook::{
    aws,
    config::{GEMINI_BASE_URL, base_url},
    secrets::{PLACEHOLDER, Secret},
};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Writes JSON
    #[arg(long, global = true)]
    json: bool,
}

/// The API is chosen by GEMINI_BASE_URL and GEMINI_API_KEY.
#[derive(Subcommand)]
enum Command {
    /// Registers a webhook and stores its signing secret, which the API shows once
    Create(create::Args),
    /// Shows a webhook
    Get(Which),
    /// Shows all webhooks
    List(Api),
    /// Has Gemini send a ping
    Ping(Which),
    /// Deletes a webhook: its events are no longer sent
    Delete(Which),
}

#[derive(clap::Args)]
struct Api {
    /// The stack whose API key is used where GEMINI_API_KEY is not set
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    #[command(flatten)]
    local: Local,
}

#[derive(clap::Args)]
struct Which {
    /// The webhook [default: the one for the address of the --stack]
    #[arg(required_unless_present = "stack")]
    id: Option<String>,
    #[command(flatten)]
    api: Api,
}

impl Which {
    async fn find(self) -> Result<(WebhooksApi, String)> {
        let stack = read_stack(self.api.stack.as_deref()).await?;
        let api = api(&self.api.local, stack.as_ref()).await?;
        if let Some(id) = self.id {
            return Ok((api, id));
        }
        let uri = stack.as_ref().context("an ID or --stack is needed")?.need(stack::WEBHOOK_URL)?;
        let mut found = create::registered(&api, uri).await?;
        match (found.pop(), found.len()) {
            (Some(webhook), 0) => Ok((api, webhook.id)),
            (None, _) => bail!("no webhook is registered for {uri}"),
            (Some(one), more) => {
                bail!(
                    "{} webhooks are registered for {uri}, {} among them: name the one you mean",
                    more + 1,
                    one.id
                )
            }
        }
    }
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let json = args.json;
    match args.command {
        Command::Create(create) => return create::run(create, json).await,
        Command::Get(which) => {
            let (api, id) = which.find().await?;
            let webhook = api.get(&id).await?;
            if json { print_json(&webhook)? } else { print(&webhook)? }
        }
        Command::List(Api { stack, local }) => {
            let stack = read_stack(stack.as_deref()).await?;
            let webhooks = api(&local, stack.as_ref()).await?.list().await?;
            if json { print_json(&webhooks)? } else { webhooks.iter().try_for_each(print)? }
        }
        Command::Ping(which) => {
            let (api, id) = which.find().await?;
            api.ping(&id).await?;
            if json {
                print_json(&json!({"pinged": id}))?
            } else {
                print_line(&format!("{id} will be sent a ping"))?
            }
        }
        Command::Delete(which) => {
            let (api, id) = which.find().await?;
            api.delete(&id).await?;
            if json { print_json(&json!({"deleted": id}))? } else { print_line(&format!("{id} is deleted"))? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn read_stack(name: Option<&str>) -> Result<Option<Stack>> {
    match name {
        Some(name) => Ok(Some(Stack::read(&aws::config(aws::archiver_timeouts()).await, name).await?)),
        None => Ok(None),
    }
}

/// The API that a command is meant for. The key is the environment's, else that of the place it works on.
async fn api(local: &Local, stack: Option<&Stack>) -> Result<WebhooksApi> {
    let (mut base, mut key) = (variable("GEMINI_BASE_URL"), variable("GEMINI_API_KEY").map(Secret::new));
    if let Some(at) = local.named()? {
        base = base.or(Some(at.gemini_url));
        key = key.or_else(|| Some(Secret::new(at.gemini_api_key)));
    }
    if let (None, Some(stack)) = (&key, stack) {
        key = Some(stored_key(stack.need(stack::GEMINI_API_KEY)?).await?);
    }
    let key = key.context("GEMINI_API_KEY is not set")?;
    let base = base.unwrap_or_else(|| GEMINI_BASE_URL.to_owned());
    let base: Url = base_url(&base).map_err(|why| anyhow::anyhow!("GEMINI_BASE_URL {why}, not {base:?}"))?;
    WebhooksApi::new(base, key)
}

async fn stored_key(id: &str) -> Result<Secret> {
    let sdk = aws::config(aws::archiver_timeouts()).await;
    let read = aws_sdk_secretsmanager::Client::new(&sdk).get_secret_value().secret_id(id).send().await;
    let read = read.map_err(|error| anyhow::anyhow!("cannot read {id}: {}", aws::explain(&error)))?;
    let key = Secret::new(read.secret_string().unwrap_or_default().trim());
    if key.expose().is_empty() || key.expose() == PLACEHOLDER {
        bail!("GEMINI_API_KEY is not set, and neither is the stack's own key {id}");
    }
    Ok(key)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
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
