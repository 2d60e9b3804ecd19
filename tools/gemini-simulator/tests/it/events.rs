use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::*;

fn assert_signed(event: &Received) {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET_BYTES).unwrap();
    let (id, timestamp) = (event.header("webhook-id"), event.header("webhook-timestamp"));
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&event.body);
    let want = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(event.header("webhook-signature"), want);
}

/// With the first Ed25519 key that the simulator tells, checked by hand.
async fn assert_signed_by_issuer(event: &Received, running: &Running) {
    let told =
        running.client.get(format!("{}/.well-known/jwks.json", running.base_url)).send().await.unwrap();
    let keys: Value = told.json().await.unwrap();
    let key = BASE64_URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().unwrap()).unwrap();
    let (id, timestamp) = (event.header("webhook-id"), event.header("webhook-timestamp"));
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &event.body].concat();
    let signature = event.header("webhook-signature").strip_prefix("v1a,").unwrap();
    let signature = BASE64_STANDARD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ED25519, key).verify(&signed, &signature).unwrap();
}

/// Waits until the disk knows that an event was accepted.
async fn settled(folder: &tempfile::TempDir, id: &str) -> std::path::PathBuf {
    let path = folder.path().join(format!("deliveries/{id}.json"));
    for _ in 0..500 {
        if std::fs::read_to_string(&path).unwrap().contains("Accepted") {
            return path;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{id} is still owed");
}

#[tokio::test]
async fn an_event_that_is_refused_comes_again_with_the_same_id_and_a_new_timestamp() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[500]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    let mut watch = running.simulator.watch();
    let name = running.create(inline("hi")).await;
    let (first, second) = (receiver.next().await, receiver.next().await);
    assert_signed(&first);
    assert_signed(&second);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert!(first.header("webhook-id").starts_with("msg_"));
    assert!(first.header("webhook-timestamp") < second.header("webhook-timestamp"));
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("user-agent"), "Google-Gemini-Webhooks/simulated");
    let event = first.json();
    assert_eq!(event["type"], "batch.succeeded");
    assert_eq!(event["version"], "v1");
    assert_eq!(event["data"], json!({"id": name}));
    let sent = [watch.recv().await.unwrap(), watch.recv().await.unwrap()];
    assert_eq!(sent.map(|sent| (sent.attempt, sent.copy, sent.answer)), [(1, 1, Ok(500)), (2, 1, Ok(200))]);
    receiver.nothing_for(Duration::from_millis(1300)).await;
}

