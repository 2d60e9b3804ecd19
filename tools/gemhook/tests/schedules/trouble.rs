//! Trouble that lasts: a job that always fails, tables that refuse writes for an hour, a stream that is dead for a day.

use std::collections::BTreeSet;

use crate::{
    gemini::{Ending, Job, Kind},
    world::{HOUR, MINUTE, World, records},
};

fn job(number: usize) -> Job {
    Job { kind: Kind::BatchInline, ending: Ending::Succeeded, number }
}

fn id(number: usize) -> String {
    format!("msg_{number}")
}

async fn ten_deliveries(world: &World) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for number in 0..10 {
        world.network.gemini.has(&job(number));
        assert_eq!(world.post(&id(number), &job(number).event(), world.now()).await, 200);
        ids.insert(id(number));
    }
    ids
}

fn ends(world: &World) -> Vec<String> {
    let text = |row: &serde_json::Value, name: &str| row[name]["S"].as_str().unwrap_or_default().to_owned();
    let rows = world.rows().into_values();
    rows.map(|row| format!("{}/{}", text(&row, "state"), text(&row, "outcome"))).collect()
}

#[tokio::test]
async fn fault_32_at_each_of_ten_positions_one_record_fails_and_nine_are_archived() {
    for poison in 0..10 {
        let world = World::new(format!("position {poison}"));
        let ids = ten_deliveries(&world).await;
        world.network.gemini.breaks(&job(poison).path(), Some(500));
        world.invoke(records(ids.iter().map(String::as_str))).await.unwrap();
        for (number, end) in ends(&world).iter().enumerate() {
            assert_eq!(end, if number == poison { "waiting/" } else { "done/archived" }, "{poison}");
        }
    }
}

#[tokio::test]
async fn a_job_that_always_fails_ends_as_failed_and_is_archived_by_a_redrive_once_it_is_mended() {
    let world = World::new("poison".to_owned());
    ten_deliveries(&world).await;
    world.network.gemini.breaks(&job(4).path(), Some(500));
    let begun = world.now();
    while world.wait_until_due() {
        world.sweep().await.unwrap();
    }
    assert!(world.now() - begun >= 72 * HOUR);
    assert_eq!(ends(&world).iter().filter(|end| *end == "done/archived").count(), 9);
    assert_eq!(ends(&world)[4], "failed/");
    world.network.gemini.breaks(&job(4).path(), None);
    let _ = world.ledger().redrive(&id(4)).await.unwrap();
    world.invoke(records([id(4).as_str()])).await.unwrap();
    assert_eq!(ends(&world)[4], "done/archived");
}

#[tokio::test]
async fn while_the_tables_refuse_writes_a_sender_is_asked_to_come_again() {
    let world = World::new("refused".to_owned());
    world.network.gemini.has(&job(0));
    let first = world.now();
    world.network.refuse_writes(true);
    for _ in 0..6 {
        assert_eq!(world.post("msg_new", &job(0).event(), world.now()).await, 503);
        world.clock.later(10 * MINUTE);
    }
    world.network.refuse_writes(false);
    // A sender that keeps its first timestamp is stale by now, and its event is left to the reconciler.
    assert_eq!(world.post("msg_old", &job(0).event(), first).await, 401);
    assert!(world.rows().is_empty());
    assert_eq!(world.post("msg_new", &job(0).event(), world.now()).await, 200);
    world.invoke(records(["msg_new"])).await.unwrap();
    assert_eq!(ends(&world), ["done/archived"]);
}

#[tokio::test]
async fn what_a_stale_sender_could_not_deliver_is_entered_by_the_reconciler() {
    let world = World::new("stale".to_owned());
    world.network.gemini.has(&job(0));
    world.clock.later(HOUR);
    assert_eq!(world.post("msg_old", &job(0).event(), world.now() - HOUR).await, 401);
    world.invoke(serde_json::json!({"schedule": "reconcile"})).await.unwrap();
    while world.wait_until_due() {
        world.sweep().await.unwrap();
    }
    assert_eq!(ends(&world), ["done/archived"]);
}

#[tokio::test]
async fn fault_48_without_a_stream_for_a_day_the_sweep_alone_brings_every_row_to_its_end() {
    let world = World::new("no stream".to_owned());
    ten_deliveries(&world).await;
    world.clock.later(24 * HOUR);
    world.sweep().await.unwrap();
    assert_eq!(ends(&world), ["done/archived"; 10]);
}
