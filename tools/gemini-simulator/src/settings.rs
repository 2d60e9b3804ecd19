//! How the simulator behaves. The defaults are quick jobs and the retries that Gemini is believed to make.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Fault, Seconds};

/// How events are signed that go to a job's own addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DynamicForm {
    /// Standard Webhooks v1a, Ed25519 with Google's key: what was seen to arrive
    #[default]
    V1a,
    /// A bare RS256 token with Google's key: what the guide documents
    Jwt,
}

/// Where an event carries its job's `user_metadata`, which is not documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MetadataPlace {
    /// Beside `type` and `data`
    #[default]
    Top,
    /// In `data`
    Data,
    /// Nowhere, so that only the job itself tells it
    Nowhere,
}

/// The most copies of an event that are sent at once.
pub const MAX_COPIES: u32 = 100;

/// How events are delivered. It can be changed while the simulator runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryPolicy {
    /// The waits between attempts. The last one is repeated until a day has passed; without any, there is one attempt.
    pub retries: Vec<Seconds>,
    /// How many copies of each event are sent at once.
    #[serde(default = "one")]
    pub copies: u32,
    /// After so many failed attempts in a row a registered webhook is disabled. Without it, only after a day.
    #[serde(default)]
    pub disable_after: Option<u32>,
}

const fn one() -> u32 {
    1
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        let seconds = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800];
        Self {
            retries: seconds.map(|wait| Seconds(Duration::from_secs(wait))).to_vec(),
            copies: 1,
            disable_after: None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a job runs before it ends.
    pub finish_after: Duration,
    /// How events are delivered at first.
    pub delivery: DeliveryPolicy,
    /// How long every `GET` of a job or a file waits before it answers.
    pub answer_delay: Duration,
    /// Whether interactions show `outputs`, as they did once, and not `steps`.
    pub legacy_outputs: bool,
    /// How far the clock is ahead of real time from the start.
    pub clock_forward: Duration,
    /// In force from the start.
    pub faults: Vec<Fault>,
    pub dynamic_form: DynamicForm,
    pub metadata_place: MetadataPlace,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            finish_after: Duration::from_secs(1),
            delivery: DeliveryPolicy::default(),
            answer_delay: Duration::ZERO,
            legacy_outputs: false,
            clock_forward: Duration::ZERO,
            faults: Vec::new(),
            dynamic_form: DynamicForm::default(),
            metadata_place: MetadataPlace::default(),
        }
    }
}
