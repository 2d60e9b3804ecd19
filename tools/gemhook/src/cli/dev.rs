//! `gemhook dev`: the local machine, up until somebody stops it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::{
    pin, select,
    signal::unix::{SignalKind, signal},
    sync::broadcast::error::RecvError,
};

use super::{
    filter::duration,
    page::{News, Served},
    running::Entry,
    target::Target,
};
use crate::dev::{
    ADDRESSES, Addresses, Announced, BindingKeyOption, Change, DEFAULT_PORT, Machine, Options, Ports,
    page_port,
};
use gemhook::clock::rfc3339;
use gemhook::{config::MAX_RECORDED, secrets::Secret};
use gemini_simulator::{DeliveryPolicy, DynamicForm, Fault, MAX_COPIES, MetadataPlace, Seconds, Settings};

#[derive(clap::Args)]
pub struct Args {
    /// Where tables, objects and the simulator's jobs are kept
    #[arg(long, value_name = "DIR", default_value = ".gemhook")]
    data: PathBuf,
    /// The first of six ports in a row; 0 picks free ones
    #[arg(long, default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(..=65530))]
    port: u16,
    /// Writes JSON: one object with all addresses, then one for each change of a delivery
    /// and one for each job announced
    #[arg(long)]
    json: bool,
    /// How long a simulated job runs
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    finish_after: Duration,
    /// How many copies of each event are sent at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_COPIES)))]
    copies: u32,
    /// The waits between attempts to deliver an event, in seconds, such as 1,5,30; the last one is repeated for a day.
    /// GET and PUT /simulator/deliveries read and change them while it runs
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', value_parser = seconds)]
    retries: Option<Vec<Duration>>,
    /// After so many failed attempts in a row the simulated API disables a registered webhook
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    disable_after: Option<u32>,
    /// How long the simulated API takes to answer a question about a job
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    answer_delay: Duration,
    /// What goes wrong with calls of the simulated API, downloads and events, as JSON: for example
    /// [{"fault": "unavailable", "calls": 6, "on": "/batches"}]. GET and PUT /simulator/faults read and
    /// change it while it runs
    #[arg(long, value_name = "JSON", default_value = "[]", value_parser = faults)]
    faults: Faults,
    /// How far the simulator's clock is ahead of real time, such as 2d. GET and PUT /simulator/clock read it and move it
    /// forward while it runs
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    clock_forward: Duration,
    /// Simulated interactions show their results in `outputs`, as they did once, and not in `steps`
    #[arg(long)]
    legacy_outputs: bool,
    /// How events are signed that go to a job's own addresses
    #[arg(long, value_name = "FORM", default_value = "v1a")]
    dynamic_form: DynamicForm,
    /// Where an event carries its job's user_metadata
    #[arg(long, value_name = "PLACE", default_value = "top")]
    metadata_place: MetadataPlace,
    /// Requires binding tokens of dynamic webhooks; without a KEY, by one that is made for the folder
    #[arg(long, value_name = "KEY", num_args = 0..=1, require_equals = true)]
    binding_key: Option<Option<String>>,
    /// Keeps the first N deliveries as they came, under first-deliveries/ in the bucket
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_RECORDED)))]
    record_first: u32,
}

type Faults = Vec<Fault>;

fn faults(text: &str) -> Result<Faults, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "a number of seconds, such as 0.5")?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let retries = args.retries.map(|waits| waits.into_iter().map(Seconds).collect());
    let delivery = DeliveryPolicy {
        retries: retries.unwrap_or_else(|| DeliveryPolicy::default().retries),
        copies: args.copies,
        disable_after: args.disable_after,
    };
    let simulator = Settings {
        finish_after: args.finish_after,
        delivery,
        answer_delay: args.answer_delay,
        legacy_outputs: args.legacy_outputs,
        clock_forward: args.clock_forward,
        faults: args.faults,
        dynamic_form: args.dynamic_form,
        metadata_place: args.metadata_place,
    };
    let ports = Ports::take(args.port).await?;
    let page = Served::new(page_port(args.port).await?)?;
    let binding_key = args.binding_key.map(|key| match key {
        Some(key) => BindingKeyOption::Given(Secret::new(key)),
        None => BindingKeyOption::Made,
    });
    let record_first = args.record_first;
    let options = Options { simulator, binding_key, record_first, ..Options::new(args.data, ports) };
    let mut machine = Machine::start(options).await?;
    machine.addresses.page_url = Some(page.url.clone());
    let file = machine.addresses.data_dir.join(ADDRESSES);
    write_addresses(&file, &machine.addresses)?;
    // It only helps other commands to find us, so we run without it.
    let entry = Entry::leave(&machine.addresses.data_dir)
        .inspect_err(|error| tracing::warn!("other folders will not find this machine: {error:#}"));
    let news = News::Machine { changes: machine.changes(), announced: machine.announced() };
    let page = tokio::spawn(page.run(Target::of_dev(machine.addresses.clone()).await?, news, true));
    let shown = show(&machine, args.json).await;
    page.abort();
    drop(entry);
    // It may be gone already; one that a crash leaves behind names ports where nobody answers.
    let _ = std::fs::remove_file(&file);
    machine.stop().await;
    match shown {
        // Whoever read our output has gone away: an end like any other.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        shown => shown.map(|()| ExitCode::SUCCESS).map_err(Into::into),
    }
}

