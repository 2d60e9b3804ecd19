//! What posts a signed event to a receiver, and the answer of that receiver.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use reqwest::{Client, Response, StatusCode, Url, redirect::Policy};
use serde::Serialize;

use super::{
    target::Target,
    trigger::signed::{Signed, Signer},
};
use gemhook::{aws::explain, secrets::Secret, webhook::SigningSecrets};

/// Longer than any receiver should take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// As much of an answer as is kept. A receiver that sends more is not read to its end.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

pub struct Sender {
    http: Client,
    pub to: Url,
}

/// How one event was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    pub webhook_id: String,
    /// None where there was no answer.
    pub status: Option<u16>,
    pub answer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub milliseconds: u64,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        self.status.and_then(|status| StatusCode::from_u16(status).ok()).is_some_and(|it| it.is_success())
    }
}

/// Everything but the id, for one line.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.error) {
            (Some(status), None) => write!(f, "{status}")?,
            (status, error) => {
                let status = status.map_or("---".to_owned(), |status| status.to_string());
                write!(f, "{status} {}", error.as_deref().unwrap_or("no answer"))?;
            }
        }
        if self.answer.is_empty() { Ok(()) } else { write!(f, " ({})", self.answer) }
    }
}

impl Sender {
    pub fn new(to: Url) -> Result<Self> {
        if !matches!(to.scheme(), "http" | "https") {
            bail!("{to} is no address of a receiver: it must begin with http:// or https://");
        }
        let http = Client::builder().redirect(Policy::none()).timeout(TIMEOUT);
        Ok(Self { http: http.build().context("cannot make an HTTP client")?, to })
    }

    /// To the address that was given, else to the place's own.
    pub fn open(to: Option<Url>, target: Option<&Target>) -> Result<Self> {
        Self::new(match (to, target) {
            (Some(to), _) => to,
            (None, Some(target)) => Url::parse(target.need("WEBHOOK_URL")?)?,
            (None, None) => bail!("no address: give --to URL, name a --stack or start `gemhook dev`"),
        })
    }

    /// Posts it once. What went wrong on the way is part of the answer.
    pub async fn send(&self, event: &Signed) -> Answer {
        let begun = Instant::now();
        let (status, answer, error) = match event.post(&self.http, self.to.clone()).await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let (text, error) = read(answer).await;
                (Some(status), text, error)
            }
            Err(error) => {
                (None, String::new(), Some(format!("cannot reach {}: {}", self.to, explain(&error))))
            }
        };
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Answer { webhook_id: event.id.clone(), status, answer, error, milliseconds }
    }
}

async fn read(mut answer: Response) -> (String, Option<String>) {
    let mut read = Vec::new();
    let error = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) => break None,
            Err(error) => break Some(format!("the answer broke off: {}", explain(&error))),
        }
        if read.len() >= MAX_ANSWER_BYTES {
            read.truncate(MAX_ANSWER_BYTES);
            break None;
        }
    };
    (String::from_utf8_lossy(&read).into_owned(), error)
}

/// Whether [`by_secret`] needs no place to find a secret.
pub fn has_secret(given: Option<&str>) -> bool {
    given.is_some() || std::env::var("WEBHOOK_SECRET").is_ok()
}

/// Signs with the secret that was given, else with WEBHOOK_SECRET, else with the place's.
pub async fn by_secret(given: Option<String>, target: Option<&Target>) -> Result<Signer> {
    let given = given.or_else(|| std::env::var("WEBHOOK_SECRET").ok()).map(Secret::new);
    match (given, target) {
        (Some(secret), _) => signer(&secret),
        (None, Some(target)) => by_place(target).await,
        (None, None) => bail!(
            "no signing secret: give --secret, set WEBHOOK_SECRET, name a --stack or start `gemhook dev`"
        ),
    }
}

/// Signs with the place's own secret, whatever WEBHOOK_SECRET is.
pub async fn by_place(target: &Target) -> Result<Signer> {
    let secret =
        target.secret("WEBHOOK_SECRET", "WEBHOOK_SECRET_ID").await.with_context(|| match &target.stack {
            Some(stack) => format!(
                "no signing secret of the stack {0}: `gemhook webhook create --stack {0}` sets one",
                stack.name
            ),
            None => format!("no signing secret of {}", target.name),
        })?;
    signer(&secret)
}

fn signer(secret: &Secret) -> Result<Signer> {
    let secrets = SigningSecrets::parse(secret.expose());
    Ok(Signer::Secrets(secrets.map_err(|why| anyhow!("the signing secret {why}"))?))
}
