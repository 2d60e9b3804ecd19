//! The local machine, talked to over HTTP and through the AWS SDK, as users would.

mod bad_input;
mod command_line;
mod crash;
mod events;
mod functions;
mod ledger;
mod once;
mod signatures;
mod support;
mod template;
