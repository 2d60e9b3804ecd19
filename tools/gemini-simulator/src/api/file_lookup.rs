//! One file, for whoever looks at it or downloads it.

use axum::http::Uri;

use super::Problem;
use crate::{
    Simulator,
    faults::{FaultKind, Gone},
    files::{Content, FileRecord},
};

/// The file, unless a fault has it expired.
pub(super) async fn find(simulator: &Simulator, id: &str, uri: &Uri) -> Result<FileRecord, Problem> {
    tokio::time::sleep(simulator.answer_delay).await;
    let file = simulator.files.get(id).ok_or_else(|| missing(id))?;
    let gone = |kind: &FaultKind| match kind {
        FaultKind::Expired { status } => Some(*status),
        _ => None,
    };
    if file.content == Content::Uploaded {
        return Ok(file);
    }
    match simulator.faults.strike(uri.path(), gone) {
        Some(Gone::NotFound) => Err(missing(id)),
        Some(Gone::Forbidden) => Err(Problem::no_permission_for(&format!("files/{id}"))),
        None => Ok(file),
    }
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("files/{id} was not found."))
}
