//! The Gemini API, asked with our own key: what a job is, and the bytes of its output.
//!
//! The key goes to the configured host only. Redirects are followed for downloads alone, by hand.

mod batch;
pub mod catalogue;
mod document;
mod download;
mod fault;
mod interaction;
mod lines;
mod metadata;
mod name;
mod operation;
mod spill;
mod standing;
mod switched_off;
mod usage;

use std::{sync::Arc, time::Duration};

use reqwest::{Response, Url, redirect::Policy};

pub use batch::{Batch, BatchOutput, BatchState, InlineAt};
pub use document::{Document, Spot};
pub use download::{Download, Place, Resume, Undelivered};
pub use interaction::{Interaction, InteractionState, Media, MediaAt};
pub use lines::write_lines;
pub use name::Name;
pub use operation::Operation;
pub use spill::Spilled;
pub use standing::{Listed, Standing};
pub use switched_off::Webhook;
pub use usage::Usage;

use crate::{
    secrets::{Secret, SecretStore},
    trouble::Trouble,
};

const VERSION: &str = "v1beta";
const CONNECT: Duration = Duration::from_secs(5);
/// Between two pieces of an answer. An answer as a whole may take as long as the invocation.
const IDLE: Duration = Duration::from_secs(60);
/// An error answer longer than this is not looked into.
const LONGEST_FAULT: usize = 64 * 1024;

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
            .connect_timeout(CONNECT)
            .read_timeout(IDLE)
            .user_agent(concat!("gemhook/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, base, key, longest_answer })
    }

    /// A batch as the API shows it now. Inline results stay in the spilled answer.
    pub async fn batch(&self, name: &Name) -> Result<Batch, Trouble> {
        let doing = "read the batch";
        let answer = self.get(doing, &name.path(), &[]).await?;
        let spilled = Spilled::take(answer, self.longest_answer).await?;
        off_the_loop(move || Batch::read(Document::new(spilled))).await
    }

    /// An interaction as the API shows it now. What is long stays in the spilled answer.
    pub async fn interaction(&self, name: &Name) -> Result<Interaction, Trouble> {
        let answer = self.get("read the interaction", &name.path(), &[("stream", "false")]).await?;
        let spilled = Spilled::take(answer, self.longest_answer).await?;
        off_the_loop(move || Interaction::read(Document::new(spilled))).await
    }

    /// The operation of a video as the API shows it now.
    pub async fn operation(&self, name: &Name) -> Result<Operation, Trouble> {
        let answer = self.get("read the operation", &name.path(), &[]).await?;
        let spilled = Spilled::take(answer, self.longest_answer).await?;
        off_the_loop(move || Operation::read(Document::new(spilled))).await
    }

    /// A call that must work with a good key: only then does "no such job" mean anything.
    pub async fn probe(&self) -> Result<(), Trouble> {
        match self.get("list batches", "batches", &[("pageSize", "1")]).await {
            Err(Trouble::Absent(why) | Trouble::Rejected(why)) => Err(Trouble::KeyRefused(why)),
            answer => answer.map(|_| ()),
        }
    }

    async fn key(&self) -> Result<Arc<Secret>, Trouble> {
        self.key.get().await.map_err(|error| Trouble::KeyRefused(error.to_string()))
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{VERSION}/{path}"));
        url
    }

    async fn get(&self, doing: &str, path: &str, query: &[(&str, &str)]) -> Result<Response, Trouble> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        let request = self.http.get(url).header("x-goog-api-key", self.key().await?.expose());
        let answer = request.send().await.map_err(|error| broken(doing, &error))?;
        Self::accepted(doing, answer).await
    }

    /// An answer that is a success; of any other, what it means.
    async fn accepted(doing: &str, mut answer: Response) -> Result<Response, Trouble> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let mut body = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() > LONGEST_FAULT {
                break;
            }
        }
        Err(fault::sort(doing, answer.status(), answer.headers(), &body))
    }
}

/// Walking a long answer blocks.
pub async fn off_the_loop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Trouble::passing(format!("read the answer: {error}")))?
}

fn broken(doing: &str, error: &reqwest::Error) -> Trouble {
    Trouble::passing(format!("{doing}: {}", crate::aws::explain(error)))
}
