//! The webhooks of the Gemini API. Every call is made once: whoever creates must know what came of it.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, Method, Response, Url, redirect::Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use gemhook::{
    aws::explain,
    clock::{Millis, from_rfc3339},
    secrets::Secret,
};

const VERSION: &str = "v1beta";
const TIMEOUT: Duration = Duration::from_secs(30);
const PAGE: usize = 1000;

/// A webhook as the API shows it; what this version does not know is kept for `--json`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Webhook {
    pub id: String,
    pub name: Option<String>,
    pub uri: String,
    pub subscribed_events: Vec<String>,
    pub state: String,
    pub signing_secrets: Vec<TruncatedSecret>,
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TruncatedSecret {
    pub truncated_secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<String>,
}

impl TruncatedSecret {
    /// Whether it can be this one, by the end that the API shows.
    pub fn can_be(&self, secret: &str) -> bool {
        let shown = self.truncated_secret.rsplit('.').next().unwrap_or_default();
        !shown.is_empty() && secret.ends_with(shown)
    }

    /// Whether it is an old one that still signs. A time that cannot be read counts as one to come.
    pub fn is_expiring(&self, now: Millis) -> bool {
        let expires = self.expire_time.as_deref();
        expires.is_some_and(|expires| from_rfc3339(expires).is_none_or(|expires| now < expires))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The API said no, so nothing was done.
    #[error("Gemini answered {status}: {message}")]
    Refused { status: u16, message: String },
    /// No answer that can be read, so it may have been done.
    #[error("the answer was lost: {0}")]
    Lost(String),
}

pub struct WebhooksApi {
    http: Client,
    base: Url,
    key: Secret,
}

impl WebhooksApi {
    pub fn new(base: Url, key: Secret) -> Result<Self> {
        let http = Client::builder()
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("gemhook/", env!("CARGO_PKG_VERSION")));
        Ok(Self { http: http.build().context("cannot make an HTTP client")?, base, key })
    }

    /// The webhook, and its signing secret, which the API shows this once.
    pub async fn create(
        &self,
        uri: &str,
        events: &[String],
        name: &str,
    ) -> Result<(Webhook, Secret), ApiError> {
        let body = json!({"uri": uri, "subscribed_events": events, "name": name});
        let mut webhook: Webhook = self.call(Method::POST, &["webhooks"], &[], Some(body)).await?;
        match webhook.more.remove("new_signing_secret") {
            Some(Value::String(secret)) if !secret.is_empty() => Ok((webhook, Secret::new(secret))),
            _ => Err(ApiError::Lost("it holds no signing secret".to_owned())),
        }
    }

    pub async fn get(&self, id: &str) -> Result<Webhook, ApiError> {
        self.call(Method::GET, &["webhooks", id], &[], None).await
    }

    pub async fn list(&self) -> Result<Vec<Webhook>, ApiError> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Page {
            webhooks: Vec<Webhook>,
            next_page_token: String,
        }
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let query = [("page_size", PAGE.to_string()), ("page_token", token.clone())];
            let given = if token.is_empty() { query.get(..1) } else { query.get(..) };
            let page: Page = self.call(Method::GET, &["webhooks"], given.unwrap_or(&query), None).await?;
            found.extend(page.webhooks);
            if page.next_page_token.is_empty() || page.next_page_token == token {
                return Ok(found);
            }
            token = page.next_page_token;
        }
    }

    pub async fn ping(&self, id: &str) -> Result<(), ApiError> {
        self.call::<Value>(Method::POST, &["webhooks", &format!("{id}:ping")], &[], None).await.map(drop)
    }

    /// Changes the fields of the body and no others.
    pub async fn update(
        &self,
        id: &str,
        fields: &serde_json::Map<String, Value>,
    ) -> Result<Webhook, ApiError> {
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let mask = [("update_mask", names.join(","))];
        self.call(Method::PATCH, &["webhooks", id], &mask, Some(Value::Object(fields.clone()))).await
    }

    /// The new signing secret, which the API shows this once. The old ones sign for 24 hours more.
    pub async fn rotate(&self, id: &str) -> Result<Secret, ApiError> {
        let body = json!({"revocation_behavior": "revoke_previous_secrets_after_h24"});
        let path = format!("{id}:rotateSigningSecret");
        let answer: Value = self.call(Method::POST, &["webhooks", &path], &[], Some(body)).await?;
        match answer.get("secret") {
            Some(Value::String(secret)) if !secret.is_empty() => Ok(Secret::new(secret)),
            _ => Err(ApiError::Lost("it holds no secret".to_owned())),
        }
    }

    pub async fn delete(&self, id: &str) -> Result<(), ApiError> {
        self.call::<Value>(Method::DELETE, &["webhooks", id], &[], None).await.map(drop)
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<T, ApiError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().push(VERSION).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).header("x-goog-api-key", self.key.expose());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer =
            request.send().await.map_err(|error| match error.is_connect() || error.is_builder() {
                true => ApiError::Refused { status: 0, message: explain(&error) },
                false => ApiError::Lost(explain(&error)),
            })?;
        match answer.status().as_u16() {
            200..=299 => answer.json().await.map_err(|error| ApiError::Lost(explain(&error))),
            status @ 400..=499 if status != 408 => {
                Err(ApiError::Refused { status, message: message(answer).await })
            }
            status => Err(ApiError::Lost(format!("{status} {}", message(answer).await))),
        }
    }
}

async fn message(answer: Response) -> String {
    let text = answer.text().await.unwrap_or_default();
    let told = serde_json::from_str::<Value>(&text).ok();
    let told = told.as_ref().and_then(|told| told.pointer("/error/message")).and_then(Value::as_str);
    told.unwrap_or(&text).chars().take(300).collect()
}
