//! The two tables, Deliveries and Jobs. Every row is written here and nowhere else.
//!
//! # The way of a row
//!
//! ```text
//!            put                lease                       commit, then announced and finished
//! receiver ───────▶ received ─────────▶ archiving ───────────────────────────────────────────▶ done
//!                      ▲                 │  ▲   │                                   archived, ended, gone
//!                      │            wait │  │   │ end                               recorded, repeated, foreign
//!                      │                 ▼  │ lease, when due                             │
//!                      │              waiting   └────────────────────────────────────────▶┤
//!                      │                    fail, give up, fail unreadable                │
//!                      │ redrive    (from any state that is not done) ──▶ failed          │
//!                      └──────────────────────────────────────────────────┴───────────────┘
//!                                 failed rows, and done ones that hold no output: recorded, gone, foreign
//! ```
//!
//! The table is the queue: a row that has not ended has `open` and `due_at`, so it is in the index `due`, and a sweep
//! finds it whether or not the stream brought it.
//!
//! # Where to look
//!
//! - `operations`: [`Ledger`], everything the archiver can do. `inbox`: [`DeliveryWriter`], the one thing the receiver can do.
//! - `transitions`: each change of a row with its condition, as data, under the timeline of a lease. `condition` turns
//!   the data into DynamoDB's expressions and into pure functions of a row.
//! - `lease` and `commit`: the two operations that take more than one write.
//! - `store`: the calls to DynamoDB. `patience`: calls that are repeated. `error`: classes of errors.
//! - `delivery`, `new_delivery`, `state`, `values`, `schema`: what stands in a row.
//! - `admin`: what only the `gemhook` command does.
//!
//! # What holds
//!
//! - A worker that lost its lease writes nothing that counts: each of its writes names its fencing token.
//! - A job's output is committed once. Open never overwrites ended, and nothing overwrites an end that has an output.
//!   Only a `gone` end can be replaced.
//! - A write whose answer was lost recognises itself when it is repeated, and reports what the first try would have.
//! - A row ends, whatever happens to its workers and whatever stands in it. Only a row of newer code is left alone.

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

/// How long a row is tried at all, whatever the trouble.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// How long ordinary troubles are waited out.
pub const RETRY_FOR: Duration = Duration::from_secs(72 * 3600);

/// How many workers a row may cost.
pub const MAX_CRASHES: i64 = 5;

/// How long a finished row is kept: longer than any sender retries.
pub const RETAIN_FOR: Duration = Duration::from_secs(30 * 86_400);

/// When a sweep looks at a row that the stream should have brought.
pub const STREAM_GRACE: Duration = Duration::from_secs(120);
