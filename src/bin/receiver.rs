//! The public function: verifies a delivery, records it and answers.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    gemhook::log::init();
    gemhook::metrics::init();
    gemhook::log::exit(gemhook::receiver::run().await)
}
