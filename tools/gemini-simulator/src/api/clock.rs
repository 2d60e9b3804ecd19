//! `simulator/clock`: what time it is for the simulator, and a way to move that forward.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
};
use serde::{Deserialize, Serialize};

use super::{Problem, Shared, read_json};
use crate::{MovableClock, Seconds, clock::Clock, movable_clock::MAX_FORWARD, rfc3339};

#[derive(Serialize)]
pub(super) struct Shown {
    now: String,
    /// How far it is ahead of real time.
    forward: Seconds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    /// How far it is to be ahead of real time.
    forward: Seconds,
}

pub(super) async fn show(State(simulator): Shared) -> Json<Shown> {
    Json(shown(&simulator.clock))
}

/// Moves the clock. Like a change of faults this is a `PUT`, which no page of another site can send. It names a place in
/// time and not a distance, so a repeated call changes nothing.
pub(super) async fn set(
    State(simulator): Shared,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Shown>, Problem> {
    let Move { forward: Seconds(forward) } = read_json(body)?;
    let now = simulator.clock.forward();
    if forward < now {
        return Err(Problem::invalid(format!(
            "The clock is {} seconds ahead and cannot be moved back.",
            now.as_secs_f64()
        )));
    }
    if forward > MAX_FORWARD {
        let most = MAX_FORWARD.as_secs();
        return Err(Problem::invalid(format!("The clock may be {most} seconds ahead at most.")));
    }
    simulator.clock.move_to(forward).await?;
    Ok(Json(shown(&simulator.clock)))
}

fn shown(clock: &MovableClock) -> Shown {
    Shown { now: rfc3339(clock.now()), forward: Seconds(clock.forward()) }
}
