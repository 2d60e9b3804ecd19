//! The simulator as its clients see it: over HTTP, with a receiver that they can make fail.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails panics"
)]

mod api;
mod downloads;
mod embeddings;
mod events;
mod interactions;
mod misconduct;
mod odd_answers;
mod videos;
mod webhooks;

use std::{collections::VecDeque, path::Path, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};

use gemini_simulator::{DeliveryPolicy, Seconds, Settings, Simulator};

/// `whsec_` and the base64 of these bytes.
const SECRET_BYTES: &[u8] = b"0123456789abcdef0123456789abcdef";
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

const LONG: Duration = Duration::from_secs(3600);

fn retried(after: Duration) -> DeliveryPolicy {
    DeliveryPolicy { retries: vec![Seconds(after)], ..DeliveryPolicy::default() }
}

fn quick() -> Settings {
    Settings {
        finish_after: Duration::from_millis(10),
        delivery: retried(Duration::from_millis(1100)),
        ..Settings::default()
    }
}

struct Received {
    headers: HeaderMap,
    body: Bytes,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Answers with the statuses it is given, and with 200 from then on.
struct Receiver {
    url: String,
    came: mpsc::UnboundedReceiver<Received>,
}

type Answers = Arc<(std::sync::Mutex<VecDeque<u16>>, mpsc::UnboundedSender<Received>)>;

impl Receiver {
    async fn start(statuses: &[u16]) -> Self {
        let (sender, came) = mpsc::unbounded_channel();
        let answers: Answers = Arc::new((std::sync::Mutex::new(statuses.iter().copied().collect()), sender));
        let take = |State(answers): State<Answers>, headers: HeaderMap, body: Bytes| async move {
            answers.1.send(Received { headers, body }).ok();
            let status = answers.0.lock().unwrap().pop_front().unwrap_or(200);
            StatusCode::from_u16(status).unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().route("/hook", post(take)).with_state(answers);
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { url, came }
    }

    async fn next(&mut self) -> Received {
        timeout(Duration::from_secs(10), self.came.recv()).await.expect("no event came").unwrap()
    }

    async fn nothing_for(&mut self, time: Duration) {
        assert!(timeout(time, self.came.recv()).await.is_err(), "an event came that should not");
    }
}

/// A simulator that is served on a port of its own and dies with this.
struct Running {
    base_url: String,
    simulator: Arc<Simulator>,
    tasks: [JoinHandle<()>; 2],
    client: reqwest::Client,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Running {
    async fn start(folder: &Path, webhook_url: &str, settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let simulator = Simulator::open(folder, &base_url, webhook_url, SECRET, settings).await.unwrap();
        let router = simulator.router();
        let serve = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let run = tokio::spawn(Arc::clone(&simulator).run(std::future::pending()));
        Self { base_url, simulator, tasks: [serve, run], client: reqwest::Client::new() }
    }

    /// Ends it as a crash would, without any goodbye.
    async fn kill(mut self) {
        for task in &mut self.tasks {
            task.abort();
            task.await.ok();
        }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().unwrap();
        self.client.request(method, format!("{}{path}", self.base_url)).header("x-goog-api-key", "test")
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, None).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Uploads a file and returns its name.
    async fn upload(&self, text: &str) -> String {
        let request = self.request("POST", "/upload/v1beta/files?uploadType=media");
        let request = request.header("content-type", "application/jsonl").body(text.to_owned());
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["file"]["name"].as_str().unwrap().to_owned()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", path, Some(body)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Creates a batch and returns its name.
    async fn create(&self, batch: Value) -> String {
        let path = "/v1beta/models/gemini-3.6-flash:batchGenerateContent";
        let answer = self.post(path, json!({"batch": batch})).await;
        answer["name"].as_str().unwrap().to_owned()
    }

    /// Creates a video and returns the name of its operation.
    async fn film(&self, prompt: &str) -> String {
        let path = "/v1beta/models/veo-3.1-generate-preview:predictLongRunning";
        let answer = self.post(path, json!({"instances": [{"prompt": prompt}]})).await;
        answer["name"].as_str().unwrap().to_owned()
    }

    /// Waits for the end of a batch or a video.
    async fn ended(&self, name: &str) -> Value {
        self.until(name, |job| job["done"] == true).await
    }

    async fn until(&self, name: &str, has_ended: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..500 {
            let job = self.get(&format!("/v1beta/{name}")).await;
            if has_ended(&job) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} has not ended");
    }

    /// Puts faults in force, as a user would.
    async fn faults(&self, faults: Value) {
        let (status, answer) = self.call("PUT", "/simulator/faults", Some(faults.clone())).await;
        assert_eq!((status, answer), (200, faults));
    }
}

fn request(text: &str) -> Value {
    json!({"contents": [{"parts": [{"text": text}], "role": "user"}]})
}

/// An inline batch of one request.
fn inline(text: &str) -> Value {
    json!({"inputConfig": {"requests": {"requests": [{"request": request(text), "metadata": {"key": "r1"}}]}}})
}
