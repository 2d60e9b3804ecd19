//! The command as a user runs it, and the documents that tell of it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails panics"
)]

mod check_receiver;
mod command_line;
mod crash;
mod docs;
mod doctor;
mod fake_aws;
mod page;
mod page_actions;
mod page_guard;
mod reading;
mod replay;
mod security;
#[path = "../../../../tests/without_tools/signing.rs"]
mod signing;
mod simulator_faults;
mod simulator_jobs;
mod simulator_requests;
mod soak;
#[path = "../../../../tests/it/support.rs"]
#[allow(dead_code, reason = "the functions' tests use the rest")]
mod support;
mod token;
mod trigger;
mod verify;
mod webhook_rotation;
mod webhook_update;
mod webhooks;
