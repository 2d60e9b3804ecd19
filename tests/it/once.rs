//! Exactly once: one row for an id, one archived result for a job.

use futures_util::future::join_all;

use crate::support::{TestMachine, end, number, succeeded, text, three_requests};

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_deliveries_at_once_make_one_row_and_one_object() {
    let test = TestMachine::start().await;
    let job = test.silent_batch(three_requests()).await;
    let body = succeeded(&job);
    let posts = (0..64).map(|_| test.delivery("msg_once", body.clone()).send());
    for answer in join_all(posts).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    let row = test.ended("msg_once").await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 1));
    assert_eq!(text(&row, "job_id"), job);
    assert_eq!(test.deliveries().await.len(), 1);

    let objects = test.objects().await;
    assert_eq!(objects.len(), 1);
    let id = job.strip_prefix("batches/").unwrap();
    let lines = String::from_utf8(objects[&format!("batches/{id}/responses.jsonl")].clone()).unwrap();
    let keys: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(keys, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deliveries_of_one_job_end_archived_and_repeated() {
    let test = TestMachine::start().await;
    for round in 0..5 {
        let job = test.silent_batch(three_requests()).await;
        let ids = [format!("msg_{round}_a"), format!("msg_{round}_b")];
        let posts = ids.iter().map(|id| test.delivery(id, succeeded(&job)).send());
        for answer in join_all(posts).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
        let mut ends = Vec::new();
        for id in &ids {
            ends.push(end(&test.ended(id).await));
        }
        ends.sort();
        assert_eq!(ends, ["done/archived", "done/repeated"], "round {round}");
        let row = test.job_row(&job).await.unwrap();
        assert!(ids.contains(&text(&row, "ended_by").to_owned()));
        let summary = row["summary"].as_m().unwrap();
        assert_eq!((number(summary, "requests"), number(summary, "failed")), (3, 1));
    }
    assert_eq!(test.objects().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_body_under_a_known_id_has_a_row_of_its_own() {
    let test = TestMachine::start().await;
    for body in ["{\"type\":\"a.b\"}", "{\"type\":\"a.c\"}", "{\"type\":\"a.c\"}"] {
        assert_eq!(test.delivery("msg_two", body).send().await.unwrap().status(), 200);
    }
    let mut keys: Vec<String> =
        test.deliveries().await.iter().map(|row| text(row, "webhook_id").to_owned()).collect();
    keys.sort();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], "msg_two");
    // sha256 of the second body, by sha256sum
    assert!(keys[1].starts_with("msg_two~"), "{keys:?}");
    assert_eq!(keys[1].len(), "msg_two~".len() + 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_failed_ends_without_an_object_and_keeps_its_error() {
    let test = TestMachine::start().await;
    let mut changes = test.changes();
    let job = test.create(serde_json::json!({"fileName": "files/nowhere"}), serde_json::json!({})).await;
    let id = loop {
        let change = changes.recv().await.unwrap();
        if change.is_end() {
            break change.webhook_id;
        }
    };
    let row = test.ended(&id).await;
    assert_eq!((end(&row).as_str(), text(&row, "job_id")), ("done/ended", job.as_str()));
    let job = test.job_row(&job).await.unwrap();
    assert_eq!(text(&job, "state"), "BATCH_STATE_FAILED");
    assert!(job["error"].as_m().unwrap().contains_key("message"));
    assert!(test.objects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_knows_is_looked_for_twice_and_ends_gone() {
    let test = TestMachine::start().await;
    test.delivery("msg_gone", succeeded("batches/never-was")).send().await.unwrap();
    let row = test.ended("msg_gone").await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/gone", 2));
    assert!(test.job_row("batches/never-was").await.unwrap()["error"].as_m().is_ok());
}
