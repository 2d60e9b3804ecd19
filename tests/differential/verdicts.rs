//! Reads cases as lines of JSON and says of each what this library makes of it. For `.ci/differential`.

use std::{
    error::Error,
    io::stdin,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use gemhook::webhook::{Rejection, SigningSecrets, Tolerance, Unverified, Verified, Verifier};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    secret: String,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
}

fn verify(case: &Case, now: i64) -> Result<Result<Verified, Rejection>, Box<dyn Error>> {
    let secrets = SigningSecrets::parse(&case.secret)?;
    let mut headers = HeaderMap::new();
    for (name, value) in &case.headers {
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value.as_bytes())?);
    }
    let verifier = Verifier {
        secrets: Some(&secrets),
        keys: None,
        audience: None,
        tolerance: Tolerance { past_seconds: 300, future_seconds: 300 },
    };
    let delivery = Unverified::new(&headers, Bytes::from(BASE64_STANDARD.decode(&case.body)?));
    Ok(delivery.and_then(|delivery| verifier.verify(&delivery, now)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    for line in stdin().lines() {
        let verdict = verify(&serde_json::from_str(&line?)?, now)?;
        println!("{}", if verdict.is_ok() { "accept" } else { "refuse" });
    }
    Ok(())
}
