//! `gemhook jobs`: what came of the jobs, and their results.

mod delete;
mod fetch;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    filter::{Filter, Newest, duration},
    place::{Place, PlaceArgs},
    show::{
        as_json, at, field, pairs, plain, print_json, print_line, print_row, print_table, time, told_nothing,
    },
};
use gemhook::{
    clock::millis,
    gemini::Name,
    job::JobKind,
    ledger::{Fence, condition::Item, schema::attr},
};

/// Between two looks of `wait`.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Subcommand)]
enum Command {
    /// The jobs that ended last, and those that are followed; reads the whole table
    List {
        #[command(flatten)]
        filter: Filter,
        /// The most rows that are shown
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// All of a job's row
    Show {
        job: String,
        /// Writes one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Writes a job's outputs to files, each checked against its SHA-256
    Fetch {
        job: String,
        /// The folder that the files go to, by the keys of the objects
        #[arg(long, value_name = "DIR", default_value = ".")]
        to: PathBuf,
        /// Replaces files that are there already
        #[arg(long)]
        force: bool,
    },
    /// Blocks until the jobs have ended here
    Wait {
        #[arg(required = true)]
        jobs: Vec<String>,
        /// Gives up after that time, with exit status 1
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
        /// One JSON object a line, as each job ends
        #[arg(long)]
        json: bool,
    },
    /// Has an open job followed, so that its end is found without an event
    Watch {
        job: String,
        /// How long it is followed
        #[arg(long = "for", value_name = "TIME", default_value = "7d", value_parser = duration)]
        time: Duration,
    },
    /// Deletes jobs' outputs and all that is known of them, but that they have ended
    Delete {
        #[arg(required = true)]
        jobs: Vec<String>,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let place = args.place.open().await?;
    match args.command {
        Command::List { filter, limit, json } => list(&place, &filter, limit, json).await,
        Command::Show { job, json } => {
            let row = as_json(row(&place, &job).await?);
            if json {
                print_json(&row)?
            } else {
                print_row(&row)?
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Fetch { job, to, force } => fetch::run(&place, row(&place, &job).await?, &to, force).await,
        Command::Wait { jobs, timeout, json } => wait(&place, jobs, timeout, json).await,
        Command::Watch { job, time } => watch(&place, &job, time).await,
        Command::Delete { jobs, yes } => delete::run(&place, jobs, yes).await,
    }
}

async fn row(place: &Place, job: &str) -> Result<Item> {
    place.ledger()?.job(job).await?.with_context(|| format!("no job {}", plain(job)))
}

async fn list(place: &Place, filter: &Filter, limit: usize, json: bool) -> Result<ExitCode> {
    let mut newest = Newest::new(filter, limit, place.clock.now());
    let mut after = None;
    loop {
        let (page, next) = place.ledger()?.all_jobs(after).await?;
        newest.take(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    let rows = newest.rows();
    if json {
        rows.iter().try_for_each(print_json)?;
    } else if rows.is_empty() {
        told_nothing(json, "jobs")?;
    } else {
        let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        print_table(&["ENDED", "KIND", "STATE", "SUCCEEDED", "BYTES", "JOB", "METADATA"], &cells)?;
    }
    Ok(ExitCode::SUCCESS)
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
    place: &Place,
    mut jobs: Vec<String>,
    timeout: Option<Duration>,
    json: bool,
) -> Result<ExitCode> {
    let until = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let mut open = Vec::new();
        for job in jobs {
            match place.ledger()?.job(&job).await? {
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
            bail!("not ended in time: {}", plain(&open.join(", ")));
        }
        jobs = open;
        sleep(LOOK_EVERY).await;
    }
}

async fn watch(place: &Place, job: &str, time: Duration) -> Result<ExitCode> {
    if Name::parse(job).and_then(|name| JobKind::of(&name)).is_none() {
        bail!("{} names no job: batches/…, interactions/… or models/…/operations/…", plain(job));
    }
    match place.ledger()?.watch(job, place.clock.now() + millis(time)).await? {
        Fence::Held => print_line(&format!("followed: {}", plain(job)))?,
        Fence::Lost => print_line(&format!("has ended already: {}", plain(job)))?,
    }
    Ok(ExitCode::SUCCESS)
}
