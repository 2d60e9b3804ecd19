//! What public reports tell of the real service, played on purpose: absences, rejections, quotas, missing outputs, odd
//! text, and time that passes.

use super::*;

/// A simulator whose events go nowhere.
async fn start(folder: &tempfile::TempDir) -> Running {
    Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await
}

fn status(answer: &Value) -> &str {
    answer["error"]["status"].as_str().unwrap_or_default()
}

async fn download(running: &Running, path: &str) -> (u16, Vec<u8>) {
    let answer = running.request("GET", path).send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

async fn move_clock(running: &Running, forward: f64) -> (u16, Value) {
    running.call("PUT", "/simulator/clock", Some(json!({"forward": forward}))).await
}

/// A batch of a file with these requests, and its display name.
async fn batch_of(running: &Running, texts: &[&str], display_name: &str) -> String {
    let lines: Vec<String> =
        texts.iter().map(|text| json!({"key": text, "request": request(text)}).to_string()).collect();
    let input = running.upload(&lines.join("\n")).await;
    running.create(json!({"displayName": display_name, "inputConfig": {"fileName": input}})).await
}

fn batch_with(texts: &[&str], display_name: &str) -> Value {
    let requests: Vec<Value> = texts.iter().map(|text| json!({"request": request(text)})).collect();
    json!({"displayName": display_name, "inputConfig": {"requests": {"requests": requests}}})
}

async fn output_of(running: &Running, name: &str) -> String {
    let path = format!("/v1/files/batch-{}:download?alt=media", name.trim_start_matches("batches/"));
    let (status, body) = download(running, &path).await;
    assert_eq!(status, 200);
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn a_job_is_not_found_for_two_days_and_then_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let created = running.post("/v1/interactions", json!({"model": "m", "input": "hi", "background": true}));
    let path = format!("/v1/interactions/{}", created.await["id"].as_str().unwrap());
    running.faults(json!([{"fault": "not_found", "seconds": 172_800.0, "on": "/interactions"}])).await;
    for forward in [0.0, 86_400.0, 172_700.0] {
        assert_eq!(move_clock(&running, forward).await.0, 200);
        let (code, answer) = running.call("GET", &path, None).await;
        assert_eq!((code, status(&answer)), (404, "NOT_FOUND"), "after {forward} s");
    }
    move_clock(&running, 172_801.0).await;
    assert_eq!(running.get(&path).await["status"], "completed");
}

#[tokio::test]
async fn the_clock_says_what_time_it_is_and_goes_forward_only_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    assert_eq!(running.get("/simulator/clock").await["forward"], 0.0);
    let (code, moved) = move_clock(&running, 86_400.5).await;
    assert_eq!((code, &moved["forward"]), (200, &json!(86_400.5)));
    let tomorrow = gemini_simulator::clock::rfc3339(gemini_simulator::clock::now() + 86_400_000);
    assert_eq!(moved["now"].as_str().unwrap()[..13], tomorrow[..13]);
    for wrong in [json!({"forward": 86_400.0}), json!({"forward": 1e15}), json!({"forward": -1}), json!({})] {
        let (code, answer) = running.call("PUT", "/simulator/clock", Some(wrong.clone())).await;
        assert_eq!((code, status(&answer)), (400, "INVALID_ARGUMENT"), "{wrong}");
    }
    let name = running.create(inline("made tomorrow")).await;
    running.kill().await;
    let running = start(&folder).await;
    assert_eq!(running.get("/simulator/clock").await["forward"], 86_400.5);
    assert_eq!(running.ended(&name).await["metadata"]["createTime"].as_str().unwrap()[..13], tomorrow[..13]);
    running.kill().await;
    let ahead = Settings { clock_forward: Duration::from_secs(172_800), ..quick() };
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", ahead).await;
    assert_eq!(running.get("/simulator/clock").await["forward"], 172_800.0);
}

