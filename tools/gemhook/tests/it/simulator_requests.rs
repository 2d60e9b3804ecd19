//! What Google's SDKs sent when they were recorded, sent again: the answers have all that the SDKs read of the ones
//! that they were given then.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use gemini_simulator::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestMachine;

/// Values that mean something to an SDK. Of all others it is enough that they are there.
const MEANT: [&str; 6] = ["type", "object", "status", "state", "done", "mime_type"];

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/dyn";

struct Machines {
    quick: TestMachine,
    legacy: TestMachine,
    /// Jobs do not end here.
    endless: TestMachine,
}

impl Machines {
    async fn start() -> Self {
        let quick = Settings { finish_after: Duration::from_millis(20), ..Settings::default() };
        let endless = Settings { finish_after: Duration::from_secs(3600), ..Settings::default() };
        Self {
            legacy: TestMachine::with(Settings { legacy_outputs: true, ..quick.clone() }).await,
            quick: TestMachine::with(quick).await,
            endless: TestMachine::with(endless).await,
        }
    }
}

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/sdk-requests/{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

async fn post(test: &TestMachine, path: &str, body: Value) -> Value {
    let url = format!("{}{path}", test.machine.addresses.gemini_url);
    let answer = test.http.post(url).header("x-goog-api-key", "k").json(&body).send().await.unwrap();
    answer.error_for_status().unwrap().json().await.unwrap()
}

/// Starts an interaction and waits for its end.
async fn interaction(test: &TestMachine, input: &str, more: Value) -> String {
    let mut asked = json!({
        "model": "gemini-3.6-flash",
        "background": true,
        "input": input,
        "webhook_config": {"uris": [NOWHERE], "user_metadata": {"job_group": "nightly-eval", "priority": "high"}},
    });
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let id = post(test, "/v1/interactions", asked).await["id"].as_str().unwrap().to_owned();
    ended(test, &format!("v1/interactions/{id}"), |it| it["status"] != "in_progress").await;
    id
}

async fn video(test: &TestMachine, prompt: &str) -> String {
    let path = "/v1beta/models/veo-3.1-generate-preview:predictLongRunning";
    let created = post(test, path, json!({"instances": [{"prompt": prompt}]})).await;
    let name = created["name"].as_str().unwrap().to_owned();
    ended(test, &format!("v1beta/{name}"), |it| it["done"] == true).await;
    name
}

async fn ended(test: &TestMachine, path: &str, has_ended: impl Fn(&Value) -> bool) -> Value {
    loop {
        let job: Value = test.gemini(path).await.json().await.unwrap();
        if has_ended(&job) {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends every recording of a fixture, with our names in place of the recorded ones, and holds the answers against
/// the recorded ones.
async fn replay(test: &TestMachine, name: &str, ours: &BTreeMap<&str, String>) -> usize {
    let in_our_words =
        |text: &str| ours.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new));
    let mut sent = 0;
    for recording in fixture(name)["recordings"].as_array().unwrap() {
        let empty = Vec::new();
        for sdk in recording["sdks"].as_array().unwrap() {
            let targets = sdk["targets"].as_array().unwrap_or(&empty);
            for (at, target) in targets.iter().enumerate() {
                let (method, target) = target.as_str().unwrap().split_once(' ').unwrap();
                let url = format!("{}{}", test.machine.addresses.gemini_url, in_our_words(target));
                let mut request = test.http.request(method.parse::<Method>().unwrap(), url);
                for (header, value) in sdk["headers"][at].as_object().unwrap() {
                    request = request.header(header, value.as_str().unwrap());
                }
                if !recording["requests"][at]["body_json"].is_null() {
                    request = request.body(in_our_words(&recording["requests"][at]["body_json"].to_string()));
                }
                let answer = request.send().await.unwrap();
                let what = format!("{name}: {} {}", sdk["sdk"], sdk["version"]);
                assert_eq!(answer.status(), 200, "{what}");
                sent += 1;
                let wanted = &recording["stub_responses"][at]["json"];
                if wanted.is_null() {
                    assert!(!answer.bytes().await.unwrap().is_empty(), "{what}");
                    continue;
                }
                assert_eq!(answer.headers()["content-type"], "application/json", "{what}");
                let answer: Value = answer.json().await.unwrap();
                assert_eq!(lacking(wanted, &answer, ""), Vec::<String>::new(), "{what}: {answer}");
            }
        }
    }
    sent
}

/// What the answer lacks of what was wanted.
fn lacking(wanted: &Value, answer: &Value, path: &str) -> Vec<String> {
    match (wanted, answer) {
        (Value::Object(wanted), Value::Object(answer)) => {
            let mut found = Vec::new();
            for (name, wanted) in wanted {
                let path = format!("{path}.{name}");
                match answer.get(name) {
                    None => found.push(path),
                    Some(value) if MEANT.contains(&name.as_str()) && value != wanted => {
                        found.push(format!("{path} = {wanted}"));
                    }
                    Some(value) => found.extend(lacking(wanted, value, &path)),
                }
            }
            found
        }
        (Value::Array(wanted), Value::Array(answers)) => wanted
            .iter()
            .filter(|wanted| answers.iter().all(|answer| !lacking(wanted, answer, path).is_empty()))
            .map(|wanted| format!("{path}[] like {wanted}"))
            .collect(),
        _ if std::mem::discriminant(wanted) == std::mem::discriminant(answer) => Vec::new(),
        _ => vec![format!("{path} like {wanted}")],
    }
}

/// The number of SDKs that were recorded with these calls.
const SDKS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn interactions_are_answered_as_every_sdk_needs_it() {
    let machines = Machines::start().await;
    let nowhere = ("https://example.com/dyn", NOWHERE.to_owned());
    for name in ["interactions.create-webhook_config", "interactions.create.video-webhook_config"] {
        assert_eq!(replay(&machines.endless, name, &[nowhere.clone()].into()).await, SDKS);
    }

    let test = &machines.quick;
    let tool = json!({"tools": [{
        "type": "function",
        "name": "get_weather",
        "parameters": {"properties": {"location": {"type": "string"}}},
    }]});
    let film = json!({"response_format": {"type": "video", "delivery": "uri"}});
    let done = interaction(test, "hi", json!({})).await;
    let failed = interaction(test, r#"simulate: {"fail": "boom"}"#, json!({})).await;
    let video = interaction(test, "a balloon", film).await;
    let waiting = interaction(test, "Boston", tool).await;
    for (name, id) in [
        ("interactions.get", &done),
        ("interactions.get.failed", &failed),
        ("interactions.get.video", &video),
        ("interactions.get.requires_action", &waiting),
    ] {
        assert_eq!(replay(test, name, &[("v1_abc", id.clone())].into()).await, SDKS);
    }
    let old = interaction(&machines.legacy, "hi", json!({})).await;
    let names = [("v1_abc", old)].into();
    assert_eq!(replay(&machines.legacy, "interactions.get.outputs-legacy", &names).await, SDKS);

    let shown: Value = test.gemini(&format!("v1/interactions/{waiting}")).await.json().await.unwrap();
    let call = shown["steps"][1]["id"].as_str().unwrap().to_owned();
    let continued = fixture("interactions.create.function_result");
    let mut body = continued["recordings"][0]["requests"][0]["body_json"].clone();
    assert_eq!(
        (&body["previous_interaction_id"], &body["input"][0]["call_id"]),
        (&json!("v1_abc"), &json!("fc_1"))
    );
    body["previous_interaction_id"] = waiting.as_str().into();
    body["input"][0]["call_id"] = call.as_str().into();
    let answer = post(test, "/v1/interactions", body).await;
    assert_eq!(
        (&answer["status"], &answer["previous_interaction_id"]),
        (&json!("completed"), &json!(waiting))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn interactions_are_cancelled_and_deleted_as_every_sdk_asks_for_it() {
    let machines = Machines::start().await;
    let test = &machines.endless;
    let asked = json!({
        "model": "m",
        "background": true,
        "input": "hi",
        "webhook_config": {"uris": [NOWHERE], "user_metadata": {"job_group": "g", "priority": "high"}},
    });
    let created = post(test, "/v1/interactions", asked).await;
    let id = created["id"].as_str().unwrap().to_owned();
    assert_eq!(replay(test, "interactions.cancel", &[("v1_abc", id.clone())].into()).await, SDKS);

    let mut deletion = fixture("interactions.delete")["recordings"][0].take();
    let request = deletion["requests"][0].take();
    assert_eq!(request["method"], "DELETE");
    let target = request["target"].as_str().unwrap().replace("v1_abc", &id);
    let url = format!("{}{target}", test.machine.addresses.gemini_url);
    let answer = test.http.delete(url).header("x-goog-api-key", "k").send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), deletion["stub_responses"][0]["json"]);
    assert_eq!(test.gemini(&format!("v1/interactions/{id}")).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn videos_embeddings_and_cancelled_batches_are_answered_as_every_sdk_needs_it() {
    let machines = Machines::start().await;
    let test = &machines.endless;
    let nowhere = [("https://example.com/dyn", NOWHERE.to_owned())].into();
    // The newest SDKs refuse the call themselves.
    assert_eq!(replay(test, "models.generate_videos-webhook_config", &nowhere).await, SDKS - 2);
    let url = format!("{}/upload/v1beta/files?uploadType=media", test.machine.addresses.gemini_url);
    let line = json!({"key": "a", "request": {"content": {"parts": [{"text": "hi"}]}}}).to_string();
    let upload =
        test.http.post(url).header("x-goog-api-key", "k").header("content-type", "application/jsonl");
    let uploaded: Value = upload.body(line).send().await.unwrap().json().await.unwrap();
    let input = uploaded["file"]["name"].as_str().unwrap().to_owned();
    let names = [("files/in1", input)].into();
    assert_eq!(replay(test, "batches.create_embeddings.file", &names).await, SDKS);
    let created = post(
        test,
        "/v1beta/models/veo-3.1-generate-preview:predictLongRunning",
        json!({"instances": [{"prompt": "a cat"}]}),
    );
    let pending = created.await["name"].as_str().unwrap().to_owned();
    let requests = json!([{"request": {"contents": [{"parts": [{"text": "hi"}]}]}}]);
    let batch = test.create_batch(requests, json!({"uris": [NOWHERE]})).await;
    assert_eq!(replay(test, "batches.cancel", &[("batches/b123", batch)].into()).await, SDKS);

    let operation = "models/veo-3.1-generate-preview/operations/op1";
    assert_eq!(replay(test, "operations.get.pending", &[(operation, pending)].into()).await, SDKS);
    let test = &machines.quick;
    for (name, prompt) in [
        ("operations.get", "a cat"),
        ("operations.get.failed", r#"simulate: {"fail": "blocked"}"#),
        ("operations.get.filtered", r#"simulate: {"filtered": true}"#),
    ] {
        let ours = video(test, prompt).await;
        assert_eq!(replay(test, name, &[(operation, ours)].into()).await, SDKS, "{name}");
    }
    let name = video(test, "a cat").await;
    let done: Value = test.gemini(&format!("v1/{name}")).await.json().await.unwrap();
    let sample = &done["response"]["generateVideoResponse"]["generatedSamples"][0];
    let uri = sample["video"]["uri"].as_str().unwrap();
    let id = uri.rsplit('/').next().unwrap().trim_end_matches(":download?alt=media").to_owned();
    assert_eq!(
        replay(test, "files.download.uri", &[("files/vid1", format!("files/{id}"))].into()).await,
        SDKS
    );
}
