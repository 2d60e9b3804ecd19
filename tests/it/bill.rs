//! What strangers can make the owner pay: every call that 10,000 of their requests cause, by sort. The bill in
//! `docs/security.md` is made of these counts, and each row of its tables is held to them here.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_dynamodb::types::Select;
use futures_util::{StreamExt, stream};
use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::SharedClock,
    config::ArchiverSettings,
    webhook::binding::BindingKey,
    worker::RetryPolicy,
};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};

use crate::{
    cost::Counter,
    endpoint::{AUDIENCE, Answers, BODY, Endpoint, SECRET, request, secrets_manager},
    issuer::{Issuer, jwks, unsigned},
    scripted::Scripted,
    support::{end, number, sign, succeeded, text},
};

const REQUESTS: usize = 10_000;
/// Of the sorts that write, whose calls to the store take their time. They are multiplied by ten.
const WRITING: usize = 1_000;
/// Strangers who send 100 requests a second, by the clock of the test.
const PER_SECOND: usize = 100;
/// How many requests are under way at once.
const CONCURRENT: usize = 8;

const STRANGERS: &str = "whsec_ZZZZ3nHyhdzZU90GyyESLyr7KmbZWPrNE4bAYOhD9x8=";
const BINDING: &str = "correct horse battery";

/// The numbers of a row of the tables in `docs/security.md`, by its first cell.
fn documented(name: &str) -> Vec<usize> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md");
    let text = std::fs::read_to_string(path).unwrap();
    let row = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
    let row = row.unwrap_or_else(|| panic!("docs/security.md has no row for {name:?}"));
    row.split('|').skip(3).map_while(|cell| cell.trim().replace(',', "").parse().ok()).collect()
}

/// One stranger's request: its number and the time make it.
type Sort<'a> = (&'a str, usize, &'a [u64], Box<dyn Fn(usize, u64) -> Value + 'a>);

fn post(id: &str, at: u64, signature: &str, body: &str) -> Value {
    let headers =
        json!({"webhook-id": id, "webhook-timestamp": at.to_string(), "webhook-signature": signature});
    request(headers, body)
}

fn with_method(method: &str) -> Value {
    let mut event = request(json!({}), BODY);
    event["requestContext"]["http"]["method"] = json!(method);
    event
}

fn sorts<'a>(issuer: &'a Issuer, stranger: &'a Issuer, begun: u64) -> Vec<Sort<'a>> {
    let body = BODY.as_bytes();
    let claims = move |at: u64| json!({"aud": AUDIENCE, "exp": at + 300});
    // Made once: what a stranger repeats costs him nothing to make, and RSA is slow here.
    let wrong_token = stranger.token(&json!({"alg": "RS256", "kid": "rsa-1"}), &claims(begun + 86_400));
    let bound = format!(
        r#"{{"type":"batch.succeeded","user_metadata":{{"gemhook_token":"{}"}}}}"#,
        BindingKey::parse("somebody else's key").unwrap().mint()
    );
    let large = "a".repeat(65_537);
    let replayed = (begun, sign(SECRET, "msg_true", begun, body));
    vec![
        ("GET", REQUESTS, &[200], Box::new(|_, _| with_method("GET"))),
        ("another method", REQUESTS, &[405], Box::new(|_, _| with_method("PUT"))),
        ("malformed event", REQUESTS, &[400], Box::new(|n, _| json!({"n": n}))),
        ("no signature", REQUESTS, &[400], Box::new(|_, _| request(json!({}), BODY))),
        (
            "body of 64 KiB and a byte",
            REQUESTS,
            &[413],
            Box::new(move |_, at| post("msg", at, "v1,AAAA", &large)),
        ),
        (
            "wrong `v1` signature",
            REQUESTS,
            &[401],
            Box::new(move |n, at| {
                let id = format!("msg_{n}");
                post(&id, at, &sign(STRANGERS, &id, at, body), BODY)
            }),
        ),
        (
            "stale, not signed",
            REQUESTS,
            &[401],
            Box::new(move |_, at| post("msg", at - 301, &sign(STRANGERS, "msg", at - 301, body), BODY)),
        ),
        (
            "stale, signed",
            REQUESTS,
            &[401],
            Box::new(move |_, at| post("msg", at - 301, &sign(SECRET, "msg", at - 301, body), BODY)),
        ),
        (
            "`v1a` by an unknown key",
            REQUESTS,
            &[401, 503],
            Box::new(move |n, at| {
                let id = format!("msg_{n}");
                post(&id, at, &stranger.v1a(&id, at, body), BODY)
            }),
        ),
        ("forged token", REQUESTS, &[401], Box::new(move |_, at| post("msg", at, &wrong_token, BODY))),
        (
            "token that names an unknown key",
            REQUESTS,
            &[401, 503],
            Box::new(move |n, at| {
                let head = json!({"alg": "RS256", "kid": format!("key-{n}")}).to_string();
                post("msg", at, &format!("{}.AAAA", unsigned(&head, claims(at).to_string().as_bytes())), BODY)
            }),
        ),
        (
            "Google-signed, another's binding token",
            REQUESTS,
            &[401],
            Box::new(move |n, at| {
                let id = format!("msg_{n}");
                post(&id, at, &issuer.v1a(&id, at, bound.as_bytes()), &bound)
            }),
        ),
        (
            "replayed within 5 minutes",
            WRITING,
            &[200],
            Box::new(move |_, _| post("msg_true", replayed.0, &replayed.1, BODY)),
        ),
        (
            "Google-signed, no metadata",
            WRITING,
            &[200],
            Box::new(move |n, at| {
                let id = format!("msg_{n}");
                post(&id, at, &issuer.v1a(&id, at, body), BODY)
            }),
        ),
    ]
}

