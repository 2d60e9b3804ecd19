//! `simulator/deliveries`: how events are delivered from now on.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
};

use super::{Problem, Shared, read_json};
use crate::{DeliveryPolicy, MAX_COPIES};

/// Of waits between attempts.
const MAX_RETRIES: usize = 100;

pub(super) async fn show(State(simulator): Shared) -> Json<DeliveryPolicy> {
    Json(simulator.deliveries.policy())
}

/// Like a change of faults this is a `PUT`, which no page of another site can send.
pub(super) async fn replace(
    State(simulator): Shared,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DeliveryPolicy>, Problem> {
    let policy: DeliveryPolicy = read_json(body)?;
    if !(1..=MAX_COPIES).contains(&policy.copies) || policy.retries.len() > MAX_RETRIES {
        return Err(Problem::invalid(format!(
            "There may be 1 to {MAX_COPIES} copies and at most {MAX_RETRIES} retries."
        )));
    }
    if policy.disable_after == Some(0) {
        return Err(Problem::invalid("A webhook is disabled after at least one failed attempt."));
    }
    simulator.deliveries.set_policy(policy);
    Ok(Json(simulator.deliveries.policy()))
}
