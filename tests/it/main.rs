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
mod faults;
mod functions;
mod interactions;
mod ledger;
mod once;
mod outcomes;
mod reading;
mod reconcile;
mod rig;
mod samples;
mod scripted;
mod signatures;
mod simulator_faults;
mod simulator_jobs;
mod simulator_requests;
mod support;
mod template;
mod transfer;
mod trigger;
mod videos;
mod webhooks;
