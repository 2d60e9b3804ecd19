//! `gemhook webhook`, against the simulated API and as much of an account as it needs.

use std::{
    collections::HashMap,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    fake_aws::{Account, FakeAws},
    support::{TestMachine, sign, three_requests},
};

pub const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub async fn account() -> FakeAws {
    let outputs = HashMap::from([
        ("ReceiverUrl", "https://abc.lambda-url.us-east-1.on.aws/".to_owned()),
        ("SigningSecretArn", "arn:signing".to_owned()),
        ("ApiKeySecretArn", "arn:key".to_owned()),
    ]);
    let secrets = [("arn:signing", "not-set-yet"), ("arn:key", "stored-key"), ("mine", OLD)];
    let secrets = secrets.map(|(id, text)| (id.to_owned(), text.to_owned())).into();
    FakeAws::start(Account { outputs, secrets, ..Account::default() }).await
}

pub fn json_of(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn got_no_times(output: &Output) -> bool {
    !said(output).contains("create_time") && !said(output).contains("update_time")
}

/// A webhook's receiver that tells what came.
async fn listener() -> (String, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let (sender, came) = mpsc::unbounded_channel();
    let take = move |headers: HeaderMap, body: Bytes| async move {
        sender.send((headers, body)).ok();
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route("/hook", post(take))).into_future());
    (url, came)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_created_is_listed_pinged_sent_to_and_deleted() {
    let (test, aws, (url, mut came)) = (TestMachine::start().await, account().await, listener().await);
    let api = [("GEMINI_BASE_URL", test.machine.addresses.gemini_url.as_str()), ("GEMINI_API_KEY", "k")];
    let run = |arguments: Vec<String>| {
        let (aws, api) = (&aws, &api);
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            aws.gemhook(&[&["webhook"], arguments.as_slice()].concat(), api).await
        }
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let made = json_of(&run(words(&format!("create {url} --print-secret --json"))).await);
    let (id, secret) = (made["id"].as_str().unwrap(), made["new_signing_secret"].as_str().unwrap());
    assert_eq!(made["subscribed_events"].as_array().unwrap().len(), 7);

    let listed = json_of(&run(words("list --json")).await);
    assert_eq!((&listed[0]["id"], &listed[1]["id"]), (&json!("builtin"), &json!(id)));
    let got = run(words(&format!("get {id}"))).await;
    assert!(said(&got).contains(&url) && !said(&got).contains(secret), "{}", said(&got));

    json_of(&run(words(&format!("ping {id} --json"))).await);
    let pinged = said(&run(words("ping builtin")).await);
    assert!(pinged.contains("does not prove that it arrives") && pinged.contains("doctor"), "{pinged}");
    assert!(got_no_times(&got), "the API does not return any: {}", said(&got));
    let job = test.create_batch(three_requests(), json!({})).await;
    for event_type in ["ping", "batch.succeeded"] {
        let (headers, body) = came.recv().await.unwrap();
        let event: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(event["type"], event_type);
        let header = |name: &str| headers[name].to_str().unwrap();
        let at = header("webhook-timestamp").parse().unwrap();
        assert_eq!(header("webhook-signature"), sign(secret, header("webhook-id"), at, &body));
        assert!(event_type == "ping" || event["data"]["id"] == json!(job));
    }

    json_of(&run(words(&format!("delete {id} --json"))).await);
    let gone = run(words(&format!("get {id}"))).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(said(&gone).contains("404"), "{}", said(&gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stacks_secret_gets_the_new_one_in_front_and_nobody_sees_it() {
    let (test, aws) = (TestMachine::start().await, account().await);
    let api = [("GEMINI_BASE_URL", test.machine.addresses.gemini_url.as_str())];
    let made = aws.gemhook(&["webhook", "create", "--stack", "s"], &api).await;
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let first = aws.secret("arn:signing");
    assert!(first.starts_with("whsec_") && !first.contains(' '), "the placeholder is replaced");
    assert!(!said(&made).contains(&first) && said(&made).contains("abc.lambda-url"), "{}", said(&made));

    let again = aws.gemhook(&["webhook", "create", "--stack", "s"], &api).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("registered already"), "{}", said(&again));
    assert_eq!(aws.secret("arn:signing"), first);

    let got = json_of(&aws.gemhook(&["webhook", "get", "--stack", "s", "--json"], &api).await);
    assert_eq!(got["uri"], "https://abc.lambda-url.us-east-1.on.aws/");

    let arguments = ["webhook", "create", "--stack", "s", "--secret-id", "mine", "--another", "--json"];
    let other = json_of(&aws.gemhook(&arguments, &api).await);
    assert_eq!(other["secret_id"], "mine");
    let (new, old) = aws.secret("mine").split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(old, OLD);
    let several = aws.gemhook(&["webhook", "delete", "--stack", "s"], &api).await;
    assert!(said(&several).contains("2 webhooks are registered"), "{}", said(&several));
    assert!(new.starts_with("whsec_") && new != first && !other.to_string().contains(&new));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nowhere_to_put_the_secret_nothing_is_created() {
    let (test, aws) = (TestMachine::start().await, account().await);
    let api = [("GEMINI_BASE_URL", test.machine.addresses.gemini_url.as_str()), ("GEMINI_API_KEY", "k")];
    let count = || async {
        json_of(&aws.gemhook(&["webhook", "list", "--json"], &api).await).as_array().unwrap().len()
    };
    let url = "https://example.com/hook";
    for (arguments, why) in [
        (&["webhook", "create", url][..], "--print-secret"),
        (&["webhook", "create", url, "--secret-id", "nowhere"], "there is no secret nowhere"),
    ] {
        let refused = aws.gemhook(arguments, &api).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains(why), "{}", said(&refused));
    }
    assert_eq!(count().await, 1, "the built-in one alone");

    // What cannot be kept is taken back.
    aws.account.lock().unwrap().read_only = true;
    let unkept = aws.gemhook(&["webhook", "create", url, "--secret-id", "mine"], &api).await;
    assert_eq!(unkept.status.code(), Some(1));
    assert!(said(&unkept).contains("was deleted again"), "{}", said(&unkept));
    assert_eq!((count().await, aws.secret("mine").as_str()), (1, OLD));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_the_api_refuses_are_not_sent_unless_forced_and_unknown_ones_with_a_warning() {
    let (test, aws) = (TestMachine::start().await, account().await);
    let api = [("GEMINI_BASE_URL", test.machine.addresses.gemini_url.as_str()), ("GEMINI_API_KEY", "k")];
    let create = ["webhook", "create", "https://example.com/a", "--print-secret", "--events"];
    for (more, what_it_says) in [
        (&["batch.cancelled,batch.failed"][..], &["the API refuses batch.cancelled", "--force"][..]),
        (&["interaction.cancelled"], &["the API refuses interaction.cancelled", "video.generated"]),
        (
            &["batch.cancelled", "--force"],
            &["warning: batch.cancelled is refused by the API", "answered 400", "video.generated"],
        ),
        (&["orchard.ripened"], &["warning: orchard.ripened is not an event", "answered 400"]),
    ] {
        let refused = aws.gemhook(&[&create[..], more].concat(), &api).await;
        let said = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(what_it_says.iter().all(|words| said.contains(words)), "{said}");
        let asked = said.contains("answered 400");
        assert_eq!(asked, more.contains(&"--force") || more.contains(&"orchard.ripened"), "{said}");
    }
    let listed = json_of(&aws.gemhook(&["webhook", "list", "--json"], &api).await);
    assert_eq!(listed.as_array().unwrap().len(), 1, "nothing was made");
}

/// An API whose answer to a creation is lost, after it was done or before.
async fn forgetful(done: bool) -> String {
    let made = Arc::new(AtomicBool::new(false));
    let webhook = json!({"id": "wh1", "uri": "https://example.com/hook", "state": "enabled"});
    let seen = Arc::clone(&made);
    let list = move || async move {
        Json(if seen.load(Ordering::SeqCst) { json!({ "webhooks": [webhook] }) } else { json!({}) })
    };
    let create = move || async move {
        assert!(!made.swap(done, Ordering::SeqCst), "it was created twice");
        (StatusCode::BAD_GATEWAY, "<html>").into_response() as Response
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1beta/webhooks", get(list).post(create));
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_and_said_and_nothing_is_repeated() {
    let aws = account().await;
    for (done, why) in [(true, "`gemhook webhook delete wh1`"), (false, "it can be tried again")] {
        let url = forgetful(done).await;
        let api = [("GEMINI_BASE_URL", url.as_str()), ("GEMINI_API_KEY", "k")];
        let lost = aws
            .gemhook(&["webhook", "create", "https://example.com/hook", "--secret-id", "mine"], &api)
            .await;
        assert_eq!(lost.status.code(), Some(1));
        assert!(
            said(&lost).contains("the answer was lost: 502") && said(&lost).contains(why),
            "{}",
            said(&lost)
        );
        assert_eq!(aws.secret("mine"), OLD);
    }
}
