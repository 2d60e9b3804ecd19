//! Bytes on their way: whatever happens to a connection, the object is the source or there is none.

use std::{sync::Arc, time::Duration};

use gemhook::worker::RetryPolicy;
use serde_json::{Value, json};

use crate::{
    rig::{MINUTE, Make, Rig, event, noise, sha256},
    scripted::{Answer, Scripted},
    support::{TestMachine, end, number, text},
};

const JOB: &str = "batches/b1";
const FILE: &str = "files/batch-b1:download";
const KEY: &str = "batches/b1/responses.jsonl";

fn succeeded() -> Answer {
    Answer::json(json!({"name": JOB, "done": true, "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
        "response": {"responsesFile": "files/batch-b1"}}))
}

/// Restarts happen at once.
async fn restarting() -> Rig {
    let retry_policy = RetryPolicy {
        first: Duration::from_millis(5),
        asleep: Duration::from_secs(60),
        ..RetryPolicy::default()
    };
    let rig = Rig::make(TestMachine::start().await, "rig", Make { retry_policy, ..Make::default() }).await;
    rig.api.says(JOB, [succeeded()]);
    rig
}

async fn archived_as(rig: &Rig, content: &[u8]) -> Value {
    let job = rig.job(JOB).await.unwrap();
    let objects = rig.outputs(&job).await;
    assert_eq!(sha256(&objects[KEY]), sha256(content));
    assert_eq!(rig.open_uploads(), 0);
    job
}

