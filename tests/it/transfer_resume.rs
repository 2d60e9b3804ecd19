//! An output that is longer than an invocation: it goes on in the next one, or says why it cannot.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    rig::{HOUR, MINUTE, Make, Rig, event, noise},
    scripted::Answer,
    support::{Row, end, number, text},
    transfer_front::{Act, Front},
};

const JOB: &str = "batches/b1";
const FILE: &str = "files/batch-b1:download";
const KEY: &str = "batches/b1/responses.jsonl";
const PART: usize = 8 * 1024 * 1024;

/// Of which ten seconds are left when the margin for the last write is taken off.
const SHORT: i64 = 30_000;

async fn rig() -> (Rig, Arc<Front>) {
    rig_with(|_, _| Act::Pass).await
}

async fn rig_with(judge: impl Fn(&str, &str) -> Act + Send + Sync + 'static) -> (Rig, Arc<Front>) {
    let (rig, front) = Front::rig(Make::default(), judge).await;
    let job = json!({"name": JOB, "done": true, "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
        "response": {"responsesFile": "files/batch-b1"}});
    rig.api.says(JOB, [Answer::json(job)]);
    rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
    (rig, front)
}

fn served(content: &[u8]) -> Answer {
    Answer::bytes(content.to_vec()).with("etag", "\"v1\"").ranges()
}

/// Lines of 1 MB, the last one without an end: no part ends where a line does.
fn lines(count: usize) -> Vec<u8> {
    let line = |number: usize| {
        let usage = json!({"promptTokenCount": 3, "candidatesTokenCount": number});
        json!({"key": number, "response": {"text": "x".repeat(1_000_000), "usageMetadata": usage}})
            .to_string()
    };
    (0..count).map(line).collect::<Vec<_>>().join("\n").into_bytes()
}

/// The first byte of each request for the file. None where all of it was asked for.
fn starts(rig: &Rig) -> Vec<Option<usize>> {
    let first =
        |range: &str| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
    rig.api.asked_for(FILE).iter().map(|asked| asked.header("range").map(first)).collect()
}

