//! Trouble that lasts: jobs that always fail, tables that refuse writes for an hour, a stream that is dead for a day.

use serde_json::json;

use crate::{
    gemini::Broken,
    jobs::{Ending, Job, Kind},
    network::Refused,
    promises::settled,
    records::{id, job, ten_deliveries},
    world::{HOUR, MINUTE, World, records},
};

/// The API answers 500 for one job for ever, and the answer about another one kills each process that reads it.
#[tokio::test]
async fn jobs_that_always_fail_hold_up_no_others_and_are_archived_by_a_redrive_once_they_are_fixed() {
    let world = World::new("poison".to_owned());
    let ids = ten_deliveries(&world).await;
    world.network.gemini.breaks(&job(4).path(), Broken::Status(500));
    world.network.gemini.breaks(&job(7).path(), Broken::Kills);
    let begun = world.now();
    // The stream brings all ten, and its process dies at the eighth.
    assert_eq!(world.invoke_in_process(records(ids.iter().map(String::as_str))).await, None);
    // More come in meanwhile.
    for number in 10..14 {
        world.network.gemini.has(&job(number));
        assert_eq!(world.post(&id(number), &job(number).event(), world.now()).await, 200);
    }
    let others: Vec<String> = (0..14).filter(|number| ![4, 7].contains(number)).map(id).collect();
    let open = || others.iter().filter(|id| world.rows()[*id]["state"]["S"] != "done").count();
    let mut sweeps = 0;
    while open() > 0 {
        assert!(world.wait_until_due());
        let _ = world.invoke_in_process(json!({"schedule": "sweep"})).await;
        sweeps += 1;
    }
    assert!(sweeps <= 3 && world.now() - begun < 10 * MINUTE, "{sweeps} sweeps");
    world.sweep_to_the_end().await;
    assert!(world.now() - begun >= 72 * HOUR);
    let row = |number: usize| world.rows()[&id(number)].clone();
    for (number, why) in [(4, "read the batch: Gemini answered 500"), (7, "given up: 5 workers died on it")] {
        assert_eq!(row(number)["state"]["S"], "failed");
        let error = row(number)["last_error"]["S"].as_str().unwrap().to_owned();
        assert!(error.starts_with(why), "{error}");
    }
    for number in [4, 7] {
        world.network.gemini.is_fixed(&job(number).path());
        let _ = world.ledger().redrive(&id(number)).await.unwrap();
        world.invoke(records([id(number).as_str()])).await.unwrap();
    }
    let jobs = (0..14).map(|number| (job(number).name(), job(number))).collect();
    assert_eq!(settled(&world, &jobs, &(0..14).map(id).collect()), [""; 0]);
}

/// A sender that signs each of its retries anew loses nothing.
#[tokio::test]
async fn while_the_tables_refuse_writes_a_sender_is_asked_to_come_again() {
    let world = World::new("refused".to_owned());
    world.network.gemini.has(&job(0));
    world.network.refuse_writes(Refused::All);
    for _ in 0..6 {
        assert_eq!(world.post(&id(0), &job(0).event(), world.now()).await, 503);
        world.clock.later(10 * MINUTE);
    }
    assert!(world.rows().is_empty());
    world.network.refuse_writes(Refused::None);
    assert_eq!(world.post(&id(0), &job(0).event(), world.now()).await, 200);
    world.invoke(records([id(0).as_str()])).await.unwrap();
    assert_eq!(world.ends(), ["done/archived"]);
}

/// A sender that repeats its first timestamp and signature is asked to come again for five minutes, and then it is
/// rejected as too old (`only_a_signed_delivery_is_counted_as_too_old` has the metric). The reconciler enters its
/// batches. The API lists no videos and interactions: those are entered once somebody watches them, as the runbook says
/// under `too-old`.
#[tokio::test]
async fn of_a_sender_that_repeats_its_first_timestamp_batches_are_entered_and_other_jobs_once_they_are_watched()
 {
    let world = World::new("stale".to_owned());
    let kinds = [Kind::BatchFile, Kind::BatchInline, Kind::Embeddings, Kind::Interaction, Kind::Video];
    let jobs = kinds.iter().zip(0..).map(|(kind, number)| Job::new(*kind, Ending::Succeeded, number));
    let jobs: Vec<Job> = jobs.collect();
    for job in &jobs {
        world.network.gemini.has(job);
    }
    let signed_at = world.now();
    world.network.refuse_writes(Refused::All);
    for minute in 0..60 {
        let expected = if minute <= 5 { 503 } else { 401 };
        for job in &jobs {
            let status = world.post(&id(job.number), &job.event(), signed_at).await;
            assert_eq!(status, expected, "minute {minute}");
        }
        world.clock.later(MINUTE);
    }
    world.network.refuse_writes(Refused::None);
    for job in &jobs {
        assert_eq!(world.post(&id(job.number), &job.event(), signed_at).await, 401);
    }
    assert!(world.rows().is_empty());

    let mut entered = Vec::new();
    for (watched, expected) in [
        (&[][..], &["job~batches/b0", "job~batches/b1", "job~batches/b2"][..]),
        (&jobs[3..], &["job~interactions/v1_i3", "job~models/veo/operations/o4"]),
    ] {
        for job in watched {
            let _ = world.ledger().watch(&job.name(), world.now() + HOUR).await.unwrap();
        }
        world.invoke(json!({"schedule": "reconcile"})).await.unwrap();
        world.sweep_to_the_end().await;
        entered.extend(expected.iter().map(|id| (*id).to_owned()));
        assert_eq!(world.rows().into_keys().collect::<Vec<_>>(), entered);
    }
    let jobs = jobs.iter().map(|job| (job.name(), job.clone())).collect();
    assert_eq!(settled(&world, &jobs, &entered.into_iter().collect()), [""; 0]);
}

/// Deliveries come in all day long, and no stream record reaches the archiver. Nothing but sweeps is invoked.
#[tokio::test]
async fn fault_48_without_a_stream_for_a_day_sweeps_alone_bring_every_row_to_its_end() {
    let world = World::new("no stream".to_owned());
    for number in 0..24 {
        world.network.gemini.has(&job(number));
        assert_eq!(world.post(&id(number), &job(number).event(), world.now()).await, 200);
        // Twelve sweeps an hour, of which one would do.
        for _ in 0..12 {
            world.clock.later(5 * MINUTE);
            world.sweep().await.unwrap();
        }
        assert_eq!(world.ends(), vec!["done/archived"; number + 1], "hour {number}");
    }
    let jobs = (0..24).map(|number| (job(number).name(), job(number))).collect();
    assert_eq!(settled(&world, &jobs, &(0..24).map(id).collect()), [""; 0]);
    // And a day without sweeps either.
    ten_more_after_a_day_without_sweeps(&world).await;
}

async fn ten_more_after_a_day_without_sweeps(world: &World) {
    for number in 24..34 {
        world.network.gemini.has(&job(number));
        assert_eq!(world.post(&id(number), &job(number).event(), world.now()).await, 200);
    }
    world.clock.later(24 * HOUR);
    world.sweep().await.unwrap();
    assert_eq!(world.ends(), ["done/archived"; 34]);
}
