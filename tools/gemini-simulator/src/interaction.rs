//! What is particular to an interaction, and what it says in the end.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    directives::{Directives, Ending},
    fake_model,
    job::{EventData, Failure, INTERNAL, Job, Kind},
};

/// Of an image or a video for which no size was wished for.
const SIZE: u64 = 64 * 1024;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Interaction {
    /// What answers: `model` or `agent`, and its name.
    pub answerer: (Answerer, String),
    /// What was sent, as steps.
    pub steps: Vec<Value>,
    /// The text of it.
    pub said: String,
    pub previous: Option<String>,
    /// One that was waited for has no event.
    pub background: bool,
    /// The function that the model is to call.
    pub function: Option<Function>,
    pub media: Option<Media>,
    pub directives: Directives,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answerer {
    Model,
    Agent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Function {
    pub name: String,
    /// The names of its parameters.
    pub parameters: Vec<String>,
}

/// An image, a video or a sound that the answer is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Media {
    pub kind: String,
    pub mime_type: String,
    /// Whether it is to be a file, and not in the answer itself.
    pub as_file: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Completed,
    RequiresAction,
    Failed(Failure),
    Cancelled,
    Incomplete,
    BudgetExceeded,
    Idle,
}

/// What the model says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Text(String),
    /// N bytes that are made up while they are read.
    Long(u64),
    Media(&'a Media, u64),
}

impl Outcome {
    pub(super) fn status(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::RequiresAction => "requires_action",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
            Self::Incomplete => "incomplete",
            Self::BudgetExceeded => "budget_exceeded",
            Self::Idle => "idle",
        }
    }
}

impl Interaction {
    pub(super) fn outcome(&self) -> Outcome {
        match (&self.directives.fail, self.directives.state) {
            (Some(why), _) => Outcome::Failed(Failure::new(INTERNAL, why)),
            (None, Some(Ending::Cancelled)) => Outcome::Cancelled,
            (None, Some(Ending::Incomplete)) => Outcome::Incomplete,
            (None, Some(Ending::BudgetExceeded)) => Outcome::BudgetExceeded,
            (None, Some(Ending::Idle)) => Outcome::Idle,
            _ if self.function.is_some() => Outcome::RequiresAction,
            _ => Outcome::Completed,
        }
    }

    /// A wish for a size is for the media where there are any, and else for the text.
    pub(super) fn output(&self) -> Vec<Part<'_>> {
        let text = || Part::Text(format!("echo: {}", self.said));
        let mut parts = match (&self.media, self.directives.size) {
            (Some(media), size) => vec![text(), Part::Media(media, size.unwrap_or(SIZE))],
            (None, Some(size)) => vec![Part::Long(size)],
            (None, None) => vec![text()],
        };
        if self.directives.lone_surrogate {
            parts.push(Part::Text(fake_model::broken("broken off: ")));
        }
        parts
    }

    pub(super) fn usage(&self) -> Value {
        let (input, output) = (fake_model::tokens(&self.said), fake_model::tokens(&self.said) + 1);
        json!({"total_input_tokens": input, "total_output_tokens": output, "total_tokens": input + output})
    }
}

impl Job<Interaction> {
    pub(super) fn call_id(&self) -> String {
        format!("fc_{}", self.id.trim_start_matches("v1_"))
    }

    /// The call that the model waits for: every parameter is what it was asked.
    pub(super) fn call(&self, function: &Function) -> Value {
        let said = |name: &String| (name.clone(), Value::from(self.asked.said.as_str()));
        let arguments: Map<String, Value> = function.parameters.iter().map(said).collect();
        json!({"type": "function_call", "id": self.call_id(), "name": function.name, "arguments": arguments})
    }

    /// The id of the file that the media are in, where they are in one. SDKs take an id to end at the first
    /// character that is no small letter or digit, so there is none.
    pub(super) fn file(&self) -> String {
        self.id.trim_start_matches("v1_").to_owned()
    }
}

impl Kind for Interaction {
    type Outcome = Outcome;

    const DATA: &'static [&'static str] = &[];

    /// No event is known for the last three.
    fn ending_event(job: &Job<Self>, outcome: &Outcome) -> Option<(&'static str, EventData)> {
        if !job.asked.background {
            return None;
        }
        let data = EventData::of(job.id.clone());
        match outcome {
            Outcome::Completed => Some(("interaction.completed", data)),
            Outcome::RequiresAction => Some(("interaction.requires_action", data)),
            Outcome::Failed(failure) => Some(("interaction.failed", data.with_failure(failure))),
            Outcome::Cancelled => Some(("interaction.cancelled", data)),
            Outcome::Incomplete | Outcome::BudgetExceeded | Outcome::Idle => None,
        }
    }
}
