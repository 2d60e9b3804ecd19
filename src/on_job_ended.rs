//! Your own logic goes here: a function that is called with each job that has ended.
//!
//! It is called after the outputs are in the bucket and the job's row is written, and before the delivery is done. So
//! it is called at least once for each job: again, where the worker dies or the function fails. Its argument is what
//! the event bus receives, too; `detail["id"]` is the same on every call for the same end, so use it as the key of
//! what you write. A failure is tried again with growing waits, for 72 hours. A panic
//! counts as a crash of the worker: after five the row ends as `failed`, its outputs safe.
//!
//! ```
//! use gemhook::on_job_ended::{Ended, OnJobEnded};
//!
//! async fn mark_order_as_done(ended: Ended) -> Result<(), String> {
//!     let order = ended.detail["user_metadata"]["order"].as_str().ok_or("the job has no order")?;
//!     println!("order {order}: {} ({})", ended.detail["outcome"], ended.detail["id"]);
//!     Ok(())
//! }
//!
//! let hook: OnJobEnded = |ended| Box::pin(mark_order_as_done(ended));
//! ```
//!
//! Return `Some(|ended| Box::pin(mark_order_as_done(ended)))` from [`hook`] to have it called. A slow function takes
//! from the time of its invocation: it has 12 seconds, together with the event bus. `tests/it/on_job_ended.rs` shows how
//! one is tested on the local machine.

use std::pin::Pin;

pub use crate::announce::Announcement as Ended;

/// A function of your own. An error is the reason why it is to be called again, for the row and the log.
pub type OnJobEnded = fn(Ended) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The function that the archiver calls. Nothing is called by default: consumers listen to the event bus.
pub fn hook() -> Option<OnJobEnded> {
    None
}
