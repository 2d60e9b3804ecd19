//! `gemhook trigger`: an event signed just now, sent or shown.

pub mod event;
mod render;
pub mod signed;

use std::{fs, io::Read, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use reqwest::Url;

use self::{
    event::Change,
    signed::{Form, Signed, Signer},
};
use super::{
    render::{plain, print_json, print_line},
    sender::{Answer, Sender, by_secret},
    target::{Target, TargetArgs},
};
use gemhook::clock::{Clock, SystemClock};
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
    /// Writes one JSON object: the delivery's id, the status, the answer and how long it took
    #[arg(long, conflicts_with = "print")]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
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
    let target = args.target.named_or_dev().await?;
    let now = SystemClock.now();
    let timestamp = now.div_euclid(1000).saturating_sub(args.age);
    let body = match (&args.body, &args.event_type) {
        (Some(path), _) => read(path)?,
        (None, Some(event_type)) => event::sample(event_type, timestamp, &args.set)?,
        (None, None) => bail!("a TYPE or --body is needed"),
    };
    let signer = signer(&args, target.as_ref()).await?;
    let id = args.id.unwrap_or_else(signed::fresh_id);
    let event = Signed::new(signer.sign(&id, timestamp, &body)?, id, timestamp, body);

    let to = match (args.to, &target) {
        (Some(to), _) => Some(to),
        (None, Some(target)) => Some(Url::parse(target.need("WEBHOOK_URL")?)?),
        (None, None) => None,
    };
    let needed = "no address: give --to URL, name a --stack or start `gemhook dev`";
    match args.print {
        Some(Print::Lambda) => print_line(&format!("{:#}", render::lambda(&event, to.as_ref(), now)))?,
        Some(Print::Http) => render::write(&render::http(&event, &to.context(needed)?))?,
        Some(Print::Curl) => print_line(&render::curl(&event, &to.context(needed)?)?)?,
        None => return send(event, to.context(needed)?, args.json).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn signer(args: &Args, target: Option<&Target>) -> Result<Signer> {
    let form = match args.form {
        Form::V1 => return by_secret(args.secret.clone(), target).await,
        _ if args.secret.is_some() => bail!("--secret signs in the form v1 only"),
        Form::V1a => DynamicForm::V1a,
        Form::Jwt => DynamicForm::Jwt,
    };
    let at = target.and_then(|target| target.dev.as_ref()).context(
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

pub(super) fn read(path: &std::path::Path) -> Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
        return Ok(body);
    }
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Sends it and says how it was answered. Exit status 1 where it was not accepted.
async fn send(event: Signed, to: Url, json: bool) -> Result<ExitCode> {
    let sender = Sender::new(to)?;
    let answer = sender.send(&event).await;
    let Some(status) = answer.status else {
        bail!(
            "{}: is it running? `gemhook doctor` checks a stack and the local machine",
            answer.error.unwrap_or_default()
        );
    };
    if json {
        print_json(&answer)?;
    } else {
        print_line(&plain(&sentence(&answer, &sender.to, status)))?;
    }
    Ok(if answer.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sentence(answer: &Answer, to: &Url, status: u16) -> String {
    let id = &answer.webhook_id;
    let said = if answer.answer.is_empty() { String::new() } else { format!(" ({})", answer.answer) };
    match answer.is_success() {
        true => format!(
            "{to} accepted {id} with {status}{said}. See what became of it: gemhook deliveries show {id}"
        ),
        false => format!(
            "{to} refused {id} with {status}{said}. The receiver's log has the reason; `gemhook doctor` checks the \
             secret and the address"
        ),
    }
}