/// How many rows the table has: more than one page of a scan.
async fn rows(endpoint: &Endpoint) -> usize {
    let dynamodb = endpoint.test.dynamodb();
    let scan = dynamodb.scan().table_name(&endpoint.names.deliveries).select(Select::Count);
    let mut pages = scan.into_paginator().send();
    let mut rows = 0;
    while let Some(page) = pages.next().await {
        rows += page.unwrap().count as usize;
    }
    rows
}

/// Sends N of a sort and counts the answers by their status.
async fn send(
    endpoint: &Endpoint,
    requests: usize,
    make: &(dyn Fn(usize, u64) -> Value + '_),
) -> BTreeMap<u64, usize> {
    let mut statuses = BTreeMap::new();
    for second in 0..requests / PER_SECOND {
        let events = (0..PER_SECOND).map(|n| make(second * PER_SECOND + n, endpoint.now()));
        let events: Vec<Value> = events.collect();
        let mut answers =
            stream::iter(events).map(|event| endpoint.answer(event)).buffer_unordered(CONCURRENT);
        while let Some(answer) = answers.next().await {
            *statuses.entry(answer["statusCode"].as_u64().unwrap()).or_default() += 1;
        }
        endpoint.pass(1);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_of_each_hostile_sort_call_what_the_bill_says() {
    let (issuer, stranger) = (Issuer::new("rsa-1"), Issuer::new("rsa-1"));
    let headers = vec![("cache-control", "max-age=86400".to_owned())];
    let keys = Answers::With(200, headers, jwks(&[&issuer]).to_string());
    let settings = [("BINDING_KEY_SECRET_ID", "binding-key"), ("WEBHOOK_TOLERANCE_SECONDS", "300")];
    let endpoint = Endpoint::start(keys, &settings).await;
    endpoint.secrets.now_answers(Answers::Secrets(vec![
        ("signing-secret", SECRET.to_owned()),
        ("binding-key", BINDING.to_owned()),
    ]));
    let mut added = 0;
    for at in 0..sorts(&issuer, &stranger, endpoint.now()).len() {
        // An hour later, with secrets and keys that were just read: a flood meets an instance that is at work.
        endpoint.pass(3600);
        assert_eq!(endpoint.v1("msg_true", SECRET).await, 200);
        let token = BindingKey::parse(BINDING).unwrap().mint();
        let bound = json!({"type": "batch.succeeded", "user_metadata": {"gemhook_token": token}}).to_string();
        let id = format!("msg_bound_{at}");
        let signature = issuer.v1a(&id, endpoint.now(), bound.as_bytes());
        assert_eq!(endpoint.post(&id, &signature, &bound).await, 200);
        endpoint.pass(60);
        // Within the tolerance of the delivery that is replayed.
        let (name, requests, expected, make) = sorts(&issuer, &stranger, endpoint.now() - 60).remove(at);
        let _ = (endpoint.dynamodb.take(), endpoint.secrets.asked(), endpoint.keys.asked());
        let before = rows(&endpoint).await;

        let statuses = send(&endpoint, requests, &*make).await;

        println!("{name}: {statuses:?}");
        assert!(statuses.keys().all(|status| expected.contains(status)), "{name}: {statuses:?}");
        let calls = endpoint.dynamodb.take();
        assert!(calls.keys().all(|operation| operation == "PutItem"), "{name}: {calls:?}");
        added = rows(&endpoint).await - before;
        let counted = [
            calls.get("PutItem").copied().unwrap_or_default() * (REQUESTS / requests),
            added * (REQUESTS / requests),
            endpoint.secrets.asked(),
            endpoint.keys.asked(),
        ];
        assert_eq!(counted.as_slice(), documented(name), "{name}: {statuses:?}");
    }
    assert_eq!(added, WRITING, "the last sort makes rows, so the counters do count");
}

/// An event that Google signed for another customer's job makes a row, and the archiver works it to its end. The most
/// that this costs is in the bill.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_job_costs_a_bounded_number_of_calls_and_nothing_in_the_bucket() {
    const JOBS: usize = 20;
    let issuer = Issuer::new("rsa-1");
    let endpoint = Endpoint::start(Answers::json(&jwks(&[&issuer])), &[]).await;
    for n in 0..JOBS {
        let (id, body) = (format!("msg_{n}"), succeeded(&format!("batches/another{n}")));
        let signature = issuer.v1a(&id, endpoint.now(), body.as_bytes());
        assert_eq!(endpoint.post(&id, &signature, &body).await, 200);
    }
    let api = Scripted::start().await;
    let at = endpoint.test.machine.addresses.clone();
    let (dynamodb_url, dynamodb) = Counter::before(&at.dynamodb_url).await;
    let (s3_url, s3) = Counter::before(&at.s3_url).await;
    let settings = ArchiverSettings::read(&|name| match name {
        "DELIVERIES_TABLE" => Some(endpoint.names.deliveries.clone()),
        "JOBS_TABLE" => Some(endpoint.names.jobs.clone()),
        "BUCKET" => Some(at.bucket.clone()),
        "GEMINI_API_KEY" => Some("k".to_owned()),
        "GEMINI_BASE_URL" => Some(api.url.clone()),
        _ => None,
    });
    let stores = &endpoint.test.machine.stores;
    let at_url = |url: &str| {
        let config = endpoint.test.dynamodb().config().to_builder().endpoint_url(url).build();
        aws_sdk_dynamodb::Client::from_conf(config)
    };
    let bucket = stores.s3(aws::archiver_timeouts());
    let clients = Clients {
        dynamodb: at_url(&dynamodb_url),
        eventbridge: stores.eventbridge("http://127.0.0.1:9/", aws::archiver_timeouts()),
        s3: aws_sdk_s3::Client::from_conf(bucket.config().to_builder().endpoint_url(s3_url).build()),
        secrets: secrets_manager(&endpoint.secrets.url),
    };
    let clock: SharedClock = endpoint.clock.clone();
    // Nothing is slept inside a lease: the clock is moved instead.
    let retry_policy = RetryPolicy { asleep: Duration::ZERO, ..RetryPolicy::default() };
    let archiver = Archiver::new(settings.unwrap(), clients, clock, retry_policy).unwrap();
    let (mut invocations, mut open) = (0, endpoint.rows().await);
    while !open.is_empty() {
        for row in &open {
            let record = json!({
                "eventID": "1", "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
                "awsRegion": "us-east-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1, "Keys": {"webhook_id": {"S": text(row, "webhook_id")}},
                    "SequenceNumber": "1", "SizeBytes": 100, "StreamViewType": "NEW_IMAGE",
                },
            });
            let mut context = Context::default();
            context.deadline = (endpoint.now() + 900) * 1000;
            archiver.invoke(LambdaEvent::new(json!({"Records": [record]}), context)).await.unwrap();
            invocations += 1;
        }
        open = endpoint.rows().await.into_iter().filter(|row| text(row, "state") == "waiting").collect();
        let due = open.iter().map(|row| number(row, "due_at") / 1000 + 1).max();
        endpoint.pass(due.map_or(0, |due| (due - endpoint.clock.seconds()).max(0)));
    }
    for row in endpoint.rows().await {
        assert_eq!(end(&row), "done/foreign", "{row:?}");
    }
    let units = dynamodb.take();
    let counted = [
        invocations,
        api.asked().len(),
        units.values().sum::<f64>().ceil() as usize,
        s3.take().values().sum::<f64>() as usize,
    ];
    println!("of {JOBS} foreign jobs: {counted:?} {units:?}");
    let most = documented("foreign job, worked to its end");
    assert_eq!(most.len(), counted.len(), "{most:?}");
    for (counted, most) in counted.into_iter().zip(most) {
        assert!(counted <= most * JOBS, "{counted} of {JOBS} times {most}");
    }
    assert!(counted[1] >= JOBS, "each job was asked for");
    assert!(endpoint.test.rows(&endpoint.names.jobs).await.is_empty());
}
