//! The two tables. Every row is written here and nowhere else.
//!
//! What may happen to a row is data (`transitions`), from which both DynamoDB's expressions and a pure function
//! of a row are made (`condition`). The receiver is handed an [`Inbox`], which can only put; the archiver a
//! [`Ledger`], whose every write carries the fencing token of a lease.

mod admin;
mod commit;
pub mod condition;
mod delivery;
mod due;
mod error;
mod inbox;
mod lease;
mod new_delivery;
mod operations;
mod patience;
pub mod schema;
mod state;
mod store;
pub mod transitions;
mod values;
mod watch;

pub use commit::Committed;
pub use delivery::Delivery;
pub use due::{DuePage, DueRow};
pub use error::LedgerError;
pub use inbox::{Inbox, Put};
pub use lease::Lease;
pub use new_delivery::NewDelivery;
pub use operations::{Fence, Ledger, Wait};
pub use state::{DeliveryState, Outcome, TroubleKind};
pub use values::{shortened, to_json};
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
