//! `gemhook trigger`: an event signed just now, sent or shown.

pub mod event;
pub mod job;
mod render;
mod repeat;
pub mod signed;

use std::{fs, io::Read, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use reqwest::Url;

use self::{
    event::Change,
    job::JobKind,
    signed::{Form, Signed, Signer},
};
use super::{
    render::{plain, print_json, print_line},
    sender::{Answer, Sender, by_place, by_secret, has_secret},
    target::{Target, TargetArgs},
};
use gemhook::clock::{Clock, SystemClock};
use gemini_simulator::DynamicForm;

#[derive(clap::Args)]
pub struct Args {
    /// The event's type: one of Gemini's, or any other [default with --job: that of a job that ends well]
    #[arg(value_name = "TYPE", required_unless_present_any = ["body", "job"])]
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
    /// Makes a job of this kind in the running `gemhook dev` first, and sends the event of its end
    #[arg(long, value_name = "KIND", conflicts_with = "body")]
    job: Option<JobKind>,
    /// Sends N events: each is a new delivery, with --job of its own job; with --id all are copies of one delivery
    #[arg(long, value_name = "N", conflicts_with = "print", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: Option<u32>,
    /// How many are on their way at once
    #[arg(long, value_name = "N", default_value_t = 1, requires = "repeat", value_parser = clap::value_parser!(u32).range(1..=1000))]
    concurrency: u32,
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
    /// Writes one JSON object: the delivery's id, the status, the answer and how long it took; with --repeat an array
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
    let complete = args.to.is_some()
        && has_secret(args.secret.as_deref())
        && args.job.is_none()
        && matches!(args.form, Form::V1);
    let target = args.target.named_or_dev(!complete).await?;
    let signer = signer(&args, target.as_ref()).await?;
    // Standard input can be read once only.
    let body = args.body.as_deref().map(read).transpose()?;
    let plan = Plan { args: &args, target: target.as_ref(), signer, body };
    let to = args.to.clone();
    let Some(print) = args.print else {
        let sender = Sender::open(to, target.as_ref())?;
        return match args.repeat {
            Some(repeat) => repeat::run(&plan, &sender, repeat, args.concurrency, args.json).await,
            None => send(&plan.event().await?, &sender, args.json).await,
        };
    };
    let event = plan.event().await?;
    let to = match (to, &target) {
        (None, Some(target)) => Some(Url::parse(target.need("WEBHOOK_URL")?)?),
        (to, _) => to,
    };
    let needed = "no address: give --to URL, name a --stack or start `gemhook dev`";
    match print {
        Print::Lambda => {
            print_line(&format!("{:#}", render::lambda(&event, to.as_ref(), SystemClock.now())))?
        }
        Print::Http => render::write(&render::http(&event, &to.context(needed)?))?,
        Print::Curl => print_line(&render::curl(&event, &to.context(needed)?)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What an event is made of.
struct Plan<'a> {
    args: &'a Args,
    target: Option<&'a Target>,
    signer: Signer,
    /// The content of `--body`.
    body: Option<Vec<u8>>,
}

impl Plan<'_> {
    /// An event of now. Without an id of its own it gets a new one each time.
    async fn event(&self) -> Result<Signed> {
        let args = self.args;
        let body = match (&self.body, args.job) {
            (Some(body), _) => body.clone(),
            (None, Some(kind)) => {
                let at = self.target.and_then(|target| target.dev.as_ref()).context(
                    "only the simulated Gemini API makes a job for an event: start `gemhook dev`, or name its folder with \
                     --local=DIR",
                )?;
                job::event(at, kind, args.event_type.as_deref(), &args.set).await?
            }
            (None, None) => {
                let event_type = args.event_type.as_deref().context("a TYPE, --job or --body is needed")?;
                event::sample(event_type, self.timestamp(), &args.set)?
            }
        };
        let (id, timestamp) = (args.id.clone().unwrap_or_else(signed::fresh_id), self.timestamp());
        Ok(Signed::new(self.signer.sign(&id, timestamp, &body)?, id, timestamp, body))
    }

    fn timestamp(&self) -> i64 {
        SystemClock.now().div_euclid(1000).saturating_sub(self.args.age)
    }
}

/// Sends a sample event of now, signed with the place's own secret, to the place's own address.
pub async fn send_sample(target: &Target, event_type: &str, changes: &[Change]) -> Result<Answer> {
    let (signer, sender) = (by_place(target).await?, Sender::open(None, Some(target))?);
    let (id, now) = (signed::fresh_id(), SystemClock.now().div_euclid(1000));
    let body = event::sample(event_type, now, changes)?;
    Ok(sender.send(&Signed::new(signer.sign(&id, now, &body)?, id, now, body)).await)
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
async fn send(event: &Signed, sender: &Sender, json: bool) -> Result<ExitCode> {
    let answer = sender.send(event).await;
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
