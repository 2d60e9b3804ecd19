//! The signature vectors: every case, by its expected reason.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use gemhook::webhook::{KeySet, SigningSecrets, Tolerance, Unverified, Verifier};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    jwks: serde_json::Map<String, serde_json::Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    scheme: String,
    now: i64,
    tolerance_seconds: i64,
    configured_secrets: Option<Vec<String>>,
    jwks: Option<String>,
    expected_audience: Option<String>,
    headers: Vec<(String, String)>,
    body_base64: String,
    expected: Expected,
    level: String,
}

#[derive(Deserialize)]
struct Expected {
    verdict: String,
    reason: String,
}

fn reason(case: &Case, sets: &serde_json::Map<String, serde_json::Value>) -> &'static str {
    let secrets = match &case.configured_secrets {
        None => None,
        Some(secrets) => match SigningSecrets::parse(&secrets.join(" ")) {
            Ok(secrets) => Some(secrets),
            Err(_) => return "bad_secret",
        },
    };
    let keys = case.jwks.as_ref().map(|name| KeySet::parse(sets[name].to_string().as_bytes()).unwrap());
    let mut headers = HeaderMap::new();
    for (name, value) in &case.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let body = Bytes::from(BASE64_STANDARD.decode(&case.body_base64).unwrap());
    let tolerance =
        Tolerance { past_seconds: case.tolerance_seconds, future_seconds: case.tolerance_seconds };
    let verifier = Verifier {
        secrets: secrets.as_ref(),
        keys: keys.as_ref(),
        audience: case.expected_audience.as_deref(),
        tolerance,
    };
    let verdict = Unverified::new(&headers, body).and_then(|delivery| verifier.verify(&delivery, case.now));
    verdict.map_or_else(|rejection| rejection.code(), |_| "ok")
}

#[test]
fn every_vector_holds_by_its_reason() {
    let vectors: Vectors = serde_json::from_str(include_str!("../fixtures/signatures.json")).unwrap();
    assert_eq!(vectors.cases.len(), 88, "cases were lost");
    for case in &vectors.cases {
        let reason = reason(case, &vectors.jwks);
        if case.level == "either" && (reason == "ok") != (case.expected.verdict == "accept") {
            continue;
        }
        assert_eq!(reason, case.expected.reason, "{} ({}, {})", case.id, case.scheme, case.level);
    }
}
