use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

async fn interact(running: &Running, mut asked: Value) -> Value {
    asked["background"] = true.into();
    let answer = running.post("/v1/interactions", asked).await;
    assert_eq!((&answer["object"], &answer["status"]), (&json!("interaction"), &json!("in_progress")));
    answer
}

async fn finished(running: &Running, created: &Value) -> Value {
    let id = created["id"].as_str().unwrap();
    running.until(&format!("interactions/{id}?stream=false"), |it| it["status"] != "in_progress").await
}

/// A simulator whose events go nowhere.
async fn start(folder: &tempfile::TempDir) -> Running {
    Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await
}

#[tokio::test]
async fn an_interaction_in_the_background_completes_in_steps_and_has_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = start(&folder).await;
    let webhook = json!({"uris": [receiver.url], "user_metadata": {"job_group": "research"}});
    let asked = json!({"agent": "deep-research", "input": "why is it so", "webhook_config": webhook});
    let created = interact(&running, asked).await;
    assert_eq!((&created["agent"], &created["webhook_config"]), (&json!("deep-research"), &webhook));
    let event = receiver.next().await.json();
    assert_eq!(event["type"], "interaction.completed");
    assert_eq!(
        (&event["data"], &event["user_metadata"]),
        (&json!({"id": created["id"]}), &webhook["user_metadata"])
    );
    let interaction = finished(&running, &created).await;
    assert_eq!(interaction["status"], "completed");
    let said = json!([{"type": "text", "text": "why is it so"}]);
    let kinds: Vec<&Value> =
        interaction["steps"].as_array().unwrap().iter().map(|step| &step["type"]).collect();
    assert_eq!(kinds, ["user_input", "thought", "model_output"]);
    assert_eq!(interaction["steps"][0]["content"], said);
    assert_eq!(interaction["steps"][2]["content"], json!([{"type": "text", "text": "echo: why is it so"}]));
    assert_eq!(interaction["usage"]["total_tokens"], 9);
}

