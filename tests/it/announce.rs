//! The announcement: after the commit, at least once, never lost.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use gemhook::ledger::{ErrorKind, Fence, Lease, Wait};
use gemhook_cli::dev::{Announced, BusFault};
use serde_json::json;
use tokio::{sync::broadcast::Receiver, time::timeout};

use crate::{
    rig::{MINUTE, Rig, event},
    scripted::Answer,
    support::{TestMachine, end, number, succeeded, text, three_requests},
};

async fn next(events: &mut Receiver<Announced>) -> Announced {
    timeout(Duration::from_secs(60), events.recv()).await.expect("nothing was announced").unwrap()
}

/// What has been announced and not yet read.
fn rest(events: &mut Receiver<Announced>) -> usize {
    std::iter::from_fn(|| events.try_recv().ok()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ended_is_announced_once_with_what_its_row_says() {
    let test = TestMachine::start().await;
    let mut events = test.machine.announced();
    let metadata = json!({"job_group": "nightly", "user": {"id": 7}});
    let job = test.create_batch(three_requests(), json!({"user_metadata": metadata})).await;
    let told = next(&mut events).await;
    assert_eq!(
        (told.source.as_str(), told.detail_type.as_str(), told.bus.as_str()),
        ("gemhook", "Gemini job ended", "default")
    );
    let row = test.ended(told.detail["webhook_id"].as_str().unwrap()).await;
    assert_eq!(end(&row), "done/archived");
    assert_eq!((&told.detail["job"], &told.detail["kind"]), (&json!(job), &json!("batch")));
    assert_eq!(
        (&told.detail["state"], &told.detail["outcome"]),
        (&json!("BATCH_STATE_SUCCEEDED"), &json!("archived"))
    );
    assert_eq!(told.detail["user_metadata"], metadata);
    assert_eq!(told.detail["summary"]["requests"], 3);
    let objects = test.objects().await;
    let output = &told.detail["outputs"][0];
    assert_eq!(output["bytes"], objects[output["key"].as_str().unwrap()].len());
    assert_eq!(rest(&mut events), 0);

    // A second delivery of the same job ends as repeated and says nothing.
    test.delivery("msg_again", succeeded(&job)).send().await.unwrap();
    assert_eq!(end(&test.ended("msg_again").await), "done/repeated");
    assert_eq!(rest(&mut events), 0);
    let kept = std::fs::read_to_string(test.machine.addresses.data_dir.join("events.jsonl")).unwrap();
    assert_eq!(serde_json::from_str::<Announced>(kept.trim_end()).unwrap(), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_the_bus_refuses_is_announced_later_and_then_the_row_is_done() {
    let test = TestMachine::start().await;
    let mut events = test.machine.announced();
    let job = test.silent_batch(three_requests()).await;
    // Three tries in the first lease, so the row has to wait before the fifth.
    test.machine.bus.misbehave(BusFault::RefuseEntries(4));
    test.delivery("msg_refused", succeeded(&job)).send().await.unwrap();
    let told = next(&mut events).await;
    let row = test.ended("msg_refused").await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 2));
    assert_eq!(told.detail["job"], job);
    assert_eq!(text(&test.job_row(&job).await.unwrap(), "ended_by"), "msg_refused");
    assert_eq!((test.objects().await.len(), rest(&mut events)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bus_is_down_a_committed_row_waits_with_its_budget_afresh() {
    let test = TestMachine::start().await;
    let (mut events, mut changes) = (test.machine.announced(), test.changes());
    let job = test.silent_batch(three_requests()).await;
    test.machine.bus.misbehave(BusFault::Down);
    test.delivery("msg_down", succeeded(&job)).send().await.unwrap();
    let waits = loop {
        let change = timeout(Duration::from_secs(60), changes.recv()).await.unwrap().unwrap();
        if change.state == "waiting" {
            break change;
        }
        assert!(!change.is_end(), "{change:?}");
    };
    assert_eq!(waits.outcome.as_deref(), Some("archived"), "the commit stands");
    assert!(waits.last_error.unwrap().contains("not announced"));
    let row = test.delivery_row("msg_down").await.unwrap();
    assert!(number(&row, "give_up_at") > number(&row, "received_at") + 7 * 86_400_000);
    assert_eq!(rest(&mut events), 0);

    test.machine.bus.misbehave(BusFault::None);
    let told = next(&mut events).await;
    assert_eq!(told.detail["job"], job);
    assert_eq!(end(&test.ended("msg_down").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_failed_with_only_its_announcement_owed_is_announced_by_a_redrive() {
    let test = TestMachine::start().await;
    let (mut events, mut changes) = (test.machine.announced(), test.changes());
    let job = test.silent_batch(three_requests()).await;
    test.machine.bus.misbehave(BusFault::Down);
    test.delivery("msg_owed", succeeded(&job)).send().await.unwrap();
    while changes.recv().await.unwrap().state != "waiting" {}
    // Its days are over: the next lease gives it up.
    let spend = test.dynamodb().update_item().table_name(&test.machine.addresses.deliveries_table);
    spend
        .key("webhook_id", AttributeValue::S("msg_owed".to_owned()))
        .update_expression("SET give_up_at = :past")
        .expression_attribute_values(":past", AttributeValue::N("1".to_owned()))
        .send()
        .await
        .unwrap();
    let row = test.ended("msg_owed").await;
    assert_eq!(end(&row), "failed/archived");
    assert!(text(&row, "last_error").contains("not announced"), "{row:?}");
    assert_eq!(rest(&mut events), 0);

    test.machine.bus.misbehave(BusFault::None);
    assert_eq!(test.machine.ledger().redrive("msg_owed").await.unwrap(), Fence::Held);
    assert_eq!(next(&mut events).await.detail["job"], job);
    while end(&test.delivery_row("msg_owed").await.unwrap()) != "done/archived" {}
    assert_eq!(test.objects().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_waits_for_its_announcement_has_nothing_left_of_a_transfer() {
    let rig = Rig::start().await;
    let batch = json!({"name": "batches/b1", "done": true, "metadata": {"state": "BATCH_STATE_FAILED"}});
    rig.api.says("batches/b1", [Answer::json(batch)]);
    rig.deliver("msg_1", &event("batch.failed", "batches/b1")).await;
    let Lease::Taken(row) = rig.ledger().lease("msg_1", rig.now() + MINUTE).await.unwrap() else { panic!() };
    let (why, kind) = ("an earlier attempt", ErrorKind::Deadline);
    let wait = Wait { due_at: rig.now(), why, kind, checkpoint: Some("{}") };
    assert_eq!(rig.ledger().wait(&row, wait).await.unwrap(), Fence::Held);
    rig.later(MINUTE);
    rig.test.machine.bus.misbehave(BusFault::RefuseEntries(3));
    let row = rig.work("msg_1").await;
    assert_eq!(
        (text(&row, "state"), text(&row, "outcome"), text(&row, "error_kind")),
        ("waiting", "ended", "announce")
    );
    assert_eq!((number(&row, "error_since"), row.get("checkpoint")), (rig.now(), None));
}
