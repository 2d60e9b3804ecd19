//! What is done in the demo, step by step, over HTTP as everybody else would.

use std::{fmt::Write as _, io::IsTerminal, time::Duration};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

use super::{
    observed::Found,
    report::{Answer, COPIES, FAULTY, Ids, Played, REQUESTS, Report},
};
use crate::{
    cli::trigger::signed::{Signed, Signer, fresh_id},
    dev::{Change, Machine, Options, Ports},
};
use gemhook::{
    clock::{Clock, SystemClock},
    webhook::SigningSecrets,
};
use gemini_simulator::{DeliveryPolicy, DynamicForm, Sent, Settings};

const MODEL: &str = "models/gemini-flash";
const TIMEOUT: Duration = Duration::from_secs(120);

pub(super) async fn play(show_progress: bool) -> Result<Report> {
    let bar = progress(show_progress);
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    bar.set_message("starting the local machine");
    let delivery = DeliveryPolicy { copies: COPIES, ..DeliveryPolicy::default() };
    let simulator = Settings { finish_after: Duration::from_millis(200), delivery, ..Settings::default() };
    let options = Options { simulator, ..Options::new(folder.path(), Ports::take(0).await?) };
    let machine = Machine::start(options).await?;
    let played = act(&machine, &bar).await;
    bar.finish_and_clear();
    let report = match played {
        Ok(played) => {
            let found = Found::read(&machine, &played.batch).await?;
            Ok(Report::new(played, found))
        }
        Err(error) => Err(error),
    };
    machine.stop().await;
    report
}

async fn act(machine: &Machine, bar: &ProgressBar) -> Result<Played> {
    let http = Client::new();
    let (mut sent, mut changes) = (machine.simulator.watch(), machine.changes());

    bar.set_message(format!("a batch of {REQUESTS} requests runs"));
    let file = upload(&http, &machine.addresses.gemini_url).await?;
    let batch = create_batch(&http, &machine.addresses.gemini_url, &file).await?;
    bar.inc(1);

    bar.set_message("its event is delivered");
    let mut answers = Vec::new();
    for _ in 0..COPIES {
        answers.push(copied(&next(&mut sent, "the simulator sent no event").await?));
    }
    answers.sort_by(|one: &Answer, other| one.delivery.cmp(&other.delivery));
    bar.inc(1);

    let unknown = fresh_id();
    answers.extend(post_others(&http, machine, &unknown).await?);
    bar.inc(1);

    bar.set_message("its result is archived");
    ends(&mut changes, 2).await?;
    bar.inc(1);

    bar.set_message("Google's own forms, and a job that is not ours");
    let event = answers.first().map(|answer| answer.webhook_id.clone()).unwrap_or_default();
    let ids = Ids { event, unknown, v1a: fresh_id(), foreign: fresh_id() };
    answers.extend(post_googles(&http, machine, &batch, &ids).await?);
    ends(&mut changes, 3).await?;
    bar.inc(1);
    Ok(Played { batch, answers, ids })
}

async fn ends(changes: &mut Receiver<Change>, mut open: usize) -> Result<()> {
    while open > 0 {
        if next(changes, "the deliveries did not come to an end").await?.is_end() {
            open -= 1;
        }
    }
    Ok(())
}

/// What a dynamic webhook would be sent: of the same job in both forms, and of a job that our key cannot read.
async fn post_googles(http: &Client, machine: &Machine, batch: &str, ids: &Ids) -> Result<Vec<Answer>> {
    let at = &machine.addresses;
    let now = SystemClock.now() / 1000;
    let body = |job: &str| json!({"type": "batch.succeeded", "data": {"id": job}}).to_string().into_bytes();
    let (ours, foreign, token) = (body(batch), body("batches/somebody-elses"), fresh_id());
    let mut answers = Vec::new();
    for (what, form, id, body) in [
        ("the same job, signed by Google (v1a)", DynamicForm::V1a, &ids.v1a, &ours),
        ("the same job, signed by Google (a token)", DynamicForm::Jwt, &token, &ours),
        ("a foreign job, rightly signed by Google", DynamicForm::V1a, &ids.foreign, &foreign),
    ] {
        let signature = Signer::issuer(&at.issuer_keys, form, &*at.webhook_url)?.sign(id, now, body)?;
        let event = Signed::new(signature, id.clone(), now, body.clone());
        let status = event.post(http, at.webhook_url.parse()?).await?.status().as_u16();
        answers.push(Answer { delivery: what.to_owned(), webhook_id: id.clone(), status, expected: 200 });
    }
    Ok(answers)
}

