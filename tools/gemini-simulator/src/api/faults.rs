//! `simulator/faults`: which faults are in force, and the ones that any call may meet.

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State, rejection::BytesRejection},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Problem, Shared, parameters, read_json};
use crate::faults::{Fault, FaultKind, Rejection};

/// What a single thing of is read by `GET`.
const COLLECTIONS: [&str; 4] = ["batches", "interactions", "operations", "files"];

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
    let slow = simulator.faults.strike(path, |kind| match kind {
        FaultKind::Slow { wait } => Some(wait.0),
        _ => None,
    });
    if let Some(wait) = slow {
        tokio::time::sleep(wait).await;
    }
    let read = Some(path).filter(|_| request.method() == Method::GET).and_then(what_is_read);
    let refused = simulator.faults.strike(path, |kind| match (kind, &read) {
        (FaultKind::Throttled { wait, quota }, _) => Some(Problem::throttled(*wait, *quota)),
        (FaultKind::Unavailable {}, _) => Some(Problem::unavailable()),
        (FaultKind::NotFound {}, Some(_)) => Some(Problem::entity_not_found()),
        (FaultKind::Rejected { status, message }, Some(_)) => Some(rejected(*status, message.as_deref())),
        (FaultKind::OtherKey { key }, Some(file)) if !has_key(&request, key) => Some(match file {
            Some(file) => Problem::no_permission_for(file),
            None => Problem::entity_not_found(),
        }),
        _ => None,
    });
    match refused {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

/// Of a path that names one job or file: nothing for a job, or the name of the file. A list is not meant.
fn what_is_read(path: &str) -> Option<Option<String>> {
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let id = segments.peek().filter(|id| !id.is_empty());
        if let (true, Some(id)) = (COLLECTIONS.contains(&segment), id) {
            let name = id.split(':').next().unwrap_or_default();
            return Some((segment == "files").then(|| format!("files/{name}")));
        }
    }
    None
}

fn rejected(status: Rejection, message: Option<&str>) -> Problem {
    match status {
        Rejection::BadRequest => Problem::invalid(message.unwrap_or("Request contains an invalid argument.")),
        Rejection::Forbidden => Problem::forbidden(message.unwrap_or("The caller does not have permission")),
    }
}

fn has_key(request: &Request, key: &str) -> bool {
    let header = request.headers().get("x-goog-api-key").map(|given| given.as_bytes());
    header == Some(key.as_bytes()) || parameters(request.uri()).get("key").is_some_and(|given| given == key)
}
