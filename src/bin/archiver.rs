//! The function behind the table: brings what was recorded to its end.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    gemhook::log::init();
    gemhook::metrics::init();
    gemhook::log::exit(gemhook::archiver::run().await)
}
