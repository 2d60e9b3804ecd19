use super::*;

/// A simulator whose events go nowhere.
async fn start(folder: &tempfile::TempDir) -> Running {
    Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await
}

#[tokio::test]
async fn a_new_batch_is_answered_as_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { finish_after: LONG, ..quick() };
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", settings).await;
    let mut batch = inline("hi");
    batch["displayName"] = "My Setup".into();
    let path = "/v1/models/gemini-3.6-flash:batchGenerateContent";
    let (status, mut answer) = running.call("POST", path, Some(json!({"batch": batch}))).await;
    assert_eq!(status, 200);
    let name = answer["name"].as_str().unwrap().to_owned();
    assert_eq!(name.len(), "batches/".len() + 36);
    let created = answer["metadata"]["createTime"].take();
    assert_eq!(created, answer["metadata"]["updateTime"].take());
    assert!(created.as_str().unwrap().ends_with('Z'));
    assert_eq!(
        answer,
        json!({"name": name, "metadata": {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": "models/gemini-3.6-flash",
            "displayName": "My Setup",
            "createTime": null,
            "updateTime": null,
            "batchStats": {"requestCount": "1", "pendingRequestCount": "1"},
            "state": "BATCH_STATE_PENDING",
            "name": name,
        }})
    );
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(running.get(&format!("/v1/{name}")).await["metadata"]["state"], "BATCH_STATE_RUNNING");
}

#[tokio::test]
async fn an_inline_batch_shows_its_responses_twice_and_never_in_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let requests = json!([{"request": request("hi there"), "metadata": {"key": "r1"}}, {"request": {}}]);
    let name = running.create(json!({"inputConfig": {"requests": {"requests": requests}}})).await;
    let batch = running.ended(&name).await;
    let metadata = &batch["metadata"];
    assert_eq!(metadata["state"], "BATCH_STATE_SUCCEEDED");
    assert_eq!(
        metadata["batchStats"],
        json!({"requestCount": "2", "successfulRequestCount": "1", "failedRequestCount": "1"})
    );
    let responses = &metadata["output"]["inlinedResponses"]["inlinedResponses"];
    assert_eq!(responses[0]["metadata"], json!({"key": "r1"}));
    let text = &responses[0]["response"]["candidates"][0]["content"]["parts"][0]["text"];
    assert_eq!(text, "echo: hi there");
    assert_eq!(responses[1], json!({"error": {"code": 3, "message": "contents is required"}}));
    assert_eq!(&batch["response"]["inlinedResponses"]["inlinedResponses"], responses);
    assert!(batch["response"]["@type"].as_str().unwrap().ends_with("GenerateContentBatchOutput"));
    let list = running.get("/v1beta/batches").await;
    assert_eq!(list["operations"][0]["name"], name.as_str());
    assert!(!list.to_string().contains("inlinedResponses"));
}

