use super::*;

fn uris(operation: &Value) -> Vec<String> {
    let samples = &operation["response"]["generateVideoResponse"]["generatedSamples"];
    samples
        .as_array()
        .unwrap()
        .iter()
        .map(|sample| sample["video"]["uri"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_video_is_an_operation_that_ends_with_files_and_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    let asked = json!({
        "instances": [{"prompt": r#"a cat, simulate: {"size": 200000}"#}],
        "parameters": {"sampleCount": 2},
        "webhookConfig": {"uris": [receiver.url], "user_metadata": {"job_group": "cats"}},
    });
    let created = running.post("/v1beta/models/veo-3.1-generate-preview:predictLongRunning", asked).await;
    let name = created["name"].as_str().unwrap();
    assert_eq!(created, json!({"name": name}));
    assert!(name.starts_with("models/veo-3.1-generate-preview/operations/"), "{name}");

    let event = receiver.next().await.json();
    let operation = running.ended(name).await;
    let uris = uris(&operation);
    let mut videos = Vec::new();
    for uri in &uris {
        let answer = running.client.get(uri).header("x-goog-api-key", "k").send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "video/mp4");
        videos.push(answer.bytes().await.unwrap());
        assert_eq!(running.client.get(uri).send().await.unwrap().status(), 403, "without a key");
    }
    assert_eq!([videos[0].len(), videos[1].len()], [200_000, 200_000]);
    assert_ne!(videos[0], videos[1]);
    let file = uris[0].rsplit('/').next().unwrap().trim_end_matches(":download?alt=media");
    assert!(file.bytes().all(|byte| byte.is_ascii_alphanumeric()), "an SDK would cut {file}");
    let file = format!("files/{file}");
    assert_eq!(running.get(&format!("/v1/{file}")).await["sizeBytes"], "200000");
    assert_eq!(
        (&event["type"], &event["user_metadata"]),
        (&json!("video.generated"), &json!({"job_group": "cats"}))
    );
    assert_eq!(event["data"], json!({"id": name, "file_name": file, "output_file_uri": file}));
}

#[tokio::test]
async fn a_video_can_be_filtered_in_part_or_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    for (directives, left, filtered) in
        [(r#"{"samples": 3, "filtered": 1}"#, 2, 1), (r#"{"samples": 2, "filtered": true}"#, 0, 2)]
    {
        let name = running.film(&format!("a cat, simulate: {directives}")).await;
        let operation = running.ended(&name).await;
        let response = &operation["response"]["generateVideoResponse"];
        assert_eq!(response["generatedSamples"].as_array().map_or(0, Vec::len), left);
        assert_eq!(response["raiMediaFilteredCount"], filtered);
        assert!(response["raiMediaFilteredReasons"][0].is_string());
        let event = receiver.next().await.json();
        assert_eq!((&event["type"], &event["data"]["id"]), (&json!("video.generated"), &json!(name)));
        assert_eq!(event["data"].get("file_name").is_some(), left > 0);
    }
}

#[tokio::test]
async fn a_video_that_failed_has_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    let name = running.film(r#"simulate: {"fail": "blocked"}"#).await;
    let operation = running.ended(&name).await;
    assert_eq!(operation, json!({"name": name, "done": true, "error": {"code": 3, "message": "blocked"}}));
    receiver.nothing_for(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_video_that_was_running_at_a_crash_ends_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let settings = Settings { finish_after: LONG, ..quick() };
    let running = Running::start(folder.path(), &receiver.url, settings).await;
    let name = running.film("a cat").await;
    assert_eq!(running.get(&format!("/v1/{name}")).await, json!({"name": name}));
    running.kill().await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    assert_eq!(receiver.next().await.json()["data"]["id"], name);
    assert_eq!(uris(&running.ended(&name).await).len(), 1);
}
