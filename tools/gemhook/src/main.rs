//! The command line: the local machine and the tools around a deployment.

use std::process::ExitCode;

fn main() -> ExitCode {
    gemhook_cli::cli::main()
}
