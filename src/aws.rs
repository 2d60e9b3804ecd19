//! What all AWS clients here share: how long a call may take, and how an error is put in words.

use std::{error::Error, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};

/// The environment's configuration. The SDK's own variables choose region, credentials and endpoints.
pub async fn config(timeouts: TimeoutConfig) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await
}

/// Short enough that a call which hangs fails within the 4 s that the receiver has for a delivery, so that the 503
/// names the call.
pub fn receiver_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(800))
        .operation_attempt_timeout(Duration::from_millis(1200))
        .operation_timeout(Duration::from_millis(3000))
        .build()
}

/// A part of 8 MiB may take its time; a call that hangs may not.
pub fn archiver_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(60))
        .operation_timeout(Duration::from_secs(180))
        .build()
}

/// For the tables: a write at the end of an invocation must be done, or known not to be, before Lambda ends it.
pub fn ledger_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(Duration::from_millis(2500))
        .operation_timeout(Duration::from_secs(6))
        .build()
}

/// The whole chain of an error in one line: the SDK's outermost text is only "service error".
pub fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
