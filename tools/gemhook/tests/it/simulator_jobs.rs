//! Jobs of every kind, from the request to the row, on a machine that is killed in between.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    command_line::Dev,
    support::{folder, three_requests},
};

/// Starts a job of each kind. By their names, what the events are to be.
async fn start_all(dev: &Dev) -> BTreeMap<String, &'static str> {
    let film = json!({"instances": [{"prompt": "a cat"}]});
    let embed = json!({"request": {"content": {"parts": [{"text": "hi"}]}}});
    let tool = json!({"type": "function", "name": "get_weather"});
    let batch = |requests: Value| json!({"batch": {"inputConfig": {"requests": {"requests": requests}}}});
    let mut jobs = BTreeMap::new();
    for (path, asked, event_type) in [
        ("models/m:batchGenerateContent", batch(three_requests()), "batch.succeeded"),
        ("models/m:asyncBatchEmbedContent", batch(json!([embed])), "batch.succeeded"),
        ("models/veo:predictLongRunning", film, "video.generated"),
        ("interactions", json!({"agent": "a", "input": "why", "background": true}), "interaction.completed"),
        (
            "interactions",
            json!({"model": "m", "input": "Boston", "background": true, "tools": [tool]}),
            "interaction.requires_action",
        ),
        (
            "interactions",
            json!({"model": "m", "input": r#"simulate: {"fail": "boom"}"#, "background": true}),
            "interaction.failed",
        ),
    ] {
        let url = format!("{}/v1beta/{path}", dev.address("gemini_url"));
        let answer =
            reqwest::Client::new().post(url).header("x-goog-api-key", "k").json(&asked).send().await.unwrap();
        let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
        let name = answer.get("name").or(answer.get("id")).unwrap().as_str().unwrap();
        jobs.insert(name.to_owned(), event_type);
    }
    jobs
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_no_job_of_any_kind_loses_its_event() {
    let folder = folder();
    let dev = Dev::start(folder.path(), &["--finish-after", "3600"]);
    let jobs = start_all(&dev).await;
    dev.signal("KILL");
    drop(dev);

    let mut dev = Dev::start(folder.path(), &["--finish-after", "0"]);
    let (mut told, mut rows) = (BTreeMap::new(), BTreeSet::new());
    while told.len() < jobs.len() {
        let change: Value = serde_json::from_str(&dev.lines.next().unwrap().unwrap()).unwrap();
        if change["state"] != "done" {
            assert_ne!(change["state"], "failed", "{change}");
            continue;
        }
        // The API's own name for a job may have more before the id than the event has.
        let job = change["job"].as_str().unwrap();
        let known = jobs.keys().find(|name| job.ends_with(name.as_str())).expect("a job that nobody started");
        told.insert(known.clone(), change["event_type"].as_str().unwrap().to_owned());
        assert!(rows.insert(change["webhook_id"].as_str().unwrap().to_owned()), "{change}");
    }
    let wanted: BTreeMap<_, _> = jobs.into_iter().map(|(name, event)| (name, event.to_owned())).collect();
    assert_eq!(told, wanted);
}
