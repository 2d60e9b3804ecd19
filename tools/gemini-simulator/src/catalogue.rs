//! The events that one can subscribe to. Google's guide names nine, its reference and SDKs leave out two of them.

/// Named everywhere.
pub const UNCONTESTED: [&str; 7] = [
    "batch.succeeded",
    "batch.failed",
    "batch.expired",
    "interaction.completed",
    "interaction.failed",
    "interaction.requires_action",
    "video.generated",
];

/// Named by the guide only: a subscription to them may be refused.
pub const CONTESTED: [&str; 2] = ["batch.cancelled", "interaction.cancelled"];

pub fn is_known(event: &str) -> bool {
    UNCONTESTED.contains(&event) || CONTESTED.contains(&event)
}
