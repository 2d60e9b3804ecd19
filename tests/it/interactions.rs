//! Interactions: the answer byte for byte, its text and its media, the calls that wait, and ends without a result.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    rig::{HOUR, MINUTE, Make, Rig, event, noise, sha256},
    scripted::Answer,
    support::{TestMachine, end, number, text},
};

const JOB: &str = "interactions/v1_abc";

fn answer(status: &str, more: Value) -> Value {
    let mut answer = json!({
        "id": "v1_abc", "object": "interaction", "status": status, "model": "gemini-3.6-flash",
        "webhook_config": {"uris": ["https://example.com/dyn"], "user_metadata": {"job_group": "nightly-eval"}},
    });
    answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    answer
}

fn output(content: Value) -> Value {
    json!({"steps": [
        {"type": "user_input", "content": [{"type": "text", "text": "hi"}]},
        {"type": "thought", "signature": "c2ln"},
        {"type": "model_output", "content": content},
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_kept_byte_for_byte_with_its_text_beside_it() {
    let rig = Rig::start().await;
    // Spaces, escapes and numbers that no writer would write again.
    let raw = "{ \"id\" : \"v1_abc\",\t\"status\":\"completed\", \"odd\": 1.0e+02, \"usage\": {\"total_input_tokens\": 4,\
         \"total_output_tokens\": 6},\r\n \"steps\":[{\"type\":\"model_output\",\"content\":[{\"type\":\"text\",\
         \"text\":\"# A \\u0022joke\\u0022\\n\\u00e9\"}]}]}";
    rig.api.says(JOB, [Answer::bytes(raw)]);
    let row = rig.take("msg_1", &event("interaction.completed", "v1_abc")).await;
    assert_eq!((end(&row).as_str(), text(&row, "job_id")), ("done/archived", JOB));
    let job = rig.job(JOB).await.unwrap();
    let objects = rig.outputs(&job).await;
    assert_eq!(objects.len(), 2);
    assert_eq!(objects["interactions/v1_abc/interaction.json"], raw.as_bytes());
    assert_eq!(objects["interactions/v1_abc/text.md"], "# A \"joke\"\né".as_bytes());
    assert_eq!((&job["text"], job.get("text_cut")), (&json!("# A \"joke\"\né"), None));
    assert_eq!(job["summary"], json!({"tokens_in": 4, "tokens_out": 6}));
    assert_eq!(rig.content_type("interactions/v1_abc/text.md").await, "text/markdown; charset=utf-8");
    assert_eq!(rig.api.asked_for(JOB)[0].target, "/v1beta/interactions/v1_abc?stream=false");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_shape_is_read_too() {
    let rig = Rig::start().await;
    rig.api.says(
        JOB,
        [Answer::json(answer("completed", json!({"outputs": [{"type": "text", "text": "joke"}]})))],
    );
    assert_eq!(end(&rig.take("msg_1", &event("interaction.completed", "v1_abc")).await), "done/archived");
    let job = rig.job(JOB).await.unwrap();
    assert_eq!((&job["text"], &job["user_metadata"]["job_group"]), (&json!("joke"), &json!("nightly-eval")));
    assert_eq!(job["model"], "gemini-3.6-flash");
    assert_eq!(rig.outputs(&job).await["interactions/v1_abc/text.md"], b"joke");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_is_cut_in_the_row_at_a_whole_character_and_whole_in_the_bucket() {
    let rig = Rig::start().await;
    let long = format!("x{}", "é".repeat(3000));
    rig.api.says(JOB, [Answer::json(answer("completed", output(json!([{"type": "text", "text": long}]))))]);
    rig.take("msg_1", &event("interaction.completed", "v1_abc")).await;
    let job = rig.job(JOB).await.unwrap();
    assert_eq!((job["text"].as_str().unwrap(), &job["text_cut"]), (&long[..4095], &json!(true)));
    assert_eq!(rig.outputs(&job).await["interactions/v1_abc/text.md"], long.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_texts_of_two_steps_are_an_empty_line_apart() {
    let rig = Rig::start().await;
    let step = |text: &str| json!({"type": "model_output", "content": [{"type": "text", "text": text}]});
    let steps = json!({"steps": [step("one"), step("two")]});
    rig.api.says(JOB, [Answer::json(answer("completed", steps))]);
    assert_eq!(end(&rig.take("msg_1", &event("interaction.completed", "v1_abc")).await), "done/archived");
    assert_eq!(rig.job(JOB).await.unwrap()["text"], "one\n\ntwo");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_4_kib_is_whole_in_the_row() {
    let rig = Rig::start().await;
    let just = "x".repeat(4096);
    rig.api.says(JOB, [Answer::json(answer("completed", output(json!([{"type": "text", "text": just}]))))]);
    assert_eq!(end(&rig.take("msg_1", &event("interaction.completed", "v1_abc")).await), "done/archived");
    let job = rig.job(JOB).await.unwrap();
    assert_eq!((job["text"].as_str().unwrap(), job.get("text_cut")), (just.as_str(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn inline_and_referenced_media_become_objects() {
    let rig = Rig::start().await;
    // Longer than is held in memory, and than one part.
    let (image, sound) = (noise(10_000_000), noise(5000));
    rig.api.says("files/snd:download", [Answer::bytes(sound.clone()).with("content-type", "audio/wav")]);
    let content = json!([
        {"type": "text", "text": "see "},
        {"type": "image", "mime_type": "image/png", "data": BASE64_STANDARD.encode(&image)},
        {"type": "audio", "mime_type": "audio/wav", "uri": format!("{}/v1beta/files/snd", rig.api.url)},
        {"type": "image", "mime_type": "image/png", "data": "this is no base64"},
        {"type": "text", "text": "above"},
    ]);
    rig.api.says(JOB, [Answer::json(answer("completed", output(content)))]);
    let row = rig.take("msg_1", &event("interaction.completed", "v1_abc")).await;
    assert_eq!(end(&row), "done/archived");
    assert!(text(&row, "last_error").starts_with("1 of 5 outputs were not fetched: it is no base64"));
    let job = rig.job(JOB).await.unwrap();
    let objects = rig.outputs(&job).await;
    assert_eq!(sha256(&objects["interactions/v1_abc/media/0.png"]), sha256(&image));
    assert_eq!(objects["interactions/v1_abc/media/1.wav"], sound);
    assert_eq!(objects["interactions/v1_abc/text.md"], b"see above");
    assert_eq!(job["outputs"].as_array().unwrap().len(), 4);
    assert_eq!(rig.content_type("interactions/v1_abc/media/0.png").await, "image/png");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_of_no_bytes_is_an_object_and_listed_as_missing() {
    let rig = Rig::start().await;
    let content = json!([{"type": "image", "mime_type": "image/png", "data": ""}]);
    rig.api.says(JOB, [Answer::json(answer("completed", output(content)))]);
    assert_eq!(end(&rig.take("msg_1", &event("interaction.completed", "v1_abc")).await), "done/archived");
    let job = rig.job(JOB).await.unwrap();
    assert_eq!(job["skipped"][0]["why"], "it has no bytes");
    assert!(rig.outputs(&job).await["interactions/v1_abc/media/0.png"].is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_requires_action_stays_open_with_the_call_that_waits() {
    let rig = Rig::start().await;
    let call = json!({"steps": [
        {"type": "function_call", "id": "fc_1", "name": "get_weather", "arguments": {"location": "Boston"}},
    ]});
    let in_progress = answer("in_progress", json!({}));
    rig.api.says(JOB, [Answer::json(in_progress), Answer::json(answer("requires_action", call))]);
    let told = event("interaction.requires_action", "v1_abc");
    let row = rig.take("msg_1", &told).await;
    assert_eq!(text(&row, "state"), "waiting", "the API does not show it yet");
    rig.later(MINUTE * 2);
    assert_eq!(end(&rig.work("msg_1").await), "done/recorded");
    let job = rig.job(JOB).await.unwrap();
    assert_eq!((&job["state"], job.get("ended_by")), (&json!("requires_action"), None));
    assert_eq!(
        job["calls"],
        json!([{"id": "fc_1", "name": "get_weather", "arguments": {"location": "Boston"}}])
    );
    assert!(job["watch_until"].as_i64().unwrap() > rig.now());
    assert!(rig.outputs(&job).await.is_empty());

    // It ends, and then old news come late.
    rig.api.says(JOB, [Answer::json(answer("completed", output(json!([{"type": "text", "text": "done"}]))))]);
    assert_eq!(end(&rig.take("msg_2", &event("interaction.completed", "v1_abc")).await), "done/archived");
    rig.api.says(JOB, [Answer::json(answer("requires_action", json!({})))]);
    rig.take("msg_3", &told).await;
    let job = rig.job(JOB).await.unwrap();
    assert_eq!((&job["state"], job.get("calls"), job.get("watch_until")), (&json!("completed"), None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_without_a_result_keep_their_errors_and_what_was_put_out_until_then() {
    let errors = json!([{"code": "internal", "message": "boom"}]);
    let partial = output(json!([{"type": "text", "text": "so far"}]));
    for (status, kind, more, objects) in [
        ("failed", "interaction.failed", json!({"errors": errors}), 1),
        ("cancelled", "interaction.cancelled", json!({}), 1),
        ("incomplete", "interaction.completed", partial.clone(), 2),
        ("budget_exceeded", "interaction.reconciled", partial, 2),
    ] {
        let rig = Rig::start().await;
        rig.api.says(JOB, [Answer::json(answer(status, more))]);
        assert_eq!(end(&rig.take("msg_1", &event(kind, "v1_abc")).await), "done/ended", "{status}");
        let job = rig.job(JOB).await.unwrap();
        assert_eq!(job["state"], status);
        assert_eq!(rig.outputs(&job).await.len(), objects, "{status}");
        if status == "failed" {
            assert_eq!(job["error"], errors);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_the_api_does_not_show_yet_is_waited_for() {
    let rig = Rig::start().await;
    rig.api.says(
        JOB,
        [
            Answer::json(answer("in_progress", json!({}))),
            Answer::json(answer("a new word", json!({}))),
            Answer::json(answer("completed", output(json!([])))),
        ],
    );
    let row = rig.take("msg_1", &event("interaction.completed", "v1_abc")).await;
    assert_eq!(text(&row, "state"), "waiting");
    rig.later(2 * HOUR);
    let row = rig.work("msg_1").await;
    assert_eq!(text(&row, "last_error"), "the event says that it ended, but the job is a new word");
    rig.later(HOUR);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_that_expired_does_not_hold_the_answer_back() {
    let rig = Rig::start().await;
    let uri = format!("{}/v1beta/files/gone", rig.api.url);
    let content = json!([{"type": "text", "text": "t"}, {"type": "image", "uri": uri}]);
    rig.api.says(JOB, [Answer::json(answer("completed", output(content)))]);
    rig.deliver("msg_1", &event("interaction.completed", "v1_abc")).await;
    rig.later(48 * HOUR);
    let row = rig.work("msg_1").await;
    assert_eq!(text(&row, "error_kind"), "output_missing", "{row:?}");
    rig.later(MINUTE);
    let row = rig.work("msg_1").await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job(JOB).await.unwrap();
    assert_eq!(job["skipped"][0]["source"], json!(uri));
    assert_eq!((rig.outputs(&job).await.len(), &job["text"]), (2, &json!("t")));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_deleted_interaction_the_stored_answer_is_enough() {
    let rig = Rig::start().await;
    let uri = format!("{}/v1beta/files/gone", rig.api.url);
    let content = json!([{"type": "text", "text": "kept"}, {"type": "image", "data": "AAEC", "mime_type": "image/png"},
        {"type": "image", "uri": uri}]);
    let stored = answer("completed", output(content)).to_string();
    // An attempt died after its first object.
    rig.put("interactions/v1_abc/interaction.json", JOB, stored.clone()).await;
    let row = rig.take_to_the_end("msg_1", &event("interaction.completed", "v1_abc")).await;
    assert_eq!(end(&row), "done/archived");
    let job = rig.job(JOB).await.unwrap();
    let objects = rig.outputs(&job).await;
    assert_eq!(objects["interactions/v1_abc/interaction.json"], stored.as_bytes());
    assert_eq!(objects["interactions/v1_abc/text.md"], b"kept");
    assert_eq!(objects["interactions/v1_abc/media/0.png"], [0, 1, 2]);
    assert_eq!(job["skipped"][0]["source"], uri, "it is not waited for");

    let row = rig.take_to_the_end("msg_2", &event("interaction.completed", "v1_other")).await;
    assert_eq!(end(&row), "done/gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_two_objects_is_followed_by_one_that_brings_the_rest() {
    let rig = Rig::start().await;
    let content =
        json!([{"type": "text", "text": "all"}, {"type": "image", "data": "AAEC", "mime_type": "image/png"}]);
    rig.api.says(JOB, [Answer::json(answer("completed", output(content)))]);
    rig.deliver("msg_1", &event("interaction.completed", "v1_abc")).await;
    let _ = rig.ledger().lease("msg_1", rig.now() + MINUTE).await.unwrap();
    // An answer is not the same byte for byte each time it is asked for.
    let earlier = "{\"id\":\"v1_abc\",\"status\":\"completed\"}";
    rig.put("interactions/v1_abc/interaction.json", JOB, earlier).await;
    rig.later(2 * MINUTE);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    let job = rig.job(JOB).await.unwrap();
    let objects = rig.outputs(&job).await;
    assert_eq!(job["outputs"].as_array().unwrap().len(), 3);
    assert_eq!(objects["interactions/v1_abc/interaction.json"], earlier.as_bytes());
    assert_eq!(objects["interactions/v1_abc/media/0.png"], [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_whose_event_never_came_are_archived_once_they_are_found() {
    let rig = Rig::start().await;
    let operation = "models/veo/operations/op1";
    rig.api
        .says(JOB, [Answer::json(answer("incomplete", output(json!([{"type": "text", "text": "half"}]))))]);
    let video = json!({"encodedVideo": "AAEC"});
    let done = json!({"done": true, "response": {"generateVideoResponse": {"generatedSamples": [{"video": video}]}}});
    rig.api.says(operation, [Answer::json(done)]);
    // Applications follow an interaction by the id that the API gave it.
    for job in ["v1_abc", operation] {
        let _ = rig.ledger().watch(job, rig.now() + HOUR).await.unwrap();
    }
    let mut found = rig.invoke(json!({"schedule": "reconcile"}), 15 * MINUTE).await;
    found["entered"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    assert_eq!((&found["entered"], &found["errors"]), (&json!([JOB, operation]), &json!([])));
    assert_eq!(end(&rig.work(&format!("job~{JOB}")).await), "done/ended");
    assert_eq!(end(&rig.work(&format!("job~{operation}")).await), "done/archived");
    assert_eq!(rig.job(JOB).await.unwrap()["text"], "half");
    let job = rig.job(operation).await.unwrap();
    assert_eq!(rig.outputs(&job).await["videos/op1/0.mp4"], [0, 1, 2]);
    assert_eq!(job.get("watch_until"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_beyond_the_limit_fails_with_the_setting_that_says_so() {
    let make = Make { settings: vec![("MAX_INLINE_BYTES", "10000".to_owned())], ..Make::default() };
    let rig = Rig::make(TestMachine::start().await, "limit", make).await;
    let content = json!([{"type": "text", "text": "x".repeat(20_000)}]);
    rig.api.says(JOB, [Answer::json(answer("completed", output(content)))]);
    let row = rig.take("msg_1", &event("interaction.completed", "v1_abc")).await;
    assert_eq!((text(&row, "state"), number(&row, "attempt")), ("failed", 1));
    assert!(text(&row, "last_error").contains("MAX_INLINE_BYTES"));
    assert!(rig.test.objects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_media_are_listed_and_the_others_are_counted() {
    let rig = Rig::start().await;
    let content: Vec<Value> = (0..203).map(|_| json!({"type": "image", "data": "AA=="})).collect();
    rig.api.says(JOB, [Answer::json(answer("completed", output(json!(content))))]);
    assert_eq!(end(&rig.take("msg_1", &event("interaction.completed", "v1_abc")).await), "done/archived");
    let job = rig.job(JOB).await.unwrap();
    assert_eq!(job["outputs"].as_array().unwrap().len(), 201);
    assert!(job["skipped"][0]["why"].as_str().unwrap().starts_with("3 more"));
}
