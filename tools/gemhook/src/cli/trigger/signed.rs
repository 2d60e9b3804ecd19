//! A delivery as Gemini would sign it, in each of the forms.

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use reqwest::{Client, Response, Url};

use gemhook::webhook::SigningSecrets;
use gemini_simulator::{DynamicForm, IssuerKeys, Subject};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Standard Webhooks v1, an HMAC with the signing secret: static webhooks
    V1,
    /// Standard Webhooks v1a, Ed25519 with the key of the running `gemhook dev`: dynamic webhooks, as seen
    V1a,
    /// A bare RS256 token with the key of the running `gemhook dev`: dynamic webhooks, as documented
    Jwt,
}

/// What signs, and in which form.
pub enum Signer {
    Secrets(SigningSecrets),
    Issuer {
        keys: IssuerKeys,
        form: DynamicForm,
        /// Whom a token is meant for.
        audience: String,
    },
}

impl Signer {
    /// With the keys of a local machine, which plays Google's part.
    pub fn issuer(keys: &Path, form: DynamicForm, audience: impl Into<String>) -> Result<Self> {
        Ok(Self::Issuer { keys: IssuerKeys::read(keys)?, form, audience: audience.into() })
    }

    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Result<String> {
        match self {
            Self::Secrets(secrets) => Ok(secrets.sign(id, timestamp, body)),
            Self::Issuer { keys, form, audience } => {
                keys.sign(*form, Subject { id, timestamp, audience }, body)
            }
        }
    }
}

/// A body and the headers that prove it.
#[derive(Clone)]
pub struct Signed {
    pub id: String,
    pub body: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
}

impl Signed {
    pub fn new(signature: String, id: String, timestamp: i64, body: Vec<u8>) -> Self {
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id.clone()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature),
        ];
        Self { id, body, headers }
    }

    pub async fn post(&self, http: &Client, to: Url) -> reqwest::Result<Response> {
        let mut request = http.post(to).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.send().await
    }
}

/// As Gemini writes the ids of deliveries.
pub fn fresh_id() -> String {
    format!("msg_{}", uuid::Uuid::new_v4())
}
