//! Jobs of every kind, each with how it ended and what must come of it.

use std::{collections::BTreeMap, sync::LazyLock};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::gemini::BASE_URL;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    BatchFile,
    BatchInline,
    Embeddings,
    Interaction,
    Video,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    Succeeded,
    Failed,
    Cancelled,
    Expired,
    /// The API does not know the job.
    Gone,
}

pub const KINDS: [Kind; 5] =
    [Kind::BatchFile, Kind::BatchInline, Kind::Embeddings, Kind::Interaction, Kind::Video];
pub const ENDINGS: [Ending; 5] =
    [Ending::Succeeded, Ending::Failed, Ending::Cancelled, Ending::Expired, Ending::Gone];

/// A job, and what must come of it.
#[derive(Clone, Debug)]
pub struct Job {
    pub kind: Kind,
    pub ending: Ending,
    pub number: usize,
    /// Whether the output of a video is sent in three parts.
    pub is_long: bool,
}

/// Two parts of 8 MiB and the beginning of a third one.
const LONG: usize = 17_000_000;

static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut bytes = vec![0; LONG + 100];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    bytes.into()
});

impl Job {
    pub fn new(kind: Kind, ending: Ending, number: usize) -> Self {
        Self { kind, ending, number, is_long: false }
    }

    /// As the Jobs table names it.
    pub fn name(&self) -> String {
        let number = self.number;
        match self.kind {
            Kind::BatchFile | Kind::BatchInline | Kind::Embeddings => format!("batches/b{number}"),
            Kind::Interaction => format!("interactions/v1_i{number}"),
            Kind::Video => format!("models/veo/operations/o{number}"),
        }
    }

    pub fn path(&self) -> String {
        self.name()
    }

    pub fn event(&self) -> Value {
        let kind = match self.kind {
            Kind::BatchFile | Kind::BatchInline | Kind::Embeddings => "batch.succeeded",
            Kind::Interaction => "interaction.completed",
            Kind::Video => "video.generated",
        };
        let name = self.name();
        let id = name.strip_prefix("interactions/").unwrap_or(&name);
        json!({"type": kind, "version": "v1", "timestamp": "2026-05-28T20:26:30Z", "data": {"id": id}})
    }

    /// The outcome that its first row must come to.
    pub fn outcome(&self) -> &'static str {
        match (self.ending, self.kind) {
            (Ending::Succeeded, _) => "archived",
            (Ending::Gone, _) => "gone",
            _ => "ended",
        }
    }

    /// Every object that there must be, with its bytes.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        let (number, answer) = (self.number, self.answer().to_string().into());
        let mut objects = BTreeMap::new();
        if self.ending == Ending::Gone {
            return objects;
        }
        let succeeded = self.ending == Ending::Succeeded;
        match self.kind {
            Kind::BatchFile | Kind::BatchInline | Kind::Embeddings if succeeded => {
                objects.insert(format!("batches/b{number}/responses.jsonl"), self.output());
            }
            Kind::BatchFile | Kind::BatchInline | Kind::Embeddings => {}
            Kind::Interaction => {
                objects.insert(format!("interactions/v1_i{number}/interaction.json"), answer);
                if succeeded {
                    objects.insert(format!("interactions/v1_i{number}/text.md"), self.output());
                }
            }
            Kind::Video => {
                objects.insert(format!("videos/o{number}/operation.json"), answer);
                if succeeded {
                    objects.insert(format!("videos/o{number}/0.mp4"), self.output());
                }
            }
        }
        objects
    }

    pub fn output(&self) -> Bytes {
        let number = self.number;
        match self.kind {
            Kind::BatchFile | Kind::BatchInline => {
                format!("{{\"key\":\"{number}\",\"response\":{{}}}}\n").into()
            }
            Kind::Embeddings => format!("{{\"embedding\":{{\"values\":[{number}]}}}}\n").into(),
            Kind::Interaction => format!("text {number}").into(),
            Kind::Video if self.is_long => NOISE.slice(number..number + LONG),
            Kind::Video => format!("video {number}").into(),
        }
    }

    pub fn answer(&self) -> Value {
        let succeeded = self.ending == Ending::Succeeded;
        let name = self.name();
        let word = match self.ending {
            Ending::Succeeded => "SUCCEEDED",
            Ending::Failed | Ending::Gone => "FAILED",
            Ending::Cancelled => "CANCELLED",
            Ending::Expired => "EXPIRED",
        };
        let text = || String::from_utf8(self.output().into()).unwrap();
        let line = || serde_json::from_slice::<Value>(&self.output()).unwrap();
        let error = json!({"code": 3, "message": "scripted"});
        match self.kind {
            Kind::BatchFile | Kind::BatchInline | Kind::Embeddings => {
                let mut answer = json!({"name": name, "done": true,
                    "metadata": {"name": name, "state": format!("BATCH_STATE_{word}"),
                        "endTime": "2026-05-28T20:26:30Z"}});
                let response = match self.kind {
                    Kind::BatchFile => json!({"responsesFile": format!("files/f{}", self.number)}),
                    Kind::BatchInline => json!({"inlinedResponses": {"inlinedResponses": [line()]}}),
                    _ => json!({"inlinedEmbedContentResponses": {"inlinedResponses": [line()]}}),
                };
                if succeeded {
                    answer["response"] = response;
                } else {
                    answer["error"] = error;
                }
                answer
            }
            Kind::Interaction => {
                let status = if succeeded { "completed".to_owned() } else { word.to_lowercase() };
                let status = if status == "expired" { "incomplete".to_owned() } else { status };
                let mut answer = json!({"id": format!("v1_i{}", self.number), "status": status});
                if succeeded {
                    let content = json!([{"type": "text", "text": text()}]);
                    answer["steps"] = json!([{"type": "model_output", "content": content}]);
                } else {
                    answer["error"] = error;
                }
                answer
            }
            Kind::Video if succeeded => {
                let uri = format!("{BASE_URL}/v1beta/files/f{}:download?alt=media", self.number);
                json!({"name": name, "done": true, "response": {"generateVideoResponse":
                    {"generatedSamples": [{"video": {"uri": uri}}]}}})
            }
            Kind::Video => json!({"name": name, "done": true, "error": {"code": 3, "message": word}}),
        }
    }
}