fn ranges_asked(rig: &Rig) -> Vec<Option<String>> {
    let asked = rig.api.asked_for(FILE);
    asked.iter().map(|asked| asked.header("range").map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_any_length_arrive_as_they_are() {
    let part = 8 * 1024 * 1024;
    for length in [1, part - 1, part, part + 1, 3 * part, 30_000_001] {
        let rig = restarting().await;
        let content = noise(length);
        rig.api.says(FILE, [Answer::bytes(content.clone())]);
        let row = rig.take("msg_1", &event("batch.succeeded", JOB)).await;
        assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 1), "{length} bytes");
        let job = archived_as(&rig, &content).await;
        assert_eq!(job["outputs"][0]["bytes"], length);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_download_goes_on_where_it_broke_off() {
    let rig = restarting().await;
    let content = noise(30_000_000);
    let whole = Answer::bytes(content.clone()).with("etag", "\"v1\"").ranges();
    let broken = [whole.clone().cut_after(10_000_000), whole.clone().cut_after(9_000_000)];
    rig.api.says(FILE, [broken.as_slice(), &[whole.clone().ends_after(1_000_000), whole]].concat());
    let row = rig.take("msg_1", &event("batch.succeeded", JOB)).await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 1));
    archived_as(&rig, &content).await;
    let asked = rig.api.asked_for(FILE);
    assert_eq!(asked.len(), 4, "{:?}", ranges_asked(&rig));
    assert_eq!(asked[1].header("if-range"), Some("\"v1\""));
    let starts: Vec<usize> = ranges_asked(&rig)
        .iter()
        .flatten()
        .map(|range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap())
        .collect();
    assert!(starts[0] > 0 && starts[0] <= 10_000_000 && starts.is_sorted_by(|a, b| a < b), "{starts:?}");
    assert_eq!(rig.api.asked_for(JOB).len(), 1, "the attempt went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_cannot_go_on_begins_anew_in_the_same_attempt() {
    let content = noise(11_000_000);
    let plain = Answer::bytes(content.clone());
    let changed = noise(11_000_001);
    for (second, what) in [
        (plain.clone(), "no ranges"),
        (plain.clone().ranges().with("etag", "\"v2\""), "other content"),
        (Answer::bytes(changed).ranges().with("etag", "\"v1\""), "another length"),
        (Answer::fault(404, "gone").with("etag", "\"v1\""), "nothing"),
    ] {
        let rig = restarting().await;
        let first = plain.clone().with("etag", "\"v1\"").cut_after(9_000_000);
        rig.api.says(FILE, [first, second, plain.clone()]);
        let row = rig.take("msg_1", &event("batch.succeeded", JOB)).await;
        assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 1), "{what}");
        archived_as(&rig, &content).await;
        assert_eq!(rig.api.asked_for(JOB).len(), 2, "{what}");
        // The next try asks for the rest as well, since a part has landed, and takes the whole output that it is given.
        let ranged: Vec<bool> = ranges_asked(&rig).iter().map(Option::is_some).collect();
        assert_eq!(ranged, [false, true, true], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrives_whole_leaves_no_object() {
    let rig = Rig::start().await;
    rig.api.says(JOB, [succeeded()]);
    rig.api.says(FILE, [Answer::bytes(noise(20_000_000)).cut_after(12_000_000)]);
    let row = rig.take("msg_1", &event("batch.succeeded", JOB)).await;
    assert_eq!(text(&row, "state"), "waiting");
    assert!(text(&row, "last_error").starts_with("read the output"), "{row:?}");
    assert!(rig.test.objects().await.is_empty());
    assert_eq!(rig.job(JOB).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_stalls_ends_with_its_invocation_and_another_one_goes_on() {
    let rig = Rig::start().await;
    let content = noise(20_000_000);
    rig.api.says(JOB, [succeeded()]);
    let whole = Answer::bytes(content.clone());
    rig.api.says(FILE, [whole.clone().stalls_after(12_000_000), whole]);
    rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
    let row = rig.work_until("msg_1", 30_000).await;
    assert_eq!(
        (text(&row, "state"), text(&row, "last_error")),
        ("waiting", "the invocation ran out of time")
    );
    assert_eq!(number(&row, "due_at"), rig.now());
    let row = rig.work("msg_1").await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 2));
    archived_as(&rig, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_in_the_middle_leaves_no_object_and_the_next_one_brings_it() {
    let rig = Rig::start().await;
    let content = noise(20_000_000);
    rig.api.says(JOB, [succeeded()]);
    let whole = Answer::bytes(content.clone());
    rig.api.says(FILE, [whole.clone().stalls_after(12_000_000), whole]);
    rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
    let uploading = async {
        while rig.open_uploads() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        row = rig.work("msg_1") => panic!("it did not stall: {row:?}"),
        () = uploading => {}
    }
    assert!(rig.test.objects().await.is_empty());
    assert_eq!(text(&rig.row("msg_1").await, "state"), "archiving");
    rig.later(20 * MINUTE);
    let row = rig.work("msg_1").await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 2));
    let job = rig.job(JOB).await.unwrap();
    assert!(rig.outputs(&job).await[KEY] == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_is_archived() {
    let rig = restarting().await;
    let content = noise(3_000_000);
    rig.api.says(FILE, [Answer::bytes(content.clone()).slow(Duration::from_millis(20))]);
    assert_eq!(end(&rig.take("msg_1", &event("batch.succeeded", JOB)).await), "done/archived");
    archived_as(&rig, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_is_sent_no_key() {
    let rig = restarting().await;
    let other = Scripted::start().await;
    let content = noise(12_000_000);
    let signed = format!("{}/v1beta/signed?token=t", other.url);
    rig.api.says(FILE, [Answer::redirect("/v1beta/moved")]);
    rig.api.says("moved", [Answer::redirect(&signed)]);
    let whole = Answer::bytes(content.clone()).with("etag", "\"s\"").ranges();
    other.says("signed", [Answer::redirect("/v1beta/here")]);
    other.says("here", [whole.clone().cut_after(5_000_000), whole]);
    assert_eq!(end(&rig.take("msg_1", &event("batch.succeeded", JOB)).await), "done/archived");
    archived_as(&rig, &content).await;
    assert_eq!(rig.api.asked_for("moved")[0].header("x-goog-api-key"), Some("the-key"));
    let asked = other.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    for asked in &asked {
        let told = format!("{:?} {}", asked.headers, asked.target);
        assert!(!told.contains("the-key") && asked.header("authorization").is_none(), "{told}");
    }
    // Back on the API's host, it is still a path that another host has chosen.
    let rig = restarting().await;
    rig.api.says(FILE, [Answer::redirect(&signed)]);
    other.says("signed", [Answer::redirect(&format!("{}/v1beta/back", rig.api.url))]);
    rig.api.says("back", [Answer::bytes("{}")]);
    assert_eq!(end(&rig.take("msg_1", &event("batch.succeeded", JOB)).await), "done/archived");
    assert_eq!(rig.api.asked_for("back")[0].header("x-goog-api-key"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_that_lead_nowhere_are_said_so() {
    for (to, why) in [
        ("/v1beta/files/batch-b1:download", "it is redirected without an end"),
        ("ftp://127.0.0.1/x", "it is redirected to an address without https"),
    ] {
        let rig = restarting().await;
        rig.api.says(FILE, [Answer::redirect(to)]);
        let row = rig.take("msg_1", &event("batch.succeeded", JOB)).await;
        assert_eq!(text(&row, "state"), "failed", "{to}");
        assert!(text(&row, "last_error").ends_with(why), "{row:?}");
        assert!(rig.test.objects().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_archivers_at_once_make_one_object() {
    let rig = Arc::new(restarting().await);
    let content = noise(20_000_000);
    rig.api.says(FILE, [Answer::bytes(content.clone())]);
    for id in ["msg_1", "msg_2"] {
        rig.deliver(id, &event("batch.succeeded", JOB)).await;
    }
    let (one, two) = tokio::join!(rig.work("msg_1"), rig.work("msg_2"));
    let mut ends = [end(&one), end(&two)];
    ends.sort();
    assert_eq!(ends, ["done/archived", "done/repeated"]);
    archived_as(&rig, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inline_results_become_lines_however_many_parts_they_fill() {
    let rig = restarting().await;
    let text = "x".repeat(3_000_000);
    let results: Vec<Value> = (0..4)
        .map(|number| json!({"metadata": {"key": number}, "response": {"text": text}}))
        .chain([json!({"error": {"code": 3, "message": "bad request"}})])
        .collect();
    let inlined = json!({"inlinedResponses": {"inlinedResponses": results}});
    let metadata = json!({"state": "JOB_STATE_PARTIALLY_SUCCEEDED", "output": inlined});
    rig.api.says(JOB, [Answer::json(json!({"name": JOB, "done": true, "metadata": metadata}))]);
    assert_eq!(end(&rig.take("msg_1", &event("batch.succeeded", JOB)).await), "done/archived");
    let mut lines = String::new();
    for number in 0..4 {
        let metadata = format!("{{\"key\":{number}}}");
        lines +=
            &format!("{{\"key\":{number},\"metadata\":{metadata},\"response\":{{\"text\":\"{text}\"}}}}\n");
    }
    lines += "{\"error\":{\"code\":3,\"message\":\"bad request\"}}\n";
    let job = archived_as(&rig, lines.as_bytes()).await;
    assert_eq!((&job["summary"]["succeeded"], &job["summary"]["failed"]), (&json!(4), &json!(1)));
    assert_eq!(job["state"], "JOB_STATE_PARTIALLY_SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_results_too_from_a_file_and_inline() {
    let line = json!({"key": "a", "response": {"embedding": {"values": [0.25]}, "tokenCount": "3"}});
    let rig = restarting().await;
    rig.api.says(FILE, [Answer::bytes(format!("{line}\n"))]);
    let inline = restarting().await;
    let embeddings = json!({"inlinedEmbedContentResponses": {"inlinedResponses": [line]}});
    let answer = json!({"name": JOB, "done": true, "metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "response": embeddings});
    inline.api.says(JOB, [Answer::json(answer)]);
    for rig in [rig, inline] {
        assert_eq!(end(&rig.take("msg_1", &event("batch.succeeded", JOB)).await), "done/archived");
        let job = archived_as(&rig, format!("{line}\n").as_bytes()).await;
        let sum = &job["summary"];
        assert_eq!(
            (&sum["requests"], &sum["succeeded"], &sum["tokens_in"]),
            (&json!(1), &json!(1), &json!(3))
        );
    }
}
