//! Wrong bytes on their way to S3 are refused, and an attempt ends at its deadline whatever it waits for.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    rig::{HOUR, Make, Rig, event, noise},
    scripted::Answer,
    support::{end, text},
    transfer_front::{Act, Front},
};

const JOB: &str = "batches/b1";
const FILE: &str = "files/batch-b1:download";
const KEY: &str = "batches/b1/responses.jsonl";

/// Far longer than the attempt has, and shorter than a test may take: what waits it out ends as `done`.
const LONG: Duration = Duration::from_secs(25);

/// Of which two seconds are left when the margin for the last write is taken off.
const SHORT: i64 = 22_000;

fn succeeded() -> serde_json::Value {
    json!({"name": JOB, "done": true, "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
        "response": {"responsesFile": "files/batch-b1"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_spoiled_on_their_way_are_refused_and_sent_again() {
    for (length, query) in [(3_000_000, ""), (20_000_000, "partNumber=2")] {
        let spoils = AtomicBool::new(true);
        let judge = move |method: &str, of: &str| {
            let hit = method == "PUT" && of.contains(query) && spoils.swap(false, Ordering::Relaxed);
            if hit { Act::Flip } else { Act::Pass }
        };
        // The first PUT of an upload in parts need not be part 2: only that one is spoiled.
        let judge = move |method: &str, of: &str| match of.contains(query) {
            true => judge(method, of),
            false => Act::Pass,
        };
        let (rig, front) = Front::rig(Make::default(), judge).await;
        let content = noise(length);
        rig.api.says(JOB, [Answer::json(succeeded())]);
        rig.api.says(FILE, [Answer::bytes(content.clone()).ranges()]);
        let row = rig.take("msg_1", &event("batch.succeeded", JOB)).await;
        assert_eq!(text(&row, "state"), "waiting", "{length} bytes: {row:?}");
        assert!(text(&row, "last_error").contains("BadDigest"), "{row:?}");
        assert!(rig.test.objects().await.is_empty(), "{length} bytes");
        rig.later(HOUR);
        assert_eq!(end(&rig.work("msg_1").await), "done/archived");
        assert!(rig.outputs(&rig.job(JOB).await.unwrap()).await[KEY] == content, "{length} bytes");

        // What S3 holds it to is the sender's own digest of the bytes, in each request and in the last step.
        let sent = front.seen();
        for put in sent.iter().filter(|seen| seen.method == "PUT") {
            let sum = BASE64_STANDARD.encode(Sha256::digest(&put.body));
            assert_eq!(put.header("x-amz-checksum-sha256"), Some(sum.as_str()));
            if let Some(last) =
                sent.iter().find(|seen| seen.method == "POST" && seen.query.contains("uploadId="))
            {
                assert!(String::from_utf8_lossy(&last.body).contains(&sum));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_a_job_that_drips_ends_with_the_attempt() {
    let rig = Rig::start().await;
    // White space behind the answer: a piece of 64 KiB every second.
    let mut dripping = succeeded().to_string();
    dripping.push_str(&" ".repeat(64 * 1024 * LONG.as_secs() as usize));
    rig.api.says(JOB, [Answer::bytes(dripping).slow(Duration::from_secs(1)), Answer::json(succeeded())]);
    rig.api.says(FILE, [Answer::bytes("{\"key\":\"a\",\"response\":{}}\n")]);
    rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
    let row = rig.work_until("msg_1", SHORT).await;
    assert_eq!(text(&row, "state"), "waiting", "{row:?}");
    assert!(text(&row, "last_error").starts_with("the invocation ran out of time"), "{row:?}");
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_that_is_slow_in_whatever_it_does_ends_with_the_attempt() {
    for (method, query, length) in [
        ("PUT", "x-id=PutObject", 10),
        ("POST", "uploads", 20_000_000),
        ("PUT", "partNumber=2", 20_000_000),
        ("POST", "uploadId=", 20_000_000),
        ("HEAD", "", 10),
    ] {
        let slow = AtomicBool::new(true);
        let judge = move |asked: &str, of: &str| {
            let hit = asked == method && of.contains(query) && slow.swap(false, Ordering::Relaxed);
            if hit { Act::Slow(LONG) } else { Act::Pass }
        };
        let (rig, _front) = Front::rig(Make::default(), judge).await;
        let content = noise(length);
        // An object is looked up in a second attempt only.
        let failing = (method == "HEAD").then(|| Answer::fault(503, "later"));
        rig.api.says(JOB, failing.into_iter().chain([Answer::json(succeeded())]));
        rig.api.says(FILE, [Answer::bytes(content.clone()).ranges()]);
        rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
        if method == "HEAD" {
            rig.work("msg_1").await;
            rig.later(HOUR);
        }
        let row = rig.work_until("msg_1", SHORT).await;
        assert_eq!(text(&row, "state"), "waiting", "{method} {query}: {row:?}");
        assert!(text(&row, "last_error").starts_with("the invocation ran out of time"), "{row:?}");
        let row = rig.work("msg_1").await;
        assert_eq!(end(&row), "done/archived", "{method} {query}: {row:?}");
        assert!(rig.outputs(&rig.job(JOB).await.unwrap()).await[KEY] == content, "{method} {query}");
    }
}
