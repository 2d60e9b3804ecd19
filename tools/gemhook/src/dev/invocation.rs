//! Invocations of the functions on the local machine.

use std::time::Duration;

use gemhook::clock::{Clock, Millis, millis};
use lambda_runtime::Context;

/// How long an invocation of the archiver may take here, as in the template.
const INVOCATION: Duration = Duration::from_secs(900);

/// The context of a synthetic invocation of a function that goes by this clock.
pub(super) fn context(clock: &dyn Clock) -> Context {
    let mut context = Context::default();
    context.request_id = uuid::Uuid::new_v4().to_string();
    context.deadline = u64::try_from(end_of_invocation(clock)).unwrap_or(u64::MAX);
    context
}

pub(super) fn end_of_invocation(clock: &dyn Clock) -> Millis {
    clock.now() + millis(INVOCATION)
}