/// A forged, a stale and an unknown event, each posted by hand.
async fn post_others(http: &Client, machine: &Machine, unknown: &str) -> Result<Vec<Answer>> {
    let ours = parse(&machine.addresses.webhook_secret)?;
    let forger = parse(SigningSecrets::development().expose())?;
    let now = SystemClock.now() / 1000;
    let forged = json!({"type": "batch.succeeded", "data": {"id": "batches/somebody-elses"}}).to_string();
    let odd = json!({"type": "orchard.ripened", "data": {"id": "orchards/7"}}).to_string();
    let mut answers = Vec::new();
    for (what, secrets, id, at, body, expected) in [
        ("a forged event (signed with another secret)", &forger, "msg_forged", now, &forged, 401),
        ("a stale event (rightly signed, an hour ago)", &ours, "msg_stale", now - 3600, &forged, 401),
        ("an event of a type nobody knows", &ours, unknown, now, &odd, 200),
    ] {
        let signature = secrets.sign(id, at, body.as_bytes());
        let event = Signed::new(signature, id.to_owned(), at, body.clone().into_bytes());
        let answer = event.post(http, machine.addresses.webhook_url.parse()?).await?;
        answers.push(Answer {
            delivery: what.to_owned(),
            webhook_id: id.to_owned(),
            status: answer.status().as_u16(),
            expected,
        });
    }
    Ok(answers)
}

fn parse(secret: &str) -> Result<SigningSecrets> {
    SigningSecrets::parse(secret).map_err(anyhow::Error::msg)
}

fn copied(sent: &Sent) -> Answer {
    Answer {
        delivery: format!("the batch's event, copy {} of {COPIES}", sent.copy),
        webhook_id: sent.webhook_id.clone(),
        status: sent.answer.as_ref().copied().unwrap_or(0),
        expected: 200,
    }
}

async fn next<T: Clone>(news: &mut Receiver<T>, otherwise: &'static str) -> Result<T> {
    loop {
        match timeout(TIMEOUT, news.recv()).await.context(otherwise)? {
            Ok(item) => return Ok(item),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => bail!(otherwise),
        }
    }
}

/// Uploads the input as the SDKs do: begin, then send and finalize.
async fn upload(http: &Client, gemini: &str) -> Result<String> {
    let mut lines = String::new();
    for number in 1..=REQUESTS {
        let question = format!("Which fruit is ripe in week {number}?");
        let request =
            if number <= FAULTY { json!({}) } else { json!({"contents": [{"parts": [{"text": question}]}]}) };
        writeln!(lines, "{}", json!({"key": format!("request-{number}"), "request": request}))?;
    }
    let begun = http
        .post(format!("{gemini}/upload/v1beta/files"))
        .header("x-goog-api-key", "local-key")
        .header("x-goog-upload-protocol", "resumable")
        .header("x-goog-upload-command", "start")
        .json(&json!({"file": {"display_name": "demo", "mime_type": "application/jsonl"}}))
        .send()
        .await?
        .error_for_status()?;
    let session = begun.headers().get("x-goog-upload-url").context("the upload got no address")?.to_str()?;
    let done: Value = http
        .post(session)
        .header("x-goog-api-key", "local-key")
        .header("x-goog-upload-command", "upload, finalize")
        .header("x-goog-upload-offset", "0")
        .body(lines)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    name(done.pointer("/file/name"))
}

async fn create_batch(http: &Client, gemini: &str, file: &str) -> Result<String> {
    let batch = json!({"batch": {
        "displayName": "demo",
        "inputConfig": {"fileName": file},
        "webhookConfig": {"user_metadata": {"job_group": "demo"}},
    }});
    let created: Value = http
        .post(format!("{gemini}/v1beta/{MODEL}:batchGenerateContent"))
        .header("x-goog-api-key", "local-key")
        .json(&batch)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    name(created.get("name"))
}

fn name(value: Option<&Value>) -> Result<String> {
    Ok(value.and_then(Value::as_str).context("the answer names nothing")?.to_owned())
}

/// Drawn only where a person looks, and only when it takes over a second.
fn progress(show: bool) -> ProgressBar {
    if !show || !std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(5);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
        bar.set_style(style);
    }
    bar
}
