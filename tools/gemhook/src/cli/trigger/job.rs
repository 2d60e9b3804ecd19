//! A job of the simulated API that is made for an event, so that the event names a job that is there.
//!
//! The job gets a webhook of its own, on this machine. What the simulator sends there is the event's body, so it is what
//! Gemini would send, and no other receiver gets an event of the job.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use clap::ValueEnum;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use super::event::Change;
use crate::dev::Addresses;

/// Far longer than `gemhook dev` lets a job run, unless somebody asked for that.
const ENDS_WITHIN: Duration = Duration::from_secs(300);

const MODEL: &str = "gemini-flash";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// A batch of three requests
    Batch,
    /// A batch of three embeddings
    Embeddings,
    /// An interaction in the background
    Interaction,
    /// A generated video
    Video,
}

impl JobKind {
    /// What the end of such a job is called, where it ends well.
    fn success(self) -> &'static str {
        match self {
            Self::Batch | Self::Embeddings => "batch.succeeded",
            Self::Interaction => "interaction.completed",
            Self::Video => "video.generated",
        }
    }

    /// What a prompt must say so that the job ends with this event.
    fn wish(self, event_type: &str) -> Result<Value> {
        let success = self.success();
        let family =
            |of: &str| success.split('.').next() == event_type.split('.').next() && event_type.ends_with(of);
        Ok(match () {
            () if event_type == success => json!({}),
            () if self == Self::Video => bail!("a video's only event is video.generated, not {event_type}"),
            () if family(".failed") => json!({"fail": "it was triggered"}),
            () if family(".cancelled") => json!({"state": "cancelled"}),
            () if family(".expired") && self != Self::Interaction => json!({"state": "expired"}),
            () if family(".requires_action") && self == Self::Interaction => json!({"requires_action": true}),
            () => bail!("a job of this kind does not end with {event_type}; it may with {success}"),
        })
    }

    /// Path and body of the call that makes it.
    fn request(self, wish: &Value, webhook: &Value) -> (String, Value) {
        let said = |text: &str| json!({"parts": [{"text": text}]});
        let prompt = format!("A triggered job. simulate: {wish}");
        let batch = |requests: Vec<Value>| {
            let named = requests.into_iter().enumerate().map(|(at, request)| {
                json!({"request": request, "metadata": {"key": format!("request-{}", at + 1)}})
            });
            let input = json!({"requests": {"requests": named.collect::<Vec<_>>()}});
            json!({"batch": {"displayName": prompt, "inputConfig": input, "webhookConfig": webhook}})
        };
        let texts = ["one", "two", "three"];
        match self {
            Self::Batch => {
                let requests = texts.map(|text| json!({"contents": [said(text)]})).to_vec();
                (format!("v1beta/models/{MODEL}:batchGenerateContent"), batch(requests))
            }
            Self::Embeddings => {
                let requests = texts.map(|text| json!({"content": said(text)})).to_vec();
                (format!("v1beta/models/{MODEL}:asyncBatchEmbedContent"), batch(requests))
            }
            Self::Interaction => {
                let body =
                    json!({"model": MODEL, "input": prompt, "background": true, "webhook_config": webhook});
                ("v1beta/interactions".to_owned(), body)
            }
            Self::Video => {
                let body = json!({"instances": [{"prompt": prompt}], "webhookConfig": webhook});
                (format!("v1beta/models/{MODEL}:predictLongRunning"), body)
            }
        }
    }
}

/// Makes a job that ends with an event of this type, or well where none is named. Its event goes where `webhook` says, or to
/// every registered webhook where that is an empty object. Returns the job's name.
pub async fn create(
    at: &Addresses,
    kind: JobKind,
    event_type: Option<&str>,
    webhook: &Value,
) -> Result<String> {
    let wish = kind.wish(event_type.unwrap_or(kind.success()))?;
    let (call, body) = kind.request(&wish, webhook);
    let url = format!("{}/{call}", at.gemini_url);
    let request = Client::new().post(url).header("x-goog-api-key", &at.gemini_api_key).json(&body);
    let answer = request.send().await.context("cannot reach the simulated Gemini API")?;
    let status = answer.status();
    let made: Value = answer.json().await.unwrap_or_default();
    if !status.is_success() {
        bail!("the simulated Gemini API made no job: {status} {made}");
    }
    let interaction = made.get("id").and_then(Value::as_str).map(|id| format!("interactions/{id}"));
    let name = made.get("name").and_then(Value::as_str).map(str::to_owned).or(interaction);
    name.context("the simulated Gemini API did not name the job that it made")
}

/// The body of the event of a new job, once that has ended.
pub(super) async fn event(
    at: &Addresses,
    kind: JobKind,
    event_type: Option<&str>,
    changes: &[Change],
) -> Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on this machine")?;
    // Only the simulator knows the path, so nobody else can have a body signed.
    let path = format!("/{}", uuid::Uuid::new_v4());
    let webhook = json!({"uris": [format!("http://{}{path}", listener.local_addr()?)]});
    let (sender, mut came) = mpsc::channel(1);
    let take = async move |body: Bytes| {
        // A copy of the event may find nobody waiting.
        let _ = sender.try_send(body);
        StatusCode::OK
    };
    let router = Router::new().route(&path, post(take));
    let server = tokio::spawn(axum::serve(listener, router).into_future());

    let job = create(at, kind, event_type, &webhook).await?;
    let event = timeout(ENDS_WITHIN, came.recv()).await.ok().flatten();
    server.abort();
    let event = event.with_context(|| {
        format!(
            "{job} was made, but its event did not come within {} s: faults of the simulator hold events back, and \
             `gemhook dev --finish-after` says how long a job runs",
            ENDS_WITHIN.as_secs()
        )
    })?;
    super::event::changed(&event, changes)
}
