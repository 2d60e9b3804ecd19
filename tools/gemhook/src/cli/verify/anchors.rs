//! What a captured delivery is checked against, found where the arguments say.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use reqwest::redirect::Policy;
use serde_json::Value;

use super::{Args, address, captured::Captured};
use crate::cli::target::Target;
use gemhook::{
    config::{JWKS_URL, environment, safe_url},
    secrets::{Secret, SecretSource, SecretStore},
    webhook::{KeySet, binding::BindingKey},
};

#[derive(Default)]
pub(super) struct Anchors {
    /// As they were given, separated by blanks.
    pub secrets: Option<Secret>,
    pub keys: Option<Keys>,
    pub audience: Option<String>,
    pub binding: Option<Arc<BindingKey>>,
    pub tolerance: Option<i64>,
}

pub(super) struct Keys {
    pub set: KeySet,
    /// The ids in the set as it is written, of those that have one.
    pub ids: Vec<String>,
    pub target: String,
}

pub(super) async fn find(args: &Args, captured: &Captured) -> Result<Anchors> {
    let set = |name| environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let given = args.secret.is_some() || args.jwks.is_some();
    let mut anchors = Anchors::default();
    if !given && (args.target.is_named() || args.delivery.is_some() || set("WEBHOOK_SECRET").is_none()) {
        let target = args.target.open().await.context(
            "nothing to verify with: give --secret or --jwks, set WEBHOOK_SECRET, name a --stack or start `gemhook dev`",
        )?;
        anchors = of_place(&target, captured).await?;
    } else if !given {
        anchors.secrets = set("WEBHOOK_SECRET").map(Secret::new);
    }
    if let Some(secret) = &args.secret {
        anchors.secrets = Some(Secret::new(secret));
    }
    if let Some(target) = &args.jwks {
        anchors.keys = Some(keys(target).await?);
    }
    if args.audience.is_some() {
        anchors.audience.clone_from(&args.audience);
    }
    Ok(anchors)
}

/// Those of the place itself.
pub(super) async fn of_place(target: &Target, captured: &Captured) -> Result<Anchors> {
    let secrets = match target.source("WEBHOOK_SECRET", "WEBHOOK_SECRET_ID") {
        Ok(SecretSource::Given(secret)) => Some(secret),
        Ok(source @ SecretSource::Stored(_)) => {
            let store = SecretStore::new(source, target.secrets.clone(), |text| Ok(Secret::new(text)));
            Some(store.get().await?.as_ref().clone())
        }
        Err(_) => None,
    };
    let binding = match target.source("BINDING_KEY", "BINDING_KEY_SECRET_ID") {
        Ok(source) => Some(SecretStore::new(source, target.secrets.clone(), BindingKey::parse).get().await?),
        Err(_) => None,
    };
    let dynamic = target.get("DYNAMIC_WEBHOOKS") == Some("true");
    let keys = match dynamic && wants_keys(captured) {
        true => Some(keys(target.get("JWKS_URL").unwrap_or(JWKS_URL)).await?),
        false => None,
    };
    Ok(Anchors {
        secrets,
        keys,
        audience: target.get("JWT_AUDIENCE").map(str::to_owned),
        binding,
        tolerance: target.get("WEBHOOK_TOLERANCE_SECONDS").and_then(|text| text.parse().ok()),
    })
}

/// The keys are far away, and a delivery under our own secret needs none.
fn wants_keys(captured: &Captured) -> bool {
    let signature = captured.header("webhook-signature").unwrap_or_default();
    let kept = captured.kept.as_ref().is_some_and(|kept| kept.scheme != "v1");
    kept || signature.contains("v1a,") || !signature.contains(',')
}

async fn keys(target: &str) -> Result<Keys> {
    let text = match address(target) {
        Some(_) => fetch(target).await?,
        None => std::fs::read(target).with_context(|| format!("cannot read {target}"))?,
    };
    let set = KeySet::parse(&text).map_err(|why| anyhow!("{target} holds no key set: {why}"))?;
    let listed: Value = serde_json::from_slice(&text)?;
    let listed = listed.get("keys").and_then(Value::as_array).into_iter().flatten();
    let ids = listed.filter_map(|key| key.get("kid")?.as_str().map(str::to_owned)).collect();
    Ok(Keys { set, ids, target: target.to_owned() })
}

async fn fetch(url: &str) -> Result<Vec<u8>> {
    let url = safe_url(url).map_err(|why| anyhow!("the address of the keys {why}"))?;
    let http = reqwest::Client::builder().redirect(Policy::none()).build()?;
    let answer = http.get(url.clone()).send().await.with_context(|| format!("cannot reach {url}"))?;
    let status = answer.status();
    if !status.is_success() {
        bail!("{url} answered {}", status.as_u16());
    }
    Ok(answer.bytes().await?.to_vec())
}
