//! Both functions against stores in their own process. What is called, in which order and with which faults, is decided
//! by a seed. So a schedule that breaks a promise can be run again, exactly.
//!
//! - [`network`]: an HTTP client under the real AWS SDK. Each call waits there until the schedule lets it go, and the
//!   schedule says what befalls it. [`asked`]: a call as the stores see it.
//! - [`stores`]: an embedded DynamoDB engine in memory and an event bus. [`bucket`]: objects and uploads. [`gemini`]: the
//!   Gemini API. [`jobs`]: what it has, and what must come of it.
//! - [`world`]: the functions on all of this, and a clock that the test moves. Only the functions' own sleeps of less than
//!   a second are real.
//! - [`leases`]: who holds which row. [`promises`]: what must hold after each write, and at the end.
//! - [`callers`]: who calls, one call at a time. [`schedule`]: one seed, from its jobs to its verdict. [`one_row`]: the
//!   same for one row and its archivers.
//! - [`awaits`], [`records`] and [`trouble`]: one fault at a time.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it is only a test's, and a test that fails panics"
)]

mod asked;
mod awaits;
mod bucket;
mod callers;
mod gemini;
mod jobs;
mod leases;
mod network;
mod one_row;
mod promises;
mod records;
mod schedule;
mod seeds;
mod stores;
mod trouble;
mod world;
