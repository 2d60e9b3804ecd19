//! Whatever comes from outside gets an answer from the table, and nothing unverified is stored.

use std::sync::Arc;

use gemhook::{clock::SystemClock, config::ReceiverSettings, receiver::Receiver};
use gemini_simulator::Settings;
use lambda_runtime::{Context, LambdaEvent};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestMachine, now, sign};

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_its_status_and_leaves_no_row() {
    let test = TestMachine::start().await;
    let (url, secret) = (&test.machine.addresses.webhook_url, &test.machine.addresses.webhook_secret);
    let good = sign(secret, "msg_a", now(), b"{}");
    let at = now().to_string();
    let stale = (now() - 400).to_string();
    let stale_signature = sign(secret, "msg_a", now() - 400, b"{}");
    let tilde = sign(secret, "msg~a", now(), b"{}");
    for (what, id, time, signature, status) in [
        ("another key", "msg_a", at.as_str(), "v1,AAAA", 401),
        ("another body", "msg_a", &at, &sign(secret, "msg_a", now(), b"{ }"), 401),
        ("another form", "msg_a", &at, &good.replace("v1,", "v1a,"), 401),
        ("too old", "msg_a", &stale, &stale_signature, 401),
        ("no number", "msg_a", "soon", &good, 400),
        ("our mark", "msg~a", &at, &tilde, 400),
        ("no id", "", &at, &good, 400),
    ] {
        let request = test
            .http
            .post(url)
            .header("webhook-id", id)
            .header("webhook-timestamp", time)
            .header("webhook-signature", signature);
        let answer = request.body("{}").send().await.unwrap();
        assert_eq!(answer.status(), status, "{what}");
    }
    let missing = test.http.post(url).body("{}").send().await.unwrap();
    assert_eq!(missing.status(), 400);
    let long = vec![b' '; 64 * 1024 + 1];
    assert_eq!(test.delivery("msg_long", long.clone()).send().await.unwrap().status(), 413);
    assert_eq!(test.delivery("msg_full", &long[..64 * 1024]).send().await.unwrap().status(), 200);
    assert_eq!(test.deliveries().await.len(), 1, "only the one that just fits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_and_a_health_check_see_that_it_is_up() {
    let test = TestMachine::start().await;
    let url = &test.machine.addresses.webhook_url;
    for (method, status) in [
        (Method::GET, 200),
        (Method::HEAD, 200),
        (Method::PUT, 405),
        (Method::DELETE, 405),
        (Method::from_bytes(b"BREW").unwrap(), 405),
    ] {
        let answer = test.http.request(method.clone(), url).send().await.unwrap();
        assert_eq!(answer.status(), status, "{method}");
        if status == 405 {
            assert_eq!(answer.headers()["allow"], "POST, GET, HEAD");
        }
    }
}

/// Events as nobody should send them, straight into the handler.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_stops_the_receiver() {
    let test = TestMachine::start().await;
    let post = |event: Value| {
        let mut whole = json!({
            "version": "2.0",
            "rawPath": "/",
            "headers": {},
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "body": "",
            "isBase64Encoded": false,
        });
        whole.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        whole
    };
    for event in [
        json!(null),
        json!([]),
        json!({}),
        json!({"requestContext": {"http": {"method": 7}}}),
        post(json!({"body": "@@not base64@@", "isBase64Encoded": true})),
        post(json!({"body": {"a": 1}})),
        post(
            json!({"headers": {"webhook-id": "a\nb", "webhook-timestamp": "1", "webhook-signature": "v1,x"}}),
        ),
        post(json!({"headers": {"webhook-id": ["a", "b"]}})),
        post(json!({"headers": [1, 2]})),
        post(
            json!({"rawPath": "/ %zz \u{7f} é", "rawQueryString": "\u{0}", "headers": {"host": "\u{1}[::"}}),
        ),
        post(json!({"requestContext": {"http": {"method": "PO ST", "path": "/"}}})),
    ] {
        let answer =
            test.machine.receiver().invoke(LambdaEvent::new(event.clone(), Context::default())).await;
        let status = answer.unwrap().status_code;
        assert_eq!(status, 400, "{event}");
    }
    assert!(test.deliveries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_table_a_delivery_is_asked_for_again() {
    let test = TestMachine::with(Settings::default()).await;
    let deliveries = &test.machine.addresses.deliveries_table;
    test.dynamodb().delete_table().table_name(deliveries).send().await.unwrap();
    let answer = test.delivery("msg_a", "{}").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "30");
}

/// A table that accepts the connection and then says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_hangs_is_not_waited_for_beyond_the_budget() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let settings = ReceiverSettings::read(&|name| match name {
        "DELIVERIES_TABLE" => Some("deliveries".to_owned()),
        "WEBHOOK_SECRET" => Some(secret.to_owned()),
        _ => None,
    });
    let dynamodb = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_dynamodb::config::Region::new("eu-central-1"))
        .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("k", "s", None, None, "test"))
        .timeout_config(gemhook::aws::receiver_timeouts())
        .endpoint_url(endpoint)
        .build();
    let secrets = aws_sdk_secretsmanager::Config::builder().behavior_version_latest().build();
    let receiver = Receiver::new(
        settings.unwrap(),
        aws_sdk_dynamodb::Client::from_conf(dynamodb),
        aws_sdk_secretsmanager::Client::from_conf(secrets),
        Arc::new(SystemClock),
    );
    let receiver = Arc::new(receiver.unwrap());
    let at = now();
    let event = json!({
        "version": "2.0",
        "headers": {
            "webhook-id": "msg_a",
            "webhook-timestamp": at.to_string(),
            "webhook-signature": sign(secret, "msg_a", at, b"{}"),
        },
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "body": "{}",
        "isBase64Encoded": false,
    });
    let answer = receiver.invoke(LambdaEvent::new(event, Context::default())).await.unwrap();
    assert_eq!(answer.status_code, 503);
    assert_eq!(answer.headers["retry-after"], "30");
}
