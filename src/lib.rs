pub mod aws;
pub mod clock;
pub mod config;
pub mod job;
pub mod ledger;
pub mod secrets;
pub mod webhook;

#[cfg(feature = "local")]
pub mod dev;
