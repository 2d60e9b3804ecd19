//! `gemhook check-receiver`, on one receiver that is right and on two that are wrong in known ways.

use std::{
    collections::{BTreeMap, HashSet},
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    command_line::{GEMHOOK, STATE_HOME},
    support::{TestMachine, sign},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

async fn check(arguments: &[&str]) -> Output {
    let folder = crate::support::folder();
    let mut command = Command::new(GEMHOOK);
    command.arg("check-receiver").args(arguments).env_remove("WEBHOOK_SECRET");
    command.current_dir(folder.path()).env(STATE_HOME, folder.path());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The rules by verdict.
fn verdicts(output: &Output) -> BTreeMap<String, Vec<String>> {
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let mut by_verdict: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in told["rules"].as_array().unwrap() {
        let text = |name: &str| rule[name].as_str().unwrap().to_owned();
        by_verdict.entry(text("verdict")).or_default().push(text("rule"));
    }
    let broken = by_verdict.get("broken").map_or(0, Vec::len);
    assert_eq!(told["broken"], broken);
    assert_eq!(output.status.code(), Some(i32::from(broken > 0)), "{output:?}");
    by_verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_of_this_project_breaks_no_rule() {
    let test = TestMachine::start().await;
    let (url, local) = (test.machine.addresses.webhook_url.clone(), test.tell(&test.machine.addresses));
    let found = verdicts(&check(&[&url, &local, "--within", "25s", "--json"]).await);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["kept"], "{found:?}");
    assert_eq!(found["kept"].len(), 13);
    // What was rightly sent was recorded, and nothing else.
    assert_eq!(test.deliveries().await.len(), 6);

    let table = String::from_utf8(check(&[&url, &local, "--within", "25s"]).await.stdout).unwrap();
    assert!(table.contains("cannot be seen from outside") && table.contains("breaks no rule"), "{table}");

    // With a secret that the receiver does not know, its refusals prove nothing.
    let found = verdicts(&check(&[&url, "--secret", SECRET, "--within", "25s", "--json"]).await);
    assert_eq!(found["broken"], ["right signature", "raw body", "several signatures", "unknown event"]);
    assert_eq!((found["unclear"].len(), &found["kept"]), (8, &vec!["quick answer".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_believes_everybody_is_found_out() {
    let url = serve(Router::new().route("/hook", post(|| async { StatusCode::NO_CONTENT }))).await;
    let found = verdicts(&check(&[&url, "--secret", SECRET, "--within", "25s", "--json"]).await);
    let broken = [
        "wrong signature",
        "changed body",
        "changed id",
        "changed time",
        "old timestamp",
        "future timestamp",
        "missing headers",
    ];
    assert_eq!(found["broken"], broken);
    let kept =
        ["right signature", "raw body", "several signatures", "unknown event", "duplicate", "quick answer"];
    assert_eq!(found["kept"], kept);
    let said = String::from_utf8(check(&[&url, "--secret", SECRET]).await.stdout).unwrap();
    assert!(
        said.contains("wrong signature     BROKEN") && said.contains("anybody can send events"),
        "{said}"
    );
    assert!(said.ends_with("breaks 7 rules\n"), "{said}");
}

/// It knows one signature, of the JSON as it writes it; no time; a duplicate is a conflict to it, an unknown event a
/// fault, a header that is not there a crash. It is slow with old events.
async fn careless(seen: Arc<Mutex<HashSet<String>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (Some(id), Some(at), Some(signature)) =
        (of("webhook-id"), of("webhook-timestamp"), of("webhook-signature"))
    else {
        return StatusCode::INTERNAL_SERVER_ERROR;
    };
    let event: Value = serde_json::from_slice(&body).unwrap();
    let written = serde_json::to_vec(&event).unwrap();
    let at: u64 = at.parse().unwrap();
    if at + 600 < crate::support::now() {
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    match () {
        () if sign(SECRET, &id, at, &written) != signature => StatusCode::UNAUTHORIZED,
        () if event["type"] != "batch.succeeded" => StatusCode::BAD_REQUEST,
        () if !seen.lock().unwrap().insert(id) => StatusCode::CONFLICT,
        () => StatusCode::OK,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_careless_receiver_is_reported() {
    let seen = Arc::default();
    let take = move |headers, body| careless(Arc::clone(&seen), headers, body);
    let url = serve(Router::new().route("/hook", post(take))).await;
    let found = verdicts(&check(&[&url, "--secret", SECRET, "--within", "1s", "--json"]).await);
    let broken = [
        "raw body",
        "several signatures",
        "unknown event",
        "duplicate",
        "old timestamp",
        "future timestamp",
        "quick answer",
    ];
    assert_eq!(found["broken"], broken);
    assert_eq!(
        found["kept"],
        ["right signature", "wrong signature", "changed body", "changed id", "changed time"]
    );
    assert_eq!(found["doubtful"], ["missing headers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_receiver_or_a_secret_it_says_what_is_missing() {
    for (arguments, why) in [
        (&["http://127.0.0.1:9/", "--secret", SECRET][..], "is it running?"),
        (&["http://127.0.0.1:9/"], "no signing secret"),
        (&["ftp://127.0.0.1/", "--secret", SECRET], "it must begin with http"),
    ] {
        let output = check(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(why), "{said}");
    }
}