#[tokio::test]
async fn a_file_batch_writes_a_file_that_can_be_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let lines: Vec<String> = (0..3000)
        .map(|n| json!({"key": format!("k{n}"), "request": request(&format!("number {n}"))}).to_string())
        .collect();
    let input = running.upload(&lines.join("\n")).await;
    let name = running.create(json!({"inputConfig": {"fileName": input}})).await;
    let batch = running.ended(&name).await;
    let output = format!("files/batch-{}", name.trim_start_matches("batches/"));
    assert_eq!(batch["metadata"]["output"], json!({"responsesFile": output}));
    assert_eq!(batch["response"]["responsesFile"], output.as_str());
    assert_eq!(batch["metadata"]["inputConfig"], json!({"fileName": input}));
    let file = running.get(&format!("/v1/{output}")).await;
    assert_eq!((&file["source"], &file["state"]), (&json!("GENERATED"), &json!("ACTIVE")));
    let address = format!("{}/download/v1/{output}:download?alt=media", running.base_url);
    assert_eq!(file["downloadUri"], address.as_str());
    for path in
        [format!("/v1/{output}:download?alt=media"), format!("/download/v1/{output}:download?alt=media")]
    {
        let answer = running.request("GET", &path).send().await.unwrap();
        assert_eq!(answer.headers()["content-length"].to_str().unwrap(), file["sizeBytes"].as_str().unwrap());
        let text = answer.text().await.unwrap();
        assert_eq!(text.lines().count(), 3000);
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["key"], "k2999");
        assert_eq!(last["response"]["usageMetadata"]["totalTokenCount"], 5);
    }
    let (status, answer) = running.call("GET", &format!("/v1/{input}:download?alt=media"), None).await;
    assert_eq!((status, &answer["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    let (status, answer) = running.call("DELETE", &format!("/v1/{output}"), None).await;
    let message = "* File ID (name) must be at most 40 characters";
    assert_eq!((status, &answer["error"]["message"]), (400, &json!(message)), "as for a real output");
    assert_eq!(running.get(&format!("/v1/{output}")).await["name"], output.as_str());
    for gone in [&input, &name] {
        assert_eq!(running.call("DELETE", &format!("/v1/{gone}"), None).await, (200, json!({})));
        let (status, answer) = running.call("GET", &format!("/v1/{gone}"), None).await;
        assert_eq!((status, &answer["error"]["status"]), (404, &json!("NOT_FOUND")));
    }
}

#[tokio::test]
async fn an_upload_goes_on_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let begin = running
        .request("POST", "/upload/v1/files")
        .header("x-goog-upload-protocol", "resumable")
        .header("x-goog-upload-command", "start")
        .header("x-goog-upload-header-content-length", "12")
        .header("x-goog-upload-header-content-type", "jsonl")
        .json(&json!({"file": {"display_name": "in", "mime_type": "jsonl", "size_bytes": 12}}));
    let begun = begin.send().await.unwrap();
    assert_eq!(begun.headers()["x-goog-upload-status"], "active");
    let address = begun.headers()["x-goog-upload-url"].to_str().unwrap().to_owned();
    assert!(address.starts_with(&running.base_url), "{address}");
    let path = address.trim_start_matches(&running.base_url).to_owned();
    let send = async |running: &Running, command: &str, offset: &str, body: &'static str| {
        let request = running.client.post(format!("{}{path}", running.base_url));
        let request = request.header("x-goog-upload-command", command).header("x-goog-upload-offset", offset);
        request.body(body).send().await.unwrap()
    };
    assert_eq!(send(&running, "upload", "0", "{\"a\":").await.status(), 200);
    running.kill().await;
    let running = start(&folder).await;
    let asked = send(&running, "query", "0", "").await;
    assert_eq!(asked.headers()["x-goog-upload-size-received"], "5");
    assert_eq!(send(&running, "upload, finalize", "4", "1}\n").await.status(), 400);
    assert_eq!(send(&running, "upload", "5", "1}\n").await.status(), 200);
    assert_eq!(send(&running, "finalize", "8", "").await.status(), 400);
    let done = send(&running, "upload, finalize", "8", "{ }\n").await;
    assert_eq!(done.headers()["x-goog-upload-status"], "final");
    let file = done.json::<Value>().await.unwrap()["file"].take();
    assert_eq!((&file["sizeBytes"], &file["mimeType"]), (&json!("12"), &json!("jsonl")));
    assert_eq!((&file["displayName"], &file["source"]), (&json!("in"), &json!("UPLOADED")));
    let id = file["name"].as_str().unwrap().trim_start_matches("files/");
    let data = std::fs::read_to_string(folder.path().join(format!("files/{id}.data"))).unwrap();
    assert_eq!(data, "{\"a\":1}\n{ }\n");
}

