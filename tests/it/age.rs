//! Age is judged after the signature: `timestamp_too_old` is said of a delivery that somebody signed, and the alarm
//! `too-old` cannot be rung by anybody who cannot sign.

use bytes::Bytes;
use gemhook::{
    metrics,
    webhook::{KeySet, SigningSecrets, Tolerance, Unverified, Verifier},
};
use lambda_http::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::{
    endpoint::{AUDIENCE, Answers, BODY, Endpoint, SECRET, request},
    issuer::{Issuer, jwks},
    lambda::Function,
    support::{folder, now, sign},
};

const NOW: u64 = 1_780_000_000;
const STRANGERS: &str = "whsec_ZZZZ3nHyhdzZU90GyyESLyr7KmbZWPrNE4bAYOhD9x8=";

#[test]
fn what_nobody_signed_is_refused_for_its_signature_whatever_its_age() {
    let (issuer, stranger) = (Issuer::new("rsa-1"), Issuer::new("rsa-1"));
    let (keys, secrets) = (jwks(&[&issuer]).to_string(), SigningSecrets::parse(SECRET).unwrap());
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let tolerance = Tolerance { past_seconds: 300, future_seconds: 300 };
    let verifier =
        Verifier { secrets: Some(&secrets), keys: Some(&keys), audience: Some(AUDIENCE), tolerance };
    let reason = |at: u64, signature: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_static("msg_1"));
        headers.insert("webhook-timestamp", HeaderValue::from(at));
        headers.insert("webhook-signature", HeaderValue::from_str(signature).unwrap());
        let delivery = Unverified::new(&headers, Bytes::from_static(BODY.as_bytes())).unwrap();
        verifier.verify(&delivery, NOW as i64).map_or_else(|rejection| rejection.code(), |_| "ok")
    };
    let token = |by: &Issuer| {
        by.token(&json!({"alg": "RS256", "kid": "rsa-1"}), &json!({"aud": AUDIENCE, "exp": NOW + 300}))
    };
    for (at, expected) in [
        (NOW - 300, "ok"),
        (NOW - 301, "timestamp_too_old"),
        (0, "timestamp_too_old"),
        (NOW + 300, "ok"),
        (NOW + 301, "timestamp_too_new"),
    ] {
        let body = BODY.as_bytes();
        let v1 = [sign(SECRET, "msg_1", at, body), sign(STRANGERS, "msg_1", at, body)];
        let v1a = [issuer.v1a("msg_1", at, body), stranger.v1a("msg_1", at, body)];
        for [signed, unsigned] in [v1, v1a, [token(&issuer), token(&stranger)]] {
            assert_eq!(reason(at, &signed), expected, "{at} {signed}");
            assert_eq!(reason(at, &unsigned), "no_matching_signature", "{at} {unsigned}");
        }
        assert_eq!(reason(at, "v2,AAAA"), "no_supported_signature", "{at}");
    }
}

/// A newer secret or key could not make an old delivery acceptable, so strangers cannot have one fetched by it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_for_a_delivery_that_its_age_refuses() {
    let (issuer, stranger) = (Issuer::new("rsa-1"), Issuer::new("rsa-1"));
    let endpoint = Endpoint::start(Answers::json(&jwks(&[&issuer])), &[]).await;
    assert_eq!(endpoint.v1("msg_1", SECRET).await, 200);
    assert_eq!(endpoint.v1a("msg_1", &issuer).await, 200);
    endpoint.pass(60);
    assert_eq!((endpoint.secrets.asked(), endpoint.keys.asked()), (1, 1));
    let (at, body) = (endpoint.now() - 301, BODY.as_bytes());
    for signature in [
        sign(STRANGERS, "msg_2", at, body),
        stranger.v1a("msg_2", at, body),
        sign(SECRET, "msg_2", at, body),
        issuer.v1a("msg_2", at, body),
    ] {
        let headers = json!({
            "webhook-id": "msg_2", "webhook-timestamp": at.to_string(), "webhook-signature": signature,
        });
        assert_eq!(endpoint.answer(request(headers, BODY)).await["statusCode"], 401, "{signature}");
    }
    assert_eq!((endpoint.secrets.asked(), endpoint.keys.asked()), (0, 0));
}

/// The function as a process, with its metrics: four refusals that look the same, of which one was signed.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_signed_delivery_is_counted_as_too_old() {
    let place = folder();
    let said = place.path().join("said");
    let variables = [("DELIVERIES_TABLE", "deliveries".to_owned()), ("WEBHOOK_SECRET", SECRET.to_owned())];
    let function = Function::start(env!("CARGO_BIN_EXE_receiver"), &variables, &said).await;
    let at = now() - 301;
    let signatures = [
        sign(STRANGERS, "msg_1", at, BODY.as_bytes()),
        sign(SECRET, "msg_1", at, BODY.as_bytes()),
        "v1,AAAA".to_owned(),
        "v2,AAAA".to_owned(),
    ];
    let mut answers = Vec::new();
    for signature in signatures {
        let headers = json!({
            "webhook-id": "msg_1", "webhook-timestamp": at.to_string(), "webhook-signature": signature,
        });
        answers.push(function.invoke(request(headers, BODY)).await);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer["statusCode"] == 401), "{answers:?}");
    drop(function);
    let said = std::fs::read_to_string(&said).unwrap();
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let counted: Vec<&str> = lines
        .iter()
        .filter(|line| line.get(metrics::REJECTED).is_some())
        .map(|line| match line.get(metrics::TOO_OLD) {
            Some(_) => "too old",
            None => line["reason"].as_str().unwrap(),
        })
        .collect();
    let expected = ["no_matching_signature", "too old", "no_matching_signature", "no_supported_signature"];
    assert_eq!(counted, expected, "{said}");
}