/// The job would run for an hour, and the second attempt to deliver would come a day later.
#[tokio::test]
async fn jobs_end_and_events_are_sent_again_when_the_clock_is_moved_past_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[500]).await;
    let settings = Settings {
        finish_after: LONG,
        delivery: retried(Duration::from_secs(80_000)),
        ..Settings::default()
    };
    let running = Running::start(folder.path(), &receiver.url, settings).await;
    let name = running.create(inline("hi")).await;
    receiver.nothing_for(Duration::from_millis(50)).await;
    move_clock(&running, 3_601.0).await;
    let first = receiver.next().await;
    assert_eq!(running.ended(&name).await["metadata"]["state"], "BATCH_STATE_SUCCEEDED");
    receiver.nothing_for(Duration::from_millis(50)).await;
    move_clock(&running, 3_601.0 + 80_001.0).await;
    let second = receiver.next().await;
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    let signed = second.header("webhook-timestamp").parse::<i64>().unwrap();
    let real = gemini_simulator::clock::now() / 1000;
    assert!((real - 60..=real).contains(&signed), "receivers have real time: {signed}, not {real}");
}

#[tokio::test]
async fn an_old_signing_secret_expires_when_the_clock_is_moved_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let asked = json!({"uri": "https://example.com/", "subscribed_events": ["batch.failed"]});
    let made = running.post("/v1/webhooks", asked).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    running.post(&format!("{path}:rotateSigningSecret"), json!({})).await;
    let secrets = || async { running.get(&path).await["signing_secrets"].as_array().unwrap().len() };
    assert_eq!(secrets().await, 2);
    move_clock(&running, 86_000.0).await;
    assert_eq!(secrets().await, 2);
    move_clock(&running, 86_401.0).await;
    assert_eq!(secrets().await, 1);
}

#[tokio::test]
async fn jobs_and_files_are_rejected_with_400_and_403_but_lists_and_new_jobs_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let name = batch_of(&running, &["hi"], "").await;
    running.ended(&name).await;
    let video = running.film("a cat").await;
    let file = format!("files/batch-{}", name.trim_start_matches("batches/"));
    let interaction = running.post("/v1/interactions", json!({"model": "m", "input": "hi"})).await;
    let interaction = format!("interactions/{}", interaction["id"].as_str().unwrap());
    let paths = [name.clone(), video, interaction, file.clone(), format!("{file}:download?alt=media")];
    for (fault, code, word, message) in [
        (
            json!({"fault": "rejected", "status": 400, "message": "* File ID (name) must be at most 40 characters"}),
            400,
            "INVALID_ARGUMENT",
            "at most 40",
        ),
        (json!({"fault": "rejected", "status": 400}), 400, "INVALID_ARGUMENT", "invalid argument"),
        (json!({"fault": "rejected", "status": 403}), 403, "PERMISSION_DENIED", "does not have permission"),
        (json!({"fault": "not_found"}), 404, "NOT_FOUND", "not found"),
    ] {
        running.faults(json!([fault])).await;
        for path in &paths {
            let (found, answer) = running.call("GET", &format!("/v1beta/{path}"), None).await;
            assert_eq!((found, status(&answer)), (code, word), "{path}");
            assert!(answer["error"]["message"].as_str().unwrap().contains(message), "{answer}");
        }
        running.get("/v1beta/batches").await;
        running.create(inline("another")).await;
    }
    let content = format!("/download/v1beta/{file}:download?alt=media");
    running.faults(json!([{"fault": "rejected", "status": 403, "calls": 1, "on": "/download/"}])).await;
    running.get(&format!("/v1beta/{name}")).await;
    assert_eq!(download(&running, &content).await.0, 403);
    assert_eq!(download(&running, &content).await.0, 200);
}

#[tokio::test]
async fn a_job_of_another_project_is_found_with_its_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let name = batch_of(&running, &["hi"], "").await;
    running.ended(&name).await;
    let id = name.trim_start_matches("batches/");
    running.faults(json!([{"fault": "other_key", "key": "theirs", "on": id}])).await;
    for (path, code) in [(format!("/v1/{name}"), 404), (format!("/v1/files/batch-{id}"), 403)] {
        let (found, answer) = running.call("GET", &path, None).await;
        assert_eq!((found, &answer["error"]["code"]), (code, &json!(code)));
        for request in [
            running.client.get(format!("{}{path}", running.base_url)).header("x-goog-api-key", "theirs"),
            running.client.get(format!("{}{path}?key=theirs", running.base_url)),
        ] {
            assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
        }
    }
    let ours = running.create(inline("hi")).await;
    running.get(&format!("/v1/{ours}")).await;
}

