//! The sweep: works the rows that are due, with the same code as the stream, four at a time, until shortly before the
//! deadline. It does not need the stream, so each row comes to its end even if every stream record is lost.
//!
//! - The shards of the index are read together, the longest overdue row first, so that a busy shard delays no other.
//! - A row that has cost a worker is worked alone, after the others: if it kills this process too, no other row pays
//!   for it. The rows with the fewest crashes come first.
//! - Nothing is begun that could not be put off in time.

use std::collections::VecDeque;

use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::{
    clock::Millis,
    ledger::{DueRow, Ledger, LedgerError, condition::Item},
    metrics,
    worker::{NotWorked, RowResult, Worker},
};

/// Rows worked at once.
const MAX_CONCURRENCY: usize = 4;

const PAGE: i32 = 50;

/// No new row is begun this close to the end, in milliseconds.
const LAST_START: Millis = 60_000;

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SweepResult {
    /// Rows that were due, as far as the index was read.
    pub due: u64,
    /// Of those, rows whose lease was ours.
    pub worked: u64,
    pub failed: u64,
    /// When the oldest due row came in, rows that wait for an absent job not counted.
    pub oldest_received_at: Option<Millis>,
}

impl SweepResult {
    fn note(&mut self, key: &str, result: Result<RowResult, NotWorked>) {
        match result {
            Ok(RowResult::NotOurs | RowResult::PutBack) => {}
            Ok(RowResult::Failed) => (self.worked, self.failed) = (self.worked + 1, self.failed + 1),
            Ok(_) => self.worked += 1,
            Err(error) => tracing::error!(webhook_id = key, %error, "not worked"),
        }
    }
}

/// Works the rows that are due by `due_by`. `end` is when the invocation ends. If a shard cannot be read, the others
/// are worked first, and then the error is returned.
pub async fn sweep(worker: &Worker, due_by: Millis, end: Millis) -> Result<SweepResult, LedgerError> {
    let begun = worker.clock.now();
    let last_start = end.saturating_sub(LAST_START);
    let half_time = last_start.min(begun.saturating_add(end.saturating_sub(begun) / 2));
    let mut due = DueRows::new(&worker.ledger, due_by);
    let (mut swept, mut suspects) = (SweepResult::default(), Vec::new());
    let mut at_work = FuturesUnordered::new();
    loop {
        while at_work.len() < MAX_CONCURRENCY {
            // Rows that are worked alone need time as well.
            let until = if suspects.is_empty() { last_start } else { half_time };
            if worker.clock.now() >= until {
                break;
            }
            match due.next().await {
                None => break,
                Some(row) if row.crashes > 0 => suspects.push(row),
                Some(row) => at_work.push(async move {
                    let worked = worker.work_beside_others(&row.key, end).await;
                    (row, worked)
                }),
            }
        }
        match at_work.next().await {
            None => break,
            Some((row, Ok(RowResult::PutBack))) => suspects.push(row),
            Some((row, result)) => swept.note(&row.key, result),
        }
    }
    suspects.sort_by_key(|row| row.crashes);
    for row in suspects {
        if worker.clock.now() >= last_start {
            break;
        }
        swept.note(&row.key, worker.work(&row.key, end).await);
    }
    (swept.due, swept.oldest_received_at) = (due.seen, due.oldest);
    if let Some(error) = due.failed {
        return Err(error);
    }
    metrics::swept(swept.due, swept.oldest_received_at, worker.clock.now());
    tracing::info!(due = swept.due, worked = swept.worked, failed = swept.failed, "swept");
    Ok(swept)
}

/// The due rows of all shards, the longest overdue first. A page of a shard is read when it is needed.
struct DueRows<'a> {
    ledger: &'a Ledger,
    by: Millis,
    shards: Vec<Shard>,
    seen: u64,
    oldest: Option<Millis>,
    failed: Option<LedgerError>,
}

#[derive(Default)]
struct Shard {
    number: u8,
    rows: VecDeque<DueRow>,
    /// Where its next page begins.
    after: Option<Item>,
    is_read: bool,
}

impl<'a> DueRows<'a> {
    fn new(ledger: &'a Ledger, by: Millis) -> Self {
        let shards = Ledger::shards().map(|number| Shard { number, ..Shard::default() });
        Self { ledger, by, shards: shards.collect(), seen: 0, oldest: None, failed: None }
    }

    async fn next(&mut self) -> Option<DueRow> {
        for shard in &mut self.shards {
            while shard.rows.is_empty() && !shard.is_read {
                match self.ledger.due(shard.number, self.by, shard.after.take(), PAGE).await {
                    Ok(page) => {
                        self.seen += page.rows.len() as u64;
                        self.oldest = [self.oldest, page.oldest()].into_iter().flatten().min();
                        (shard.rows, shard.after) = (page.rows.into(), page.next);
                        shard.is_read = shard.after.is_none();
                    }
                    Err(error) => {
                        tracing::error!(shard = shard.number, %error, "a shard of the due rows was not read");
                        shard.is_read = true;
                        self.failed.get_or_insert(error);
                    }
                }
            }
        }
        let next = self.shards.iter_mut().filter(|shard| !shard.rows.is_empty());
        next.min_by_key(|shard| shard.rows.front().map(|row| row.due_at))?.rows.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{ErrorKind, Outcome};

    #[test]
    fn each_row_whose_lease_was_ours_counts_and_of_those_each_that_failed() {
        let mut swept = SweepResult::default();
        for result in [
            RowResult::Failed,
            RowResult::NotOurs,
            RowResult::Ended(Outcome::Archived),
            RowResult::PutBack,
            RowResult::Waiting(ErrorKind::Transient),
            RowResult::Failed,
        ] {
            swept.note("msg_1", Ok(result));
        }
        assert_eq!((swept.worked, swept.failed), (4, 2));
    }
}
