//! `simulator/faults`: which faults are in force, and the ones that any call may meet.

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State, rejection::BytesRejection},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Problem, Shared, read_json};
use crate::faults::{Fault, Mishap};

pub(super) async fn list(State(simulator): Shared) -> Json<Vec<Fault>> {
    Json(simulator.faults.list())
}

/// No page that a browser shows can do this: to ask another host for a `PUT`, it would have to be let.
pub(super) async fn replace(
    State(simulator): Shared,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<Fault>>, Problem> {
    simulator.set_faults(read_json(body)?);
    Ok(Json(simulator.faults.list()))
}

pub(super) async fn strike(State(simulator): Shared, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let slow = simulator.faults.strike(path, |mishap| match mishap {
        Mishap::Slow { wait } => Some(wait.0),
        _ => None,
    });
    if let Some(wait) = slow {
        tokio::time::sleep(wait).await;
    }
    let refused = simulator.faults.strike(path, |mishap| match mishap {
        Mishap::Throttled { wait } => Some(Problem::throttled(*wait)),
        Mishap::Unavailable {} => Some(Problem::unavailable()),
        _ => None,
    });
    match refused {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}