#[tokio::test]
async fn a_download_is_empty_as_often_as_a_fault_says() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let name = batch_of(&running, &["hi"], "").await;
    running.ended(&name).await;
    let path = format!("/v1/files/batch-{}:download?alt=media", name.trim_start_matches("batches/"));
    running.faults(json!([{"fault": "empty", "calls": 1}])).await;
    let answer = running.request("GET", &path).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-length"]), (200, &"0".parse().unwrap()));
    assert!(answer.bytes().await.unwrap().is_empty());
    assert!(!download(&running, &path).await.1.is_empty());
}

#[tokio::test]
async fn a_finished_operation_has_neither_a_video_nor_a_reason_for_a_while_or_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let name = running.film(r#"a cat, simulate: {"samples": 0}"#).await;
    let operation = running.ended(&name).await;
    assert_eq!(operation["response"]["generateVideoResponse"], json!({}), "{operation}");
    assert!(operation.get("error").is_none());

    let name = running.film("a cat").await;
    running.ended(&name).await;
    running.faults(json!([{"fault": "no_output", "calls": 1}])).await;
    let path = format!("/v1/{name}");
    let (first, second) = (running.get(&path).await, running.get(&path).await);
    assert_eq!((&first["done"], &first["response"]["generateVideoResponse"]), (&json!(true), &json!({})));
    assert!(second["response"]["generateVideoResponse"]["generatedSamples"].is_array());
    let path = "/v1/models/veo:predictLongRunning";
    let none = json!({"instances": [{"prompt": "a cat"}], "parameters": {"sampleCount": 0}});
    assert_eq!(running.call("POST", path, Some(none)).await.0, 400, "the API itself takes no 0");
}

#[tokio::test]
async fn a_batch_and_an_interaction_that_have_succeeded_show_no_output_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let name = running.create(inline("hi")).await;
    running.ended(&name).await;
    let asked = json!({"model": "m", "input": "hi"});
    let id = running.post("/v1/interactions", asked).await["id"].as_str().unwrap().to_owned();
    running.faults(json!([{"fault": "no_output", "calls": 2}])).await;
    let batch = running.get(&format!("/v1/{name}")).await;
    assert_eq!(
        (&batch["metadata"]["state"], &batch["done"]),
        (&json!("BATCH_STATE_SUCCEEDED"), &json!(true))
    );
    assert!(batch.get("response").is_none() && batch["metadata"].get("output").is_none(), "{batch}");
    let interaction = running.get(&format!("/v1/interactions/{id}")).await;
    assert_eq!(interaction["status"], "completed");
    assert!(interaction.get("steps").is_none(), "{interaction}");
    assert!(running.get(&format!("/v1/{name}")).await["response"].is_object());
    assert!(running.get(&format!("/v1/interactions/{id}")).await["steps"].is_array());
}

