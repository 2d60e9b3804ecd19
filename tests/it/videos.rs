//! Videos: by operation and by interaction, whole, filtered, failed, pending, and where they are not fetched from.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    rig::{HOUR, Rig, event, noise},
    scripted::{Answer, Scripted},
    support::{end, number, text},
};

const OPERATION: &str = "models/veo-3.1/operations/op1";

fn done(response: Value) -> Answer {
    Answer::json(json!({"name": OPERATION, "done": true, "response": {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse",
        "generateVideoResponse": response,
    }}))
}

fn samples(uris: &[&str]) -> Answer {
    let samples: Vec<Value> = uris.iter().map(|uri| json!({"video": {"uri": uri}})).collect();
    done(json!({"generatedSamples": samples}))
}

fn file(rig: &Rig, id: &str, content: &[u8], content_type: &str) -> String {
    let answer = Answer::bytes(content.to_vec()).with("content-type", content_type);
    rig.api.says(&format!("files/{id}:download"), [answer]);
    format!("{}/v1beta/files/{id}:download?alt=media", rig.api.url)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sample_of_an_operation_is_an_object_of_the_type_it_is_served_with() {
    let rig = Rig::start().await;
    let (one, two) = (noise(300_000), noise(9_000_000));
    let uris = [file(&rig, "vid1", &one, "video/mp4"), file(&rig, "vid-2", &two, "video/webm")];
    // An address without `:download` would be answered with what is known of the file, not with the file.
    let second = uris[1].split(":download").next().unwrap();
    rig.api.says(OPERATION, [samples(&[&uris[0], second])]);
    let row = rig.take("msg_1", &event("video.generated", OPERATION)).await;
    assert_eq!((end(&row).as_str(), text(&row, "job_id")), ("done/archived", OPERATION));
    let job = rig.job(OPERATION).await.unwrap();
    assert_eq!(
        (&job["kind"], &job["state"], &job["model"]),
        (&json!("video"), &json!("succeeded"), &json!("models/veo-3.1"))
    );
    assert_eq!(job["summary"], json!({"samples": 2, "filtered": 0}));
    let objects = rig.outputs(&job).await;
    assert_eq!(job["outputs"].as_array().unwrap().len(), 3);
    assert_eq!(job["outputs"][2]["key"], "videos/op1/operation.json", "the first are the videos");
    assert!(objects["videos/op1/0.mp4"] == one && objects["videos/op1/1.mp4"] == two);
    assert_eq!(rig.content_type("videos/op1/0.mp4").await, "video/mp4");
    assert_eq!(rig.content_type("videos/op1/1.mp4").await, "video/webm");
    assert!(rig.api.asked().iter().all(|asked| asked.header("x-goog-api-key") == Some("the-key")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_an_operation_holds_inline_is_decoded() {
    let rig = Rig::start().await;
    rig.api.says(
        OPERATION,
        [done(
            json!({"generatedSamples": [{"video": {"encodedVideo": "AAECAwQ=", "encoding": "video/mp4"}}]}),
        )],
    );
    assert_eq!(end(&rig.take("msg_1", &event("video.generated", OPERATION)).await), "done/archived");
    let job = rig.job(OPERATION).await.unwrap();
    assert_eq!(rig.outputs(&job).await["videos/op1/0.mp4"], [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_samples_than_a_row_can_name_are_counted_and_listed_and_the_metadata_is_kept() {
    let rig = Rig::start().await;
    let samples: Vec<Value> =
        (0..203_u8).map(|number| json!({"encodedVideo": BASE64_STANDARD.encode([number])})).collect();
    rig.api.says(
        OPERATION,
        [Answer::json(json!({
            "name": OPERATION, "done": true,
            "metadata": {"webhookConfig": {"userMetadata": {"job_group": "nightly"}}},
            "response": {"generateVideoResponse": {"generatedSamples": samples}},
        }))],
    );
    let row = rig.take("msg_1", &event("video.generated", OPERATION)).await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job(OPERATION).await.unwrap();
    assert_eq!(job["user_metadata"], json!({"job_group": "nightly"}));
    assert_eq!(job["summary"], json!({"samples": 203, "filtered": 0}));
    let left = json!([{"source": "videos/op1/operation.json", "why": "3 more samples than a row can name"}]);
    assert_eq!(job["skipped"], left);
    let objects = rig.outputs(&job).await;
    assert_eq!(objects.len(), 201, "200 samples and the answer");
    assert_eq!(objects["videos/op1/199.mp4"], [199]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_video_ends_with_its_reasons_and_its_answer_in_the_bucket() {
    let rig = Rig::start().await;
    rig.api.says(
        OPERATION,
        [done(json!({"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["blocked by safety"]}))],
    );
    assert_eq!(end(&rig.take("msg_1", &event("video.generated", OPERATION)).await), "done/ended");
    let job = rig.job(OPERATION).await.unwrap();
    assert_eq!(
        (&job["state"], &job["error"]["reasons"]),
        (&json!("filtered"), &json!(["blocked by safety"]))
    );
    assert_eq!(job["summary"], json!({"samples": 0, "filtered": 1}));
    let objects = rig.outputs(&job).await;
    assert_eq!(objects.into_keys().collect::<Vec<_>>(), ["videos/op1/operation.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_operation_ends_with_its_error() {
    let rig = Rig::start().await;
    let failed = json!({"name": OPERATION, "done": true, "error": {"code": 3, "message": "blocked"}});
    rig.api.says(OPERATION, [Answer::json(failed)]);
    assert_eq!(end(&rig.take("msg_1", &event("video.generated", OPERATION)).await), "done/ended");
    let job = rig.job(OPERATION).await.unwrap();
    assert_eq!((&job["state"], &job["error"]), (&json!("failed"), &json!({"code": 3, "message": "blocked"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_still_shown_pending_or_empty_is_waited_for() {
    let rig = Rig::start().await;
    let uri = file(&rig, "vid1", b"video", "video/mp4");
    let pending = Answer::json(json!({"name": OPERATION}));
    rig.api.says(OPERATION, [pending, done(json!({})), samples(&[&uri])]);
    let row = rig.take("msg_1", &event("video.generated", OPERATION)).await;
    assert_eq!(text(&row, "last_error"), "the event says that it ended, but the job is not done");
    rig.later(HOUR / 2);
    let row = rig.work("msg_1").await;
    assert_eq!(
        (text(&row, "state"), text(&row, "last_error")),
        ("waiting", "the operation is done, but its video is not there yet")
    );
    rig.later(HOUR / 2);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_elsewhere_is_recorded_and_nobody_there_is_asked() {
    let rig = Rig::start().await;
    let other = Scripted::start().await;
    other.says("files/x:download", [Answer::bytes("never")]);
    let elsewhere = format!("{}/v1beta/files/x:download?alt=media", other.url);
    let ours = file(&rig, "vid1", b"video", "video/mp4");
    rig.api.says(OPERATION, [samples(&[&elsewhere, &ours, "gs://bucket/video.mp4"])]);
    let row = rig.take("msg_1", &event("video.generated", OPERATION)).await;
    assert_eq!(end(&row), "done/archived");
    let said = format!("2 of 4 outputs were not fetched: it is not on the API's own host ({elsewhere})");
    assert_eq!(text(&row, "last_error"), said);
    let job = rig.job(OPERATION).await.unwrap();
    let left: Vec<&Value> = job["skipped"].as_array().unwrap().iter().map(|left| &left["source"]).collect();
    assert_eq!(left, [&json!(elsewhere), &json!("gs://bucket/video.mp4")]);
    assert_eq!(rig.outputs(&job).await["videos/op1/1.mp4"], b"video");
    assert!(other.asked().is_empty());

    rig.api.says("models/m/operations/op2", [samples(&["gs://bucket/video.mp4"])]);
    let row = rig.take("msg_2", &event("video.generated", "models/m/operations/op2")).await;
    assert_eq!(end(&row), "done/ended", "nothing could be fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_by_a_bare_id_cannot_be_read_and_is_recorded_with_the_reason() {
    let rig = Rig::start().await;
    let mut event = event("video.generated", "op1");
    event["data"]["output_file_uri"] = json!("files/vid1");
    file(&rig, "vid1", b"video", "video/mp4");
    let row = rig.take("msg_1", &event).await;
    assert_eq!(end(&row), "done/recorded");
    assert!(text(&row, "last_error").contains("does not name its operation in full"));
    assert!(rig.api.asked().is_empty(), "what an event says is not trusted for where to fetch from");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_of_an_interaction_is_a_video_whichever_event_tells_of_it() {
    let rig = Rig::start().await;
    let content = noise(100_000);
    let uri = file(&rig, "vid1", &content, "video/mp4");
    rig.api.says(
        "interactions/v1_abc",
        [Answer::json(json!({"id": "v1_abc", "status": "completed", "steps": [
            {"type": "model_output", "content": [{"type": "video", "uri": uri, "mime_type": "video/mp4"}]},
        ]}))],
    );
    assert_eq!(end(&rig.take("msg_1", &event("video.generated", "v1_abc")).await), "done/archived");
    let job = rig.job("interactions/v1_abc").await.unwrap();
    let objects = rig.outputs(&job).await;
    assert!(objects["videos/v1_abc/0.mp4"] == content);
    assert!(objects.contains_key("interactions/v1_abc/interaction.json"));
    let row = rig.take("msg_2", &event("interaction.completed", "v1_abc")).await;
    assert_eq!(end(&row), "done/repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_not_there_yet_is_waited_for_and_one_that_expired_is_gone() {
    let rig = Rig::start().await;
    let uri = format!("{}/v1beta/files/vid1:download?alt=media", rig.api.url);
    rig.api.says(OPERATION, [samples(&[&uri])]);
    let row = rig.take("msg_1", &event("video.generated", OPERATION)).await;
    assert_eq!(
        (text(&row, "state"), text(&row, "last_error")),
        ("waiting", "download the output: Gemini answered 404: not found")
    );
    rig.later(48 * HOUR);
    let row = rig.work("msg_1").await;
    assert_eq!(text(&row, "error_kind"), "output_missing", "{row:?}");
    assert_eq!(number(&row, "due_at"), rig.now() + 30_000);
    rig.later(30_000);
    let row = rig.work("msg_1").await;
    assert_eq!(end(&row), "done/gone");
    let job = rig.job(OPERATION).await.unwrap();
    assert_eq!((&job["state"], &job["skipped"][0]["source"]), (&json!("succeeded"), &json!(uri)));
    assert_eq!(rig.api.asked_for("batches").len(), 1, "it was seen that the key works");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_deleted_operation_what_an_earlier_attempt_stored_is_kept() {
    let rig = Rig::start().await;
    for (number, content) in ["one", "two"].iter().enumerate() {
        rig.put(&format!("videos/op1/{number}.mp4"), OPERATION, *content).await;
    }
    let row = rig.take_to_the_end("msg_1", &event("video.generated", OPERATION)).await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job(OPERATION).await.unwrap();
    rig.outputs(&job).await;
    assert_eq!(job["outputs"].as_array().unwrap().len(), 2);

    let row = rig.take_to_the_end("msg_2", &event("video.generated", "models/m/operations/op9")).await;
    assert_eq!(end(&row), "done/gone");
    let job = rig.job("models/m/operations/op9").await.unwrap();
    assert!(job["error"]["message"].as_str().unwrap().contains("404"));
}
