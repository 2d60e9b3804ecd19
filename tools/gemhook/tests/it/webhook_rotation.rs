//! `gemhook webhook rotate`: events come all the time, through a receiver that has read the old secret, and none is
//! refused.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use aws_sdk_secretsmanager::config::{Credentials, Region};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use gemhook::{
    aws,
    clock::{Clock, Millis, SystemClock},
    config::ReceiverSettings,
    receiver::Receiver,
};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    fake_aws::FakeAws,
    support::TestMachine,
    webhooks::{account, json_of, said},
};

/// Real time, moved forward by these milliseconds.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Millis {
        SystemClock.now() + self.0.load(Ordering::SeqCst)
    }
}

/// The receiver of a stack whose signing secret is `arn:signing` of this account.
async fn receiver(test: &TestMachine, account: &FakeAws, clock: Arc<Ahead>) -> String {
    let at = test.machine.addresses.clone();
    let settings = ReceiverSettings::read(&|name| match name {
        "WEBHOOK_SECRET" => None,
        "WEBHOOK_SECRET_ID" => Some("arn:signing".to_owned()),
        other => at.setting(other),
    });
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version_latest()
        .endpoint_url(&account.url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("gemhook", "gemhook-local-only", None, None, "test"));
    let secrets = aws_sdk_secretsmanager::Client::from_conf(config.build());
    let dynamodb = test.machine.stores.dynamodb(aws::receiver_timeouts());
    let receiver = Arc::new(Receiver::new(settings.unwrap(), dynamodb, secrets, clock).unwrap());
    let take = async |State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: String| {
        let of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let named = ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type"];
        let event = json!({
            "headers": named.map(|name| (name, of(name))).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "body": body,
        });
        let answer = receiver.invoke(LambdaEvent::new(event, Context::default())).await.unwrap();
        StatusCode::from_u16(u16::try_from(answer.status_code).unwrap()).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(take)).with_state(receiver);
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

/// Asks for a ping again and again.
fn pings(test: &TestMachine, id: &str) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let url = format!("{}/v1beta/webhooks/{id}:ping", test.machine.addresses.gemini_url);
    let (http, asked) = (test.http.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let task = tokio::spawn(async move {
        loop {
            let ping = http.post(&url).header("x-goog-api-key", "k").send().await.unwrap();
            assert_eq!(ping.status(), 200);
            count.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        }
    });
    (asked, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_refused_while_the_secret_is_rotated_and_the_old_one_dropped() {
    let (test, aws) = (TestMachine::start().await, account().await);
    let clock = Arc::new(Ahead::default());
    let url = receiver(&test, &aws, Arc::clone(&clock)).await;
    aws.account.lock().unwrap().outputs.insert("ReceiverUrl", url);
    let api = [("GEMINI_BASE_URL", test.machine.addresses.gemini_url.as_str())];
    let run = async |arguments: &[&str]| {
        aws.gemhook(&[&["webhook"], arguments, &["--stack", "s"]].concat(), &api).await
    };
    let id = json_of(&run(&["create", "--json"]).await)["id"].as_str().unwrap().to_owned();
    let old = aws.secret("arn:signing");

    let mut sent = test.machine.simulator.watch();
    let (asked, pinging) = pings(&test, &id);
    let mut answered = 0;
    // Everything that was sent until now is answered 200, and the next pings too.
    let mut accepted = async |more: usize| {
        let until = asked.load(Ordering::SeqCst) + more;
        while answered < until {
            let sent = sent.recv().await.unwrap();
            assert_eq!(sent.answer, Ok(200), "{sent:?}");
            answered += 1;
        }
    };
    accepted(5).await;

    let rotated = run(&["rotate"]).await;
    assert_eq!(rotated.status.code(), Some(0), "{rotated:?}");
    let (new, kept) =
        aws.secret("arn:signing").split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(new.starts_with("whsec_") && new != old && kept == old);
    assert!(!said(&rotated).contains(&new) && said(&rotated).contains("--finish"), "{}", said(&rotated));
    // The receiver still knows the old one only.
    accepted(5).await;

    let again = run(&["rotate"]).await;
    assert!(
        again.status.code() == Some(1) && said(&again).contains("within the last day"),
        "{}",
        said(&again)
    );
    let early = run(&["rotate", "--finish"]).await;
    assert!(early.status.code() == Some(1) && said(&early).contains("signs until"), "{}", said(&early));
    assert_eq!(aws.secret("arn:signing"), format!("{new} {old}"), "both changed nothing");
    accepted(5).await;

    // A day later the new one signs alone, and the receiver, a minute later, has to look for it.
    clock.0.store(60_000, Ordering::SeqCst);
    let clock_url = format!("{}/simulator/clock", test.machine.addresses.gemini_url);
    let moved = test.http.put(clock_url).json(&json!({"forward": 90_000})).send().await.unwrap();
    assert_eq!(moved.status(), 200);
    accepted(10).await;

    let finished = json_of(&run(&["rotate", "--finish", "--json"]).await);
    let wanted = json!({"finished": id, "secret_id": "arn:signing", "kept": 1, "dropped": 1});
    assert_eq!((finished, aws.secret("arn:signing")), (wanted, new));
    clock.0.store(120_000, Ordering::SeqCst);
    accepted(10).await;
    pinging.abort();
    assert!(asked.load(Ordering::SeqCst) > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_rotated_where_the_secret_cannot_be_written_and_a_second_time_only_with_force() {
    let (test, aws) = (TestMachine::start().await, account().await);
    let api = [("GEMINI_BASE_URL", test.machine.addresses.gemini_url.as_str())];
    let run = async |arguments: &[&str]| {
        aws.gemhook(&[&["webhook"], arguments, &["--stack", "s"]].concat(), &api).await
    };
    json_of(&run(&["create", "--json"]).await);
    let old = aws.secret("arn:signing");
    let shown = async || json_of(&run(&["get", "--json"]).await)["signing_secrets"].clone();
    let before = shown().await;

    aws.account.lock().unwrap().read_only = true;
    let unproved = run(&["rotate"]).await;
    assert!(said(&unproved).contains("nothing was rotated"), "{}", said(&unproved));
    assert_eq!((unproved.status.code(), shown().await), (Some(1), before));

    // Should the store fail after the proof, the old one goes on signing, and another rotation is stored.
    (aws.account.lock().unwrap().read_only, aws.account.lock().unwrap().writes_left) = (false, Some(1));
    let unkept = run(&["rotate"]).await;
    assert!(said(&unkept).contains("its new secret is not stored") && said(&unkept).contains("--force"));
    assert_eq!((unkept.status.code(), aws.secret("arn:signing")), (Some(1), old.clone()));
    assert_eq!(shown().await.as_array().unwrap().len(), 2);

    aws.account.lock().unwrap().writes_left = None;
    assert_eq!(run(&["rotate"]).await.status.code(), Some(1), "the API was asked a moment ago");
    let forced = json_of(&run(&["rotate", "--force", "--json"]).await);
    assert!(forced["old_signs_until"].is_string() && forced["secret_id"] == "arn:signing", "{forced}");
    let stored = aws.secret("arn:signing");
    assert!(stored.starts_with("whsec_") && stored.ends_with(&format!(" {old}")));

    // Whoever finishes early drops what still signs, but never what signs for good.
    assert_eq!(json_of(&run(&["rotate", "--finish", "--force", "--json"]).await)["dropped"], 1);
    assert!(stored.starts_with(&aws.secret("arn:signing")));
    aws.account.lock().unwrap().secrets.insert("arn:signing".to_owned(), old.clone());
    let foreign = run(&["rotate", "--finish", "--force"]).await;
    assert!(said(&foreign).contains("it is left as it is"), "{}", said(&foreign));
    assert_eq!((foreign.status.code(), aws.secret("arn:signing")), (Some(1), old));
}

/// An API whose answer to a rotation is lost, after it was done or before.
async fn forgetful(done: bool) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let webhook = move || async move {
        let old = json!({"truncated_secret": "whsec_...old="});
        let rotated = json!([
            {"truncated_secret": "whsec_...new="},
            {"truncated_secret": "whsec_...old=", "expire_time": "2999-01-02T03:04:05Z"},
        ]);
        let secrets = if done && seen.load(Ordering::SeqCst) > 0 { rotated } else { json!([old]) };
        Json(
            json!({"id": "wh1", "uri": "https://example.com/", "state": "enabled", "signing_secrets": secrets}),
        )
    };
    let count = Arc::clone(&asked);
    let rotate = move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        (StatusCode::BAD_GATEWAY, "<html>").into_response() as Response
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/v1beta/webhooks/wh1", get(webhook))
        .route("/v1beta/webhooks/wh1:rotateSigningSecret", post(rotate));
    tokio::spawn(axum::serve(listener, router).into_future());
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_and_said_and_the_rotation_is_not_repeated() {
    let aws = account().await;
    let before = aws.secret("mine");
    for (done, why) in [(true, "to a secret that nobody knows"), (false, "it can be tried again")] {
        let (url, asked) = forgetful(done).await;
        let api = [("GEMINI_BASE_URL", url.as_str()), ("GEMINI_API_KEY", "k")];
        let lost = aws.gemhook(&["webhook", "rotate", "wh1", "--secret-id", "mine"], &api).await;
        assert!(lost.status.code() == Some(1) && said(&lost).contains(why), "{}", said(&lost));
        assert!(said(&lost).contains("the answer was lost: 502"), "{}", said(&lost));
        assert!(!done || said(&lost).contains("until 2999-01-02T03:04:05Z"), "{}", said(&lost));
        assert_eq!((asked.load(Ordering::SeqCst), aws.secret("mine")), (1, before.clone()));
    }
    let nowhere = aws.gemhook(&["webhook", "rotate", "wh1"], &[("GEMINI_API_KEY", "k")]).await;
    assert!(said(&nowhere).contains("where are the signing secrets stored?"), "{}", said(&nowhere));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_is_printed_where_that_is_asked_for() {
    let (test, aws) = (TestMachine::start().await, account().await);
    let api = [("GEMINI_BASE_URL", test.machine.addresses.gemini_url.as_str()), ("GEMINI_API_KEY", "k")];
    let made = json_of(
        &aws.gemhook(&["webhook", "create", "https://a.example/", "--print-secret", "--json"], &api).await,
    );
    let id = made["id"].as_str().unwrap();
    let rotated: Value =
        json_of(&aws.gemhook(&["webhook", "rotate", id, "--print-secret", "--json"], &api).await);
    let secret = rotated["new_signing_secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret != made["new_signing_secret"], "{rotated}");
    let both = ["webhook", "rotate", id, "--print-secret", "--finish"];
    assert_eq!(aws.gemhook(&both, &api).await.status.code(), Some(2));
}
