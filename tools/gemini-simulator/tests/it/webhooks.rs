use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::*;

/// The signature of an event by one secret, made by hand.
fn signed_by(secret: &str, event: &Received) -> String {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", event.header("webhook-id"), event.header("webhook-timestamp")).as_bytes());
    mac.update(&event.body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

async fn register(running: &Running, uri: &str, events: &[&str]) -> (String, String) {
    let body = json!({"uri": uri, "subscribed_events": events, "name": "MyBatchWebhook"});
    let (status, made) = running.call("POST", "/v1/webhooks", Some(body)).await;
    assert_eq!(status, 200, "{made}");
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("new_signing_secret"))
}

#[tokio::test]
async fn a_registered_webhook_hears_what_it_subscribed_to_signed_with_its_own_secret_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (mut builtin, mut own, mut other) =
        (Receiver::start(&[]).await, Receiver::start(&[]).await, Receiver::start(&[]).await);
    let running = Running::start(folder.path(), &builtin.url, quick()).await;
    let before = running.create(inline("before it was registered")).await;
    builtin.next().await;
    running.ended(&before).await;
    let (id, secret) = register(&running, &own.url, &["batch.succeeded"]).await;
    register(&running, &other.url, &["batch.failed"]).await;
    running.kill().await;

    let running = Running::start(folder.path(), &builtin.url, quick()).await;
    let name = running.create(inline("hi")).await;
    let (first, second) = (builtin.next().await, own.next().await);
    assert_eq!((&first.json()["data"]["id"], &second.json()["data"]["id"]), (&json!(name), &json!(name)));
    assert_eq!(first.header("webhook-signature"), signed_by(SECRET, &first));
    assert_eq!(second.header("webhook-signature"), signed_by(&secret, &second));
    own.nothing_for(Duration::from_millis(50)).await;
    other.nothing_for(Duration::from_millis(10)).await;

    let disable = json!({"state": "disabled"});
    running.call("PATCH", &format!("/v1/webhooks/{id}?update_mask=state"), Some(disable)).await;
    running.create(inline("unheard")).await;
    builtin.next().await;
    own.nothing_for(Duration::from_millis(50)).await;
    let (status, refused) = running.call("POST", &format!("/v1/webhooks/{id}:ping"), None).await;
    assert_eq!((status, &refused["error"]["status"]), (400, &json!("FAILED_PRECONDITION")));
}

#[tokio::test]
async fn a_secret_is_shown_once_and_rotates_with_or_without_grace() {
    let folder = tempfile::tempdir().unwrap();
    let mut own = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    let (id, first) = register(&running, &own.url, &["video.generated"]).await;
    let path = format!("/v1beta/webhooks/{id}");
    let shown = running.get(&path).await;
    let tail = &first[first.len() - 4..];
    assert_eq!(shown["signing_secrets"], json!([{"truncated_secret": format!("whsec_...{tail}")}]));
    assert!(shown.get("new_signing_secret").is_none());

    let rotation = format!("/v1/webhooks/{id}:rotateSigningSecret");
    let rotate = |body| running.call("POST", &rotation, Some(body));
    let (_, told) = rotate(json!({})).await;
    let second = told["secret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let secrets = running.get(&path).await["signing_secrets"].clone();
    assert!(secrets[0].get("expire_time").is_none() && secrets[1]["expire_time"].is_string(), "{secrets}");
    assert_eq!(running.call("POST", &format!("{path}:ping"), None).await, (200, json!({})));
    let ping = own.next().await;
    assert_eq!(ping.json()["type"], "ping");
    let both = format!("{} {}", signed_by(&second, &ping), signed_by(&first, &ping));
    assert_eq!(ping.header("webhook-signature"), both);

    let (_, told) = rotate(json!({"revocation_behavior": "revoke_previous_secrets_immediately"})).await;
    running.call("POST", &format!("{path}:ping"), Some(json!({}))).await;
    let ping = own.next().await;
    assert_eq!(ping.header("webhook-signature"), signed_by(told["secret"].as_str().unwrap(), &ping));
    for refused in [
        json!({"revocation_behavior": "whenever"}),
        json!({"revocation_behavior": "REVOKE_PREVIOUS_SECRETS_IMMEDIATELY"}),
        json!({"revocationBehavior": "revoke_previous_secrets_immediately"}),
    ] {
        let (status, answer) = rotate(refused.clone()).await;
        assert_eq!(status, 400, "{refused}: {answer}");
    }
    let (status, answer) = rotate(json!({"revocation_behavior": "REVOKE_PREVIOUS_SECRETS_AFTER_H24"})).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("revoke_previous_secrets_after_h24"), "{message}");
}