#[tokio::test]
async fn a_function_call_waits_until_its_result_is_sent_in_an_interaction_that_follows() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    let tool = json!({
        "type": "function",
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
    });
    let first = interact(&running, json!({"model": "m", "input": "Boston", "tools": [tool]})).await;
    assert_eq!(receiver.next().await.json()["type"], "interaction.requires_action");
    let waiting = finished(&running, &first).await;
    assert_eq!(waiting["status"], "requires_action");
    let call = &waiting["steps"][1];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("get_weather")));
    assert_eq!(call["arguments"], json!({"location": "Boston"}));

    let result = |call: &Value, previous: &Value| {
        json!({
            "model": "m",
            "previous_interaction_id": previous["id"],
            "tools": [tool],
            "input": [{"type": "function_result", "call_id": call["id"], "name": "get_weather", "result": {"ok": true}}],
        })
    };
    let second = interact(&running, result(call, &first)).await;
    assert_eq!(second["previous_interaction_id"], first["id"]);
    assert_eq!(receiver.next().await.json()["type"], "interaction.completed");
    let steps = finished(&running, &second).await["steps"].take();
    assert_eq!((&steps[0]["type"], &steps[0]["call_id"]), (&json!("function_result"), &call["id"]));
    assert_eq!(steps[2]["content"][0]["text"], "echo: {\"ok\":true}");

    for (call, previous) in [(&json!({"id": "fc_other"}), &first), (call, &second)] {
        let (status, answer) = running.call("POST", "/v1/interactions", Some(result(call, previous))).await;
        assert_eq!((status, &answer["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    }
    let nowhere = result(call, &json!({"id": "v1_none"}));
    assert_eq!(running.call("POST", "/v1/interactions", Some(nowhere)).await.0, 404);
}

#[tokio::test]
async fn one_in_the_foreground_is_answered_at_once_and_has_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    let answer = running.post("/v1/interactions", json!({"model": "m", "input": "hi"})).await;
    assert_eq!((&answer["status"], &answer["model"]), (&json!("completed"), &json!("m")));
    receiver.nothing_for(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn an_interaction_ends_as_its_input_wishes() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    for (directives, status, event_type) in [
        (r#"{"fail": "boom"}"#, "failed", Some("interaction.failed")),
        (r#"{"state": "cancelled"}"#, "cancelled", Some("interaction.cancelled")),
        (r#"{"requires_action": true}"#, "requires_action", Some("interaction.requires_action")),
        (r#"{"state": "incomplete"}"#, "incomplete", None),
        (r#"{"state": "budget_exceeded"}"#, "budget_exceeded", None),
    ] {
        let created =
            interact(&running, json!({"model": "m", "input": format!("simulate: {directives}")})).await;
        let interaction = finished(&running, &created).await;
        assert_eq!(interaction["status"], status);
        match event_type {
            Some(event_type) => assert_eq!(receiver.next().await.json()["type"], event_type),
            None => receiver.nothing_for(Duration::from_millis(50)).await,
        }
        if status == "failed" {
            assert_eq!(interaction["errors"], json!([{"code": "internal", "message": "boom"}]));
        }
    }
}

#[tokio::test]
async fn an_interaction_is_cancelled_and_deleted_and_a_late_cancel_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let settings = Settings { finish_after: LONG, ..quick() };
    let running = Running::start(folder.path(), &receiver.url, settings).await;
    let created = interact(&running, json!({"model": "m", "input": "hi"})).await;
    let path = format!("/v1/interactions/{}", created["id"].as_str().unwrap());
    let (status, cancelled) = running.call("POST", &format!("{path}/cancel"), None).await;
    assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
    assert_eq!(receiver.next().await.json()["type"], "interaction.cancelled");
    assert_eq!(running.call("POST", &format!("{path}/cancel"), None).await, (200, cancelled));
    receiver.nothing_for(Duration::from_millis(50)).await;
    assert_eq!(running.call("DELETE", &path, None).await, (200, json!({})));
    assert_eq!(running.call("GET", &path, None).await.0, 404);
}

#[tokio::test]
async fn media_are_in_the_answer_or_in_a_file_and_the_same_in_both() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let asked = |kind: &str, delivery: &str| {
        let format = json!({"type": kind, "delivery": delivery});
        json!({"model": "m", "input": r#"a balloon, simulate: {"size": 100000}"#, "response_format": format})
    };
    let created = interact(&running, asked("image", "inline")).await;
    let image = finished(&running, &created).await["steps"][2]["content"][1].take();
    assert_eq!((&image["type"], &image["mime_type"]), (&json!("image"), &json!("image/png")));
    let bytes = BASE64_STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
    assert_eq!(bytes.len(), 100_000);

    let created = interact(&running, asked("video", "uri")).await;
    let video = finished(&running, &created).await["steps"][2]["content"][1].take();
    assert_eq!((&video["type"], &video["mime_type"]), (&json!("video"), &json!("video/mp4")));
    let uri = video["uri"].as_str().unwrap();
    let answer = running.client.get(uri).header("x-goog-api-key", "k").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "video/mp4");
    assert_eq!(answer.bytes().await.unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_long_text_is_as_long_as_wished_for_and_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let created = interact(&running, json!({"model": "m", "input": r#"simulate: {"size": 3000000}"#})).await;
    let interaction = finished(&running, &created).await;
    assert_eq!(interaction["steps"][2]["content"][0]["text"].as_str().unwrap().len(), 3_000_000);
    let path = format!("/v1/interactions/{}", created["id"].as_str().unwrap());
    let again = running.request("GET", &path).send().await.unwrap();
    let length: usize = again.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let again = again.bytes().await.unwrap();
    assert_eq!(again.len(), length);
    assert_eq!(serde_json::from_slice::<Value>(&again).unwrap(), interaction);
}

#[tokio::test]
async fn results_are_shown_as_outputs_where_the_setting_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { legacy_outputs: true, ..quick() };
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", settings).await;
    let created = interact(&running, json!({"model": "m", "input": "hi"})).await;
    let interaction = finished(&running, &created).await;
    assert_eq!(interaction["outputs"], json!([{"type": "text", "text": "echo: hi"}]));
    assert!(interaction.get("steps").is_none());
}

#[tokio::test]
async fn every_shape_of_input_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let text = json!({"type": "text", "text": "hi"});
    for input in [
        json!("hi"),
        text.clone(),
        json!([text]),
        json!([{"role": "user", "content": [text]}]),
        json!([{"type": "user_input", "content": [text]}]),
    ] {
        let answer = running.post("/v1/interactions", json!({"model": "m", "input": input})).await;
        assert_eq!(answer["steps"][0], json!({"type": "user_input", "content": [text]}), "{input}");
        assert_eq!(answer["steps"][2]["content"][0]["text"], "echo: hi", "{input}");
    }
}
