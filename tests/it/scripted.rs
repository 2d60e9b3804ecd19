//! A Gemini API that answers as a test says, and remembers what it was asked.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use futures_util::stream;
use serde_json::{Value, json};

/// Bytes travel in pieces of this size.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    content: Bytes,
    /// The connection breaks after N bytes.
    cut_after: Option<usize>,
    /// Then nothing comes any more.
    stalls: bool,
    /// It ends after N bytes as if it were whole: `content-length` is N, whatever `content-range` says.
    is_short: bool,
    /// Whether a `Range` is answered with a part.
    ranges: bool,
    /// Between two pieces.
    pause: Duration,
}

impl Answer {
    pub fn json(value: Value) -> Self {
        Self::bytes(value.to_string().into_bytes()).with("content-type", "application/json")
    }

    pub fn bytes(content: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            content: content.into(),
            cut_after: None,
            stalls: false,
            is_short: false,
            ranges: false,
            pause: Duration::ZERO,
        }
    }

    /// An error as Google's APIs word it.
    pub fn fault(code: u16, message: &str) -> Self {
        Self::json(json!({"error": {"code": code, "message": message, "status": "X"}})).status(code)
    }

    pub fn redirect(to: &str) -> Self {
        Self::bytes("").status(302).with("location", to)
    }

    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn cut_after(self, bytes: usize) -> Self {
        Self { cut_after: Some(bytes), ..self }
    }

    pub fn stalls_after(self, bytes: usize) -> Self {
        Self { cut_after: Some(bytes), stalls: true, ..self }
    }

    pub fn ends_after(self, bytes: usize) -> Self {
        Self { cut_after: Some(bytes), is_short: true, ..self }
    }

    pub fn ranges(self) -> Self {
        Self { ranges: true, ..self }
    }

    pub fn slow(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    fn respond(self, asked: &HeaderMap) -> Response {
        let total = self.content.len();
        let start = asked
            .get("range")
            .filter(|_| self.ranges)
            .and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let mut response = Response::builder().status(StatusCode::from_u16(self.status).unwrap());
        if let Some(start) = start {
            let range = format!("bytes {start}-{}/{total}", total - 1);
            response = response.status(206).header("content-range", range);
        }
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let content = self.content.slice(start.unwrap_or(0)..);
        let sent = self.cut_after.map_or(content.len(), |cut| cut.min(content.len()));
        let (left, stalls, pause) = (content.slice(..sent), self.stalls, self.pause);
        let broken = sent < content.len() && !self.is_short;
        let stated = if self.is_short { sent } else { content.len() };
        let pieces = stream::unfold((left, false), move |(mut left, ended)| async move {
            tokio::time::sleep(pause).await;
            if ended {
                return None;
            }
            if left.is_empty() {
                if broken && stalls {
                    std::future::pending::<()>().await;
                }
                let end = Err(io::Error::other("cut"));
                return broken.then_some((end, (left, true)));
            }
            let piece = left.split_to(left.len().min(CHUNK_BYTES));
            Some((Ok(piece), (left, false)))
        });
        response.header("content-length", stated).body(Body::from_stream(pieces)).unwrap()
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// With the query.
    pub target: String,
    pub headers: HeaderMap,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[derive(Default)]
struct Script {
    /// By path. The last answer stays.
    answers: HashMap<String, VecDeque<Answer>>,
    asked: Vec<Asked>,
}

#[derive(Clone)]
pub struct Scripted {
    pub url: String,
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    /// It knows a list of batches, so that it can be seen that a key works, and nothing else.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let scripted = Self { url, script: Arc::default() };
        let router = Router::new().fallback(answer).with_state(scripted.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        scripted.says("batches", [Answer::json(json!({"operations": []}))]);
        scripted
    }

    /// What is answered at a path below the API's version, one time after the other.
    pub fn says(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().collect();
        self.script.lock().unwrap().answers.insert(format!("/v1beta/{path}"), answers);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    pub fn asked_for(&self, path: &str) -> Vec<Asked> {
        let path = format!("/v1beta/{path}");
        let of = |asked: &Asked| asked.target.split('?').next() == Some(path.as_str());
        self.asked().into_iter().filter(of).collect()
    }
}

async fn answer(State(scripted): State<Scripted>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    let found = {
        let mut script = scripted.script.lock().unwrap();
        script.asked.push(Asked { target: request.uri().to_string(), headers: headers.clone() });
        script.answers.get_mut(&path).and_then(|answers| match answers.len() {
            0 | 1 => answers.front().cloned(),
            _ => answers.pop_front(),
        })
    };
    found.unwrap_or_else(|| Answer::fault(404, "not found")).respond(&headers)
}
