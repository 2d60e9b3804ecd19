//! Taking a lease: the row is leased, taken over from a worker that died, or ended where nothing else can be done.
//!
//! ```text
//! seconds      0                      60           90
//!              ├──────────────────────┼────────────┤
//! worker a     LEASE                  EXTEND       │
//!              attempt 1              │            │
//!              lease_until = 90 s     └────────────┼── lease_until = end of the invocation + 30 s ──▶
//!                                                  │
//!              a dies before EXTEND                │ STALE: lease_until < now
//! worker b     gets `NotTaken` until then          ├─ crashes < 5 and give_up_at > now: TAKE OVER,
//!                                                  │  attempt 2, crashes + 1
//!                                                  └─ else: GIVE UP, state `failed`
//! a comes back                                       MINE fails: the row has attempt 2, a's lease has 1
//! ```
//!
//! The three conditions, as in [`transitions`]:
//!
//! - `LEASE` takes a row that nobody works on: `received`, or `waiting` and due.
//! - `TAKE_OVER` takes a row whose lease has run out, as long as it has not cost too many workers.
//! - `GIVE_UP` ends a row that has used up its time or its workers. So a row that kills each worker ends, too.
//!
//! The answer is a [`Lease`]. Two calls never get the same row: DynamoDB evaluates each condition with the write, and
//! `attempt` grows with each lease. The worker sets the times (`LEASE`, `EXTEND_AFTER` and `LEASE_GRACE` in
//! `src/worker.rs`).

use super::{
    Delivery, LedgerError, MAX_CRASHES,
    condition::{Binds, Item, Transition, number, text},
    schema::{SCHEMA, attr},
    state::DeliveryState,
    store::{Change, Planned, Store, Table},
    transitions,
};

use crate::clock::Millis;

/// With an error of this many bytes an ordinary row stays within 1 KB, which is one write request unit (DynamoDB
/// Developer Guide, "DynamoDB on-demand capacity mode").
const MAX_ERROR_BYTES: usize = 200;

/// The answer to a call for a lease.
#[derive(Debug)]
pub enum Lease {
    /// The row is ours, with the new fencing token in `attempt`.
    Taken(Delivery),
    /// Somebody else has it, it is not due, it has ended, or there is none.
    NotTaken,
    /// Its time or its workers were used up: this call has ended it as `failed`.
    GaveUp(Delivery),
    /// It cannot be read, for this reason: this call has ended it as `failed`.
    Unreadable(String),
    /// Code of this newer schema wrote it. It was left as it is, for newer code.
    NewerSchema(i64),
}

/// One call for a lease. All its writes have the same nonce, `:holder`.
struct Call<'a> {
    store: &'a Store,
    key: &'a str,
    binds: Binds,
}

/// Asks for the row until `until`. `now` is what the conditions compare with. Both are milliseconds since the epoch.
pub(super) async fn take(store: &Store, key: &str, until: Millis, now: Millis) -> Result<Lease, LedgerError> {
    let binds = Binds::default()
        .number(":now", now)
        .number(":lease_until", until)
        .number(":max_crashes", MAX_CRASHES)
        .number(":schema", SCHEMA)
        .number(":zero", 0)
        .text(":holder", uuid::Uuid::new_v4().simple().to_string());
    Call { store, key, binds }.take().await
}

impl Call<'_> {
    /// Tries LEASE without reading the row first. When its condition fails, DynamoDB returns the row, and the row says
    /// which of the other two transitions is worth a write.
    async fn take(&self) -> Result<Lease, LedgerError> {
        let mut old = match self.make(&transitions::LEASE, &self.binds).await? {
            Change::Made(row) => return self.taken(&row).await,
            Change::ConditionFailed(old) => old,
        };
        if has_ended(&old) {
            return Ok(Lease::NotTaken);
        }
        if let Some(newer) = number(&old, attr::SCHEMA).filter(|schema| *schema > SCHEMA) {
            return Ok(Lease::NewerSchema(newer));
        }
        for transition in [&transitions::TAKE_OVER, &transitions::GIVE_UP] {
            let row = match Delivery::read(&old) {
                Ok(row) => row,
                Err(why) => return self.fail_unreadable(&old, &why).await,
            };
            if !transition.allows(&old, &self.binds) {
                continue;
            }
            let binds = self.binds.clone().text(":last_error", why_given_up(&row));
            match self.make(transition, &binds).await? {
                Change::Made(row) if has_ended(&row) => return Ok(given_up(&row)),
                Change::Made(row) => return self.taken(&row).await,
                Change::ConditionFailed(row) if has_ended(&row) => return Ok(Lease::NotTaken),
                Change::ConditionFailed(row) => old = row,
            }
        }
        Ok(Lease::NotTaken)
    }

    async fn taken(&self, row: &Item) -> Result<Lease, LedgerError> {
        match Delivery::read(row) {
            Ok(row) => Ok(Lease::Taken(row)),
            Err(why) => self.fail_unreadable(row, &why).await,
        }
    }

    /// Ends the row as long as it is the one that was read.
    async fn fail_unreadable(&self, row: &Item, why: &str) -> Result<Lease, LedgerError> {
        let why = format!("the row cannot be read: {why}");
        let binds = Binds::default()
            .value(":read_state", row.get(attr::STATE).cloned())
            .value(":read_attempt", row.get(attr::ATTEMPT).cloned())
            .value(":read_lease_until", row.get(attr::LEASE_UNTIL).cloned())
            .value(":holder", self.binds.get(":holder").cloned())
            .text(":last_error", one_line(&why));
        match self.make(&transitions::FAIL_UNREADABLE, &binds).await? {
            Change::Made(_) => Ok(Lease::Unreadable(why)),
            Change::ConditionFailed(_) => Ok(Lease::NotTaken),
        }
    }

    async fn make(&self, transition: &Transition, binds: &Binds) -> Result<Change, LedgerError> {
        self.store.change(Planned { table: Table::Deliveries, key: self.key, transition, binds }).await
    }
}

/// Whether the row has ended or is not there.
fn has_ended(row: &Item) -> bool {
    let state = text(row, attr::STATE).and_then(DeliveryState::of);
    row.is_empty() || matches!(state, Some(DeliveryState::Done | DeliveryState::Failed))
}

fn given_up(row: &Item) -> Lease {
    Delivery::read(row).map_or_else(Lease::Unreadable, Lease::GaveUp)
}

/// For `last_error`: which budget was used up, and the error before that.
fn why_given_up(row: &Delivery) -> String {
    let why = if row.crashes >= MAX_CRASHES {
        format!("given up: {} workers died on it", row.crashes)
    } else {
        "given up: not done within its time".to_owned()
    };
    one_line(&match &row.last_error {
        Some(last) => format!("{why}; last: {last}"),
        None => why,
    })
}

/// An error as a row keeps it: one line, cut at a whole character.
pub(super) fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.get(..line.floor_char_boundary(MAX_ERROR_BYTES)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_kept_short_and_whole_characters() {
        assert_eq!(one_line("a\n  b"), "a b");
        assert_eq!(one_line(&"é".repeat(300)), "é".repeat(100));
        assert_eq!(one_line(""), "");
    }
}
