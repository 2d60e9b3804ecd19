//! Interactions. Their events are recorded; their outputs are not archived yet.

use super::Report;

pub(super) fn bring() -> Report {
    Report::Nothing("interactions are not archived yet")
}
