//! `gemhook jobs`: what came of the jobs, and their results.

mod delete;
mod fetch;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    filter::{self, Filter, duration},
    render::{as_json, at, field, pairs, plain, print_json, print_line, print_row, time},
    table::{Column, print_list, whole},
    target::{Target, TargetArgs},
};
use gemhook::{
    clock::millis,
    gemini::Name,
    job::JobKind,
    ledger::{Fence, condition::Item, schema::attr},
};

const COLUMNS: [Column; 7] = [
    whole("ENDED").optional(),
    whole("KIND").optional(),
    whole("STATE"),
    whole("SUCCEEDED").optional(),
    whole("BYTES").optional(),
    whole("JOB"),
    whole("METADATA").cut_to(12).optional(),
];

/// Between two looks of `wait`.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the jobs that ended last, and those that are watched; reads the whole table
    #[command(after_help = "Example: gemhook jobs list --type video --since 7d")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// The most rows that are shown
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
        /// Writes one JSON array of whole rows
        #[arg(long)]
        json: bool,
    },
    /// Shows everything that is recorded of a job
    #[command(after_help = "Example: gemhook jobs show batches/b1")]
    Show {
        job: String,
        /// Writes one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Downloads a job's outputs and checks each against its SHA-256
    #[command(after_help = "Example: gemhook jobs fetch batches/b1 --to results")]
    Fetch {
        job: String,
        /// The folder that the files are written to, under the keys of the objects
        #[arg(long, value_name = "DIR", default_value = ".")]
        to: PathBuf,
        /// Replaces files that exist already
        #[arg(long)]
        force: bool,
    },
    /// Waits until the jobs have ended and their results are archived
    #[command(after_help = "Example: gemhook jobs wait batches/b1 --timeout 1h")]
    Wait {
        #[arg(required = true)]
        jobs: Vec<String>,
        /// Gives up after this time, with exit status 1
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
        /// Writes a JSON object on a line as each job ends
        #[arg(long)]
        json: bool,
    },
    /// Watches an open job, so that its end is found without an event
    #[command(after_help = "Example: gemhook jobs watch interactions/v1_abc --for 2d")]
    Watch {
        job: String,
        /// How long it is watched
        #[arg(long = "for", value_name = "TIME", default_value = "7d", value_parser = duration)]
        time: Duration,
    },
    /// Deletes the outputs of jobs and what is recorded of them; only the fact that they ended stays
    #[command(after_help = "Example: gemhook jobs delete batches/b1")]
    Delete {
        #[arg(required = true)]
        jobs: Vec<String>,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let target = args.target.open().await?;
    match args.command {
        Command::List { filter, limit, json } => list(&target, &filter, limit, json).await,
        Command::Show { job, json } => {
            let row = as_json(row(&target, &job).await?);
            if json {
                print_json(&row)?
            } else {
                print_row(&row)?
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Fetch { job, to, force } => fetch::run(&target, row(&target, &job).await?, &to, force).await,
        Command::Wait { jobs, timeout, json } => wait(&target, jobs, timeout, json).await,
        Command::Watch { job, time } => watch(&target, &job, time).await,
        Command::Delete { jobs, yes } => delete::run(&target, jobs, yes).await,
    }
}

async fn row(target: &Target, job: &str) -> Result<Item> {
    target.ledger()?.job(job).await?.with_context(|| {
        format!(
            "there is no job {0}: `gemhook jobs list` shows those that ended here, `gemhook jobs watch {0}` watches one \
             that is open",
            plain(job)
        )
    })
}

async fn list(target: &Target, filter: &Filter, limit: usize, json: bool) -> Result<ExitCode> {
    let ledger = target.ledger()?;
    let page = async |after| ledger.all_jobs(after).await;
    let rows = filter::newest(filter, limit, target.clock.now(), page).await?;
    let none =
        "no jobs: `gemhook jobs watch JOB` watches one, `gemhook reconcile` finds those without an event";
    print_list(&rows, json, none, &COLUMNS, cells)
}

fn cells(row: &Value) -> Vec<String> {
    let outputs = row.get(attr::OUTPUTS).and_then(Value::as_array);
    let bytes: Option<u64> =
        outputs.map(|outputs| outputs.iter().filter_map(|output| output.get("bytes")?.as_u64()).sum());
    let summary = row.get(attr::SUMMARY);
    let count = |name: &str| summary.and_then(|summary| summary.get(name)?.as_u64());
    let succeeded = count("requests").map(|all| format!("{}/{all}", count("succeeded").unwrap_or(0)));
    vec![
        time(at(row, attr::ENDED_AT)),
        field(row, attr::KIND).to_owned(),
        field(row, attr::STATE).to_owned(),
        succeeded.unwrap_or("-".to_owned()),
        bytes.map_or("-".to_owned(), |bytes| bytes.to_string()),
        field(row, attr::JOB_ID).to_owned(),
        pairs(row.get(attr::USER_METADATA)),
    ]
}

async fn wait(
    target: &Target,
    mut jobs: Vec<String>,
    timeout: Option<Duration>,
    json: bool,
) -> Result<ExitCode> {
    let until = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let mut open = Vec::new();
        for job in jobs {
            match target.ledger()?.job(&job).await? {
                Some(row) if row.contains_key(attr::ENDED_BY) => {
                    let row = as_json(row);
                    if json {
                        print_json(&row)?;
                    } else {
                        print_line(&plain(&format!("{job}  {}", field(&row, attr::STATE))))?;
                    }
                }
                _ => open.push(job),
            }
        }
        if open.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if until.is_some_and(|until| Instant::now() + LOOK_EVERY > until) {
            bail!(
                "not ended in time: {}; `gemhook deliveries list` shows whether an event of it waits, `gemhook reconcile` \
                 looks for its end without one",
                plain(&open.join(", "))
            );
        }
        jobs = open;
        sleep(LOOK_EVERY).await;
    }
}

async fn watch(target: &Target, job: &str, time: Duration) -> Result<ExitCode> {
    if Name::parse(job).and_then(|name| JobKind::of(&name)).is_none() {
        bail!("{} names no job: batches/…, interactions/… or models/…/operations/…", plain(job));
    }
    match target.ledger()?.watch(job, target.clock.now() + millis(time)).await? {
        Fence::Held => print_line(&format!("watched: {}", plain(job)))?,
        Fence::Lost => print_line(&format!("{0} has ended already: `gemhook jobs show {0}`", plain(job)))?,
    }
    Ok(ExitCode::SUCCESS)
}
