//! The local machine, talked to over HTTP and through the AWS SDK, as users would.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails panics"
)]

mod advisories;
mod announce;
mod bad_input;
mod bit_flips;
mod canary;
mod command_line;
mod cost;
mod crash;
mod docs;
mod doctor;
mod endpoint;
mod events;
mod fake_aws;
mod faults;
mod forms;
mod functions;
mod hostile;
mod interactions;
mod issuer;
mod keys;
mod lambda;
mod ledger;
mod ledger_conditions;
mod ledger_errors;
mod ledger_gone;
mod ledger_leases;
mod ledger_lost_answers;
mod ledger_rig;
mod ledger_unreadable;
mod ledger_values;
mod once;
mod outcomes;
mod ownership;
mod reading;
mod reconcile;
mod record_first;
mod refusals;
mod rig;
mod rotation;
mod samples;
mod scripted;
mod security;
mod signatures;
mod simulator_faults;
mod simulator_jobs;
mod simulator_requests;
mod support;
mod template;
mod timing;
mod token;
mod tokens;
mod transfer;
mod transfer_checks;
mod transfer_front;
mod transfer_resume;
mod transfer_retention;
mod trigger;
mod verify;
mod videos;
mod webhooks;