#[tokio::test]
async fn a_list_is_paged_newest_first_and_ends_without_an_empty_page() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    assert_eq!(running.get("/v1/batches").await, json!({}));
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(running.create(inline("hi")).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    names.reverse();
    let (mut found, mut token) = (Vec::new(), String::new());
    for page in 1..=2 {
        let list = running.get(&format!("/v1/batches?pageSize=2&pageToken={token}")).await;
        for operation in list["operations"].as_array().unwrap() {
            found.push(operation["name"].as_str().unwrap().to_owned());
        }
        assert_eq!(list.get("nextPageToken").is_some(), page == 1);
        token = list["nextPageToken"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(found, names);
}

#[tokio::test]
async fn files_are_listed_in_pages_until_they_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    assert_eq!(running.get("/v1/files").await, json!({}));
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(running.upload("{}").await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let listed = |list: &Value| -> Vec<String> {
        list["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = running.get("/v1/files?pageSize=2").await;
    assert_eq!(listed(&first), [names[2].as_str(), &names[1]]);
    let token = first["nextPageToken"].as_str().unwrap();
    let second = running.get(&format!("/v1/files?pageSize=2&pageToken={token}")).await;
    assert_eq!((listed(&second), second.get("nextPageToken")), (vec![names[0].clone()], None));
    let removed = running.request("DELETE", &format!("/v1/{}", names[1])).send().await.unwrap();
    assert_eq!(removed.status(), 200);
    assert_eq!(listed(&running.get("/v1/files").await), [names[2].as_str(), &names[0]]);
}

#[tokio::test]
async fn what_is_wrong_is_answered_in_one_shape() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder).await;
    let create = "/v1/models/m:batchGenerateContent";
    let film = "/v1/models/m:predictLongRunning";
    let interact = "/v1/interactions";
    let waited_for = json!({"model": "m", "input": "hi", "webhook_config": {"uris": []}});
    let no_address = json!({"batch": {
        "inputConfig": {"fileName": "files/a"},
        "webhookConfig": {"uris": ["nonsense"]},
    }});
    for (method, path, body, code, status) in [
        ("GET", "/", None, 404, "NOT_FOUND"),
        ("GET", "/v2/batches", None, 404, "NOT_FOUND"),
        ("PUT", "/v1/batches", None, 404, "NOT_FOUND"),
        ("GET", "/v1/batches/none", None, 404, "NOT_FOUND"),
        ("GET", "/v1/files/..%2F..%2Fx", None, 404, "NOT_FOUND"),
        ("GET", "/v1/batches/%ff", None, 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/batches?pageSize=x", None, 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/batches?pageToken=x", None, 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/files?pageToken=x", None, 400, "INVALID_ARGUMENT"),
        ("POST", "/v1/batches/none:cancel", None, 404, "NOT_FOUND"),
        ("POST", "/v1/models/m:other", Some(json!({})), 404, "NOT_FOUND"),
        ("POST", create, Some(json!({})), 400, "INVALID_ARGUMENT"),
        ("POST", create, None, 400, "INVALID_ARGUMENT"),
        ("POST", create, Some(json!({"batch": {"inputConfig": {}}})), 400, "INVALID_ARGUMENT"),
        ("POST", create, Some(no_address), 400, "INVALID_ARGUMENT"),
        ("POST", "/v1/models/:batchGenerateContent", Some(json!({})), 400, "INVALID_ARGUMENT"),
        ("POST", film, Some(json!({"instances": []})), 400, "INVALID_ARGUMENT"),
        ("POST", film, Some(json!({"instances": [{"prompt": "simulate: 1"}]})), 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/models/m/operations/none", None, 404, "NOT_FOUND"),
        ("POST", interact, Some(json!({"input": "hi"})), 400, "INVALID_ARGUMENT"),
        ("POST", interact, Some(json!({"model": "m", "input": []})), 400, "INVALID_ARGUMENT"),
        (
            "POST",
            interact,
            Some(json!({"model": "m", "input": "hi", "stream": true})),
            400,
            "INVALID_ARGUMENT",
        ),
        ("POST", interact, Some(waited_for), 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/interactions/none", None, 404, "NOT_FOUND"),
        ("POST", "/v1/interactions/none/cancel", None, 404, "NOT_FOUND"),
        ("DELETE", "/v1/interactions/none", None, 404, "NOT_FOUND"),
        ("DELETE", "/simulator/faults", None, 404, "NOT_FOUND"),
        ("PUT", "/simulator/faults", Some(json!([{"fault": "gremlins"}])), 400, "INVALID_ARGUMENT"),
        ("POST", "/upload/v1/files?upload_id=none", None, 404, "NOT_FOUND"),
    ] {
        let (got, answer) = running.call(method, path, body).await;
        let error = &answer["error"];
        assert_eq!((got, &error["code"], &error["status"]), (code, &json!(code), &json!(status)), "{path}");
        assert!(error["message"].is_string());
    }
    let answer = reqwest::get(format!("{}/v1/batches", running.base_url)).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["status"], "PERMISSION_DENIED");
    let answer = reqwest::get(format!("{}/v1/batches?key=test", running.base_url)).await.unwrap();
    assert_eq!(answer.status(), 200);
}
