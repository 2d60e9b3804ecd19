//! Deliveries as bad as real ones, by faults and by how events are delivered.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::{io::AsyncReadExt, time::Instant};

use super::*;

/// The `v1` entry of a delivery, made here from the specification's words.
fn entry(event: &Received) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET_BYTES).unwrap();
    let (id, timestamp) = (event.header("webhook-id"), event.header("webhook-timestamp"));
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&event.body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

fn seconds(event: &Received) -> i64 {
    event.header("webhook-timestamp").parse().unwrap()
}

fn real_seconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

fn with(faults: Value) -> Settings {
    Settings { faults: serde_json::from_value(faults).unwrap(), ..quick() }
}

/// A receiver that answers these statuses and a simulator with these faults, and a batch that has been created.
async fn delivered(folder: &tempfile::TempDir, statuses: &[u16], faults: Value) -> (Receiver, Running) {
    let receiver = Receiver::start(statuses).await;
    let running = Running::start(folder.path(), &receiver.url, with(faults)).await;
    running.create(inline("hi")).await;
    (receiver, running)
}

#[tokio::test]
async fn a_duplicated_event_comes_as_often_as_the_fault_says() {
    let folder = tempfile::tempdir().unwrap();
    let faults = json!([{"fault": "duplicated", "copies": 3, "calls": 1}]);
    let (mut receiver, _running) = delivered(&folder, &[], faults).await;
    let first = receiver.next().await;
    for _ in 0..2 {
        assert_eq!(receiver.next().await.header("webhook-id"), first.header("webhook-id"));
    }
    receiver.nothing_for(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_retry_that_is_not_restamped_is_the_first_attempt_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut receiver, _running) = delivered(&folder, &[500], json!([{"fault": "not_restamped"}])).await;
    let (first, second) = (receiver.next().await, receiver.next().await);
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        assert_eq!(first.header(header), second.header(header), "{header}");
    }
    assert_eq!(second.header("webhook-signature"), entry(&second));
}

#[tokio::test]
async fn a_stale_timestamp_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let faults = json!([{"fault": "stale", "age": 400, "calls": 1}]);
    let (mut receiver, _running) = delivered(&folder, &[401], faults).await;
    let (stale, fresh) = (receiver.next().await, receiver.next().await);
    let age = real_seconds() - seconds(&stale);
    assert!((400..420).contains(&age), "{age}");
    assert!(real_seconds() - seconds(&fresh) < 20, "the fault was for one attempt");
    assert_eq!(stale.header("webhook-signature"), entry(&stale));
}

#[tokio::test]
async fn an_entry_of_an_old_secret_comes_before_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut receiver, _running) = delivered(&folder, &[], json!([{"fault": "two_signatures"}])).await;
    let event = receiver.next().await;
    let entries: Vec<&str> = event.header("webhook-signature").split(' ').collect();
    assert_eq!(entries.len(), 2);
    assert!(entries[0].starts_with("v1,") && entries[0] != entries[1]);
    assert_eq!(entries[1], entry(&event));
}

#[tokio::test]
async fn a_delivery_can_be_overtaken_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let faults = json!([{"fault": "delayed", "wait": 1, "calls": 1}]);
    let (mut receiver, running) = delivered(&folder, &[], faults).await;
    // The first batch has ended, and its event waits, before the second one is created.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = running.create(inline("later")).await;
    assert_eq!(receiver.next().await.json()["data"]["id"], second);
    assert_ne!(receiver.next().await.json()["data"]["id"], second);
}

#[tokio::test]
async fn a_body_that_trickles_in_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let (mut receiver, _running) = delivered(&folder, &[], json!([{"fault": "trickled", "wait": 0.4}])).await;
    let event = receiver.next().await;
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(event.header("content-length"), event.body.len().to_string());
    assert_eq!(event.header("webhook-signature"), entry(&event));
}

#[tokio::test]
async fn an_impatient_sender_counts_an_answer_that_comes_late_as_none() {
    let folder = tempfile::tempdir().unwrap();
    // It takes a request and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let faults = json!([{"fault": "impatient", "wait": 0.2}]);
    let running = Running::start(folder.path(), &url, with(faults)).await;
    let mut watch = running.simulator.watch();
    running.create(inline("hi")).await;
    let mut held = Vec::new();
    for attempt in 1..=2 {
        held.push(listener.accept().await.unwrap());
        let sent = timeout(Duration::from_secs(5), watch.recv()).await.unwrap().unwrap();
        assert_eq!((sent.attempt, sent.accepted()), (attempt, false), "{sent:?}");
    }
}

#[tokio::test]
async fn a_silent_connection_sends_nothing_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let faults = json!([{"fault": "silent", "wait": 0.1, "calls": 1}]);
    let running = Running::start(folder.path(), &url, with(faults)).await;
    running.create(inline("hi")).await;
    let mut came = Vec::new();
    let (mut silent, _) = listener.accept().await.unwrap();
    silent.read_to_end(&mut came).await.unwrap();
    assert!(came.is_empty(), "{came:?}");
    let (mut second, _) = timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
    let mut word = [0; 4];
    second.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"POST");
}

#[tokio::test]
async fn a_webhook_that_fails_so_often_in_a_row_is_disabled_and_can_be_enabled_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut own = Receiver::start(&[500, 500, 500]).await;
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    let policy = json!({"retries": [0.05], "copies": 1, "disable_after": 2});
    let (status, shown) = running.call("PUT", "/simulator/deliveries", Some(policy.clone())).await;
    assert_eq!((status, &shown), (200, &policy));
    assert_eq!(running.get("/simulator/deliveries").await, policy);
    let new = json!({"uri": own.url, "subscribed_events": ["batch.succeeded"]});
    let (_, webhook) = running.call("POST", "/v1/webhooks", Some(new)).await;
    let path = format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
    running.create(inline("hi")).await;
    own.next().await;
    own.next().await;
    own.nothing_for(Duration::from_millis(300)).await;
    assert_eq!(running.get(&path).await["state"], "disabled_due_to_failed_deliveries");
    running.call("PATCH", &path, Some(json!({"state": "enabled"}))).await;
    running.create(inline("again")).await;
    // The third failure is the first in this row.
    own.next().await;
    own.next().await;
    assert_eq!(running.get(&path).await["state"], "enabled");
}

#[tokio::test]
async fn how_events_are_delivered_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    for wrong in [
        json!({"retries": [1], "copies": 0}),
        json!({"retries": [1], "copies": 101}),
        json!({"retries": [-1]}),
        json!({"retries": [1], "disable_after": 0}),
        json!({"retries": [1], "copys": 2}),
        json!({"copies": 2}),
    ] {
        let (status, refused) = running.call("PUT", "/simulator/deliveries", Some(wrong.clone())).await;
        assert_eq!(status, 400, "{wrong}");
        assert!(!refused["error"]["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(running.get("/simulator/deliveries").await["retries"], json!([1.1]));
}
