//! A real process, killed in the middle of its work.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    command_line::Dev,
    support::{folder, now, sign, succeeded, three_requests},
};

async fn create_batch(dev: &Dev) -> String {
    let batch = json!({"batch": {"displayName": "crash", "inputConfig": {"requests": {"requests": three_requests()}}}});
    let url = format!("{}/v1beta/models/m:batchGenerateContent", dev.address("gemini_url"));
    let created =
        reqwest::Client::new().post(url).header("x-goog-api-key", "k").json(&batch).send().await.unwrap();
    created.json::<Value>().await.unwrap()["name"].as_str().unwrap().to_owned()
}

/// The next change in which `wanted` holds.
fn until(dev: &mut Dev, wanted: impl Fn(&Value) -> bool) -> Value {
    for line in dev.lines.by_ref() {
        let change: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if wanted(&change) {
            return change;
        }
    }
    panic!("the process ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_accept_and_archive_it_finishes_the_job() {
    let folder = folder();
    // Answers about the job take longer than the process lives.
    let slow = ["--answer-delay", "60", "--finish-after", "0.05"];
    let mut dev = Dev::start(folder.path(), &slow);
    let job = create_batch(&dev).await;
    let leased = until(&mut dev, |change| change["state"] == "archiving");
    dev.signal("KILL");
    dev.child.wait().unwrap();
    drop(dev);

    let mut dev = Dev::start(folder.path(), &[]);
    let done = until(&mut dev, |change| change["state"] == "done" || change["state"] == "failed");
    assert_eq!(done["webhook_id"], leased["webhook_id"]);
    assert_eq!((&done["outcome"], &done["job"]), (&json!("archived"), &json!(job)));
    // Once more where the sweep puts a row that lost its worker back, to work it alone.
    let attempt = done["attempt"].as_i64().unwrap();
    assert!((2..=3).contains(&attempt), "the lease of the killed process was taken over: attempt {attempt}");

    // The same event again: the row is known, nothing runs twice.
    let (id, body, at) = (leased["webhook_id"].as_str().unwrap(), succeeded(&job), now());
    let again = reqwest::Client::new()
        .post(dev.address("webhook_url"))
        .header("webhook-id", format!("{id}-again"))
        .header("webhook-timestamp", at)
        .header(
            "webhook-signature",
            sign(dev.address("webhook_secret"), &format!("{id}-again"), at, body.as_bytes()),
        )
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 200);
    let repeated = until(&mut dev, |change| change["state"] == "done");
    assert_eq!(repeated["outcome"], "repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_it_was_delivered_an_event_is_still_owed() {
    let folder = folder();
    let dev = Dev::start(folder.path(), &["--finish-after", "3"]);
    let job = create_batch(&dev).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(dev);

    let mut dev = Dev::start(folder.path(), &["--finish-after", "0.05"]);
    let done = until(&mut dev, |change| change["state"] == "done" || change["state"] == "failed");
    assert_eq!((&done["outcome"], &done["job"]), (&json!("archived"), &json!(job)));
}
