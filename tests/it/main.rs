//! The functions on the local machine, talked to over HTTP and through the AWS SDK, as users would.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails panics"
)]

mod absence;
mod age;
mod announce;
mod bad_input;
mod bill;
mod canary;
mod cases;
mod cases_kinds;
mod cost;
mod endpoint;
mod events;
#[path = "../../tools/gemhook/tests/it/fake_aws.rs"]
#[allow(dead_code, reason = "the command's tests use the rest")]
mod fake_aws;
mod faults;
mod forms;
mod hostile;
mod interactions;
#[path = "../without_tools/issuer.rs"]
#[allow(dead_code, reason = "the tests of single signatures use the rest")]
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
mod ledger_store;
mod ledger_unreadable;
mod ledger_values;
mod on_job_ended;
mod once;
mod outcomes;
mod ownership;
mod poison;
mod reconcile;
mod record_first;
mod refusals;
mod retries;
mod rig;
mod rotation;
mod samples;
mod scripted;
#[path = "../without_tools/signing.rs"]
mod signing;
#[allow(dead_code, reason = "the command's tests use the rest")]
mod support;
mod sweep;
mod transfer;
mod transfer_checks;
mod transfer_front;
mod transfer_resume;
mod transfer_retention;
mod videos;
