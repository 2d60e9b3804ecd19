//! `gemhook token`: a binding token, put into the `user_metadata` of a job that is about to be created.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

use super::{
    render::{print_json, print_line},
    target::TargetArgs,
};
use gemhook::{
    aws,
    config::environment,
    secrets::{Secret, SecretSource, SecretStore},
    webhook::binding::{BindingKey, TOKEN},
};

#[derive(clap::Args)]
pub struct Args {
    /// The job's user_metadata: a JSON object, to which the token is added
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = object)]
    metadata: Map<String, Value>,
    /// A file that holds the key [default: BINDING_KEY, else the secret that BINDING_KEY_SECRET_ID names, else that
    /// of --stack or of the running `gemhook dev`]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Prints the token alone
    #[arg(long)]
    bare: bool,
    #[command(flatten)]
    target: TargetArgs,
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is no JSON object: {error}"))
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let Args { mut metadata, key_file, bare, target } = args;
    if metadata.contains_key(TOKEN) {
        bail!("the metadata has a {TOKEN} already");
    }
    let token = key(key_file, &target).await?.mint();
    if bare {
        print_line(&token)?;
    } else {
        metadata.insert(TOKEN.to_owned(), token.into());
        print_json(&metadata)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn key(file: Option<PathBuf>, target: &TargetArgs) -> Result<Arc<BindingKey>> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(&path).map(Secret::new);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        return parse(&path.display().to_string(), text.expose());
    }
    let set = |name| environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    if target.is_named() {
        return placed(target).await;
    }
    match (set("BINDING_KEY"), set("BINDING_KEY_SECRET_ID")) {
        (Some(key), _) => parse("BINDING_KEY", &key),
        (None, Some(id)) => {
            let sdk = aws::config(aws::archiver_timeouts()).await;
            stored(SecretSource::Stored(id), aws_sdk_secretsmanager::Client::new(&sdk)).await
        }
        (None, None) => placed(target).await,
    }
}

async fn placed(target: &TargetArgs) -> Result<Arc<BindingKey>> {
    let target = target.open().await.context("no binding key: set BINDING_KEY or give --key-file")?;
    let source = target.source("BINDING_KEY", "BINDING_KEY_SECRET_ID").map_err(|_| {
        anyhow!(
            "{} requires no binding tokens: {}",
            target.name,
            if target.local { "start it with --binding-key" } else { "give it a BindingKeySecretArn" }
        )
    })?;
    stored(source, target.secrets).await
}

async fn stored(source: SecretSource, secrets: aws_sdk_secretsmanager::Client) -> Result<Arc<BindingKey>> {
    let store = SecretStore::new(source, secrets, BindingKey::parse);
    Ok(store.get().await?)
}

fn parse(name: &str, text: &str) -> Result<Arc<BindingKey>> {
    BindingKey::parse(text.trim()).map(Arc::new).map_err(|why| anyhow!("{name} {why}"))
}
