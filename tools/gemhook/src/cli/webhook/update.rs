//! `gemhook webhook update`, `enable` and `disable`: each says what the webhook is to be, so it can be said twice.

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::{Which, create, print};
use crate::cli::{
    render::{print_json, print_line},
    target::Target,
    webhooks_api::{ApiError, Webhook, WebhooksApi},
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// The address that Gemini is to send its events to
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// The events to subscribe to, separated by commas, instead of those of now
    #[arg(long, value_name = "EVENT,...", value_delimiter = ',')]
    events: Vec<String>,
    /// A label
    #[arg(long)]
    name: Option<String>,
    /// Sends event names that the API is known to refuse
    #[arg(long)]
    force: bool,
}

pub(super) const EXAMPLE: &str = "\
What is not named stays as it is, also the signing secret.

Example: gemhook webhook update --stack my-hook --events batch.succeeded,batch.failed";

pub(super) const DISABLE_EXAMPLE: &str = "\
Gemini sends a disabled webhook nothing, and does not make up for it later: `gemhook reconcile` finds the jobs that ended \
meanwhile.

Example: gemhook webhook disable --stack my-hook";

pub(super) async fn run(args: Args, target: Option<&Target>, json: bool) -> Result<ExitCode> {
    let mut fields = Map::new();
    fields.extend(args.url.map(|url| ("uri".to_owned(), json!(url.as_str()))));
    if !args.events.is_empty() {
        fields.insert("subscribed_events".to_owned(), json!(create::events(args.events, args.force)?));
    }
    fields.extend(args.name.map(|name| ("name".to_owned(), json!(name))));
    if fields.is_empty() {
        bail!("nothing to update: say --url, --events or --name");
    }
    let (api, id) = args.which.find(target).await?;
    let webhook = change(&api, &id, &fields).await?;
    if json {
        print_json(&webhook)?
    } else {
        print(&webhook)?
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn set_state(
    which: Which,
    state: &str,
    target: Option<&Target>,
    json: bool,
) -> Result<ExitCode> {
    let (api, id) = which.find(target).await?;
    let fields = Map::from_iter([("state".to_owned(), json!(state))]);
    let webhook = change(&api, &id, &fields).await?;
    if json {
        print_json(&webhook)?;
    } else {
        print(&webhook)?;
        print_line(match state {
            "enabled" => {
                "\nGemini sends it events from now on. `gemhook reconcile` finds the jobs that ended before."
            }
            _ => "\nGemini sends it nothing until `gemhook webhook enable`.",
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A change whose answer was lost is looked for.
async fn change(api: &WebhooksApi, id: &str, fields: &Map<String, Value>) -> Result<Webhook> {
    let lost = match api.update(id, fields).await {
        Err(lost @ ApiError::Lost(_)) => lost,
        answered => return Ok(answered?),
    };
    let found = api.get(id).await.with_context(|| {
        format!("{lost}; whether {id} was changed could not be looked up: see `gemhook webhook get {id}`")
    })?;
    let is = serde_json::to_value(&found)?;
    match fields.iter().all(|(name, wanted)| is.get(name) == Some(wanted)) {
        true => Ok(found),
        false => Err(anyhow!("{lost}; {id} is as it was, so it can be tried again")),
    }
}
