//! `gemhook deliveries`: what arrived and what became of it.

mod watch;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::Value;

use super::{
    filter::{Filter, Newest},
    place::{Place, PlaceArgs},
    show::{
        agreed, as_json, at, field, plain, print_json, print_line, print_row, print_table, time, told_nothing,
    },
};
use crate::ledger::{Fence, schema::attr};

/// What a command without a limit of its own takes.
const MANY: usize = 100_000;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Subcommand)]
enum Command {
    /// The newest deliveries; reads the whole table, which costs about 0.02 USD for a million rows
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
    /// All of a delivery's row
    Show {
        webhook_id: String,
        /// Writes one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Every change as it happens, until Ctrl-C
    Watch {
        #[command(flatten)]
        filter: Filter,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Lets deliveries run again that failed, or that ended as recorded, gone or foreign
    Redrive {
        /// Which ones; or a filter, such as --state failed
        webhook_ids: Vec<String>,
        #[command(flatten)]
        filter: Filter,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let place = args.place.open().await?;
    match args.command {
        Command::List { filter, limit, json } => list(&place, &filter, limit, json).await,
        Command::Show { webhook_id, json } => show(&place, &webhook_id, json).await,
        Command::Watch { filter, json } => watch::run(&place, &filter, json).await,
        Command::Redrive { webhook_ids, filter, yes } => redrive(&place, webhook_ids, &filter, yes).await,
    }
}

async fn newest(place: &Place, filter: &Filter, most: usize) -> Result<Vec<Value>> {
    let mut newest = Newest::new(filter, most, place.clock.now());
    let mut after = None;
    loop {
        let (page, next) = place.ledger()?.all_deliveries(after).await?;
        newest.take(page);
        after = next;
        if after.is_none() {
            return Ok(newest.rows());
        }
    }
}

async fn list(place: &Place, filter: &Filter, limit: usize, json: bool) -> Result<ExitCode> {
    let rows = newest(place, filter, limit).await?;
    if json {
        rows.iter().try_for_each(print_json)?;
    } else if rows.is_empty() {
        told_nothing(json, "deliveries")?;
    } else {
        let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        print_table(&["RECEIVED", "END", "TYPE", "JOB", "ATTEMPT", "ID", "LAST ERROR"], &cells)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cells(row: &Value) -> Vec<String> {
    let job = if row.get(attr::JOB_ID).is_some() { attr::JOB_ID } else { attr::JOB_HINT };
    let cells = [
        &time(at(row, attr::RECEIVED_AT)),
        &end(row),
        field(row, attr::EVENT_TYPE),
        field(row, job),
        &at(row, attr::ATTEMPT).unwrap_or(0).to_string(),
        field(row, attr::WEBHOOK_ID),
        row.get(attr::LAST_ERROR).and_then(Value::as_str).unwrap_or_default(),
    ];
    cells.map(str::to_owned).to_vec()
}

/// `done/archived`, or the state alone.
fn end(row: &Value) -> String {
    match row.get(attr::OUTCOME).and_then(Value::as_str) {
        Some(outcome) => format!("{}/{outcome}", field(row, attr::STATE)),
        None => field(row, attr::STATE).to_owned(),
    }
}

async fn show(place: &Place, webhook_id: &str, json: bool) -> Result<ExitCode> {
    let row = place.ledger()?.delivery(webhook_id).await?;
    let row = as_json(row.with_context(|| format!("no delivery {}", plain(webhook_id)))?);
    if json {
        print_json(&row)?
    } else {
        print_row(&row)?
    }
    Ok(ExitCode::SUCCESS)
}

async fn redrive(place: &Place, named: Vec<String>, filter: &Filter, yes: bool) -> Result<ExitCode> {
    let keys = match (named.is_empty(), filter.is_empty()) {
        (false, true) => named,
        (true, false) => {
            let rows = newest(place, filter, MANY).await?;
            let ends_without_output = ["failed", "done/recorded", "done/gone", "done/foreign"];
            let may = rows.iter().filter(|row| ends_without_output.contains(&ends(row).as_str()));
            may.map(|row| field(row, attr::WEBHOOK_ID).to_owned()).collect()
        }
        _ => bail!("name deliveries or give a filter, such as --state failed"),
    };
    if keys.is_empty() {
        print_line("no delivery that could be redriven")?;
        return Ok(ExitCode::SUCCESS);
    }
    for key in keys.iter().take(10) {
        eprintln!("  {}", plain(key));
    }
    if keys.len() > 10 {
        eprintln!("  and {} more", keys.len() - 10);
    }
    if !agreed(&format!("Redrive {}", counted(keys.len())), yes)? {
        return Ok(ExitCode::FAILURE);
    }
    let mut redriven = 0;
    for key in &keys {
        match place.ledger()?.redrive(key).await? {
            Fence::Held => redriven += 1,
            Fence::Lost => {
                eprintln!(
                    "not redriven: {} is neither failed nor done as recorded, gone or foreign",
                    plain(key)
                )
            }
        }
    }
    print_line(&format!("redriven: {}", counted(redriven)))?;
    Ok(if redriven == keys.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A failed row keeps the outcome of its commit.
fn ends(row: &Value) -> String {
    if field(row, attr::STATE) == "failed" { "failed".to_owned() } else { end(row) }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 delivery".to_owned() } else { format!("{count} deliveries") }
}
