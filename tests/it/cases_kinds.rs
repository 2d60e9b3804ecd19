//! The kinds behind the reported cases, with further inputs: JSON in the wild, other shapes, parts that are missing.

use serde_json::{Map, Value, json};

use crate::{
    rig::{HOUR, Rig, event, noise},
    scripted::Answer,
    support::{end, number, text},
};

/// What strict parsers refuse or take for something else. None of it is wanted by anybody.
fn odd_members() -> Vec<String> {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    vec![
        r#""odd":"\ud800""#.into(),
        r#""odd":"\ude00\ud83d""#.into(),
        r#""odd":NaN,"odd":-Infinity"#.into(),
        format!(r#""odd":{deep}"#),
        format!(r#""odd":{deep_objects}"#),
        "\"odd\":\"a raw\nline and a \u{1} control\"".into(),
        r#""odd":1e999,"odd":123456789012345678901234567890"#.into(),
    ]
}

/// Half a pair at last, as no text of Rust's can hold it.
fn with_odd(json: &str, odd: &str) -> Vec<u8> {
    let (begin, last) = json.split_at(json.len() - 1);
    let mut bytes = format!("{begin},{odd}").into_bytes();
    bytes.extend_from_slice(b",\"bytes\":\"\xff\xfe\"");
    bytes.extend_from_slice(last.as_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interaction_that_is_no_strict_json_is_kept_as_it_came_and_read() {
    let rig = Rig::start().await;
    for (number, odd) in odd_members().into_iter().enumerate() {
        let id = format!("v1_odd{number}");
        let image = json!({"type": "image", "mime_type": "image/png", "data": "AAEC"});
        let answer = json!({"id": "v1_first", "status": "completed",
            "steps": [{"type": "model_output", "content": [{"type": "text", "text": "read"}, image]}],
            "usage": {"total_input_tokens": 3, "total_output_tokens": 4}});
        let raw = with_odd(&answer.to_string(), &format!(r#"{odd},"id":"{id}""#));
        let job = format!("interactions/{id}");
        rig.api.says(&job, [Answer::bytes(raw.clone())]);
        let row = rig.take(&id, &event("interaction.completed", &id)).await;
        assert_eq!((end(&row).as_str(), text(&row, "job_id")), ("done/archived", job.as_str()), "{row:?}");
        let row = rig.job(&job).await.unwrap();
        let objects = rig.outputs(&row).await;
        assert!(objects[&format!("{job}/interaction.json")] == raw, "{odd:.60}");
        assert_eq!(objects[&format!("{job}/media/0.png")], [0, 1, 2]);
        assert_eq!((&row["text"], row.get("skipped")), (&json!("read"), None), "{odd:.60}");
        assert_eq!(row["summary"], json!({"tokens_in": 3, "tokens_out": 4}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_no_strict_json_is_kept_as_it_came_and_read() {
    let rig = Rig::start().await;
    for (number, odd) in odd_members().into_iter().enumerate() {
        let name = format!("models/m/operations/odd{number}");
        let samples = json!({"generatedSamples": [{"video": {"encodedVideo": "AAEC"}}]});
        let answer = json!({"name": name, "done": true, "response": {"generateVideoResponse": samples}});
        let raw = with_odd(&answer.to_string(), &odd);
        rig.api.says(&name, [Answer::bytes(raw.clone())]);
        let row = rig.take(&format!("m{number}"), &event("video.generated", &name)).await;
        assert_eq!(end(&row), "done/archived", "{odd:.60}");
        let job = rig.job(&name).await.unwrap();
        let objects = rig.outputs(&job).await;
        assert!(objects[&format!("videos/odd{number}/operation.json")] == raw);
        assert_eq!(objects[&format!("videos/odd{number}/0.mp4")], [0, 1, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inline_item_that_is_no_strict_json_is_in_its_line_letter_by_letter() {
    let rig = Rig::start().await;
    for (number, odd) in odd_members().into_iter().enumerate() {
        let odd = odd.replace(['\n', '\u{1}'], " ");
        let item = format!(
            r#"{{"metadata":{{"key":"k","own":[1,2]}},"response":{{"candidates":[{{"content":{{"parts":[{{}}]}}}}]}},{odd}}}"#
        );
        let name = format!("batches/odd{number}");
        let answer = format!(
            r#"{{"name":"{name}","done":true,{odd},"response":{{"inlinedResponses":{{"inlinedResponses":[{item},{item}]}}}}}}"#
        );
        rig.api.says(&name, [Answer::bytes(answer.into_bytes())]);
        let row = rig.take(&format!("m{number}"), &event("batch.succeeded", &name)).await;
        assert_eq!(end(&row), "done/archived", "{row:?}");
        let job = rig.job(&name).await.unwrap();
        let line = format!("{{\"key\":\"k\",{}\n", &item[1..]);
        let object = rig.outputs(&job).await[&format!("{name}/responses.jsonl")].clone();
        assert!(object == format!("{line}{line}").as_bytes(), "{odd:.60}");
        assert_eq!(job["summary"]["succeeded"], 2, "{odd:.60}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_that_cannot_be_read_ends_its_job_at_once_and_is_kept() {
    let (whole, cut) = (
        "{\"status\":\"completed\",\"steps\":[{\"type\":\"model_output\",\"content\":[",
        r#"{"type":"text","text":"so far"}"#,
    );
    for (kind, id, job, key, raw, outcome, said) in [
        (
            "interaction.completed",
            "v1_a",
            "interactions/v1_a",
            "interactions/v1_a/interaction.json",
            format!("{whole}{cut}]}},{{"),
            "archived",
            Some("so far"),
        ),
        (
            "interaction.completed",
            "v1_b",
            "interactions/v1_b",
            "interactions/v1_b/interaction.json",
            "[1]".into(),
            "ended",
            None,
        ),
        (
            "interaction.failed",
            "v1_c",
            "interactions/v1_c",
            "interactions/v1_c/interaction.json",
            "<html>no</html>".into(),
            "ended",
            None,
        ),
        (
            "video.generated",
            "models/m/operations/a",
            "models/m/operations/a",
            "videos/a/operation.json",
            r#"{"done":true,"resp"#.into(),
            "ended",
            None,
        ),
        (
            "video.generated",
            "models/m/operations/b",
            "models/m/operations/b",
            "videos/b/operation.json",
            r#"{"name" 1}"#.into(),
            "ended",
            None,
        ),
        (
            "batch.succeeded",
            "batches/a",
            "batches/a",
            "batches/a/answer.json",
            r#"{"name": "bat"#.into(),
            "ended",
            None,
        ),
        (
            "batch.succeeded",
            "batches/b",
            "batches/b",
            "batches/b/answer.json",
            r#"{"metadata":{"state":"BATCH_STATE_SUCCEEDED"},"response":"#.into(),
            "ended",
            None,
        ),
    ] {
        let rig = Rig::start().await;
        rig.api.says(job, [Answer::bytes(raw.clone().into_bytes())]);
        let row = rig.take("msg_1", &event(kind, id)).await;
        assert_eq!(end(&row), format!("done/{outcome}"), "{raw}: {row:?}");
        let told = rig.job(job).await.unwrap();
        assert!(rig.outputs(&told).await[key] == raw.as_bytes(), "{raw}");
        let left = &told["skipped"][0];
        assert_eq!(left["source"], key);
        assert!(
            left["why"].as_str().unwrap().starts_with("the answer could not be read to its end"),
            "{left}"
        );
        assert!(told["error"]["message"].as_str().unwrap().contains("could not be read"), "{told}");
        assert_eq!(told.get("text").and_then(Value::as_str), said, "{raw}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_whose_answer_breaks_off_the_results_before_that_are_archived_beside_the_answer() {
    let rig = Rig::start().await;
    let item = r#"{"response":{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}}"#;
    let raw = format!(
        r#"{{"done":true,"metadata":{{"state":"BATCH_STATE_SUCCEEDED"}},"response":{{"inlinedResponses":{{"inlinedResponses":[{item},{item},{{"respo"#
    );
    rig.api.says("batches/b", [Answer::bytes(raw.clone().into_bytes())]);
    assert_eq!(end(&rig.take("msg_1", &event("batch.succeeded", "batches/b")).await), "done/archived");
    let job = rig.job("batches/b").await.unwrap();
    let objects = rig.outputs(&job).await;
    assert_eq!(objects["batches/b/responses.jsonl"], format!("{item}\n{item}\n").as_bytes());
    assert!(objects["batches/b/answer.json"] == raw.as_bytes());
    assert_eq!(
        (&job["summary"]["succeeded"], &job["skipped"][0]["source"]),
        (&json!(2), &json!("batches/b/answer.json"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_breaks_off_after_an_open_state_is_waited_for() {
    let rig = Rig::start().await;
    rig.api.says("batches/b", [Answer::bytes(r#"{"metadata":{"state":"BATCH_STATE_RUNNING"},"resp"#)]);
    let row = rig.take("msg_1", &event("batch.succeeded", "batches/b")).await;
    assert_eq!(
        (text(&row, "state"), text(&row, "last_error")),
        ("waiting", "the event says that it ended, but the job is BATCH_STATE_RUNNING")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interaction_that_names_no_state_is_waited_for_and_then_kept_as_it_came() {
    let rig = Rig::start().await;
    let raw = br#"{"interaction":{"status":"completed"},"new":true}"#;
    rig.api.says("interactions/v1_new", [Answer::bytes(&raw[..])]);
    let row = rig.take("msg_1", &event("interaction.completed", "v1_new")).await;
    assert_eq!(text(&row, "state"), "waiting");
    rig.later(HOUR);
    assert_eq!(end(&rig.work("msg_1").await), "done/ended");
    let job = rig.job("interactions/v1_new").await.unwrap();
    assert!(rig.outputs(&job).await["interactions/v1_new/interaction.json"] == raw);
    assert!(job["error"]["message"].as_str().unwrap().ends_with("it names no state"), "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_a_table_would_change_are_kept_as_texts() {
    let rig = Rig::start().await;
    let metadata = r#"{"big":1.7976931348623157e308,"long":123456789012345678901234567890123456789012,
        "precise":0.1234567890123456789,"nan":NaN,"half":"\ud800","plain":1.5,"n":7}"#;
    let answer = format!(
        r#"{{"id":"v1_n","status":"completed","steps":[],"webhook_config":{{"user_metadata":{metadata}}}}}"#
    );
    rig.api.says("interactions/v1_n", [Answer::bytes(answer.into_bytes())]);
    assert_eq!(end(&rig.take("msg_1", &event("interaction.completed", "v1_n")).await), "done/archived");
    assert_eq!(
        rig.job("interactions/v1_n").await.unwrap()["user_metadata"],
        json!({
            "big": "1.7976931348623157e308", "long": "123456789012345678901234567890123456789012",
            "precise": "0.1234567890123456789", "nan": "NaN", "half": "\u{fffd}", "plain": 1.5, "n": 7
        })
    );
}

/// Writes a value in one of the many ways in which it can be written.
fn written(value: &Value, random: &mut fastrand::Rng, keeps_names: bool, out: &mut String) {
    let mut space = |out: &mut String| out.push_str(["", "", " ", "\n", "\t ", "\r\n"][random.usize(..6)]);
    space(out);
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            random.shuffle(&mut members);
            out.push('{');
            for (number, (name, value)) in members.into_iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                let is_camel = random.bool() && !keeps_names;
                text_written(&if is_camel { camel(name) } else { name.clone() }, random, out);
                out.push(':');
                written(value, random, keeps_names || name == "user_metadata", out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                written(item, random, keeps_names, out);
            }
            out.push(']');
        }
        Value::String(text) => text_written(text, random, out),
        Value::Number(number) if number.is_u64() && random.bool() && !keeps_names => {
            out.push_str(&format!("\"{number}\""))
        }
        other => out.push_str(&other.to_string()),
    }
    out.push_str(["", " ", "\n"][random.usize(..3)]);
}

fn text_written(text: &str, random: &mut fastrand::Rng, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            _ if random.u8(..5) == 0 => {
                letter
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
            }
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '/' if random.bool() => out.push_str("\\/"),
            letter => out.push(letter),
        }
    }
    out.push('"');
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    first + &words.map(|word| word[..1].to_uppercase() + &word[1..]).collect::<String>()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_differ_in_harmless_ways_are_archived_alike() {
    let rig = Rig::start().await;
    let content = json!([
        {"type": "text", "text": "a \"text\"\nwith é, 😀 and \\"},
        {"type": "image", "mime_type": "image/png", "data": "++//AAEC"},
    ]);
    let answer = json!({
        "status": "completed", "model": "m/1", "errors": null,
        "steps": [{"type": "thought"}, {"type": "model_output", "content": content}],
        "usage": {"total_input_tokens": 5, "total_output_tokens": 6, "total_thought_tokens": 7, "total_tool_use_tokens": 8},
        "webhook_config": {"uris": ["https://example.com/a"], "user_metadata": {"job_group": "n/1", "n": 3, "list": [1, {"a_b": null}]}},
    });
    let stored = |id: &str, raw: String| {
        let (job, id) = (format!("interactions/{id}"), id.to_owned());
        rig.api.says(&job, [Answer::bytes(raw.into_bytes())]);
        let rig = &rig;
        async move {
            assert_eq!(end(&rig.take(&id, &event("interaction.completed", &id)).await), "done/archived");
            let row = rig.job(&job).await.unwrap();
            let objects = rig.outputs(&row).await;
            let fields: Map<String, Value> =
                ["state", "model", "summary", "text", "user_metadata", "skipped", "error"]
                    .into_iter()
                    .filter_map(|name| Some((name.to_owned(), row.get(name)?.clone())))
                    .collect();
            (
                fields,
                objects[&format!("{job}/text.md")].clone(),
                objects[&format!("{job}/media/0.png")].clone(),
            )
        }
    };
    let plain = stored("v1_plain", answer.to_string()).await;
    assert_eq!(plain.0["summary"], json!({"tokens_in": 13, "tokens_out": 13}));
    assert_eq!(plain.2, [0xFB, 0xEF, 0xFF, 0, 1, 2]);
    for seed in 0..24 {
        let mut raw = String::new();
        written(&answer, &mut fastrand::Rng::with_seed(seed), false, &mut raw);
        assert!(stored(&format!("v1_s{seed}"), raw.clone()).await == plain, "seed {seed}: {raw}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_are_only_in_the_metadata_are_read_from_there() {
    let rig = Rig::start().await;
    let item = json!({"response": {"candidates": [{"content": {"parts": [{"text": "a"}]}}]}});
    for (number, response) in [
        json!({"inlinedResponses": {"inlinedResponses": []}}),
        json!({"inlinedResponses": {}}),
        json!({"@type": "x"}),
        json!({"inlinedEmbedContentResponses": {"inlinedResponses": []}}),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("batches/m{number}");
        let output = json!({"inlinedResponses": {"inlinedResponses": [item]}});
        let metadata = json!({"state": "BATCH_STATE_SUCCEEDED", "output": output});
        rig.api
            .says(&name, [Answer::json(json!({"done": true, "metadata": metadata, "response": response}))]);
        assert_eq!(
            end(&rig.take(&format!("m{number}"), &event("batch.succeeded", &name)).await),
            "done/archived"
        );
        let job = rig.job(&name).await.unwrap();
        assert_eq!(
            rig.outputs(&job).await[&format!("{name}/responses.jsonl")],
            format!("{item}\n").as_bytes()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_and_expired_batches_that_carry_results_have_them_archived_and_others_have_not() {
    let rig = Rig::start().await;
    let file = json!({"responsesFile": "files/batch-r"});
    rig.api.says("files/batch-r:download", [Answer::bytes("{\"response\":{}}\n")]);
    let error = json!({"code": 4, "message": "too late"});
    for (number, (state, output, outcome)) in [
        ("BATCH_STATE_EXPIRED", file.clone(), "archived"),
        ("JOB_STATE_FAILED", file, "archived"),
        ("BATCH_STATE_FAILED", json!({"inlinedResponses": {"inlinedResponses": []}}), "ended"),
        ("BATCH_STATE_FAILED", json!({}), "ended"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("batches/e{number}");
        let metadata = json!({"state": state, "output": output});
        rig.api.says(&name, [Answer::json(json!({"done": true, "error": error, "metadata": metadata}))]);
        let row = rig.take(&format!("m{number}"), &event("batch.failed", &name)).await;
        assert_eq!(end(&row), format!("done/{outcome}"), "{state} {output}");
        let job = rig.job(&name).await.unwrap();
        assert_eq!((&job["state"], &job["error"]), (&json!(state), &error));
        assert_eq!(job.get("outputs").is_some(), outcome == "archived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_one_level_up_and_base64url_are_archived() {
    let rig = Rig::start().await;
    for (number, response) in [
        json!({"generatedSamples": [{"video": {"encodedVideo": "-_-_AA"}}]}),
        json!({"generatedVideos": [{"video": {"videoBytes": "-_-_AA=="}}]}),
        json!({"generated_videos": [{"video": {"video_bytes": "+/+/AA=="}}]}),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("models/m/operations/up{number}");
        rig.api.says(&name, [Answer::json(json!({"done": true, "response": response}))]);
        assert_eq!(
            end(&rig.take(&format!("m{number}"), &event("video.generated", &name)).await),
            "done/archived"
        );
        let job = rig.job(&name).await.unwrap();
        let objects = rig.outputs(&job).await;
        assert_eq!(objects[&format!("videos/up{number}/0.mp4")], [0xFB, 0xFF, 0xBF, 0], "{response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_samples_the_one_that_expired_is_listed_as_missing() {
    let rig = Rig::start().await;
    let name = "models/m/operations/two";
    let video = noise(1000);
    rig.api.says("files/one:download", [Answer::bytes(video.clone())]);
    let uri = |id: &str| format!("{}/v1beta/files/{id}:download?alt=media", rig.api.url);
    let samples = json!([{"video": {"uri": uri("one")}}, {"video": {"uri": uri("two")}}]);
    let response = json!({"generateVideoResponse": {"generatedSamples": samples}});
    rig.api.says(name, [Answer::json(json!({"done": true, "response": response}))]);
    rig.deliver("msg_1", &event("video.generated", name)).await;
    // The API has deleted its files by now.
    rig.later(49 * HOUR);
    let mut row = rig.work("msg_1").await;
    while text(&row, "state") == "waiting" {
        rig.later(number(&row, "due_at") - rig.now());
        row = rig.work("msg_1").await;
    }
    assert_eq!(end(&row), "done/archived");
    let job = rig.job(name).await.unwrap();
    assert!(rig.outputs(&job).await["videos/two/0.mp4"] == video);
    assert_eq!(job["skipped"][0]["source"], uri("two"));
    assert!(text(&row, "last_error").starts_with("1 of 3 outputs were not fetched"), "{row:?}");
}
