//! An event that is owed to one place, as it is kept on disk.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Millis, millis},
    faults::Seconds,
};

/// Google's documentation: deliveries are repeated for 24 hours.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// An event and one place that it is to be delivered to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub name: String,
    pub webhook_id: String,
    pub event_type: String,
    /// Kept as text: every attempt sends the same bytes.
    pub body: String,
    pub target: Target,
    pub attempts: u32,
    /// The timestamp of the first attempt, in seconds.
    #[serde(default)]
    pub first_timestamp: Option<i64>,
    pub owed_since: Millis,
    pub due: Millis,
    pub end: Option<DeliveryEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Target {
    /// The webhook that is built in, wherever it is today.
    Registered,
    /// The id of another registered webhook.
    Webhook(String),
    /// An address that the job came with.
    Dynamic(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum DeliveryEnd {
    Accepted,
    GivenUp,
    /// By a fault, without an attempt.
    Dropped,
}

impl Delivery {
    pub fn new(
        name: String,
        webhook_id: &str,
        event_type: &str,
        body: &str,
        target: Target,
        now: Millis,
    ) -> Self {
        Self {
            name,
            webhook_id: webhook_id.to_owned(),
            event_type: event_type.to_owned(),
            body: body.to_owned(),
            target,
            attempts: 0,
            first_timestamp: None,
            owed_since: now,
            due: now,
            end: None,
        }
    }

    /// Says what follows an attempt: its end, or the time of the next one.
    pub fn settle(&mut self, accepted: bool, now: Millis, retries: &[Seconds]) {
        if accepted {
            self.end = Some(DeliveryEnd::Accepted);
            return;
        }
        let nth = usize::try_from(self.attempts).unwrap_or(usize::MAX).saturating_sub(1);
        let due = retries.get(nth).or(retries.last()).map(|wait| now.saturating_add(millis(wait.0)));
        match due.filter(|due| *due <= self.owed_since.saturating_add(millis(GIVEN_UP_AFTER))) {
            Some(due) => self.due = due,
            None => self.end = Some(DeliveryEnd::GivenUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::DeliveryPolicy;

    fn waits(retries: &[Seconds]) -> Vec<Millis> {
        let mut delivery = Delivery::new("d".into(), "d", "t", "{}", Target::Registered, 0);
        let mut waits = Vec::new();
        loop {
            delivery.attempts += 1;
            let before = delivery.due;
            delivery.settle(false, before, retries);
            if delivery.end.is_some() {
                return waits;
            }
            waits.push((delivery.due - before) / 1000);
        }
    }

    #[test]
    fn an_event_is_retried_for_a_day() {
        let retries = DeliveryPolicy::default().retries;
        assert_eq!(waits(&retries), [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800]);
        assert_eq!(waits(&[Seconds(Duration::from_secs(36_000))]), [36_000, 36_000]);
        assert!(waits(&[]).is_empty());
    }
}
