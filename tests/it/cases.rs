//! Public reports as inputs (`tests/cases/`), on the real handlers.

use std::{fs, path::Path};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, prelude::BASE64_STANDARD};
use gemhook::webhook::binding::BindingKey;
use serde_json::{Map, Value, json};

use crate::{
    rig::{HOUR, MINUTE, Make, Rig, noise},
    scripted::Answer,
    support::{Row, TestMachine, end, number, text},
};

const BINDING: &str = "correct horse battery";

fn file(case: &str, name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(case).join(name)).unwrap()
}

fn event(case: &str) -> Value {
    serde_json::from_slice(&file(case, "event.json")).unwrap()
}

/// The API answers as reported, and the event is handed to the receiver and the archiver.
async fn take(rig: &Rig, case: &str, job: &str) -> Row {
    rig.api.says(job, [Answer::bytes(file(case, "gemini-answer.json"))]);
    rig.take("msg_1", &event(case)).await
}

fn lines(object: &[u8]) -> Vec<Value> {
    object
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_every_member_of_an_inline_item_is_in_its_line() {
    let rig = Rig::start().await;
    let row = take(&rig, "01-inline-metadata-own-ids", "batches/h01").await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job("batches/h01").await.unwrap();
    let lines = lines(&rig.outputs(&job).await["batches/h01/responses.jsonl"]);
    let answer: Value =
        serde_json::from_slice(&file("01-inline-metadata-own-ids", "gemini-answer.json")).unwrap();
    assert_eq!(json!(lines), answer["response"]["inlinedResponses"]["inlinedResponses"]);
    assert_eq!(lines[0]["metadata"], json!({"request_id": "req-002", "batch_idx": "1"}));
    let summary = json!({"requests": 3, "succeeded": 2, "failed": 1, "tokens_in": 6, "tokens_out": 4});
    assert_eq!(job["summary"], summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_an_answer_with_half_a_surrogate_pair_is_kept_as_it_came_and_read() {
    let rig = Rig::start().await;
    let row = take(&rig, "02-lone-surrogate-interaction", "interactions/v1_h02").await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 1));
    let job = rig.job("interactions/v1_h02").await.unwrap();
    let objects = rig.outputs(&job).await;
    let raw = file("02-lone-surrogate-interaction", "gemini-answer.json");
    assert!(objects["interactions/v1_h02/interaction.json"] == raw);
    assert_eq!(objects["interactions/v1_h02/text.md"], b"There is no such job.");
    assert_eq!((&job["state"], &job["text"]), (&json!("completed"), &json!("There is no such job.")));
    assert_eq!(job["summary"], json!({"tokens_in": 5, "tokens_out": 7}));
    assert_eq!(job.get("skipped"), None, "nothing is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_an_operation_with_neither_video_nor_reason_ends_after_an_hour_with_that_as_its_error() {
    let reported = file("05-veo-done-without-video", "gemini-answer.json");
    let name = "models/veo-3.1-generate-preview/operations/h05a";
    for answer in [
        reported,
        json!({"name": name, "done": true, "response": {}}).to_string().into_bytes(),
        json!({"name": name, "done": true}).to_string().into_bytes(),
    ] {
        let rig = Rig::start().await;
        rig.api.says(name, [Answer::bytes(answer.clone())]);
        let begun = rig.now();
        let row = rig.take_to_the_end("msg_1", &event("05-veo-done-without-video")).await;
        assert_eq!(end(&row), "done/ended");
        assert!((HOUR..2 * HOUR + MINUTE).contains(&(rig.now() - begun)), "{}", rig.now() - begun);
        let job = rig.job(name).await.unwrap();
        assert!(job["error"]["message"].as_str().unwrap().contains("neither a video nor a reason"), "{job}");
        assert!(rig.outputs(&job).await["videos/h05a/operation.json"] == answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_06_tool_tokens_are_counted_and_blocked_and_empty_responses_apart() {
    let rig = Rig::start().await;
    let content = file("06-blocked-and-tool-tokens", "responses.jsonl");
    rig.api.says("files/batch-h06:download", [Answer::bytes(content.clone())]);
    let row = take(&rig, "06-blocked-and-tool-tokens", "batches/h06").await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job("batches/h06").await.unwrap();
    assert_eq!(
        job["summary"],
        json!({"requests": 5, "succeeded": 1, "failed": 1, "blocked": 1, "empty": 2, "tokens_in": 809, "tokens_out": 130})
    );
    assert!(rig.outputs(&job).await["batches/h06/responses.jsonl"] == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_a_line_of_30_megabytes_is_counted_like_any_other() {
    let rig = Rig::start().await;
    let usage = |tokens: u64| json!({"promptTokenCount": tokens, "candidatesTokenCount": 1290});
    let response = |part: Value, tokens| json!({"response": {"candidates": [{"content": {"parts": [part]}}], "usageMetadata": usage(tokens)}});
    let picture = BASE64_STANDARD.encode(noise(22_500_000));
    let long = response(json!({"inlineData": {"mimeType": "image/png", "data": picture}}), 8);
    let content = format!("{long}\n{}\n", response(json!({"text": "small"}), 2));
    rig.api.says("files/batch-h08:download", [Answer::bytes(content.clone().into_bytes())]);
    let row = take(&rig, "08-line-of-30-MB", "batches/h08").await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job("batches/h08").await.unwrap();
    let summary = json!({"requests": 2, "succeeded": 2, "failed": 0, "tokens_in": 10, "tokens_out": 2580});
    assert_eq!(job["summary"], summary);
    assert!(rig.outputs(&job).await["batches/h08/responses.jsonl"] == content.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_11_what_a_cancelled_batch_had_finished_is_archived_with_its_state_and_error() {
    let rig = Rig::start().await;
    let row = take(&rig, "11-cancelled-with-partial-output", "batches/h11").await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job("batches/h11").await.unwrap();
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("BATCH_STATE_CANCELLED"), &json!(1)));
    let summary = json!({"requests": 1, "succeeded": 1, "failed": 0, "tokens_in": 3, "tokens_out": 2});
    assert_eq!(job["summary"], summary, "two of three were pending, so no difference is told");
    let lines = lines(&rig.outputs(&job).await["batches/h11/responses.jsonl"]);
    assert_eq!((&lines[0]["key"], &lines[0]["metadata"]["key"]), (&json!("a"), &json!("a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_fewer_lines_than_the_batch_says_are_reported_in_the_jobs_row() {
    let rig = Rig::start().await;
    let content = file("12-fewer-lines-than-requests", "responses.jsonl");
    rig.api.says("files/batch-h12:download", [Answer::bytes(content)]);
    let row = take(&rig, "12-fewer-lines-than-requests", "batches/h12").await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job("batches/h12").await.unwrap();
    rig.outputs(&job).await;
    assert_eq!((&job["summary"]["requests"], &job["summary"]["succeeded"]), (&json!(1), &json!(1)));
    assert_eq!(job["summary"]["stated"], json!({"requests": 3, "succeeded": 3}));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_13_sums_are_right_whatever_stands_beside_them() {
    let rig = Rig::start().await;
    let row = take(&rig, "13-usage-long", "interactions/v1_h13long").await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job("interactions/v1_h13long").await.unwrap();
    assert_eq!(job["summary"], json!({"tokens_in": 50_000, "tokens_out": 10_000}));

    // The same without totals: 30 calls of 553 and 34 tokens.
    let mut answer: Value = serde_json::from_slice(&file("13-usage-long", "gemini-answer.json")).unwrap();
    answer["usage"]["total_input_tokens"] = json!(0);
    answer["usage"].as_object_mut().unwrap().remove("total_output_tokens");
    answer["usage"]["total_thought_tokens"] = json!("0");
    let rig = Rig::start().await;
    rig.api.says("interactions/v1_h13long", [Answer::json(answer)]);
    rig.take("msg_1", &event("13-usage-long")).await;
    let job = rig.job("interactions/v1_h13long").await.unwrap();
    assert_eq!(job["summary"], json!({"tokens_in": 30 * 553, "tokens_out": 30 * 34}));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_14_metadata_beside_a_long_note_are_read() {
    let rig = Rig::start().await;
    let row = take(&rig, "14-webhook-config-longer-than-4-KiB", "interactions/v1_h14").await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job("interactions/v1_h14").await.unwrap();
    let answer: Value =
        serde_json::from_slice(&file("14-webhook-config-longer-than-4-KiB", "gemini-answer.json")).unwrap();
    assert_eq!(job["user_metadata"], answer["webhook_config"]["user_metadata"]);
}

/// For metadata of many members.
const FULL: &str = "full";

/// A delivery that Google alone has signed.
async fn by_google(rig: &Rig, id: &str, event: &Value) -> Row {
    rig.deliver(id, event).await;
    let update = rig.test.dynamodb().update_item().table_name("bound-deliveries");
    update
        .key("webhook_id", AttributeValue::S(id.to_owned()))
        .update_expression("SET trust = :issuer")
        .expression_attribute_values(":issuer", AttributeValue::S("issuer".to_owned()))
        .send()
        .await
        .unwrap();
    rig.work(id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_14_a_job_whose_token_stands_beside_long_metadata_is_bound() {
    let make = Make { settings: vec![("BINDING_KEY", BINDING.to_owned())], ..Make::default() };
    let rig = Rig::make(TestMachine::start().await, "bound", make).await;
    let token = BindingKey::parse(BINDING).unwrap().mint();
    let other = BindingKey::parse("another horse battery").unwrap().mint();
    for (number, (note, token, ending)) in [
        ("n".repeat(10), &token, "done/archived"),
        ("n".repeat(4200), &token, "done/archived"),
        // More than a row keeps.
        ("n".repeat(300_000), &token, "done/archived"),
        ("n".repeat(4200), &other, "done/foreign"),
        (FULL.to_owned(), &token, "done/archived"),
    ]
    .into_iter()
    .enumerate()
    {
        // Members of 1 KiB each, names and quotation marks counted, which take all 64 KiB before the token comes.
        let before = if note == FULL { 100 } else { 0 };
        let mut metadata: Map<String, Value> =
            (0..before).map(|n| (format!("a{n:03}"), json!("n".repeat(1018)))).collect();
        metadata.insert("note".to_owned(), note.into());
        metadata.insert("gemhook_token".to_owned(), token.as_str().into());
        let bound = |answer: Value, key: &str| {
            let mut answer = answer;
            answer[key] = json!({"uris": ["https://example.com/hook"], "user_metadata": metadata});
            answer
        };
        let id = format!("v1_bound{number}");
        let interaction = bound(json!({"id": id, "status": "completed", "steps": []}), "webhook_config");
        rig.api.says(&format!("interactions/{id}"), [Answer::json(interaction)]);
        let told = crate::rig::event("interaction.completed", &id);
        assert_eq!(end(&by_google(&rig, &format!("i{number}"), &told).await), ending, "{number}");

        let batch = format!("batches/bound{number}");
        let list = json!({"inlinedResponses": {"inlinedResponses": [{"response": {}}]}});
        let state = bound(json!({"state": "BATCH_STATE_SUCCEEDED"}), "webhookConfig");
        rig.api.says(&batch, [Answer::json(json!({"done": true, "metadata": state, "response": list}))]);
        let told = crate::rig::event("batch.succeeded", &batch);
        assert_eq!(end(&by_google(&rig, &format!("b{number}"), &told).await), ending, "{number}");

        let video = format!("models/m/operations/bound{number}");
        let metadata = bound(json!({}), "webhookConfig");
        let samples = json!({"generatedSamples": [{"video": {"encodedVideo": "AAEC"}}]});
        let answer =
            json!({"done": true, "metadata": metadata, "response": {"generateVideoResponse": samples}});
        rig.api.says(&video, [Answer::json(answer)]);
        let told = crate::rig::event("video.generated", &video);
        assert_eq!(end(&by_google(&rig, &format!("v{number}"), &told).await), ending, "{number}");
    }
    let job = rig.job("interactions/v1_bound2").await.unwrap();
    assert_eq!(job["user_metadata"], json!({"gemhook_token": token}));
    assert!(
        job["skipped"][0]["why"].as_str().unwrap().contains("1 members of user_metadata are left out"),
        "{job}"
    );
}

const CASE_15: &str = "models/veo-3.1-generate-preview/operations/h15";

async fn empty_download() -> Rig {
    let rig = Rig::start().await;
    let answer = String::from_utf8(file("15-empty-download", "gemini-answer.json")).unwrap();
    rig.api.says(CASE_15, [Answer::bytes(answer.replace("GEMINI_URL", &rig.api.url).into_bytes())]);
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_a_download_without_bytes_is_waited_for() {
    let rig = empty_download().await;
    rig.api.says("files/h15:download", [Answer::bytes(""), Answer::bytes("the video")]);
    let row = rig.take("msg_1", &event("15-empty-download")).await;
    assert_eq!(text(&row, "state"), "waiting", "{row:?}");
    assert!(text(&row, "last_error").starts_with("the output has no bytes yet"), "{row:?}");
    assert!(!rig.test.objects().await.contains_key("videos/h15/0.mp4"));
    rig.later(HOUR / 2);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    let job = rig.job(CASE_15).await.unwrap();
    assert_eq!(rig.outputs(&job).await["videos/h15/0.mp4"], b"the video");
    assert_eq!(job.get("skipped"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_a_download_without_bytes_is_archived_and_marked_after_an_hour() {
    let rig = empty_download().await;
    rig.api.says("files/h15:download", [Answer::bytes("")]);
    let row = rig.take_to_the_end("msg_1", &event("15-empty-download")).await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job(CASE_15).await.unwrap();
    assert_eq!(job["skipped"][0]["why"], "it has no bytes");
    assert_eq!(job["skipped"][0]["source"], job["outputs"][0]["source"]);
    assert_eq!(rig.outputs(&job).await["videos/h15/0.mp4"], b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_a_number_that_the_table_cannot_hold_is_kept_as_text() {
    let rig = Rig::start().await;
    let row = take(&rig, "17-number-max", "batches/h17max").await;
    assert_eq!(
        (end(&row).as_str(), number(&row, "attempt"), number(&row, "crashes")),
        ("done/archived", 1, 0)
    );
    let job = rig.job("batches/h17max").await.unwrap();
    assert_eq!(job["user_metadata"], json!({"limit": "1.7976931348623157e308"}));

    let mut finished: Value = serde_json::from_slice(&file("17-number-max", "gemini-answer.json")).unwrap();
    finished["name"] = json!("batches/h17e");
    finished["metadata"].as_object_mut().unwrap().remove("webhookConfig");
    rig.api.says("batches/h17e", [Answer::json(finished)]);
    let row = rig.take("msg_2", &event("17-number-in-event")).await;
    assert_eq!(end(&row), "done/archived", "{row:?}");
    let job = rig.job("batches/h17e").await.unwrap();
    let limit = job["user_metadata"]["limit"].as_str().map(str::parse::<f64>);
    assert_eq!(limit, Some(Ok(1e200)), "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a_download_that_is_rejected_waits_and_is_archived_once_it_is_answered() {
    const CASE: &str = "18-download-400-id-too-long";
    const ID: &str = "batch-ncdlxnfztvvdy7lv52g4s7ge6l385vi46eyi18";
    let rig = Rig::start().await;
    let download = format!("files/{ID}:download");
    let refused = Answer::bytes(file(CASE, "download-answer.json")).status(400);
    rig.api.says(&download, [refused]);
    let job = format!("batches/{}", ID.trim_start_matches("batch-"));
    let mut row = take(&rig, CASE, &job).await;
    for _ in 0..3 {
        assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "rejected"), "{row:?}");
        assert!(text(&row, "last_error").contains("at most 40 characters"), "{row:?}");
        rig.later(2 * HOUR);
        row = rig.work("msg_1").await;
    }
    rig.api.says(&download, [Answer::bytes("{\"key\":\"a\",\"response\":{}}\n")]);
    rig.later(2 * HOUR);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    assert_eq!(rig.job(&job).await.unwrap()["summary"]["requests"], 1);
}
