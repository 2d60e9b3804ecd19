//! The two tables. Every row is written here and nowhere else.
//!
//! What may happen to a row is data (`transitions`), from which both DynamoDB's expressions and a pure function
//! of a row are made (`condition`). The receiver is handed an [`Inbox`], which can only put; the archiver a
//! [`Ledger`], whose every write carries the fencing token of a lease.

mod commit;
pub mod condition;
mod delivery;
mod due;
mod erase;
mod inbox;
mod lease;
mod patience;
mod read;
pub mod schema;
pub mod transitions;
mod watch;

pub use commit::Committed;
pub use delivery::{Delivery, NewDelivery, Outcome};
pub use due::DuePage;
pub use inbox::{Inbox, Put};
pub use lease::{Fence, Lease, Ledger};
pub use watch::Watched;

use std::time::Duration;

/// How long a row is tried at all, whatever the trouble.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// How long ordinary troubles are waited out.
pub const PATIENCE: Duration = Duration::from_secs(72 * 3600);

/// How many workers a row may cost.
pub const MAX_CRASHES: i64 = 5;

/// How long a finished row is kept: longer than any sender retries.
pub const KEEP: Duration = Duration::from_secs(30 * 86_400);

/// When a sweep looks at a row that the stream should have brought.
pub const STREAM_GRACE: Duration = Duration::from_secs(120);

/// Why the tables could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error("DynamoDB {0}")]
    Unavailable(String),
    #[error("row {0} is not one of ours: {1}")]
    Unreadable(String, &'static str),
}
