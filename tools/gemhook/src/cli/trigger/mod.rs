//! `gemhook trigger`: an event signed just now, sent or shown.

pub mod event;
mod show;
pub mod signed;

use std::{fs, io::Read, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use reqwest::{Url, redirect::Policy};
use serde_json::json;

use self::{
    event::Change,
    signed::{Form, Signed, Signer},
};
use super::{
    local::Local,
    show::{print_json, print_line},
    stack::{self, Stack},
};
use crate::dev::Addresses;
use gemhook::{
    aws,
    clock::{Clock, SystemClock},
    secrets::{Secret, SecretSource, SecretStore},
    webhook::SigningSecrets,
};
use gemini_simulator::DynamicForm;

#[derive(clap::Args)]
pub struct Args {
    /// The event's type: one of Gemini's, or any other
    #[arg(value_name = "TYPE", required_unless_present = "body")]
    event_type: Option<String>,
    /// Shows the event instead of sending it: for `cargo lambda invoke --data-file`, as it goes over the wire, or
    /// as a command
    #[arg(long, value_name = "FORM")]
    print: Option<Print>,
    /// Where it goes [default: the stack, else the running `gemhook dev`]
    #[arg(long, value_name = "URL")]
    to: Option<Url>,
    /// The stack whose function URL and signing secret are used
    #[arg(long, value_name = "NAME", conflicts_with = "local")]
    stack: Option<String>,
    /// One or more signing secrets, newest first [default: WEBHOOK_SECRET, else the stack's, else the
    /// running `gemhook dev`'s]
    #[arg(long, value_name = "whsec_...")]
    secret: Option<String>,
    /// Sets a field, as in data.id=batches/b1; `:=` sets JSON instead of text. May be repeated
    #[arg(long, value_name = "FIELD=TEXT", conflicts_with = "body")]
    set: Vec<Change>,
    /// Sends the content of a file as it is; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "event_type")]
    body: Option<PathBuf>,
    /// The delivery's id; the same again makes a duplicate [default: a new one]
    #[arg(long)]
    id: Option<String>,
    /// How long ago it was signed: more than 300 makes it stale, less than 0 is in the future
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    age: i64,
    /// How it is signed
    #[arg(long, default_value = "v1")]
    form: Form,
    /// Whom a token is meant for [default: the address it goes to]
    #[arg(long, value_name = "URL")]
    audience: Option<String>,
    #[command(flatten)]
    local: Local,
}

#[derive(Clone, Copy, ValueEnum)]
enum Print {
    /// The event of a Function URL
    Lambda,
    /// An HTTP/1.1 request
    Http,
    /// A command for the shell
    Curl,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let place = place(args.stack.as_deref(), &args.local).await?;
    let now = SystemClock.now();
    let timestamp = now.div_euclid(1000).saturating_sub(args.age);
    let body = match (&args.body, &args.event_type) {
        (Some(path), _) => read(path)?,
        (None, Some(event_type)) => event::sample(event_type, timestamp, &args.set)?,
        (None, None) => bail!("a TYPE or --body is needed"),
    };
    let signer = signer(&args, place.as_ref())?;
    let id = args.id.unwrap_or_else(signed::fresh_id);
    let event = Signed::new(signer.sign(&id, timestamp, &body)?, id, timestamp, body);

    let to = args.to.or(place.map(|place| place.url));
    let needed = "no address: give --to URL, name a --stack or start `gemhook dev`";
    match args.print {
        Some(Print::Lambda) => print_line(&format!("{:#}", show::lambda(&event, to.as_ref(), now)))?,
        Some(Print::Http) => show::write(&show::http(&event, &to.context(needed)?))?,
        Some(Print::Curl) => print_line(&show::curl(&event, &to.context(needed)?)?)?,
        None => return send(event, to.context(needed)?).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Where events go and what signs them.
struct Place {
    url: Url,
    secret: Secret,
    local: Option<Addresses>,
}

/// Where a place is named or runs.
async fn place(stack: Option<&str>, local: &Local) -> Result<Option<Place>> {
    let Some(name) = stack else {
        let Some(at) = local.or_running()? else { return Ok(None) };
        let (url, secret) = (Url::parse(&at.webhook_url)?, Secret::new(&at.webhook_secret));
        return Ok(Some(Place { url, secret, local: Some(at) }));
    };
    let sdk = aws::config(aws::archiver_timeouts()).await;
    let stack = Stack::read(&sdk, name).await?;
    let id = SecretSource::Stored(stack.need(stack::WEBHOOK_SECRET)?.to_owned());
    let client = aws_sdk_secretsmanager::Client::new(&sdk);
    let store = SecretStore::new(id, client, |text| Ok(Secret::new(text)));
    let secret = store.get().await.with_context(|| {
        format!("no signing secret of the stack {name}: gemhook webhook create --stack {name} sets one")
    })?;
    let secret = secret.as_ref().clone();
    Ok(Some(Place { url: Url::parse(stack.need(stack::WEBHOOK_URL)?)?, secret, local: None }))
}

fn signer(args: &Args, place: Option<&Place>) -> Result<Signer> {
    let form = match args.form {
        Form::V1 => return by_secret(args, place),
        _ if args.secret.is_some() => bail!("--secret signs in the form v1 only"),
        Form::V1a => DynamicForm::V1a,
        Form::Jwt => DynamicForm::Jwt,
    };
    let at = place.and_then(|place| place.local.as_ref()).context(
        "only Google's keys sign in this form, and here those of a running `gemhook dev`: start one, or name its \
         folder with --local=DIR",
    )?;
    let audience = match (&args.audience, &args.to) {
        (Some(audience), _) => audience,
        (None, Some(to)) => to.as_str(),
        (None, None) => &at.webhook_url,
    };
    Signer::issuer(&at.issuer_keys, form, audience)
}

fn by_secret(args: &Args, place: Option<&Place>) -> Result<Signer> {
    let given = args.secret.clone().or_else(|| std::env::var("WEBHOOK_SECRET").ok()).map(Secret::new);
    let secret = given.or_else(|| place.map(|place| place.secret.clone())).context(
        "no signing secret: give --secret, set WEBHOOK_SECRET, name a --stack or start `gemhook dev`",
    )?;
    let secrets = SigningSecrets::parse(secret.expose());
    Ok(Signer::Secrets(secrets.map_err(|why| anyhow!("the signing secret {why}"))?))
}

pub(super) fn read(path: &std::path::Path) -> Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
        return Ok(body);
    }
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// One line of JSON, and exit status 1 where the event was not taken.
async fn send(event: Signed, to: Url) -> Result<ExitCode> {
    let http = reqwest::Client::builder().redirect(Policy::none()).build()?;
    let answer = event.post(&http, to.clone()).await.with_context(|| format!("cannot reach {to}"))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    print_json(&json!({"webhook_id": event.id, "status": status.as_u16(), "answer": text}))?;
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