#[tokio::test]
async fn copies_are_alike_and_one_refusal_brings_all_of_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[200, 503, 200]).await;
    let settings =
        Settings { delivery: DeliveryPolicy { copies: 3, ..retried(Duration::from_millis(10)) }, ..quick() };
    let running = Running::start(folder.path(), &receiver.url, settings).await;
    running.create(inline("hi")).await;
    let mut copies = Vec::new();
    for _ in 0..6 {
        copies.push(receiver.next().await);
    }
    assert!(copies.iter().all(|copy| copy.body == copies[0].body));
    assert!(copies[..3].iter().all(|copy| copy.headers == copies[0].headers));
    receiver.nothing_for(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_job_with_addresses_of_its_own_tells_those_alone_and_with_its_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let (mut registered, mut own) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let running = Running::start(folder.path(), &registered.url, quick()).await;
    let metadata = json!({"job_group": "nightly-eval", "n": 1});
    for spelling in ["user_metadata", "userMetadata"] {
        let mut batch = inline("hi");
        batch["webhookConfig"] = json!({"uris": [own.url], spelling: metadata});
        running.create(batch).await;
        let event = own.next().await;
        assert_signed_by_issuer(&event, &running).await;
        assert_eq!(event.json()["user_metadata"], metadata);
    }
    registered.nothing_for(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn failed_and_cancelled_batches_are_reported_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    let name = running.create(json!({"inputConfig": {"fileName": "files/nowhere"}})).await;
    let received = receiver.next().await;
    settled(&folder, received.header("webhook-id")).await;
    let event = received.json();
    assert_eq!(event["type"], "batch.failed");
    let why = "files/nowhere was not found";
    assert_eq!(event["data"], json!({"id": name, "error_code": "NOT_FOUND", "error_message": why}));
    let batch = running.ended(&name).await;
    assert_eq!(batch["metadata"]["state"], "BATCH_STATE_FAILED");
    assert_eq!(batch["error"], json!({"code": 5, "message": why}));
    assert!(batch.get("response").is_none());
    drop(running);

    let settings = Settings { finish_after: LONG, ..quick() };
    let running = Running::start(folder.path(), &receiver.url, settings).await;
    let name = running.create(inline("hi")).await;
    assert_eq!(running.call("POST", &format!("/v1/{name}:cancel"), None).await, (200, json!({})));
    let event = receiver.next().await.json();
    assert_eq!((&event["type"], &event["data"]), (&json!("batch.cancelled"), &json!({"id": name})));
    assert_eq!(running.ended(&name).await["metadata"]["state"], "BATCH_STATE_CANCELLED");
    running.call("POST", &format!("/v1/{name}:cancel"), Some(json!({}))).await;
    receiver.nothing_for(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_batch_ends_as_its_display_name_wishes() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    for (directives, event_type, state, code) in [
        (r#"{"state": "expired"}"#, "batch.expired", "BATCH_STATE_EXPIRED", 4),
        (r#"{"state": "cancelled"}"#, "batch.cancelled", "BATCH_STATE_CANCELLED", 1),
        (r#"{"fail": "out of luck"}"#, "batch.failed", "BATCH_STATE_FAILED", 13),
    ] {
        let mut batch = inline("hi");
        batch["displayName"] = format!("nightly simulate: {directives}").into();
        let name = running.create(batch).await;
        let event = receiver.next().await.json();
        assert_eq!((&event["type"], &event["data"]["id"]), (&json!(event_type), &json!(name)));
        let batch = running.ended(&name).await;
        assert_eq!(batch["metadata"]["state"], state);
        assert_eq!((&batch["error"]["code"], batch.get("response")), (&json!(code), None));
    }
}

#[tokio::test]
async fn an_event_can_be_dropped_for_good_or_be_late() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    running
        .faults(json!([{"fault": "dropped", "calls": 1}, {"fault": "delayed", "wait": 1.0, "calls": 1}]))
        .await;
    let dropped = running.create(inline("dropped")).await;
    running.ended(&dropped).await;
    let late = running.create(inline("late")).await;
    running.ended(&late).await;
    let prompt = running.create(inline("prompt")).await;
    for name in [prompt, late] {
        let event = receiver.next().await;
        assert_eq!(event.json()["data"]["id"], name);
        settled(&folder, event.header("webhook-id")).await;
    }
    running.kill().await;
    let _running = Running::start(folder.path(), &receiver.url, quick()).await;
    receiver.nothing_for(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn what_is_owed_at_a_crash_is_sent_after_it_with_the_same_id_and_what_was_accepted_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = Receiver::start(&[200, 500]).await;
    let settings = Settings { delivery: retried(LONG), ..quick() };
    let running = Running::start(folder.path(), &before.url, settings.clone()).await;
    let mut watch = running.simulator.watch();
    let accepted = running.create(inline("accepted")).await;
    let event = before.next().await;
    assert_eq!(event.json()["data"]["id"], accepted);
    settled(&folder, event.header("webhook-id")).await;
    let refused = running.create(inline("refused")).await;
    let first = before.next().await;
    watch.recv().await.unwrap();
    watch.recv().await.unwrap();
    running.kill().await;

    let mut after = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &after.url, settings).await;
    let again = after.next().await;
    assert_signed(&again);
    assert_eq!(again.json()["data"]["id"], refused);
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(again.body, first.body);
    after.nothing_for(Duration::from_millis(100)).await;
    assert_eq!(running.ended(&accepted).await["done"], true);
}

#[tokio::test]
async fn an_event_that_a_crash_kept_from_being_owed_is_owed_when_the_folder_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    running.create(inline("hi")).await;
    let first = receiver.next().await;
    let id = first.header("webhook-id");
    let record = settled(&folder, id).await;
    running.kill().await;
    std::fs::remove_file(record).unwrap();
    let _running = Running::start(folder.path(), &receiver.url, quick()).await;
    let again = receiver.next().await;
    assert_eq!((again.header("webhook-id"), &again.body), (id, &first.body));
}

#[tokio::test]
async fn a_batch_that_was_running_at_a_crash_ends_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let settings = Settings { finish_after: LONG, ..quick() };
    let running = Running::start(folder.path(), &receiver.url, settings).await;
    let name = running.create(inline("hi")).await;
    running.kill().await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    assert_eq!(receiver.next().await.json()["data"]["id"], name);
    assert_eq!(running.ended(&name).await["metadata"]["state"], "BATCH_STATE_SUCCEEDED");
}
