//! Every event of the fixtures, worked by the real archiver against an API on which its job stands as the event says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    events::fixtures,
    rig::{Rig, event, sha256},
    scripted::Answer,
    support::{end, text},
};

const LINES: &str = "{\"key\":\"a\",\"response\":{\"usageMetadata\":{\"promptTokenCount\":1}}}\n";

/// How a fixture's row must end, of which job, and the objects that there must be.
struct Ending {
    outcome: &'static str,
    job: Option<String>,
    objects: Vec<String>,
}

impl Ending {
    fn nothing() -> Self {
        Self { outcome: "recorded", job: None, objects: Vec::new() }
    }
}

/// Has the API show the job in the state that the fixture expects, and says what must come of it.
fn prepare(rig: &Rig, expect: &Value) -> Ending {
    let text = |name: &str| expect[name].as_str().unwrap_or_default();
    let (kind, state, id) = (text("kind"), text("state"), text("resource_id"));
    match kind {
        _ if id.is_empty() => Ending::nothing(),
        "batch" => batch(rig, state, id.strip_prefix("batches/").unwrap_or(id)),
        "interaction" => interaction(rig, state, id),
        "video" if id.contains('/') => video(rig, id),
        // An operation by its bare id cannot be read.
        _ => Ending::nothing(),
    }
}

fn batch(rig: &Rig, state: &str, id: &str) -> Ending {
    let job = format!("batches/{id}");
    let mut operation = json!({"name": job, "done": true,
        "metadata": {"name": job, "state": format!("BATCH_STATE_{}", state.to_uppercase())}});
    let mut objects = Vec::new();
    if state == "succeeded" {
        let file = format!("files/batch-{id}");
        operation["response"] = json!({"responsesFile": file});
        rig.api.says(&format!("{file}:download"), [Answer::bytes(LINES)]);
        objects.push(format!("batches/{id}/responses.jsonl"));
    }
    rig.api.says(&job, [Answer::json(operation)]);
    let outcome = if state == "succeeded" { "archived" } else { "ended" };
    Ending { outcome, job: Some(job), objects }
}

fn interaction(rig: &Rig, state: &str, id: &str) -> Ending {
    let job = format!("interactions/{id}");
    let step = match state {
        "completed" => json!({"type": "model_output", "content": [{"type": "text", "text": "joke"}]}),
        "requires_action" => {
            json!({"type": "function_call", "id": "fc_1", "name": "f", "arguments": {}})
        }
        _ => json!({"type": "thought"}),
    };
    rig.api.says(&job, [Answer::json(json!({"id": id, "status": state, "steps": [step]}))]);
    let (outcome, files): (_, &[&str]) = match state {
        "completed" => ("archived", &["interaction.json", "text.md"]),
        "requires_action" => ("recorded", &[]),
        _ => ("ended", &["interaction.json"]),
    };
    let objects = files.iter().map(|file| format!("{job}/{file}")).collect();
    Ending { outcome, job: Some(job), objects }
}

fn video(rig: &Rig, name: &str) -> Ending {
    let uri = format!("{}/v1beta/files/vid1:download?alt=media", rig.api.url);
    rig.api.says("files/vid1:download", [Answer::bytes("video").with("content-type", "video/mp4")]);
    rig.api.says(
        name,
        [Answer::json(json!({"name": name, "done": true, "response": {
            "generateVideoResponse": {"generatedSamples": [{"video": {"uri": uri}}]}}}))],
    );
    let id = name.rsplit('/').next().unwrap();
    Ending {
        outcome: "archived",
        job: Some(name.to_owned()),
        objects: ["0.mp4", "operation.json"].map(|file| format!("videos/{id}/{file}")).into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_ends_as_its_fixture_says_with_the_objects_it_must_have() {
    for (name, fixture) in fixtures() {
        let rig = Rig::start().await;
        let expect = &fixture["expect"];
        let ending = prepare(&rig, expect);
        let row = rig.take(&name, &fixture["payload"]).await;
        assert_eq!(end(&row), format!("done/{}", ending.outcome), "{name}: {row:?}");
        let job = match &ending.job {
            Some(job) => rig.job(job).await.unwrap_or_else(|| panic!("no job of {name}")),
            None => Value::Null,
        };
        let objects: BTreeSet<String> = rig.outputs(&job).await.into_keys().collect();
        assert_eq!(objects, ending.objects.into_iter().collect(), "{name}");
        check_job(&name, &fixture, &job, ending.outcome);
        if ending.outcome == "recorded" && ending.job.is_none() {
            assert!(!text(&row, "last_error").is_empty(), "{name} does not say why it is only recorded");
        }
    }
}

fn check_job(name: &str, fixture: &Value, job: &Value, outcome: &str) {
    if job.is_null() {
        return;
    }
    let state = fixture["expect"]["state"].as_str().unwrap();
    let told = job["state"].as_str().unwrap().to_lowercase();
    let expected = if state == "generated" { "succeeded" } else { state };
    assert!(told.ends_with(expected), "{name}: {told}");
    assert_eq!(job.get("ended_by").is_some(), outcome != "recorded", "{name}");
    if fixture["expect"]["user_metadata"] == true {
        assert_eq!(job["user_metadata"], fixture["payload"]["user_metadata"], "{name}");
    }
    let data = &fixture["payload"]["data"];
    for (told, kept) in
        [("error_message", &job["error"]["message"]), ("error", &job["error"]), ("errors", &job["error"])]
    {
        if let Some(told) = data.get(told) {
            assert_eq!(kept, told, "{name} lost the error that its event told");
        }
    }
    if fixture["expect"]["kind"] == "batch" && outcome == "archived" {
        assert_eq!(job["outputs"][0]["sha256"], sha256(LINES.as_bytes()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_are_kept_from_wherever_the_job_or_its_event_carries_them() {
    let ours = json!({"job_group": "nightly"});
    let batch = |config: Value| {
        json!({"name": "batches/b", "done": true, "metadata":
        {"state": "BATCH_STATE_FAILED", "webhookConfig": config}})
    };
    let bare = json!({"name": "batches/b", "done": true, "metadata": {"state": "BATCH_STATE_FAILED"}});
    let snake = json!({"name": "batches/b", "done": true, "metadata":
        {"state": "BATCH_STATE_FAILED", "webhook_config": {"user_metadata": ours}}});
    let operation =
        json!({"done": true, "error": {"code": 3}, "metadata": {"webhookConfig": {"userMetadata": ours}}});
    let interaction = json!({"id": "v1_a", "status": "failed", "webhook_config": {"user_metadata": ours}});
    for (kind, job, answer, in_event) in [
        ("batch.failed", "batches/b", batch(json!({"userMetadata": ours})), false),
        ("batch.failed", "batches/b", batch(json!({"user_metadata": ours})), false),
        ("batch.failed", "batches/b", snake, false),
        ("batch.failed", "batches/b", bare, true),
        ("video.generated", "models/m/operations/o", operation, false),
        ("interaction.failed", "interactions/v1_a", interaction, false),
    ] {
        let rig = Rig::start().await;
        rig.api.says(job, [Answer::json(answer.clone())]);
        let mut event = event(kind, job);
        if in_event {
            event["data"]["userMetadata"] = ours.clone();
        }
        assert_eq!(end(&rig.take("msg_1", &event).await), "done/ended", "{answer}");
        assert_eq!(rig.job(job).await.unwrap()["user_metadata"], ours, "{answer}");
    }
}
