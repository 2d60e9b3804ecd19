//! A sweep and its rows: one that kills its worker costs its neighbours next to nothing, no shard starves another,
//! and nothing is begun that could not be put off.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    rig::{HOUR, MINUTE, Rig, event},
    scripted::Answer,
    support::{end, number, text},
};

fn batch(name: &str) -> Answer {
    Answer::json(json!({"name": name, "done": true, "metadata": {"state": "BATCH_STATE_FAILED"}}))
}

fn stalling() -> Answer {
    Answer::bytes("{\"name\": \"batches/b1\"}").stalls_after(3)
}

/// Ids of which each is in this part of the index: the first byte of its SHA-256, modulo 8.
fn ids_in(shard: u8, count: usize) -> Vec<String> {
    let ids = (0..).map(|number| format!("msg_{number}"));
    ids.filter(|id| Sha256::digest(id.as_bytes())[0] % 8 == shard).take(count).collect()
}

async fn deliver(rig: &Rig, id: &str) {
    let job = format!("batches/{id}");
    rig.api.says(&job, [batch(&job)]);
    rig.deliver(id, &event("batch.failed", &job)).await;
}

/// Sweeps until the API has been asked for each of these jobs once more, and kills the worker then.
async fn killed_at(rig: &Rig, jobs: &[&str]) {
    let asked = |job: &&str| rig.api.asked_for(job).len();
    let before: Vec<usize> = jobs.iter().map(asked).collect();
    let all_asked = async {
        while jobs.iter().zip(&before).any(|(job, before)| asked(job) == *before) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        swept = rig.sweep() => panic!("it was not killed: {swept}"),
        () = all_asked => {}
    }
    // The lease runs out.
    rig.later(2 * MINUTE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_kills_its_workers_takes_no_neighbour_with_it() {
    let rig = Rig::start().await;
    let ids = ["msg_a", "msg_killer", "msg_b", "msg_c"];
    for id in ids {
        deliver(&rig, id).await;
    }
    rig.api.says("batches/msg_killer", [stalling()]);
    for id in ["msg_a", "msg_b", "msg_c"] {
        rig.api.says(&format!("batches/{id}"), [stalling(), batch(&format!("batches/{id}"))]);
    }
    rig.later(5 * MINUTE);
    killed_at(&rig, &["batches/msg_a", "batches/msg_b", "batches/msg_c", "batches/msg_killer"]).await;
    for _ in 0..5 {
        killed_at(&rig, &["batches/msg_killer"]).await;
    }
    rig.sweep().await;
    let killer = rig.row("msg_killer").await;
    assert_eq!((end(&killer).as_str(), number(&killer, "crashes")), ("failed/", 5));
    for id in ["msg_a", "msg_b", "msg_c"] {
        assert_eq!(end(&rig.row(id).await), "done/ended", "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_has_cost_a_worker_is_worked_after_the_others_and_alone() {
    let rig = Rig::start().await;
    deliver(&rig, "msg_suspect").await;
    let _ = rig.ledger().lease("msg_suspect", rig.now() + MINUTE).await.unwrap();
    rig.later(HOUR);
    // More than are worked at once, so that the suspect would be among the first if it were worked in its turn.
    for number in 0..12 {
        deliver(&rig, &format!("msg_{number}")).await;
    }
    rig.later(HOUR);
    let swept = rig.sweep().await;
    assert_eq!((&swept["worked"], end(&rig.row("msg_suspect").await).as_str()), (&json!(13), "done/ended"));
    let order: Vec<String> = rig.api.asked().iter().map(|asked| asked.target.clone()).collect();
    assert!(order.last().unwrap().contains("msg_suspect"), "{order:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_overdue_row_comes_first_whatever_its_shard_and_however_busy_the_others_are() {
    let rig = Rig::start().await;
    let (oldest, busy) = (ids_in(7, 1), ids_in(0, 60));
    for id in &oldest {
        deliver(&rig, id).await;
    }
    rig.later(MINUTE);
    for id in &busy {
        deliver(&rig, id).await;
    }
    rig.later(HOUR);
    let swept = rig.sweep().await;
    assert_eq!((&swept["due"], &swept["worked"]), (&json!(61), &json!(61)), "pages are 50 rows long");
    let asked = rig.api.asked();
    let place = asked.iter().position(|asked| asked.target.contains(&oldest[0])).unwrap();
    assert!(place < 4, "it came as number {place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn near_its_end_a_sweep_begins_nothing() {
    let rig = Rig::start().await;
    deliver(&rig, "msg_1").await;
    rig.later(HOUR);
    rig.invoke(json!({"schedule": "sweep"}), 59_000).await;
    let row = rig.row("msg_1").await;
    assert_eq!((text(&row, "state"), number(&row, "attempt")), ("received", 0));
    rig.invoke(json!({"schedule": "sweep"}), 61_000).await;
    assert_eq!(end(&rig.row("msg_1").await), "done/ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_half_of_its_time_a_sweep_begins_only_what_is_worked_alone() {
    let rig = Rig::start().await;
    deliver(&rig, "msg_suspect").await;
    for _ in 0..2 {
        let _ = rig.ledger().lease("msg_suspect", rig.now() + MINUTE).await.unwrap();
        rig.later(HOUR);
    }
    for number in 0..6 {
        let (id, job) = (format!("msg_{number}"), format!("batches/msg_{number}"));
        deliver(&rig, &id).await;
        rig.api.says(&job, [batch(&job).slow(Duration::from_secs(1))]);
    }
    rig.later(HOUR);
    // Time passes while the first four are read.
    let passing = async {
        while rig.api.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rig.later(8 * MINUTE);
    };
    let (swept, ()) = tokio::join!(rig.sweep(), passing);
    assert_eq!((&swept["due"], &swept["worked"]), (&json!(7), &json!(5)));
    let suspect = rig.row("msg_suspect").await;
    assert_eq!((end(&suspect).as_str(), number(&suspect, "attempt")), ("done/ended", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stalls_in_a_sweep_is_put_off_and_costs_nobody_a_crash() {
    let rig = Rig::start().await;
    deliver(&rig, "msg_1").await;
    deliver(&rig, "msg_2").await;
    rig.api.says("batches/msg_1", [stalling()]);
    rig.later(HOUR);
    rig.invoke(json!({"schedule": "sweep"}), 60_100).await;
    assert_eq!(end(&rig.row("msg_2").await), "done/ended");
    let row = rig.row("msg_1").await;
    assert_eq!((text(&row, "error_kind"), number(&row, "crashes")), ("deadline", 0), "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_wait_for_an_absent_job_do_not_make_the_oldest_open_one() {
    let rig = Rig::start().await;
    rig.take("msg_absent", &event("batch.succeeded", "batches/never-was")).await;
    rig.later(10 * HOUR);
    let swept: Value = rig.sweep().await;
    assert_eq!((&swept["due"], &swept["oldest_received_at"]), (&json!(1), &Value::Null));
    deliver(&rig, "msg_late").await;
    let received = rig.now();
    rig.later(10 * HOUR);
    assert_eq!(rig.sweep().await["oldest_received_at"], received);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_leased_does_not_stop_the_sweep() {
    let rig = Rig::start().await;
    deliver(&rig, "msg_good").await;
    deliver(&rig, "msg_bad").await;
    let update = rig.test.dynamodb().update_item().table_name("rig-deliveries");
    update
        .key("webhook_id", AttributeValue::S("msg_bad".to_owned()))
        .update_expression("SET give_up_at = :text")
        .expression_attribute_values(":text", AttributeValue::S("soon".to_owned()))
        .send()
        .await
        .unwrap();
    rig.later(HOUR);
    rig.sweep().await;
    assert_eq!(end(&rig.row("msg_good").await), "done/ended");
}
