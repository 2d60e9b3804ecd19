//! What a refusal costs: no row, no call to AWS, and no more than one look for newer keys or secrets in a while.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    endpoint::{AUDIENCE, Answers, BODY, Endpoint, SECRET, request},
    issuer::{Issuer, jwks, unsigned},
    support::sign,
};

const BINDING: &str = "correct horse battery";

/// Tokens of an hour, none of which is to be taken.
fn tokens(endpoint: &Endpoint, issuer: &Issuer, stranger: &Issuer) -> Vec<String> {
    let at = endpoint.now();
    let head = json!({"alg": "RS256", "kid": "rsa-1"});
    let claims = json!({"aud": AUDIENCE, "exp": at + 3600});
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        issuer.token(&head, &claims)
    };
    vec![
        "a.b.c".to_owned(),
        issuer.token(&json!({"alg": "none", "kid": "rsa-1"}), &claims),
        issuer.token(&json!({"alg": "RS256"}), &claims),
        issuer.token(&json!({"alg": "RS256", "kid": "rsa-1", "jku": "http://127.0.0.1:9/"}), &claims),
        stranger.token(&head, &claims),
        with("aud", json!("other")),
        with("exp", json!(at - 60)),
        with("exp", json!("9999999999")),
        with("type", json!("batch.failed")),
    ]
}

/// Requests that must not be taken, each of another kind, and how each is answered. `None`: 401 where the keys are
/// newer than the request, 503 while a fetch of them is pending.
fn kinds(endpoint: &Endpoint, issuer: &Issuer, stranger: &Issuer, n: usize) -> Vec<(Value, Option<u64>)> {
    let (id, at) = (format!("msg_{n}"), endpoint.now());
    let post = |id: &str, at: &str, signature: &str, body: &str| {
        let headers = json!({"webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature});
        request(headers, body)
    };
    let signed = |signature: &str| post(&id, &at.to_string(), signature, BODY);
    let v1 = sign(SECRET, &id, at, BODY.as_bytes());
    let v1a = issuer.v1a(&id, at, BODY.as_bytes());
    let old = at - 301;
    let unbound = r#"{"type":"batch.succeeded","data":{"id":"batches/1"},"user_metadata":{"a":1}}"#;
    let odd = json!({"alg": "RS256", "kid": format!("odd-{n}")}).to_string();
    let mut put = signed(&v1);
    put["requestContext"]["http"]["method"] = json!("PUT");
    let mut broken = signed(&v1);
    (broken["isBase64Encoded"], broken["body"]) = (json!(true), json!("@@"));
    vec![
        (put, Some(405)),
        (broken, Some(400)),
        (json!(null), Some(400)),
        (request(json!({}), BODY), Some(400)),
        (request(json!({"webhook-id": id, "webhook-signature": v1}), BODY), Some(400)),
        (post("msg~1", &at.to_string(), &v1, BODY), Some(400)),
        (post("a,b", &at.to_string(), &v1, BODY), Some(400)),
        (post(&id, "soon", &v1, BODY), Some(400)),
        (post(&id, &old.to_string(), &sign(SECRET, &id, old, BODY.as_bytes()), BODY), Some(401)),
        (post(&id, &(at + 301).to_string(), &v1, BODY), Some(401)),
        (post(&id, &at.to_string(), &v1, &" ".repeat(65_537)), Some(413)),
        (post(&id, &at.to_string(), &v1, "{}"), Some(401)),
        (post("msg_other", &at.to_string(), &v1, BODY), Some(401)),
        (signed(&v1.replace("v1,", "v2,")), Some(401)),
        (signed(&v1.replace("v1,", "v1a,")), Some(401)),
        (signed("v1,AAAA"), Some(401)),
        (signed("v1a,AAAA"), Some(401)),
        (signed(&["v1,AAAA"; 200].join(" ")), Some(401)),
        (signed(&v1a.replace("v1a,", "v1,")), Some(401)),
        (post(&id, &at.to_string(), &issuer.v1a(&id, at, unbound.as_bytes()), unbound), Some(401)),
        (signed(&stranger.v1a(&id, at, BODY.as_bytes())), None),
        (post(&id, &at.to_string(), &v1a, "{}"), None),
        (signed(&format!("{}.AAAA", unsigned(&odd, b"{}"))), None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_refusals_write_nothing_and_call_nobody() {
    let (issuer, stranger) = (Issuer::new("rsa-1"), Issuer::new("rsa-1"));
    let headers = vec![("cache-control", "max-age=86400".to_owned())];
    let keys = Answers::With(200, headers, jwks(&[&issuer]).to_string());
    let endpoint = Endpoint::start(keys, &[("BINDING_KEY", BINDING)]).await;
    assert_eq!(endpoint.v1("msg_true", SECRET).await, 200);
    assert_eq!(endpoint.v1a("msg_true", &issuer).await, 200);
    assert_eq!((endpoint.keys.asked(), endpoint.secrets.asked(), endpoint.rows().await.len()), (1, 1, 2));
    endpoint.dynamodb.take();

    let (mut statuses, mut answers) = (BTreeMap::<u64, usize>::new(), BTreeMap::<u64, Value>::new());
    let tokens = tokens(&endpoint, &issuer, &stranger);
    let begun = endpoint.now();
    while statuses.values().sum::<usize>() < 10_000 {
        let done: usize = statuses.values().sum();
        let at = endpoint.now().to_string();
        let by_token = tokens.iter().map(|token| {
            let headers = json!({"webhook-id": "msg", "webhook-timestamp": at, "webhook-signature": token});
            (request(headers, BODY), Some(401))
        });
        for (event, expected) in kinds(&endpoint, &issuer, &stranger, done).into_iter().chain(by_token) {
            let answer = endpoint.answer(event).await;
            let status = answer["statusCode"].as_u64().unwrap();
            match expected {
                Some(expected) => assert_eq!(status, expected),
                None => assert!(matches!(status, 401 | 503), "{status}"),
            }
            *statuses.entry(status).or_default() += 1;
            let told = json!([answer["headers"], answer["body"], answer["isBase64Encoded"]]);
            let first = answers.entry(status).or_insert_with(|| told.clone());
            assert_eq!(*first, told, "all answers of one status are the same");
        }
        endpoint.pass(1);
    }
    let seconds = endpoint.now() - begun;
    assert_eq!(endpoint.dynamodb.take(), BTreeMap::new(), "DynamoDB was called");
    assert_eq!(endpoint.rows().await.len(), 2);
    assert_eq!(seconds, 313);
    assert_eq!(endpoint.keys.asked(), 5, "one look for newer keys in a minute");
    assert_eq!(endpoint.secrets.asked(), 10, "one look for a newer secret in half a minute");
    assert!([400, 401, 405, 413, 503].iter().all(|status| statuses[status] > 100), "{statuses:?}");
}
