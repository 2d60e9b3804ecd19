//! The first deliveries are kept as they came, and no more than asked for.

use gemhook_cli::dev::Options;
use serde_json::Value;

use crate::support::{TestMachine, end, folder, sign, text};

async fn first(n: u32) -> TestMachine {
    TestMachine::with_options(folder(), |options| Options { record_first: n, ..options }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_deliveries_are_kept_with_their_headers_and_without_their_signatures() {
    let test = first(2).await;
    for id in ["msg_1", "msg_2", "msg_3"] {
        let body = format!(r#"{{"type": "ping",  "id": "{id}"}}"#);
        let delivery =
            test.delivery(id, body).header("x-cloud-trace", "t1").header("authorization", "Bearer b");
        assert_eq!(delivery.send().await.unwrap().status(), 200);
        test.ended(id).await;
    }
    let objects = test.objects().await;
    let mut keys: Vec<&str> = objects.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["first-deliveries/1.json", "first-deliveries/2.json"]);
    for (key, id) in keys.iter().zip(["msg_1", "msg_2"]) {
        let text = String::from_utf8(objects[*key].clone()).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["webhook_id"], id);
        assert_eq!(record["scheme"], "v1");
        assert_eq!(record["body"], format!(r#"{{"type": "ping",  "id": "{id}"}}"#), "byte for byte");
        let headers = &record["headers"];
        assert_eq!((&headers["x-cloud-trace"], &headers["webhook-id"]), (&"t1".into(), &id.into()));
        assert_eq!(headers["webhook-signature"], "v1,[44]");
        assert!(!text.contains("Bearer"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_kept_and_a_duplicate_is_kept_once() {
    let test = first(5).await;
    let forged = test.delivery("msg_forged", "{}");
    let forged =
        forged.header("webhook-signature", sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "m", 1, b""));
    assert!(forged.send().await.unwrap().status().is_client_error());
    for _ in 0..2 {
        assert_eq!(test.delivery("msg_twice", "{}").send().await.unwrap().status(), 200);
    }
    assert_eq!(end(&test.ended("msg_twice").await), "done/recorded");
    assert_eq!(test.objects().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_unless_it_is_asked_for() {
    let test = TestMachine::start().await;
    assert_eq!(test.delivery("msg_1", "{}").send().await.unwrap().status(), 200);
    let row = test.ended("msg_1").await;
    assert!(!row.contains_key("headers") && !text(&row, "body").is_empty());
    assert!(test.objects().await.is_empty());
}
