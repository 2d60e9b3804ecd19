//! `gemhook deliveries watch`: the table's stream, from now on.

use std::process::ExitCode;

use anyhow::Result;
use tokio::time::sleep;

use super::{
    end,
    forward::Forwarder,
    stream::{ChangeStream, READ_EVERY, Seen},
};
use crate::{
    cli::{
        filter::Filter,
        render::{plain, print_json, print_line, time},
        target::Target,
    },
    dev::Change,
};

pub(super) async fn run(
    target: &Target,
    filter: &Filter,
    json: bool,
    forwarder: Option<Forwarder>,
) -> Result<ExitCode> {
    let mut stream = ChangeStream::open(target).await?;
    let to = forwarder.as_ref().map(|forwarder| format!(" and forwarding to {}", forwarder.to));
    eprintln!(
        "watching {}{}; Ctrl-C ends it",
        plain(target.need("DELIVERIES_TABLE")?),
        plain(&to.unwrap_or_default())
    );
    loop {
        for Seen { change, row, is_new } in stream.read(target).await? {
            if !filter.lets_through(&row, target.clock.now()) {
                continue;
            }
            match &forwarder {
                Some(forwarder) if is_new => forwarder.take(change.webhook_id)?,
                Some(_) => {}
                None if json => print_json(&change)?,
                None => tell(&change, &end(&row))?,
            }
        }
        sleep(READ_EVERY).await;
    }
}

fn tell(change: &Change, end: &str) -> Result<()> {
    let kind = change.event_type.as_deref().unwrap_or("-");
    let job = change.job.as_deref().unwrap_or("-");
    let why = change.last_error.as_deref().map(|why| format!("  ({why})")).unwrap_or_default();
    let line =
        format!("{}  {end:<20} {kind:<26} {job}  {}{why}", time(Some(change.received_at)), change.webhook_id);
    print_line(&plain(&line))
}
