//! The events that a webhook can subscribe to, and the two that the API rejects.

/// The API takes exactly these; any other name gets 400 with this list.
pub const SUBSCRIBABLE_EVENTS: [&str; 7] = [
    "batch.succeeded",
    "batch.failed",
    "batch.expired",
    "interaction.completed",
    "interaction.failed",
    "interaction.requires_action",
    "video.generated",
];

/// Google's guide names these too, but the API rejects a subscription to them. A receiver still accepts them.
pub const GUIDE_ONLY_EVENTS: [&str; 2] = ["batch.cancelled", "interaction.cancelled"];

/// Whether the API takes a subscription to this event.
pub fn can_be_subscribed(event: &str) -> bool {
    SUBSCRIBABLE_EVENTS.contains(&event)
}
