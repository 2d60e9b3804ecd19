//! The two tables, Deliveries and Jobs. Every row is written here and nowhere else.
//!
//! # The way of a row
//!
//! Each word on an arrow is the name of a transition in `transitions`.
//!
//! ```text
//!            put
//!             │
//!             ▼            lease                       commit, end, finish
//!  ┌────▶ received ─────────────────▶ archiving ─────────────────────────────▶ done ──▶ deleted after 30 days
//!  │          │                       │   ▲   │                                │
//!  │          │                  wait │   │ lease, when due                    │
//!  │          │                       ▼   │   │                                │
//!  │          │                      waiting  │ fail, give up                  │
//!  │          │ give up                 │     │                                │
//!  │          └─────────────────────────┴─────┴──────▶ failed                  │
//!  │                                                     │                     │
//!  │                                      redrive failed │                     │ redrive done
//!  └─────────────────────────────────────────────────────┴─────────────────────┘ (recorded, gone, foreign)
//! ```
//!
//! Not drawn:
//!
//! - `extend`, `take over` and `commit to announce` leave the row in `archiving`. With an event bus, a commit is
//!   `commit to announce`, and `finish` follows once the bus has taken the announcement.
//! - `fail unreadable` leads from each of the three open states to `failed`.
//! - A row that has failed is not deleted. It stays until somebody redrives it.
//!
//! The table is the queue. A row that has not ended has `open` and `due_at`, so it is in the index `due`, and a sweep
//! finds it even if its stream record was lost.
//!
//! # Where to look
//!
//! - `operations`: [`Ledger`], everything the archiver can do. `delivery_writer`: [`DeliveryWriter`], the one thing the
//!   receiver can do, and what a duplicate id is.
//! - `transitions`: each change of a row with its condition, as data. `condition` turns the data into DynamoDB's
//!   expressions and into pure functions of a row.
//! - `lease` and `commit`: the two operations that take more than one write.
//! - `due_rows` and `watch`: the two lists that schedules read.
//! - `store`: the calls to DynamoDB. `conflict_retry`: calls that are repeated. `error`: classes of errors.
//! - `delivery`, `new_delivery`, `state`, `values`, `schema`: what a row holds.
//! - `admin`: what only the `gemhook` command does.
//!
//! # What holds
//!
//! - A worker that lost its lease writes nothing that counts: each of its writes names its fencing token.
//! - A job's output is committed once. Open never overwrites ended, and nothing overwrites an end that has an output.
//!   Only a `gone` end can be replaced.
//! - A write whose answer was lost recognises itself when it is repeated, and reports what the first try would have.
//! - A row ends, whatever happens to its workers and whatever it holds. Only a row of newer code is left alone.

mod admin;
mod commit;
pub mod condition;
mod conflict_retry;
mod delivery;
mod delivery_writer;
mod due_rows;
mod error;
mod lease;
mod new_delivery;
mod operations;
pub mod schema;
mod state;
mod store;
pub mod transitions;
mod values;
mod watch;

pub use admin::{Page, can_be_redriven};
pub use commit::Committed;
pub use delivery::Delivery;
pub use delivery_writer::{DeliveryWriter, Inserted};
pub use due_rows::{DueRow, DueRows};
pub use error::LedgerError;
pub use lease::Lease;
pub use new_delivery::NewDelivery;
pub use operations::{Fence, Ledger, Wait};
pub use state::{DeliveryState, ErrorKind, Outcome};
pub use values::{shortened, to_json};
pub use watch::Watched;

use std::time::Duration;

/// How long a row is tried at all, whatever the error: from its insert, from its commit, or from its last redrive. The
/// first lease after that ends the row as `failed`.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// How long a transient error is retried, a transfer without progress, or an announcement that fails. It counts from
/// when the row met this class of error. `retry` has the whole table.
pub const RETRY_FOR: Duration = Duration::from_secs(72 * 3600);

/// How many leases of a row may run out without a word of their worker. The next lease then ends the row as `failed`.
pub const MAX_CRASHES: i64 = 5;

/// How long a row that is `done` is kept before DynamoDB's TTL deletes it. Gemini repeats a delivery for 24 hours
/// (Gemini API guide, "Webhooks"), so a repeated one always finds its row.
pub const RETAIN_FOR: Duration = Duration::from_secs(30 * 86_400);

/// How long after its insert or redrive a row is due for the sweep. Before that, the stream is expected to bring it.
pub const STREAM_GRACE: Duration = Duration::from_secs(120);
