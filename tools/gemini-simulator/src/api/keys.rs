//! The public keys of dynamic webhooks where Google publishes its own, and their rotation.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::header::CACHE_CONTROL,
    response::{IntoResponse, Response},
};

use super::{Problem, Shared, see_through};

pub(super) async fn list(State(simulator): Shared) -> impl IntoResponse {
    ([(CACHE_CONTROL, "public, max-age=3600")], Json(simulator.issuer.public()))
}

/// Answers with the new set.
pub(super) async fn rotate(State(simulator): Shared) -> Result<Response, Problem> {
    let issuer = Arc::clone(&simulator.issuer);
    see_through(async move { Ok(issuer.rotate().await?) }).await?;
    Ok(Json(simulator.issuer.public()).into_response())
}
