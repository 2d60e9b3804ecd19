//! Gemini's webhooks on AWS Lambda: verified, recorded exactly once, results archived.
//!
//! The way of an event:
//!
//! 1. A request comes to the [`receiver`]. [`webhook`] decides whether its sender is proved; only a verified
//!    delivery can become a row.
//! 2. The [`ledger`] puts it into the Deliveries table, on the condition that its id is new. The sender hears 200.
//! 3. The table's stream invokes the [`archiver`], whose [`worker`] takes a lease on the row.
//! 4. [`gemini`] tells what became of the job, [`archive`] brings its output into the bucket.
//! 5. The [`ledger`] commits the row and the job in one transaction.
//! 6. The end is told to the event bus ([`announce`]), then the row is done.
//!
//! The [`sweeper`] does 3 to 6 for every row that was left over; [`reconcile`] enters jobs whose event never came. [`config`] reads the environment once.

pub mod announce;
pub mod archive;
pub mod archiver;
pub mod attempt;
pub mod aws;
pub mod clock;
pub mod config;
pub mod error;
mod function_url;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gemini;
mod hex;
pub mod invocation;
pub mod job;
pub mod json;
pub mod ledger;
pub mod log;
pub mod metrics;
pub mod on_job_ended;
pub mod permissions;
pub mod receiver;
pub mod reconcile;
mod redacted_headers;
pub mod retry;
pub mod secrets;
pub mod sweeper;
pub mod webhook;
pub mod worker;
