//! The Gemini API: jobs of every kind, and how each of them ended.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use reqwest::Response;
use serde_json::{Value, json};

use crate::network::Fault;

/// Where the functions look for the API. Nothing is there: requests do not leave the process.
pub const BASE_URL: &str = "http://127.0.0.1:9";

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
}

/// The files of the jobs and the jobs themselves, by path.
#[derive(Default)]
pub struct Gemini {
    answers: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Paths that are answered with an error, whatever is there.
    broken: Mutex<BTreeMap<String, u16>>,
}

impl Gemini {
    pub fn has(&self, job: &Job) {
        if job.ending == Ending::Gone {
            return;
        }
        let mut answers = self.answers();
        answers.insert(job.path(), job.answer().to_string().into_bytes());
        if job.ending == Ending::Succeeded && matches!(job.kind, Kind::BatchFile | Kind::Video) {
            answers.insert(format!("files/f{}:download", job.number), job.output());
        }
    }

    /// Answers a path with this status until it is mended.
    pub fn breaks(&self, path: &str, status: Option<u16>) {
        let mut broken = self.broken.lock().unwrap();
        match status {
            Some(status) => broken.insert(path.to_owned(), status),
            None => broken.remove(path),
        };
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.answers.lock().unwrap()
    }

    pub fn answer(&self, path: &str, fault: Fault) -> Result<Response, reqwest::Error> {
        let path = path.strip_prefix("/v1beta/").unwrap_or(path);
        let status = match fault {
            Fault::None | Fault::OlderPage(_) => None,
            // No error of the connection can be made by hand, so a request that cannot be built stands for it.
            Fault::NotSent | Fault::AnswerLost | Fault::Late => {
                return Err(reqwest::Client::new().get("no address").build().unwrap_err());
            }
            Fault::Throttled => Some(429),
            Fault::Conflict | Fault::ServerError => Some(503),
            Fault::Garbage => Some(200),
        };
        let status = status.or_else(|| self.broken.lock().unwrap().get(path).copied());
        if let Some(status) = status {
            let text = if status == 200 { "<html>".to_owned() } else { refusal(status) };
            // An answer that breaks off is no whole one.
            return Ok(response(status, text.into_bytes(), status == 200));
        }
        let found = match path {
            "batches" => Some(self.list()),
            path => self.answers().get(path).cloned(),
        };
        Ok(match found {
            Some(content) => response(200, content, false),
            None => response(404, refusal(404).into_bytes(), false),
        })
    }

    fn list(&self) -> Vec<u8> {
        let answers = self.answers();
        let batches = answers.iter().filter(|(path, _)| path.starts_with("batches/"));
        let batches: Vec<Value> = batches.map(|(_, text)| serde_json::from_slice(text).unwrap()).collect();
        json!({"operations": batches}).to_string().into_bytes()
    }
}

fn refusal(status: u16) -> String {
    json!({"error": {"code": status, "message": "scripted", "status": "X"}}).to_string()
}

fn response(status: u16, content: Vec<u8>, broken: bool) -> Response {
    let length = content.len() + usize::from(broken);
    let mut pieces = vec![Ok(content)];
    if broken {
        pieces.push(Err(std::io::Error::other("cut")));
    }
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let answer = lambda_http::http::Response::builder().status(status).header("content-length", length);
    answer.body(body).unwrap().into()
}

impl Job {
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
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let (number, answer) = (self.number, self.answer().to_string().into_bytes());
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

    fn output(&self) -> Vec<u8> {
        let number = self.number;
        match self.kind {
            Kind::BatchFile | Kind::BatchInline => {
                format!("{{\"key\":\"{number}\",\"response\":{{}}}}\n").into_bytes()
            }
            Kind::Embeddings => format!("{{\"embedding\":{{\"values\":[{number}]}}}}\n").into_bytes(),
            Kind::Interaction => format!("text {number}").into_bytes(),
            Kind::Video => format!("video {number}").into_bytes(),
        }
    }

    fn answer(&self) -> Value {
        let succeeded = self.ending == Ending::Succeeded;
        let name = self.name();
        let word = match self.ending {
            Ending::Succeeded => "SUCCEEDED",
            Ending::Failed | Ending::Gone => "FAILED",
            Ending::Cancelled => "CANCELLED",
            Ending::Expired => "EXPIRED",
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let line: Value = serde_json::from_slice(&self.output()).unwrap_or_default();
        let error = json!({"code": 3, "message": "scripted"});
        match self.kind {
            Kind::BatchFile | Kind::BatchInline | Kind::Embeddings => {
                let mut answer = json!({"name": name, "done": true,
                    "metadata": {"name": name, "state": format!("BATCH_STATE_{word}"),
                        "endTime": "2026-05-28T20:26:30Z"}});
                let response = match self.kind {
                    Kind::BatchFile => json!({"responsesFile": format!("files/f{}", self.number)}),
                    Kind::BatchInline => json!({"inlinedResponses": {"inlinedResponses": [line]}}),
                    _ => json!({"inlinedEmbedContentResponses": {"inlinedResponses": [line]}}),
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
                    let content = json!([{"type": "text", "text": text(self.output())}]);
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
