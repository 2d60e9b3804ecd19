//! The Gemini API, asked with our own key: what a job is, and the bytes of its output.
//!
//! The key goes to the configured host only. Redirects are followed for downloads alone, by hand.

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

use std::{sync::Arc, time::Duration};

use reqwest::{Response, Url, redirect::Policy};

pub use batch::{Batch, BatchOutput, BatchState, InlineAt};
pub use disabled_webhooks::Webhook;
pub use document::{Document, Span};
pub use download::{Download, Place, Resume, Undelivered};
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
/// Between two pieces of an answer. An answer as a whole may take as long as the invocation.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// An error answer longer than this is not looked into.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;

pub struct Gemini {
    http: reqwest::Client,
    base: Url,
    key: SecretStore<Secret>,
    /// The longest answer about one job, inline results included.
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
        Ok(Self { http, base, key, longest_answer })
    }

    /// A batch as the API shows it now. Inline results stay in the spilled answer.
    pub async fn batch(&self, name: &Name) -> Result<Batch, ProcessingError> {
        let doing = "read the batch";
        let answer = self.get(doing, &name.path(), &[]).await?;
        let spooled = SpooledBody::take(answer, self.longest_answer).await?;
        run_blocking(move || Batch::read(Document::new(spooled))).await
    }

    /// An interaction as the API shows it now. What is long stays in the spilled answer.
    pub async fn interaction(&self, name: &Name) -> Result<Interaction, ProcessingError> {
        let answer = self.get("read the interaction", &name.path(), &[("stream", "false")]).await?;
        let spooled = SpooledBody::take(answer, self.longest_answer).await?;
        run_blocking(move || Interaction::read(Document::new(spooled))).await
    }

    /// The operation of a video as the API shows it now.
    pub async fn operation(&self, name: &Name) -> Result<Operation, ProcessingError> {
        let answer = self.get("read the operation", &name.path(), &[]).await?;
        let spooled = SpooledBody::take(answer, self.longest_answer).await?;
        run_blocking(move || Operation::read(Document::new(spooled))).await
    }

    /// A call that must work with a good key: only then does "no such job" mean anything.
    pub async fn probe(&self) -> Result<(), ProcessingError> {
        match self.get("list batches", "batches", &[("pageSize", "1")]).await {
            Err(ProcessingError::NotFound(why) | ProcessingError::Rejected(why)) => {
                Err(ProcessingError::Unauthorized(why))
            }
            answer => answer.map(|_| ()),
        }
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
        let answer = request.send().await.map_err(|error| broken(doing, &error))?;
        Self::accepted(doing, answer).await
    }

    /// An answer that is a success; of any other, what it means.
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

/// Walking a long answer blocks.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProcessingError> + Send + 'static,
) -> Result<T, ProcessingError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ProcessingError::transient(format!("read the answer: {error}")))?
}

fn broken(doing: &str, error: &reqwest::Error) -> ProcessingError {
    ProcessingError::transient(format!("{doing}: {}", crate::aws::explain(error)))
}
