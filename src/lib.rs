//! Gemini's webhooks on AWS Lambda: verified, recorded exactly once, results archived.
//!
//! The way of an event:
//!
//! 1. A request comes to the [`receiver`]. [`webhook`] decides whether its sender is proved. Only a verified delivery
//!    can become a row.
//! 2. The [`ledger`] puts it into the Deliveries table, on the condition that its id is new. The sender receives 200.
//! 3. The table's stream invokes the [`archiver`], whose [`worker`] takes a lease on the row.
//! 4. [`gemini`] reads the job, and [`archive`] stores its output in the bucket.
//! 5. The [`ledger`] commits the row and the job in one transaction.
//! 6. [`announce`] sends the end of the job to the event bus, then the row is done.
//!
//! The [`sweeper`] does 3 to 6 for every row that was left over. [`reconcile`] enters jobs whose event never came.
//! [`config`] reads the environment once.
//!
//! # Start here
//!
//! Five files, about 1,250 lines, in this order:
//!
//! 1. `src/receiver.rs`: the whole way of a request, from Lambda's event to the HTTP answer.
//! 2. `src/ledger/transitions.rs`: every change that a row can go through, with its condition. Everything else relies
//!    on this state machine.
//! 3. `src/worker.rs`: one row from lease to end. It shows how errors, time limits and crashes become transitions.
//! 4. `src/attempt.rs`: one attempt at a job, and how the absence of a job is proved before it is believed.
//! 5. `src/archive/batch.rs`: from a job to its object and its outcome. Videos and interactions have the same shape.
//!
//! # Where is it decided?
//!
//! | question | file |
//! | --- | --- |
//! | Is this delivery a duplicate? | `src/ledger/delivery_writer.rs` |
//! | Which signature algorithms are allowed? | `src/webhook/verifier.rs`; `src/webhook/mod.rs` has the table |
//! | How old may a delivery be? | `Tolerance` in `src/webhook/verifier.rs`; the defaults are in `src/config.rs` |
//! | When is a row given up? | `src/retry.rs`; the limits are in `src/ledger/mod.rs` |
//! | What is an object's key? | `src/archive/batch.rs`, `video.rs` and `interaction.rs`, each for its kind of job |
//! | How large is a part of an upload? | `PART_BYTES` in `src/archive/buffers.rs` |
//! | Does the API reject our key? | `src/gemini/error_response.rs`, and `Gemini::probe` in `src/gemini/mod.rs` |
//! | Is the job somebody else's? | `src/attempt.rs`; with a binding key `check_ours` in `src/archive/mod.rs` |
//! | Which resources does `--stack` mean? | `tools/gemhook/src/cli/stack.rs` |
//! | What may each function call in AWS? | `src/permissions.rs` |
//!
//! # Add your own logic
//!
//! Consumers of the event bus need no change here. For a function of your own inside the archiver, edit
//! [`on_job_ended`]: it is called with each job that has ended, at least once, before the delivery is done.
//! `tests/it/on_job_ended.rs` tests one.
//!
//! The `gemhook` command and the local machine are in `tools/gemhook`, the simulated Gemini API in
//! `tools/gemini-simulator`. A project that was made without the tools has neither.

pub mod announce;
pub mod archive;
pub mod archiver;
pub mod attempt;
pub mod aws;
pub mod clock;
pub mod config;
mod environment;
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
mod row_result;
pub mod secrets;
pub mod sweeper;
pub mod webhook;
pub mod worker;
