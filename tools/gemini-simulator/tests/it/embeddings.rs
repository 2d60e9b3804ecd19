use super::*;

const CALL: &str = "/v1/models/gemini-embedding-001:asyncBatchEmbedContent";

fn request(text: &str) -> Value {
    json!({"content": {"parts": [{"text": text}]}, "outputDimensionality": 3})
}

#[tokio::test]
async fn embeddings_of_a_file_are_lines_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let running = Running::start(folder.path(), &receiver.url, quick()).await;
    let lines = [
        json!({"key": "a", "request": request("one two")}),
        json!({"key": "b", "request": {}}),
        json!({"key": "c", "request": request("one two")}),
    ];
    let input = running.upload(&lines.map(|line| line.to_string()).join("\n")).await;
    let batch = json!({"batch": {"inputConfig": {"file_name": input}, "displayName": "emb"}});
    let name = running.post(CALL, batch).await["name"].as_str().unwrap().to_owned();
    let output = format!("files/batch-{}", name.trim_start_matches("batches/"));
    let event = receiver.next().await.json();
    assert_eq!(event["type"], "batch.succeeded");
    assert_eq!(event["data"], json!({"id": name, "output_file_uri": output}));
    let batch = running.ended(&name).await;
    assert_eq!(batch["metadata"]["output"], json!({"responsesFile": output}));
    assert!(batch["metadata"]["@type"].as_str().unwrap().ends_with("EmbedContentBatch"));
    assert_eq!(batch["metadata"]["batchStats"]["failedRequestCount"], "1");
    let text = running.request("GET", &format!("/v1/{output}:download?alt=media")).send().await.unwrap();
    let text = text.text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<&Value> = lines.iter().map(|line| &line["key"]).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    assert_eq!(lines[0]["response"]["tokenCount"], 2);
    assert_eq!(lines[0]["response"]["embedding"]["values"].as_array().unwrap().len(), 3);
    assert_eq!(lines[0]["response"], lines[2]["response"]);
    assert_eq!(lines[1]["error"]["message"], "content is required");
}

#[tokio::test]
async fn inline_embeddings_are_where_the_sdks_and_where_the_reference_look_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), "http://127.0.0.1:9/", quick()).await;
    let requests = json!({"requests": {"requests": [{"request": request("hi"), "metadata": {"key": "r"}}]}});
    let name = running.post(CALL, json!({"batch": {"inputConfig": requests}})).await;
    let batch = running.ended(name["name"].as_str().unwrap()).await;
    let output = &batch["metadata"]["output"];
    assert!(output.get("inlinedResponses").is_none());
    let responses = &output["inlinedEmbedContentResponses"]["inlinedResponses"];
    assert_eq!(responses[0]["metadata"], json!({"key": "r"}));
    assert_eq!(responses[0]["response"]["embedding"]["values"].as_array().unwrap().len(), 3);
    assert_eq!(&batch["response"]["inlinedResponses"]["inlinedResponses"], responses);
}
