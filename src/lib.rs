pub mod archive;
pub mod archiver;
pub mod aws;
pub mod clock;
pub mod config;
mod door;
pub mod gemini;
pub mod job;
pub mod ledger;
pub mod log;
pub mod receiver;
pub mod secrets;
pub mod sweeper;
pub mod trouble;
pub mod webhook;
pub mod worker;

#[cfg(feature = "local")]
pub mod cli;
#[cfg(feature = "local")]
pub mod dev;
