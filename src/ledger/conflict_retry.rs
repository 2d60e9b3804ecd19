//! Retries of calls that failed for contention or throttling: at most 6, over at most 1.3 seconds.
//!
//! When a transaction and another write meet on one row, DynamoDB cancels one of them with `TransactionConflict`
//! (Developer Guide, "Transaction conflict handling in DynamoDB"). The SDK does not repeat such a call, so this does.

use std::{future::Future, pin::Pin, time::Duration};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

const MAX_ATTEMPTS: u32 = 6;

/// Whether the same call may go through a moment later.
pub(super) fn is_conflict<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code).is_some_and(is_conflict_code)
}

pub(super) fn is_conflict_code(code: &str) -> bool {
    matches!(
        code,
        "TransactionConflict"
            | "TransactionConflictException"
            | "TransactionInProgressException"
            | "ThrottlingError"
            | "ThrottlingException"
            | "ProvisionedThroughputExceeded"
            | "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
    )
}

/// Repeats a call while its error is contention, with jitter: the waits double from 20 ms to 640 ms, and each is
/// between half of that and all of it. Any other answer is returned at once, and so is the answer of the last try.
pub(super) async fn retry_conflicts<T, E, F>(
    is_conflict: impl Fn(&E) -> bool,
    mut call: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send,
{
    let mut attempt = 0;
    loop {
        // On the heap and without its type: the SDK's futures are large, and nested in those of their callers they are
        // too deep for the compiler ("queries overflow the depth limit").
        let call: Pin<Box<dyn Future<Output = Result<T, E>> + Send + '_>> = Box::pin(call());
        match call.await {
            Err(error) if is_conflict(&error) && attempt < MAX_ATTEMPTS => {
                let ceiling = 20_u64 << attempt;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(ceiling / 2..=ceiling))).await;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tries(answer: impl Fn(u32) -> Result<(), &'static str>) -> (u32, Result<(), &'static str>) {
        let calls = std::cell::Cell::new(0);
        let answer = retry_conflicts(
            |fault: &&str| *fault == "conflict",
            || {
                calls.set(calls.get() + 1);
                std::future::ready(answer(calls.get()))
            },
        )
        .await;
        (calls.get(), answer)
    }

    #[tokio::test]
    async fn contention_is_waited_out_and_nothing_else() {
        assert_eq!(tries(|_| Err("broken")).await, (1, Err("broken")));
        assert_eq!(tries(|call| if call < 4 { Err("conflict") } else { Ok(()) }).await, (4, Ok(())));
        assert_eq!(tries(|_| Err("conflict")).await, (MAX_ATTEMPTS + 1, Err("conflict")));
    }
}
