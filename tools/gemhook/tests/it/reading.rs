//! What came of it, as a person reads it: the program beside a running `gemhook dev`.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{
    command_line::{Dev, GEMHOOK},
    support::{now, sign, succeeded, three_requests},
};

fn gemhook(folder: &Path, args: &[&str]) -> Output {
    let local = format!("--local={}", folder.display());
    let mut command = Command::new(GEMHOOK);
    for name in ["DELIVERIES_TABLE", "JOBS_TABLE", "BUCKET"] {
        command.env_remove(name);
    }
    command.args(args).arg(local).output().unwrap()
}

fn printed(folder: &Path, args: &[&str]) -> String {
    let output = gemhook(folder, args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The objects of a document: an array, one object, or one on each line.
fn rows(folder: &Path, args: &[&str]) -> Vec<Value> {
    let text = printed(folder, args);
    if let Ok(Value::Array(rows)) = serde_json::from_str(&text) {
        return rows;
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn post(dev: &Dev, id: &str, body: &str) {
    let at = now();
    let answer = reqwest::Client::new()
        .post(dev.address("webhook_url"))
        .header("webhook-id", id)
        .header("webhook-timestamp", at)
        .header("webhook-signature", sign(dev.address("webhook_secret"), id, at, body.as_bytes()))
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

/// A batch whose event goes where the configuration says.
async fn batch(dev: &Dev, webhook: Value) -> String {
    let input = json!({"requests": {"requests": three_requests()}});
    let batch = json!({"batch": {"displayName": "r", "inputConfig": input, "webhookConfig": webhook}});
    let url = format!("{}/v1beta/models/m:batchGenerateContent", dev.address("gemini_url"));
    let created = reqwest::Client::new().post(url).header("x-goog-api-key", "k").json(&batch).send();
    created.await.unwrap().json::<Value>().await.unwrap()["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_waited_for_listed_shown_fetched_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--finish-after", "0.5"]);
    let at = folder.path();
    let job = batch(&dev, json!({"user_metadata": {"job_group": "nightly", "note": "a\u{1b}[31m"}})).await;

    let waited = rows(at, &["jobs", "wait", &job, "--json", "--timeout", "60s"]);
    assert_eq!((&waited[0]["job_id"], &waited[0]["state"]), (&json!(job), &json!("BATCH_STATE_SUCCEEDED")));
    let list = printed(at, &["jobs", "list", "--meta", "job_group=nightly", "--since", "1h"]);
    assert!(list.starts_with("ENDED") && list.contains(&job) && list.contains("2/3"), "{list}");
    assert!(list.contains("note=a\\u{1b}[31m") && !list.contains('\u{1b}'), "{list:?}");
    assert!(printed(at, &["jobs", "list", "--meta", "job_group=other"]).starts_with("no jobs: "));
    assert_eq!(printed(at, &["jobs", "list", "--meta", "job_group=other", "--json"]), "[]\n");
    let listed: Value = serde_json::from_str(&printed(at, &["jobs", "list", "--json"])).unwrap();
    assert!(listed.is_array(), "one document: {listed}");
    assert_eq!(rows(at, &["jobs", "list", "--type", "batch", "--json"]).len(), 1);
    assert!(printed(at, &["jobs", "show", &job]).contains("ended_by"));

    let to = tempfile::tempdir().unwrap();
    let to_text = to.path().to_str().unwrap();
    let key = format!("{job}/responses.jsonl");
    assert!(printed(at, &["jobs", "fetch", &job, "--to", to_text]).contains("sha256"));
    assert_eq!(std::fs::read_to_string(to.path().join(&key)).unwrap().lines().count(), 3);
    assert!(printed(at, &["jobs", "fetch", &job, "--to", to_text]).contains("there already"));
    std::fs::write(to.path().join(&key), "mine").unwrap();
    assert_eq!(gemhook(at, &["jobs", "fetch", &job, "--to", to_text]).status.code(), Some(1));

    let unasked = gemhook(at, &["jobs", "delete", &job]);
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("--yes"), "{unasked:?}");
    printed(at, &["jobs", "delete", &job, "--yes"]);
    let left = rows(at, &["jobs", "show", &job, "--json"]);
    assert_eq!((&left[0]["state"], left[0].get("user_metadata")), (&json!("deleted"), None));
    assert!(!folder.path().join("s3/gemhook-results").join(&key).exists());
    // A late event does not bring it back.
    post(&dev, "msg_late", &succeeded(&job)).await;
    let end = || rows(at, &["deliveries", "show", "msg_late", "--json"])[0].clone();
    while end()["state"] != "done" {}
    assert_eq!(end()["outcome"], "repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_shown_and_redriven() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path(), &[]);
    let at = folder.path();
    post(&dev, "msg_odd", r#"{"type":"orchard.ripened","data":{"id":"7"}}"#).await;
    post(&dev, "msg_ping", "no json at all").await;
    let mut ended = 0;
    while ended < 2 {
        let line: Value = serde_json::from_str(&dev.lines.next().unwrap().unwrap()).unwrap();
        ended += usize::from(line["state"] == "done");
    }
    let list = printed(at, &["deliveries", "list"]);
    assert!(
        list.contains("done/recorded") && list.contains("msg_odd") && list.contains("msg_ping"),
        "{list}"
    );
    let odd = rows(at, &["deliveries", "list", "--type", "orchard", "--state", "recorded", "--json"]);
    assert_eq!((odd.len(), &odd[0]["webhook_id"]), (1, &json!("msg_odd")));
    let shown = printed(at, &["deliveries", "show", "msg_odd"]);
    assert!(shown.contains("\"type\": \"orchard.ripened\""), "{shown}");

    assert_eq!(gemhook(at, &["deliveries", "redrive", "--yes"]).status.code(), Some(1), "names nothing");
    assert_eq!(gemhook(at, &["deliveries", "redrive", "msg_odd"]).status.code(), Some(1), "nobody to ask");
    assert_eq!(
        printed(at, &["deliveries", "redrive", "--state", "failed", "--yes"]),
        "no delivery matches that can be redriven: `gemhook deliveries list` shows them all\n"
    );
    assert_eq!(
        printed(at, &["deliveries", "redrive", "--type", "orchard", "--yes"]),
        "redriven: 1 delivery\n"
    );
    let again = loop {
        let line: Value = serde_json::from_str(&dev.lines.next().unwrap().unwrap()).unwrap();
        if line["state"] == "done" {
            break line;
        }
    };
    assert_eq!((&again["webhook_id"], &again["attempt"]), (&json!("msg_odd"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_an_event_is_found_by_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--finish-after", "0.1"]);
    let at = folder.path();
    let job = batch(&dev, json!({"uris": ["http://127.0.0.1:9/"]})).await;
    let found = loop {
        let found = rows(at, &["reconcile", "--dry-run", "--json"])[0].clone();
        if found["ended"] == 1 {
            break found;
        }
    };
    assert_eq!(found["entered"], json!([job]));
    assert!(printed(at, &["jobs", "list"]).starts_with("no jobs: "), "a dry run writes nothing");
    assert!(printed(at, &["reconcile"]).contains(&format!("entered: {job}")));
    printed(at, &["jobs", "wait", &job, "--timeout", "60s"]);
    assert!(printed(at, &["reconcile"]).contains("nothing is missing here"));

    assert!(printed(at, &["jobs", "watch", &job]).contains("has ended already"));
    printed(at, &["jobs", "watch", "interactions/v1_a"]);
    let followed = rows(at, &["jobs", "show", "interactions/v1_a", "--json"]);
    assert!(
        followed[0]["watch_until"].as_i64().unwrap() > i64::try_from(now()).unwrap() * 1000 + 6 * 86_400_000
    );
    assert_eq!(gemhook(at, &["jobs", "watch", "nonsense"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_watched_as_they_happen() {
    use std::{
        io::{BufRead, BufReader},
        process::Stdio,
    };
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path(), &[]);
    let local = format!("--local={}", folder.path().display());
    let mut watch = Command::new(GEMHOOK)
        .args(["deliveries", "watch", "--json", "--state", "done", &local])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = String::new();
    BufReader::new(watch.stderr.take().unwrap()).read_line(&mut begun).unwrap();
    assert!(begun.contains("watching"), "{begun}");
    post(&dev, "msg_seen", r#"{"type":"orchard.ripened"}"#).await;
    let line = BufReader::new(watch.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let change: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&change["webhook_id"], &change["outcome"]), (&json!("msg_seen"), &json!("recorded")));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_machine_that_does_not_run_is_reported_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = gemhook(folder.path(), &["jobs", "list"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("no `gemhook dev` runs in"), "{nothing:?}");

    let mut dev = Dev::start(folder.path(), &[]);
    assert!(printed(folder.path(), &["jobs", "list"]).starts_with("no jobs: "));
    dev.signal("KILL");
    dev.child.wait().unwrap();
    let silent = gemhook(folder.path(), &["jobs", "list"]);
    assert!(
        String::from_utf8_lossy(&silent.stderr).contains("start it again with `gemhook dev --data"),
        "{silent:?}"
    );

    let mut dev = Dev::start(folder.path(), &[]);
    dev.signal("TERM");
    dev.child.wait().unwrap();
    assert!(!folder.path().join("addresses.json").exists());
}