fn is_waiting_with_a_checkpoint(row: &Row) {
    assert_eq!((text(row, "state"), text(row, "error_kind")), ("waiting", "deadline"), "{row:?}");
    let checkpoint = text(row, "checkpoint");
    assert!(checkpoint.contains(KEY) && checkpoint.len() <= 4096, "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_of_three_invocations_is_one_object_of_the_same_bytes() {
    let (rig, front) = rig().await;
    let content = lines(50);
    let whole = served(&content);
    rig.api.says(
        FILE,
        [whole.clone().stalls_after(2 * PART + 1000), whole.clone().stalls_after(3 * PART), whole],
    );
    for _ in 0..2 {
        let row = rig.work_until("msg_1", SHORT).await;
        is_waiting_with_a_checkpoint(&row);
        assert_eq!(number(&row, "error_since"), rig.now(), "its 72 hours begin anew with each progress");
        assert!(rig.test.objects().await.is_empty());
        rig.later(MINUTE);
    }
    let row = rig.work("msg_1").await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 3));
    let job = rig.job(JOB).await.unwrap();
    let objects = rig.outputs(&job).await;
    assert!(objects[KEY] == content && objects.len() == 1);
    let sums = &job["summary"];
    assert_eq!(
        (&sums["requests"], &sums["succeeded"], &sums["tokens_in"], &sums["tokens_out"]),
        (&json!(50), &json!(50), &json!(150), &json!((0..50).sum::<i32>()))
    );
    let all: Vec<i32> = (1..=i32::try_from(content.len().div_ceil(PART)).unwrap()).collect();
    assert_eq!(front.parts(), all, "each part was sent once");
    // Every later request begins near the place where the one before it stopped.
    let starts = starts(&rig);
    assert!(
        starts[0].is_none() && starts[1..].iter().all(|start| start.is_some_and(|at| at >= PART)),
        "{starts:?}"
    );
    for asked in &rig.api.asked_for(FILE)[1..] {
        assert_eq!(asked.header("if-range"), Some("\"v1\""));
    }
    assert_eq!(rig.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_invocation_has_sent_is_not_sent_again() {
    let (rig, front) = rig().await;
    let content = noise(6 * PART + 5);
    let whole = served(&content);
    rig.api.says(
        FILE,
        [whole.clone().stalls_after(PART + 10), whole.clone().stalls_after(3 * PART + 10), whole],
    );
    is_waiting_with_a_checkpoint(&rig.work_until("msg_1", SHORT).await);
    // It reads the first part again, so that it sends two more before it stalls.
    let sent = async {
        while front.parts().len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        row = rig.work("msg_1") => panic!("it did not stall: {row:?}"),
        () = sent => {}
    }
    assert_eq!(text(&rig.row("msg_1").await, "state"), "archiving");
    rig.later(20 * MINUTE);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    assert!(rig.outputs(&rig.job(JOB).await.unwrap()).await[KEY] == content);
    assert_eq!(front.parts(), [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_has_changed_is_read_from_its_beginning() {
    let (old, new) = (noise(4 * PART), lines(40));
    let longer = [old.as_slice(), b"more"].concat();
    // The last one lies: the same length and validator, and other bytes.
    let mut liar = old.clone();
    liar[PART / 2] ^= 1;
    for (what, content, answers) in [
        ("a validator, by a whole answer", &new, vec![Answer::bytes(new.clone()).with("etag", "\"v2\"")]),
        ("a validator, by a range", &new, vec![Answer::bytes(new.clone()).with("etag", "\"v2\"").ranges()]),
        ("a length", &longer, vec![served(&longer)]),
        ("bytes", &liar, vec![served(&liar)]),
    ] {
        let (rig, _front) = rig().await;
        rig.api.says(FILE, [served(&old).stalls_after(PART + 10)].into_iter().chain(answers));
        is_waiting_with_a_checkpoint(&rig.work_until("msg_1", SHORT).await);
        let mut row = rig.work("msg_1").await;
        if text(&row, "state") == "waiting" {
            assert!(text(&row, "last_error").contains("has changed"), "{what}: {row:?}");
            rig.later(HOUR);
            row = rig.work("msg_1").await;
        }
        assert_eq!(end(&row), "done/archived", "{what}: {row:?}");
        assert!(rig.outputs(&rig.job(JOB).await.unwrap()).await[KEY] == *content, "{what}");
        assert_eq!(rig.open_uploads(), 0, "{what}: the old upload is aborted");
    }
}

/// S3's id of the upload that an attempt has left, and how many of its parts count.
fn left(row: &Row) -> (String, Value) {
    let checkpoint: Value = serde_json::from_str(text(row, "checkpoint")).unwrap();
    (checkpoint["upload"].as_str().unwrap().to_owned(), checkpoint["parts"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_a_part_of_other_bytes_is_begun_anew() {
    let (rig, _front) = rig().await;
    let content = noise(3 * PART);
    rig.api.says(FILE, [served(&content).stalls_after(2 * PART + 10), served(&content)]);
    let (upload, parts) = left(&rig.work_until("msg_1", SHORT).await);
    assert_eq!(parts, 2);
    // Not the last one, which is compared with the source.
    let s3 = rig.test.machine.stores.s3(gemhook::aws::archiver_timeouts());
    let put = s3.upload_part().bucket(&rig.test.machine.addresses.bucket).key(KEY).upload_id(upload);
    let put = put.part_number(1).checksum_algorithm(aws_sdk_s3::types::ChecksumAlgorithm::Sha256);
    put.body(vec![b'x'; PART].into()).send().await.unwrap();
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    assert!(rig.outputs(&rig.job(JOB).await.unwrap()).await[KEY] == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_cannot_be_listed_is_left_for_a_later_attempt() {
    let refuses = Arc::new(AtomicBool::new(false));
    let is_refused = Arc::clone(&refuses);
    let (rig, front) = rig_with(move |method, query| match method == "GET" && query.contains("uploadId") {
        true if is_refused.load(SeqCst) => Act::Refuse,
        _ => Act::Pass,
    })
    .await;
    let content = noise(3 * PART);
    rig.api.says(FILE, [served(&content).stalls_after(2 * PART + 10), served(&content)]);
    let first = rig.work_until("msg_1", SHORT).await;
    refuses.store(true, SeqCst);
    let row = rig.work("msg_1").await;
    assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "transient"), "{row:?}");
    assert_eq!(left(&row), left(&first));
    refuses.store(false, SeqCst);
    rig.later(HOUR);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    assert_eq!(front.parts(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_gone_is_begun_anew() {
    let (rig, _front) = rig().await;
    let content = noise(3 * PART);
    rig.api.says(FILE, [served(&content).stalls_after(PART + 10), served(&content)]);
    let row = rig.work_until("msg_1", SHORT).await;
    is_waiting_with_a_checkpoint(&row);
    // As the bucket's lifecycle rule does.
    let s3 = rig.test.machine.stores.s3(gemhook::aws::archiver_timeouts());
    let abort = s3.abort_multipart_upload().bucket(&rig.test.machine.addresses.bucket).key(KEY);
    abort.upload_id(left(&row).0).send().await.unwrap();
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    assert!(rig.outputs(&rig.job(JOB).await.unwrap()).await[KEY] == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_ranges_that_is_too_slow_fails_in_time_and_says_why() {
    let (rig, _front) = rig().await;
    rig.api.says(FILE, [Answer::bytes(noise(4 * PART)).stalls_after(PART + 10)]);
    let mut row = rig.work_until("msg_1", SHORT).await;
    let mut reasons = Vec::new();
    while text(&row, "state") == "waiting" && reasons.len() < 5 {
        rig.later(20 * HOUR);
        row = rig.work_until("msg_1", SHORT).await;
        reasons.push(text(&row, "last_error").to_owned());
    }
    assert_eq!(text(&row, "state"), "failed", "{row:?}");
    // The second attempt is the first one that asks for the rest.
    assert_eq!(reasons[0], "the invocation ran out of time: the source answers no Range");
    assert!(reasons.iter().all(|why| why.starts_with("the invocation ran out of time")), "{reasons:?}");
    assert!(rig.test.objects().await.is_empty());
}
