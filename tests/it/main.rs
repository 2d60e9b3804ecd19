//! The local machine, talked to over HTTP and through the AWS SDK, as users would.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails panics"
)]

mod announce;
mod bad_input;
mod command_line;
mod cost;
mod crash;
mod docs;
mod doctor;
mod events;
mod fake_aws;
mod functions;
mod ledger;
mod once;
mod reading;
mod reconcile;
mod samples;
mod signatures;
mod support;
mod template;
mod trigger;
mod webhooks;
