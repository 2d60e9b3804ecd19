//! The sweep: rows that are due are worked off through the same code, a few at a time, until shortly before the
//! deadline. It needs no stream, so it brings every row to its end even if every stream record were lost.

use futures_util::{StreamExt, stream};

use crate::{
    clock::Millis,
    ledger::{Ledger, LedgerError},
    metrics,
    worker::{Worked, Worker},
};

/// Rows worked at once. Each lease is one row's, so a row that kills the worker costs its neighbours little.
const AT_ONCE: usize = 4;

const PAGE: i32 = 50;

/// No new row is begun this close to the end.
const LAST_START: Millis = 60_000;

/// What a sweep came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Rows that were due.
    pub due: u64,
    /// Of those, rows whose lease was ours.
    pub worked: u64,
    pub failed: u64,
    /// When the oldest due row came in.
    pub oldest_received_at: Option<Millis>,
}

/// Works off what is due by then. `end` is when the invocation ends.
pub async fn sweep(worker: &Worker, due_by: Millis, end: Millis) -> Result<Swept, LedgerError> {
    let mut swept = Swept::default();
    for shard in Ledger::shards() {
        let mut after = None;
        loop {
            let page = worker.ledger.due(shard, due_by, after, PAGE).await?;
            swept.oldest_received_at = [swept.oldest_received_at, page.oldest()].into_iter().flatten().min();
            swept.due += page.rows.len() as u64;
            let mut at_work = stream::iter(page.rows)
                .take_while(|_| std::future::ready(worker.clock.now() < end - LAST_START))
                .map(|row| async move { (worker.work(&row.key, end).await, row.key) })
                .buffer_unordered(AT_ONCE);
            while let Some((result, key)) = at_work.next().await {
                match result {
                    Ok(Worked::NotOurs) => {}
                    Ok(Worked::Failed) => (swept.worked, swept.failed) = (swept.worked + 1, swept.failed + 1),
                    Ok(_) => swept.worked += 1,
                    Err(error) => tracing::error!(webhook_id = key, %error, "not worked"),
                }
            }
            after = page.next;
            if after.is_none() || worker.clock.now() >= end - LAST_START {
                break;
            }
        }
    }
    metrics::swept(swept.due, swept.oldest_received_at, worker.clock.now());
    tracing::info!(due = swept.due, worked = swept.worked, failed = swept.failed, "swept");
    Ok(swept)
}
