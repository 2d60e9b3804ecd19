//! A delivery as Gemini would sign it. Each form of signature is a name here and an arm in [`Signed::new`].

use clap::ValueEnum;
use reqwest::{Client, Response, Url};

use crate::webhook::SigningSecrets;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Form {
    /// Standard Webhooks v1, an HMAC with the signing secret
    V1,
}

/// A body and the headers that prove it.
pub struct Signed {
    pub id: String,
    pub body: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
}

impl Signed {
    pub fn new(form: Form, secrets: &SigningSecrets, id: String, timestamp: i64, body: Vec<u8>) -> Self {
        let signature = match form {
            Form::V1 => secrets.sign(&id, timestamp, &body),
        };
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