/// For other commands, while we run. It holds secrets, if only this machine's.
fn write_addresses(file: &Path, addresses: &Addresses) -> Result<()> {
    let mut written = tempfile::NamedTempFile::new_in(&addresses.data_dir)?;
    serde_json::to_writer_pretty(&mut written, addresses)?;
    written.persist(file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(())
}

async fn show(machine: &Machine, json: bool) -> io::Result<()> {
    let (mut changes, mut announced) = (machine.changes(), machine.announced());
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    write(|out| if json { line(out, &machine.addresses) } else { greet(out, &machine.addresses) })?;
    let expire = machine.expire();
    pin!(expire);
    loop {
        select! {
            change = changes.recv() => match change {
                Ok(change) if json => write(|out| line(out, &change))?,
                Ok(change) => write(|out| tell(out, &change))?,
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "changes were too quick to show"),
                Err(RecvError::Closed) => return Ok(()),
            },
            event = announced.recv() => match event {
                Ok(event) if json => write(|out| line(out, &json!({ "announced": event })))?,
                Ok(event) => write(|out| tell_announced(out, &event))?,
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "announcements were too quick to show"),
                Err(RecvError::Closed) => return Ok(()),
            },
            () = &mut expire => {}
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
    }
}

fn write(text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    text(&mut out)?;
    out.flush()
}

fn line(out: &mut dyn Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

fn greet(out: &mut dyn Write, at: &Addresses) -> io::Result<()> {
    writeln!(out, "gemhook dev: everything runs on this machine; Ctrl-C stops it\n")?;
    if let Some(page) = &at.page_url {
        writeln!(out, "  {:<9} {page:<24} what arrives, live, in a browser", "page")?;
    }
    for (name, target, note) in [
        ("webhook", &at.webhook_url, "POST signed events here"),
        ("gemini", &at.gemini_url, "the Gemini API, simulated; any key will do"),
        ("dynamodb", &at.dynamodb_url, &format!("tables {} and {}", at.deliveries_table, at.jobs_table)),
        ("s3", &at.s3_url, &format!("bucket {}", at.bucket)),
        ("events", &at.eventbridge_url, "EventBridge's PutEvents; kept in events.jsonl"),
    ] {
        writeln!(out, "  {name:<9} {target:<24} {note}")?;
    }
    writeln!(out, "  {:<9} {}", "data", at.data_dir.display())?;
    writeln!(out, "  {:<9} {}", "secret", at.webhook_secret)?;
    writeln!(out, "  {:<9} {}", "keys", at.jwks_url)?;
    if let Some(key) = &at.binding_key {
        writeln!(out, "  {:<9} {key}", "binding")?;
    }
    writeln!(
        out,
        "  {:<9} {} / {} ({})",
        "aws key", at.aws_access_key_id, at.aws_secret_access_key, at.aws_region
    )?;
    writeln!(out, "\nGoogle's SDKs find it by GOOGLE_GEMINI_BASE_URL={}", at.gemini_url)?;
    writeln!(
        out,
        "A prompt may say what comes of it, such as simulate: {{\"size\": 1000000}} or {{\"fail\": \"why\"}}"
    )?;
    writeln!(out, "A delivery is shown when it has ended or has to wait:\n")
}

/// One line for a job whose end was announced on the bus.
fn tell_announced(out: &mut dyn Write, event: &Announced) -> io::Result<()> {
    let of = |name: &str| event.detail.get(name).and_then(Value::as_str).unwrap_or("-");
    let time = of("ended_at").get(11..19).unwrap_or_default();
    writeln!(out, "{time}  announced {:<28} {}  on bus {}", of("outcome"), of("job"), event.bus)
}

/// One line for a delivery that has ended or waits; what passes at once is not worth one.
fn tell(out: &mut dyn Write, change: &Change) -> io::Result<()> {
    if !change.is_end() && change.state != "waiting" {
        return Ok(());
    }
    let time = rfc3339(change.received_at);
    let time = time.get(11..19).unwrap_or_default();
    let end = change.outcome.as_deref().unwrap_or(&change.state);
    let kind = change.event_type.as_deref().unwrap_or("(no type)");
    let job = change.job.as_deref().unwrap_or("-");
    write!(out, "{time}  {end:<9} {kind:<28} {job}  {}", change.webhook_id)?;
    match &change.last_error {
        Some(why) => writeln!(out, "  ({why})"),
        None => writeln!(out),
    }
}
