//! The signature vectors: every case, by its expected reason.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use gemhook::webhook::{SigningSecrets, Tolerance, Unverified, Verifier};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    scheme: String,
    now: i64,
    tolerance_seconds: i64,
    configured_secrets: Option<Vec<String>>,
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

fn reason(case: &Case) -> &'static str {
    let secrets = case.configured_secrets.clone().unwrap_or_default().join(" ");
    let Ok(secrets) = SigningSecrets::parse(&secrets) else { return "bad_secret" };
    let mut headers = HeaderMap::new();
    for (name, value) in &case.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let body = Bytes::from(BASE64_STANDARD.decode(&case.body_base64).unwrap());
    let tolerance =
        Tolerance { past_seconds: case.tolerance_seconds, future_seconds: case.tolerance_seconds };
    let verifier = Verifier { secrets: &secrets, tolerance };
    let verdict = Unverified::new(&headers, body).and_then(|delivery| verifier.verify(delivery, case.now));
    verdict.map_or_else(|refusal| refusal.code(), |_| "ok")
}

#[test]
fn every_v1_vector_holds_by_its_reason() {
    let vectors: Vectors = serde_json::from_str(include_str!("../fixtures/signatures.json")).unwrap();
    let cases: Vec<Case> = vectors.cases.into_iter().filter(|case| case.scheme == "v1").collect();
    assert_eq!(cases.len(), 57, "cases were lost");
    for case in cases {
        let reason = reason(&case);
        if case.level == "either" && (reason == "ok") != (case.expected.verdict == "accept") {
            continue;
        }
        assert_eq!(reason, case.expected.reason, "{} ({})", case.id, case.level);
    }
}
