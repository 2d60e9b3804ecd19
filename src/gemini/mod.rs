//! The client of the Gemini API: what a job is, and the bytes of its output. [`Gemini`] has one method for each call.
//!
//! - `batch`, `interaction`, `operation`: one kind of job each, read from an answer of any size. `job_state` reads only
//!   whether a job has ended, and lists batches. `disabled_webhooks` lists webhooks and enables one.
//! - `spooled_body` and `document`: a long answer in a temporary file, read in bounded memory. `lines`, `usage` and
//!   `metadata` read parts of it.
//! - `download`: a file of the API, with `Range` after a broken connection.
//! - `error_response`: which class of error an answer is. A rejected API key is decided there and in [`Gemini::probe`].
//! - `name`: the only way from a text of an event to a path.
//!
//! The key is sent to the configured host only (`GEMINI_BASE_URL`), as the header `x-goog-api-key`. The HTTP client
//! follows no redirects. Only `download` follows them, one by one, and sends the key to no other host.

mod batch;
pub mod catalogue;
mod disabled_webhooks;
mod document;
mod download;
mod error_response;
mod interaction;
mod job_state;
mod lines;
mod metadata;
mod name;
mod operation;
mod spooled_body;
mod usage;

use std::{pin::Pin, sync::Arc, time::Duration};

use reqwest::{Request, RequestBuilder, Response, Url, redirect::Policy};

pub use batch::{Batch, BatchOutput, BatchState, InlineAt};
pub use disabled_webhooks::Webhook;
pub use document::{Document, Span};
pub use download::{Download, Place, Resume, Undelivered};
#[cfg(any(test, fuzzing))]
pub(crate) use error_response::classify;
pub use interaction::{Interaction, InteractionState, Media, MediaAt};
pub use job_state::{JobState, Listed};
pub use lines::write_lines;
pub use name::Name;
pub use operation::Operation;
pub use spooled_body::SpooledBody;
pub use usage::Usage;

use crate::{
    error::ProcessingError,
    secrets::{Secret, SecretStore},
};

const VERSION: &str = "v1beta";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time between two pieces of an answer. The whole answer may take as long as the invocation.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of an error answer is read.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;

/// Who sends a request to the API, where that is not the HTTP client itself: a test whose API is in its own process.
pub trait Transport: Send + Sync {
    fn send(
        &self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Response, reqwest::Error>> + Send + '_>>;
}

/// The API, as one key sees it. It keeps connections open, so one instance serves all rows.
pub struct Gemini {
    http: reqwest::Client,
    transport: Option<Arc<dyn Transport>>,
    base: Url,
    key: SecretStore<Secret>,
    /// The longest answer about one job in bytes, inline results included (`MAX_INLINE_BYTES`).
    longest_answer: u64,
}

impl Gemini {
    pub fn new(base: Url, key: SecretStore<Secret>, longest_answer: u64) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("gemhook/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, transport: None, base, key, longest_answer })
    }

    /// The same, with every request sent by `transport` instead of the network.
    pub fn set_transport(&mut self, transport: Arc<dyn Transport>) {
        self.transport = Some(transport);
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, reqwest::Error> {
        match &self.transport {
            None => request.send().await,
            Some(transport) => transport.send(request.build()?).await,
        }
    }

    /// A batch as the API shows it now (`batches.get`). Inline results stay in the spooled answer.
    pub async fn batch(&self, name: &Name) -> Result<Batch, ProcessingError> {
        let doing = "read the batch";
        let answer = self.get(doing, &name.path(), &[]).await?;
        let spooled = SpooledBody::take(answer, self.longest_answer).await?;
        run_blocking(move || Batch::read(Document::new(spooled))).await
    }

    /// An interaction as the API shows it now. Long texts and media stay in the spooled answer.
    pub async fn interaction(&self, name: &Name) -> Result<Interaction, ProcessingError> {
        let answer = self.get("read the interaction", &name.path(), &[("stream", "false")]).await?;
        let spooled = SpooledBody::take(answer, self.longest_answer).await?;
        run_blocking(move || Interaction::read(Document::new(spooled))).await
    }

    /// The operation of a video as the API shows it now (`models.operations.get`).
    pub async fn operation(&self, name: &Name) -> Result<Operation, ProcessingError> {
        let answer = self.get("read the operation", &name.path(), &[]).await?;
        let spooled = SpooledBody::take(answer, self.longest_answer).await?;
        run_blocking(move || Operation::read(Document::new(spooled))).await
    }

    /// A call that must succeed with a working key: it lists one batch. Only after it has succeeded does "no such job"
    /// prove anything. If the API rejects this call or answers 404, the key is at fault: `Unauthorized`.
    pub async fn probe(&self) -> Result<(), ProcessingError> {
        match self.get("list batches", "batches", &[("pageSize", "1")]).await {
            Err(ProcessingError::NotFound(why) | ProcessingError::Rejected(why)) => {
                Err(ProcessingError::Unauthorized(why))
            }
            answer => answer.map(|_| ()),
        }
    }

    /// Reads the key, so that the first call need not wait for it.
    pub async fn prepare(&self) {
        let _ = self.key().await;
    }

    async fn key(&self) -> Result<Arc<Secret>, ProcessingError> {
        self.key.get().await.map_err(|error| ProcessingError::Unauthorized(error.to_string()))
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{VERSION}/{path}"));
        url
    }

    async fn get(
        &self,
        doing: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Response, ProcessingError> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        let request = self.http.get(url).header("x-goog-api-key", self.key().await?.expose());
        let answer = self.send(request).await.map_err(|error| broken(doing, &error))?;
        Self::accepted(doing, answer).await
    }

    /// The answer if it is a success (2xx), else its class of error.
    async fn accepted(doing: &str, mut answer: Response) -> Result<Response, ProcessingError> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let mut body = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() > MAX_ERROR_BODY_BYTES {
                break;
            }
        }
        Err(error_response::classify(doing, answer.status(), answer.headers(), &body))
    }
}

/// Runs work that blocks, such as scanning a long answer, on a thread where it may (`tokio::task::spawn_blocking`).
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProcessingError> + Send + 'static,
) -> Result<T, ProcessingError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ProcessingError::transient(format!("read the answer: {error}")))?
}

fn broken(doing: &str, error: &reqwest::Error) -> ProcessingError {
    ProcessingError::transient(format!("{doing}: {}", crate::aws::explain(error)))
}
