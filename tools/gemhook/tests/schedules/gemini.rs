//! The Gemini API: jobs and their files by path, and what befalls who asks for them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use reqwest::{Request, Response};
use serde_json::{Value, json};

use crate::{
    jobs::{Ending, Job, Kind},
    network::Fault,
};

/// Where the functions look for the API. Nothing is there: requests do not leave the process.
pub const BASE_URL: &str = "http://127.0.0.1:9";

/// What befalls every request for a path, until it is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is answered with this status.
    Status(u16),
    /// The code that works on the answer panics.
    Panics,
    /// The process that asks ends.
    Kills,
}

/// The files of the jobs and the jobs themselves, by path.
#[derive(Default)]
pub struct Gemini {
    answers: Mutex<BTreeMap<String, Bytes>>,
    broken: Mutex<BTreeMap<String, Broken>>,
}

impl Gemini {
    pub fn has(&self, job: &Job) {
        if job.ending == Ending::Gone {
            return;
        }
        let mut answers = self.answers();
        answers.insert(job.path(), job.answer().to_string().into());
        if job.ending == Ending::Succeeded && matches!(job.kind, Kind::BatchFile | Kind::Video) {
            answers.insert(format!("files/f{}:download", job.number), job.output());
        }
    }

    pub fn breaks(&self, path: &str, how: Broken) {
        self.broken.lock().unwrap().insert(path.to_owned(), how);
    }

    pub fn is_fixed(&self, path: &str) {
        self.broken.lock().unwrap().remove(path);
    }

    pub fn broken(&self, path: &str) -> Option<Broken> {
        self.broken.lock().unwrap().get(name(path)).copied()
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.answers.lock().unwrap()
    }

    pub fn answer(&self, request: &Request, fault: Fault) -> Result<Response, reqwest::Error> {
        let path = request.url().path();
        let status = match fault {
            Fault::None | Fault::OlderPage(_) => None,
            // No error of the connection can be made by hand, so a request that cannot be built stands for it.
            Fault::NotSent | Fault::AnswerLost | Fault::Late => {
                return Err(reqwest::Client::new().get("no address").build().unwrap_err());
            }
            Fault::Throttled => Some(429),
            Fault::Conflict | Fault::ServerError | Fault::Denied => Some(503),
            Fault::Garbage => Some(200),
        };
        let status = status.or_else(|| match self.broken(path) {
            Some(Broken::Status(status)) => Some(status),
            Some(Broken::Panics) => panic!("scripted: {path}"),
            Some(Broken::Kills) | None => None,
        });
        if let Some(status) = status {
            let text = if status == 200 { "<html>".to_owned() } else { refusal(status) };
            // An answer that breaks off is no whole one.
            return Ok(response(status, text.into(), status == 200));
        }
        let found = match name(path) {
            "batches" => Some(self.list()),
            path => self.answers().get(path).cloned(),
        };
        let range = request.headers().get("range").and_then(|range| range.to_str().ok());
        let from = range.map(|range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap());
        Ok(match (found, from) {
            (Some(content), Some(from)) => rest(&content, from.parse().unwrap()),
            (Some(content), None) => response(200, content, false),
            (None, _) => response(404, refusal(404).into(), false),
        })
    }

    fn list(&self) -> Bytes {
        let answers = self.answers();
        let batches = answers.iter().filter(|(path, _)| path.starts_with("batches/"));
        let batches: Vec<Value> = batches.map(|(_, text)| serde_json::from_slice(text).unwrap()).collect();
        json!({"operations": batches}).to_string().into()
    }
}

/// What a path names, without the version of the API.
fn name(path: &str) -> &str {
    path.strip_prefix("/v1beta/").unwrap_or(path)
}

fn refusal(status: u16) -> String {
    json!({"error": {"code": status, "message": "scripted", "status": "X"}}).to_string()
}

fn response(status: u16, content: Bytes, broken: bool) -> Response {
    let length = content.len() + usize::from(broken);
    let answer = lambda_http::http::Response::builder().status(status).header("content-length", length);
    answer.header("etag", "\"v1\"").body(body(content, broken)).unwrap().into()
}

fn rest(content: &Bytes, from: usize) -> Response {
    let (last, length) = (content.len() - 1, content.len());
    let answer = lambda_http::http::Response::builder().status(206).header("content-length", length - from);
    let answer = answer.header("content-range", format!("bytes {from}-{last}/{length}"));
    answer.header("etag", "\"v1\"").body(body(content.slice(from..), false)).unwrap().into()
}

/// Only a body that is there as a whole has a length that its reader can ask for.
fn body(content: Bytes, broken: bool) -> reqwest::Body {
    if !broken {
        return content.into();
    }
    let pieces = [Ok(content), Err(std::io::Error::other("cut"))];
    reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
}