#[tokio::test]
async fn webhooks_are_listed_changed_and_deleted_as_the_sdks_ask_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    let (id, _) = register(&running, "https://example.com/hook", &["batch.succeeded", "batch.failed"]).await;
    let first = running.get("/v1/webhooks?page_size=1&page_token=").await;
    assert_eq!(first["webhooks"][0]["id"], "builtin");
    let token = first["next_page_token"].as_str().unwrap();
    assert!(token.contains(char::is_control), "real tokens hold control characters: {token:?}");
    let query =
        reqwest::Url::parse_with_params("http://any/v1/webhooks?page_size=1", [("page_token", token)]);
    let query = query.unwrap();
    let second = running.get(&format!("/v1/webhooks?{}", query.query().unwrap())).await;
    assert_eq!(second["webhooks"][0]["id"], json!(id));
    assert!(second.get("next_page_token").is_none());

    let path = format!("/v1/webhooks/{id}");
    let all = json!({"name": "x", "state": "disabled", "uri": "https://example.com/h2"});
    let (_, changed) = running.call("PATCH", &format!("{path}?update_mask=state"), Some(all)).await;
    assert_eq!(
        (&changed["name"], &changed["state"], &changed["uri"]),
        (&json!("x"), &json!("disabled"), &json!("https://example.com/h2")),
        "the mask is ignored"
    );
    let events = json!({"subscribed_events": ["batch.expired"]});
    let (_, changed) = running.call("PATCH", &path, Some(events.clone())).await;
    assert_eq!(
        (&changed["subscribed_events"], &changed["name"]),
        (&events["subscribed_events"], &json!("x"))
    );
    for time in ["create_time", "update_time"] {
        assert!(changed.get(time).is_none() && first["webhooks"][0].get(time).is_none(), "{changed}");
    }

    for (method, path, body, status) in [
        ("GET", "/v1/webhooks/nope", None, 404),
        ("POST", "/v1/webhooks/nope:ping", None, 404),
        ("DELETE", "/v1/webhooks/builtin", None, 400),
        ("PATCH", &path, Some(json!({"state": "disabled_due_to_failed_deliveries"})), 400),
        ("PATCH", &path, Some(json!({"id": "x"})), 400),
        (
            "POST",
            "/v1/webhooks",
            Some(json!({"uri": "https://a.b/", "subscribedEvents": ["batch.failed"]})),
            400,
        ),
        (
            "POST",
            "/v1/webhooks",
            Some(json!({"uri": "http://a.b/", "subscribed_events": ["batch.failed"]})),
            400,
        ),
        ("POST", "/v1/webhooks", Some(json!({"uri": "https://a.b/", "subscribed_events": []})), 400),
        ("POST", "/v1/webhooks", Some(json!({"uri": "https://a.b/", "subscribed_events": ["x.y"]})), 400),
    ] {
        let (found, answer) = running.call(method, path, body).await;
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(status)), "{method} {path}: {answer}");
    }
    assert_eq!(running.call("DELETE", &path, None).await, (200, json!({})));
    assert_eq!(running.call("GET", &path, None).await.0, 404);
}

/// The message lists what the API takes, so that a program that was written from the guide finds its mistake.
#[tokio::test]
async fn a_refused_name_is_answered_with_the_names_that_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    let seven = "batch.succeeded, batch.failed, batch.expired, interaction.completed, interaction.failed, \
                 interaction.requires_action, video.generated";
    for (body, why) in [
        (json!({"uri": "https://a.b/", "subscribed_events": ["batch.cancelled"]}), seven),
        (json!({"uri": "https://a.b/", "subscribed_events": ["interaction.cancelled"]}), seven),
        (json!({"uri": "https://a.b/", "subscribed_events": ["video.failed"]}), seven),
        (
            json!({"uri": "https://a.b/", "subscribedEvents": ["batch.failed"]}),
            "Unknown parameter 'subscribedEvents'. Did you mean 'subscribed_events'?",
        ),
        (json!({"uri": "https://a.b/", "colour": "red"}), "Unknown parameter 'colour'."),
    ] {
        let (status, answer) = running.call("POST", "/v1/webhooks", Some(body)).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(why), "{message}");
    }
    let listed = running.get("/v1/webhooks").await;
    assert_eq!(listed["webhooks"].as_array().unwrap().len(), 1, "nothing was made");
    assert_eq!(listed["webhooks"][0]["subscribed_events"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn a_ping_of_an_address_where_nobody_answers_is_a_success_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    let (id, _) = register(&running, "http://127.0.0.1:9/nobody", &["batch.failed"]).await;
    assert_eq!(running.call("POST", &format!("/v1/webhooks/{id}:ping"), None).await, (200, json!({})));
}
