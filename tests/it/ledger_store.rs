//! The DynamoDB of the ledger's tests: the embedded one, or the one whose URL is in `GEMHOOK_TEST_DYNAMODB_URL`.
//! `.ci/databases` runs them against stores that others wrote.

use std::sync::atomic::{AtomicU32, Ordering};

use gemhook::aws;
use gemhook_cli::dev::stores::TableNames;

use crate::support::TestMachine;

/// The other store's URL, if these tests run against one.
fn other() -> Option<String> {
    std::env::var("GEMHOOK_TEST_DYNAMODB_URL").ok()
}

pub fn url(test: &TestMachine) -> String {
    other().unwrap_or_else(|| test.machine.addresses.dynamodb_url.clone())
}

/// A client that talks to the store directly.
pub fn client(test: &TestMachine) -> aws_sdk_dynamodb::Client {
    let embedded = test.machine.stores.dynamodb(aws::archiver_timeouts());
    aws_sdk_dynamodb::Client::from_conf(embedded.config().to_builder().endpoint_url(url(test)).build())
}

/// A name that no other test has: all tests of a run share the other store, and it may outlive the run.
pub fn table(purpose: &str) -> String {
    static TABLES: AtomicU32 = AtomicU32::new(0);
    let number = TABLES.fetch_add(1, Ordering::Relaxed);
    format!("{purpose}-{}-{number}", std::process::id())
}

pub fn tables() -> TableNames {
    TableNames { deliveries: table("deliveries"), jobs: table("jobs") }
}
