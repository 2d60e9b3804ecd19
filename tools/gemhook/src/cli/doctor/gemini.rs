//! What the Gemini API knows: our key, and a webhook for our address.

use super::{finding::Finding, webhook};
use crate::cli::{
    target::Target,
    webhooks_api::{Webhook, WebhooksApi},
};
use gemhook::{gemini::catalogue::SUBSCRIBABLE_EVENTS, secrets::Secret};

const KEY: (&str, &str) = ("GEMINI_API_KEY", "GEMINI_API_KEY_SECRET_ID");
const SET_KEY: &str = "aws secretsmanager put-secret-value --secret-id ID --secret-string file:///dev/stdin, \
                       with a key from https://aistudio.google.com/apikey";

fn fix(target: &Target) -> String {
    match target.get(KEY.1) {
        Some(id) => SET_KEY.replace("ID", id),
        None => format!("set {}", KEY.0),
    }
}

pub(super) async fn key(target: &Target) -> Result<Finding, Finding> {
    match target.gemini()?.probe().await {
        Ok(()) => {
            Ok(Finding::ok(format!("{} takes it", target.gemini_url()?.host_str().unwrap_or_default())))
        }
        Err(error) => Finding::fail(error.to_string(), fix(target)),
    }
}

async fn api(target: &Target) -> Result<WebhooksApi, Finding> {
    let key = target.gemini_key().await;
    let key = key.map_err(|_| Finding::skipped("without an API key the Gemini API cannot be asked"))?;
    Ok(WebhooksApi::new(target.gemini_url()?, key)?)
}

pub(super) async fn registered(target: &Target) -> Result<Finding, Finding> {
    let url = target.need("WEBHOOK_URL")?;
    let all = api(target).await?.list().await;
    let all = all.map_err(|error| Finding::failure(error.to_string(), fix(target)))?;
    let create = match &target.stack {
        Some(stack) => format!("gemhook webhook create --stack {}", stack.name),
        None => format!("gemhook webhook create {url} --secret-id ID"),
    };
    let ours: Vec<Webhook> = all.into_iter().filter(|webhook| same(&webhook.uri, url)).collect();
    let Some(webhook) = ours.iter().find(|webhook| webhook.state == "enabled").or(ours.first()) else {
        return Finding::fail(format!("no webhook is registered for {url}"), create);
    };
    let id = &webhook.id;
    if webhook.state != "enabled" {
        return Finding::fail(
            format!("{id} is {}", webhook.state),
            format!(
                "when the receiver answers again: curl -X PATCH -H \"x-goog-api-key: $GEMINI_API_KEY\" -H \
                 'content-type: application/json' -d '{{\"state\":\"enabled\"}}' '{}v1beta/webhooks/{id}'",
                target.gemini_url()?
            ),
        );
    }
    let lacks = |event: &&str| webhook.subscribed_events.iter().all(|name| name != event);
    let missing: Vec<&str> = SUBSCRIBABLE_EVENTS.into_iter().filter(|event| lacks(event)).collect();
    if !missing.is_empty() {
        return Ok(Finding::warning(
            format!("{id} does not hear of {}", missing.join(", ")),
            "if that is not intended: delete it, and create it again",
        ));
    }
    if let Ok(text) = webhook::text(target).await
        && !shares_a_secret(webhook, &text)
    {
        let (delete, why) =
            (format!("gemhook webhook delete {id}"), "signs with a secret that is not stored");
        return Finding::fail(format!("{id} {why}"), format!("{delete}, then {create}"));
    }
    Ok(Finding::ok(format!("{id} is enabled and hears of all that is archived")))
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// By the last four characters, which is all that the API shows. One that it does not show proves nothing.
fn shares_a_secret(webhook: &Webhook, stored: &Secret) -> bool {
    let shown = webhook.signing_secrets.iter().filter_map(|secret| tail(&secret.truncated_secret));
    let shown: Vec<String> = shown.collect();
    let ours: Vec<String> = stored.expose().split_ascii_whitespace().filter_map(tail).collect();
    shown.is_empty() || shown.iter().any(|tail| ours.contains(tail))
}

fn tail(secret: &str) -> Option<String> {
    let start = secret.char_indices().rev().nth(3)?.0;
    secret.get(start..).map(str::to_owned)
}
