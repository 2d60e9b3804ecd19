//! `gemhook webhook update`, `enable` and `disable`, against the simulated API.

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    support::TestMachine,
    webhooks::{account, json_of, said},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_changes_and_the_rest_stays() {
    let (test, aws) = (TestMachine::start().await, account().await);
    let api = [("GEMINI_BASE_URL", test.machine.addresses.gemini_url.as_str())];
    let run = async |arguments: &[&str]| {
        aws.gemhook(&[&["webhook"], arguments, &["--stack", "s"]].concat(), &api).await
    };
    json_of(&run(&["create", "--json"]).await);
    let secret = aws.secret("arn:signing");

    let events = ["update", "--events", "batch.failed,batch.succeeded", "--json"];
    let changed = json_of(&run(&events).await);
    assert_eq!(changed["subscribed_events"], json!(["batch.failed", "batch.succeeded"]));
    assert_eq!((&changed["name"], &changed["state"]), (&json!("gemhook"), &json!("enabled")));
    let changed = json_of(&run(&["update", "--name", "nightly", "--json"]).await);
    assert_eq!(changed["name"], "nightly");
    assert_eq!(changed["subscribed_events"], json!(["batch.failed", "batch.succeeded"]));

    for (state, sentence) in
        [("disable", "sends it nothing until `gemhook webhook enable`"), ("enable", "from now on")]
    {
        assert!(said(&run(&[state]).await).contains(sentence), "{state}");
        let got = json_of(&run(&["get", "--json"]).await);
        assert_eq!(got["state"], format!("{state}d"));
    }
    let id = changed["id"].as_str().unwrap();
    let moved = json_of(&run(&["update", id, "--url", "https://example.com/new", "--json"]).await);
    assert_eq!(moved["uri"], "https://example.com/new");
    assert_eq!(aws.secret("arn:signing"), secret);

    for (arguments, why) in [
        (&["update", id][..], "nothing to update"),
        (&["update", id, "--events", "batch.cancelled"], "the API refuses batch.cancelled"),
        (&["update", id, "--url", "http://example.com/"], "answered 400"),
        (&["disable", "wh_none"], "answered 404"),
        (&["enable", "builtin"], "answered 400"),
    ] {
        let refused = run(arguments).await;
        assert!(refused.status.code() == Some(1) && said(&refused).contains(why), "{}", said(&refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up() {
    let aws = account().await;
    for (state, code, why) in [("disabled", 0, "wh1  disabled"), ("enabled", 1, "wh1 is as it was")] {
        let webhook = move || async move {
            Json(json!({"id": "wh1", "uri": "https://example.com/hook", "state": state}))
        };
        let lost = || async { (StatusCode::BAD_GATEWAY, "<html>").into_response() as Response };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1beta/webhooks/wh1", get(webhook).patch(lost));
        tokio::spawn(axum::serve(listener, router).into_future());
        let api = [("GEMINI_BASE_URL", url.as_str()), ("GEMINI_API_KEY", "k")];
        let output = aws.gemhook(&["webhook", "disable", "wh1"], &api).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(said(&output).contains(why), "{}", said(&output));
    }
}
