//! The Gemini API, asked with our own key: what a job is, and the bytes of its output.
//!
//! The key goes to the configured host only: redirects are not followed.

mod batch;
pub mod catalogue;
mod fault;
mod name;
mod spill;
mod standing;
mod switched_off;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::{Response, Url, redirect::Policy};

pub use batch::{Batch, BatchOutput, BatchState, InlineAt};
pub use name::Name;
pub use spill::Spilled;
pub use standing::{Listed, Standing};
pub use switched_off::Webhook;

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

/// A file of the API while it is being read.
pub struct Download {
    pub length: Option<u64>,
    pub content_type: Option<String>,
    answer: Response,
}

impl Download {
    pub fn bytes(self) -> impl Stream<Item = Result<Bytes, Trouble>> + Send + Unpin {
        self.answer.bytes_stream().map(|piece| piece.map_err(|error| broken("read the output", &error)))
    }
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
        Batch::read(spilled).await
    }

    /// The content of a file, named as the API names it.
    pub async fn download(&self, file: &Name) -> Result<Download, Trouble> {
        let answer = self
            .get("download the output", &format!("{}:download", file.path()), &[("alt", "media")])
            .await?;
        let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        Ok(Download {
            length: answer.content_length(),
            content_type: content_type.map(str::to_owned),
            answer,
        })
    }

    /// A call that must work with a good key: only then does "no such job" mean anything.
    pub async fn probe(&self) -> Result<(), Trouble> {
        match self.get("list batches", "batches", &[("pageSize", "1")]).await {
            Err(Trouble::Absent(why)) => Err(Trouble::KeyRefused(why)),
            answer => answer.map(|_| ()),
        }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{VERSION}/{path}"));
        url
    }

    async fn get(&self, doing: &str, path: &str, query: &[(&str, &str)]) -> Result<Response, Trouble> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        let key = self.key.get().await.map_err(|error| Trouble::KeyRefused(error.to_string()))?;
        let request = self.http.get(url).header("x-goog-api-key", key.expose());
        let mut answer = request.send().await.map_err(|error| broken(doing, &error))?;
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

fn broken(doing: &str, error: &reqwest::Error) -> Trouble {
    Trouble::passing(format!("{doing}: {}", crate::aws::explain(error)))
}