/// Read as text: a strict reader refuses it.
#[tokio::test]
async fn half_of_a_surrogate_pair_is_in_the_answer_as_an_escape() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let directives = r#"hi, simulate: {"lone_surrogate": true}"#;
    let texts = |path: String| {
        let running = &running;
        async move {
            let answer = running.request("GET", &path).send().await.unwrap();
            let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
            let text = answer.text().await.unwrap();
            assert_eq!(text.len(), length);
            text
        }
    };
    let made = running.request("POST", "/v1/interactions").json(&json!({"model": "m", "input": directives}));
    let made = made.send().await.unwrap().text().await.unwrap();
    let id = made.split('"').find(|word| word.starts_with("v1_")).unwrap();
    let interaction = texts(format!("/v1/interactions/{id}")).await;
    assert!(interaction.contains(r#"broken off: \ud83d""#), "{interaction}");
    assert!(serde_json::from_str::<Value>(&interaction).is_err());

    let name = batch_of(&running, &[directives, "whole"], "").await;
    running.ended(&name).await;
    let output = output_of(&running, &name).await;
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].contains(r#"\ud83d""#) && serde_json::from_str::<Value>(lines[0]).is_err());
    assert!(serde_json::from_str::<Value>(lines[1]).is_ok());
}

#[tokio::test]
async fn a_batch_counts_answers_that_are_not_in_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let directives = r#"simulate: {"missing": 2}"#;
    let stats = json!({"requestCount": "3", "successfulRequestCount": "3"});
    let name = batch_of(&running, &["one", "two", "three"], directives).await;
    assert_eq!(running.ended(&name).await["metadata"]["batchStats"], stats);
    let output = output_of(&running, &name).await;
    assert_eq!(output.lines().count(), 1);
    assert!(output.contains("echo: three"), "{output}");

    let name = running.create(batch_with(&["one", "two", "three"], directives)).await;
    let batch = running.ended(&name).await;
    assert_eq!(batch["metadata"]["batchStats"], stats);
    assert_eq!(batch["response"]["inlinedResponses"]["inlinedResponses"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_that_does_not_succeed_carries_the_answers_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    for (directives, state) in [
        (r#"simulate: {"state": "cancelled", "partial": 1}"#, "BATCH_STATE_CANCELLED"),
        (r#"simulate: {"state": "expired", "partial": 1}"#, "BATCH_STATE_EXPIRED"),
        (r#"simulate: {"fail": "no luck", "partial": 1}"#, "BATCH_STATE_FAILED"),
    ] {
        let name = running.create(batch_with(&["one", "two", "three"], directives)).await;
        let batch = running.ended(&name).await;
        let metadata = &batch["metadata"];
        assert_eq!((&metadata["state"], batch.get("response")), (&json!(state), None));
        assert!(batch["error"].is_object());
        let answers = metadata["output"]["inlinedResponses"]["inlinedResponses"].as_array().unwrap();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0]["response"]["candidates"][0]["content"]["parts"][0]["text"], "echo: one");
        let stats = json!({"requestCount": "3", "successfulRequestCount": "1", "pendingRequestCount": "2"});
        assert_eq!(metadata["batchStats"], stats);

        let name = batch_of(&running, &["one", "two"], directives).await;
        let batch = running.ended(&name).await;
        let file = format!("files/batch-{}", name.trim_start_matches("batches/"));
        assert_eq!(batch["metadata"]["output"]["responsesFile"], file);
        assert_eq!(output_of(&running, &name).await.lines().count(), 1);
    }
}

#[tokio::test]
async fn a_batch_that_is_cancelled_while_it_runs_keeps_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { finish_after: LONG, ..quick() };
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", settings).await;
    let name = running.create(batch_with(&["one", "two"], r#"simulate: {"partial": 1}"#)).await;
    running.post(&format!("/v1/{name}:cancel"), json!({})).await;
    let batch = running.ended(&name).await;
    assert_eq!(batch["metadata"]["state"], "BATCH_STATE_CANCELLED");
    let answers = &batch["metadata"]["output"]["inlinedResponses"]["inlinedResponses"];
    assert_eq!(answers.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_used_up_quota_says_of_which_time_it_is_and_may_say_to_come_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    for (fault, quota, delay) in [
        (json!({"fault": "throttled", "wait": 0.0, "quota": "day"}), Some("PerDay"), Some("0s")),
        (json!({"fault": "throttled", "quota": "minute"}), Some("PerMinute"), None),
        (json!({"fault": "throttled", "wait": 0.0}), None, Some("0s")),
        (json!({"fault": "throttled"}), None, None),
    ] {
        running.faults(json!([fault])).await;
        let (code, answer) = running.call("GET", "/v1/batches", None).await;
        assert_eq!((code, status(&answer)), (429, "RESOURCE_EXHAUSTED"));
        let details = answer["error"]["details"].as_array().cloned().unwrap_or_default();
        let of = |name: &str| {
            details.iter().find(|detail| detail["@type"] == format!("type.googleapis.com/google.rpc.{name}"))
        };
        assert_eq!(of("RetryInfo").map(|info| info["retryDelay"].as_str().unwrap()), delay);
        let id = of("QuotaFailure").map(|failure| failure["violations"][0]["quotaId"].as_str().unwrap());
        assert!(match quota {
            Some(quota) => id.unwrap().contains(quota),
            None => id.is_none(),
        });
    }
}

#[tokio::test]
async fn an_idle_interaction_has_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    let asked = json!({"model": "m", "input": r#"simulate: {"state": "idle"}"#, "background": true});
    let created = running.post("/v1/interactions", asked).await;
    let path = format!("interactions/{}", created["id"].as_str().unwrap());
    let interaction = running.until(&path, |it| it["status"] != "in_progress").await;
    assert_eq!(interaction["status"], "idle");
    receiver.nothing_for(Duration::from_millis(50)).await;
}
