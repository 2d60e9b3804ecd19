//! The clients of the soak: what they post, and what they were answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gemhook_cli::dev::Addresses;
use gemini_simulator::{DynamicForm, IssuerKeys, Subject};
use serde_json::{Value, json};

use crate::support::{now, sign};

/// How far all clients are.
#[derive(Default)]
pub struct Progress(AtomicU64);

impl Progress {
    pub fn steps(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the sender of an id knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Accepted,
    Rejected,
    /// The connection broke and the sender gave up: the row may be there or not.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    /// Of unknown types there is none.
    pub job: Option<Job>,
    body: String,
    signed_by: Sender,
}

/// Whose signature an event carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Project,
    /// Google, for a job without our binding token.
    Google,
    /// Nobody whose signature counts.
    Stranger,
}

impl Event {
    /// Whether the delivery is genuine and its job is another customer's.
    pub fn is_foreign(&self) -> bool {
        self.signed_by == Sender::Google
    }

    /// The key of its row.
    pub fn key(&self) -> String {
        if self.is_foreign() { format!("v1a~{}", self.id) } else { self.id.clone() }
    }
}

/// A job that the simulated API has confirmed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// As the Jobs table names it.
    pub name: String,
    event_type: &'static str,
}

/// What a client has done, by webhook id.
#[derive(Default)]
pub struct Sent {
    pub answers: BTreeMap<String, (Event, Answer)>,
    /// Each answer, the same id's more than once.
    pub statuses: BTreeMap<u16, u64>,
    /// How long each answer took.
    pub took: Vec<Duration>,
    pub broken: u64,
}

pub struct Client {
    number: u64,
    dice: fastrand::Rng,
    at: Arc<Addresses>,
    http: reqwest::Client,
    progress: Arc<Progress>,
    jobs: Vec<Job>,
    events: Vec<Event>,
    sent: Sent,
}

impl Client {
    pub fn new(number: u64, seed: u64, at: &Arc<Addresses>, progress: &Arc<Progress>) -> Self {
        Self {
            number,
            dice: fastrand::Rng::with_seed(seed.wrapping_mul(1000) + number),
            at: Arc::clone(at),
            http: reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap(),
            progress: Arc::clone(progress),
            jobs: Vec::new(),
            events: Vec::new(),
            sent: Sent::default(),
        }
    }

    /// Spreads its steps over this time, or takes longer.
    pub async fn run(mut self, steps: u64, over: Duration) -> Sent {
        let began = tokio::time::Instant::now();
        for step in 0..steps {
            tokio::time::sleep_until(began + over.mul_f64(step as f64 / steps as f64)).await;
            let event = self.next_event(step).await;
            // Gemini may send the copies of an event at once, and somebody very many.
            let copies = match self.dice.u8(0..100) {
                0 => 50,
                1..11 => 3,
                _ => 1,
            };
            self.post(event, copies).await;
            self.progress.0.fetch_add(1, Ordering::Relaxed);
        }
        self.sent
    }

    async fn next_event(&mut self, step: u64) -> Event {
        let id = format!("soak-{}-{step}", self.number);
        let roll = self.dice.u8(0..100);
        let job = match roll {
            0..40 => {
                // Half of the jobs are announced by the simulator as well.
                let is_announced = self.dice.bool();
                let job = self.create_job(is_announced).await;
                self.jobs.push(job.clone());
                Some(job)
            }
            // Another delivery about a job that may be anywhere between its start and its end.
            40..60 | 90..100 => self.dice.choice(&self.jobs).cloned(),
            // The same delivery again.
            60..75 => match self.dice.choice(&self.events) {
                Some(event) => return event.clone(),
                None => None,
            },
            85..90 => Some(self.create_job(false).await),
            _ => None,
        };
        let body = match &job {
            Some(job) => {
                let id = job.name.strip_prefix("interactions/").unwrap_or(&job.name);
                json!({"type": job.event_type, "version": "v1", "timestamp": "2026-05-28T20:26:30Z", "data": {"id": id}})
            }
            None => {
                json!({"type": "orchard.ripened", "version": "v1", "data": {"id": step, "client": self.number}})
            }
        };
        let signed_by = match roll {
            85..90 => Sender::Google,
            90.. => Sender::Stranger,
            _ => Sender::Project,
        };
        let id = if signed_by == Sender::Stranger { format!("forged-{id}") } else { id };
        let event = Event { id, job, body: body.to_string(), signed_by };
        self.events.push(event.clone());
        event
    }

    /// Posts until there is an answer, as Gemini does, or sometimes not.
    async fn post(&mut self, event: Event, copies: usize) {
        loop {
            let posts = (0..copies).map(|_| self.post_once(&event));
            let answers = futures_util::future::join_all(posts).await;
            let mut answer = Answer::Unknown;
            for status in answers {
                match status {
                    Some((status, took)) => {
                        self.sent.took.push(took);
                        *self.sent.statuses.entry(status).or_default() += 1;
                        match status {
                            200..300 => answer = Answer::Accepted,
                            400..500 if answer == Answer::Unknown => answer = Answer::Rejected,
                            _ => {}
                        }
                    }
                    None => self.sent.broken += 1,
                }
            }
            // What was accepted once stays accepted.
            let known = self.sent.answers.get(&event.id).map(|(_, known)| *known);
            if answer != Answer::Unknown || self.dice.u8(0..10) == 0 {
                let answer = known.map_or(answer, |known| known.min(answer));
                self.sent.answers.insert(event.id.clone(), (event, answer));
                return;
            }
            tokio::time::sleep(Duration::from_millis(self.dice.u64(20..200))).await;
        }
    }

    async fn post_once(&self, event: &Event) -> Option<(u16, Duration)> {
        let (at, body) = (now(), event.body.as_bytes());
        let signature = match event.signed_by {
            Sender::Project => sign(&self.at.webhook_secret, &event.id, at, body),
            Sender::Stranger => sign("whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldCBvZiAzMiBi", &event.id, at, body),
            Sender::Google => {
                let subject = Subject { id: &event.id, timestamp: at.cast_signed(), audience: "" };
                IssuerKeys::read(&self.at.issuer_keys).unwrap().sign(DynamicForm::V1a, subject, body).unwrap()
            }
        };
        let asked = Instant::now();
        let post = self
            .http
            .post(&self.at.webhook_url)
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", signature)
            .header("content-type", "application/json")
            .body(event.body.clone());
        let status = post.send().await.ok()?.status().as_u16();
        Some((status, asked.elapsed()))
    }

    /// A job of any kind. One whose creation was not answered may be there too; its event comes from the simulator.
    async fn create_job(&mut self, is_announced: bool) -> Job {
        loop {
            let (path, asked, event_type) = self.any_job(is_announced).await;
            let url = format!("{}/v1beta/{path}", self.at.gemini_url);
            if let Some(created) = self.gemini(&url, asked.to_string()).await {
                let name = match created.get("name") {
                    Some(name) => name.as_str().unwrap().to_owned(),
                    None => format!("interactions/{}", created["id"].as_str().unwrap()),
                };
                return Job { name, event_type };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The path, the request, and the type of the event that comes of it.
    async fn any_job(&mut self, is_announced: bool) -> (&'static str, Value, &'static str) {
        let config = if is_announced { json!({}) } else { json!({"uris": ["http://127.0.0.1:9/"]}) };
        let size = self.dice.u32(1..60_000);
        match self.dice.u8(0..4) {
            0 => {
                let requests: Vec<Value> = (0..self.dice.u8(1..20)).map(request).collect();
                let input = json!({"requests": {"requests": requests}});
                let batch =
                    json!({"batch": {"displayName": "soak", "inputConfig": input, "webhookConfig": config}});
                ("models/m:batchGenerateContent", batch, "batch.succeeded")
            }
            1 => {
                let count = self.dice.u8(1..40);
                let file =
                    self.upload((0..count).map(|number| format!("{}\n", request(number))).collect()).await;
                let batch = json!({"batch": {
                    "displayName": "soak", "inputConfig": {"fileName": file}, "webhookConfig": config,
                }});
                ("models/m:batchGenerateContent", batch, "batch.succeeded")
            }
            2 => {
                let prompt = format!("simulate: {{\"size\": {size}, \"samples\": {}}}", self.dice.u8(1..3));
                let film = json!({"instances": [{"prompt": prompt}], "webhookConfig": config});
                ("models/veo:predictLongRunning", film, "video.generated")
            }
            _ => {
                let prompt = format!("simulate: {{\"size\": {size}}}");
                let asked =
                    json!({"model": "m", "input": prompt, "background": true, "webhook_config": config});
                ("interactions", asked, "interaction.completed")
            }
        }
    }

    async fn upload(&self, lines: String) -> String {
        let url = format!("{}/upload/v1beta/files", self.at.gemini_url);
        loop {
            if let Some(answer) = self.gemini(&url, lines.clone()).await {
                return answer["file"]["name"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The answer, unless the process was killed before it came.
    async fn gemini(&self, url: &str, body: String) -> Option<Value> {
        let post =
            self.http.post(url).header("x-goog-api-key", "k").header("content-type", "application/json");
        let answer = post.body(body).send().await.ok()?;
        let status = answer.status();
        let text = answer.text().await.ok()?;
        assert!(status.is_success(), "{url}: {status} {text}");
        Some(serde_json::from_str(&text).unwrap())
    }
}

fn request(number: u8) -> Value {
    json!({"key": format!("k{number}"), "request": {"contents": [{"parts": [{"text": format!("word {number}")}]}]}})
}
