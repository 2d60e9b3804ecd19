//! Ten stream records in one event, and some of them fail.
//!
//! The template's event source hands over one record at a time (`BatchSize: 1`), so that a record has no neighbours at
//! all. These tests hold for who raises that. An invocation that reports an error is repeated once, with all its records
//! (`MaximumRetryAttempts: 1`); the source does not divide them (no `BisectBatchOnFunctionError`), and it does not read
//! which of them failed (no `FunctionResponseTypes`). After the second error, or after an hour
//! (`MaximumRecordAgeInSeconds: 3600`), Lambda goes on behind them, and there is no destination for what it drops. So
//! whatever is left open is a sweep's, and each test ends with sweeps alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    gemini::Broken,
    jobs::{Ending, Job, Kind},
    leases::number,
    network::Refused,
    promises::settled,
    schedule::{new_world, on_runtime},
    seeds::{self, each_of},
    world::{World, records},
};

const RECORDS: usize = 10;

pub fn job(number: usize) -> Job {
    Job::new(Kind::BatchInline, Ending::Succeeded, number)
}

pub fn id(number: usize) -> String {
    format!("msg_{number}")
}

pub async fn ten_deliveries(world: &World) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for number in 0..RECORDS {
        world.network.gemini.has(&job(number));
        assert_eq!(world.post(&id(number), &job(number).event(), world.now()).await, 200);
        ids.insert(id(number));
    }
    ids
}

fn ten_records() -> Value {
    let ids: Vec<String> = (0..RECORDS).map(id).collect();
    records(ids.iter().map(String::as_str))
}

fn crashes(world: &World, record: usize) -> i64 {
    number(&world.rows()[&id(record)], "crashes")
}

fn broken(world: &World) -> Vec<String> {
    let jobs: BTreeMap<String, Job> = (0..RECORDS).map(|number| (job(number).name(), job(number))).collect();
    settled(world, &jobs, &(0..RECORDS).map(id).collect())
}

/// Every subset of the ten fails, for the table takes no write of these rows: exactly the others are worked, the
/// invocation reports the error, and a sweep works the rest when the table takes writes again. With `GEMHOOK_SEEDS` of
/// 1,024 or more it is every subset. Otherwise it is each position alone, all of them and every eighth subset.
#[test]
fn fault_32_whichever_of_ten_records_fail_exactly_the_others_are_worked() {
    let subsets = 1 << RECORDS;
    let all = seeds::number("GEMHOOK_SEEDS").is_some_and(|seeds| seeds >= subsets);
    each_of(0..subsets, |subset| {
        if !all && subset.count_ones() > 1 && subset % 8 != 7 {
            return None;
        }
        let fails = |number: &usize| subset >> number & 1 == 1;
        on_runtime(subset, async {
            let world = new_world(subset);
            ten_deliveries(&world).await;
            world.network.refuse_writes(Refused::Rows((0..RECORDS).filter(fails).map(id).collect()));
            let answer = world.invoke(ten_records()).await;
            let expected = |number| if fails(&number) { "received/" } else { "done/archived" };
            let expected: Vec<&str> = (0..RECORDS).map(expected).collect();
            if answer.is_err() != (subset > 0) || world.ends() != expected {
                return Some(format!("{subset:010b}: {answer:?}, {:?}", world.ends()));
            }
            world.network.refuse_writes(Refused::None);
            world.wait_until_due();
            world.sweep().await.unwrap();
            let broken = broken(&world);
            (!broken.is_empty()).then(|| format!("{subset:010b}: {}", broken.join("\n")))
        })
    });
}

/// The job cannot be read: that is no error of the invocation. The row waits, and the other nine are archived.
#[tokio::test]
async fn fault_32_at_each_of_ten_positions_a_job_that_cannot_be_read_waits_and_nine_are_archived() {
    for poison in 0..RECORDS {
        let world = World::new(format!("position {poison}"));
        ten_deliveries(&world).await;
        world.network.gemini.breaks(&job(poison).path(), Broken::Status(500));
        assert_eq!(world.invoke(ten_records()).await, Ok(json!({"records": 10})));
        for (number, end) in world.ends().iter().enumerate() {
            assert_eq!(end, if number == poison { "waiting/" } else { "done/archived" }, "{poison}");
        }
    }
}

/// The row keeps its lease, is worked alone by the next sweeps, and fails after five crashes.
#[tokio::test]
async fn fault_33_where_one_of_ten_records_panics_nine_are_archived_and_it_fails_after_its_crashes() {
    for poison in 0..RECORDS {
        let world = World::new(format!("panic {poison}"));
        ten_deliveries(&world).await;
        world.network.gemini.breaks(&job(poison).path(), Broken::Panics);
        let error = world.invoke(ten_records()).await.unwrap_err();
        assert!(error.starts_with("the worker panicked: scripted"), "{error}");
        check_poison(&world, poison, "archiving/");
        // Lambda repeats the records once, and nobody waits for a lease.
        assert_eq!(world.invoke(ten_records()).await, Ok(json!({"records": 10})));
        check_poison(&world, poison, "archiving/");
        let mut sweeps = 0;
        while world.wait_until_due() {
            world.sweep().await.unwrap();
            sweeps += 1;
        }
        check_poison(&world, poison, "failed/");
        assert_eq!((sweeps, crashes(&world, poison)), (6, 5), "the last sweep gives the row up");
        redriven_it_is_archived(&world, poison).await;
    }
}

/// In a sweep, beside three others that are being worked at that moment: they are archived by the same sweep.
#[tokio::test]
async fn fault_33_a_panic_in_a_sweep_costs_the_rows_beside_it_nothing() {
    for poison in 0..RECORDS {
        let world = World::new(format!("swept panic {poison}"));
        ten_deliveries(&world).await;
        world.network.gemini.breaks(&job(poison).path(), Broken::Panics);
        world.wait_until_due();
        assert_eq!(world.sweep().await.unwrap()["worked"], 9);
        check_poison(&world, poison, "archiving/");
    }
}

/// Where a record uses the memory up, its process is killed. The records behind it are not worked, and a sweep finds them.
#[tokio::test]
async fn fault_33_where_one_of_ten_records_kills_its_process_sweeps_archive_the_rest_and_it_fails() {
    for poison in 0..RECORDS {
        let world = World::new(format!("killed {poison}"));
        ten_deliveries(&world).await;
        world.network.gemini.breaks(&job(poison).path(), Broken::Kills);
        assert_eq!(world.invoke_in_process(ten_records()).await, None);
        let done = world.ends().iter().filter(|end| *end == "done/archived").count();
        assert_eq!(done, poison, "the records before it are done");
        world.sweep_to_the_end().await;
        check_poison(&world, poison, "failed/");
        assert_eq!(crashes(&world, poison), 5);
        redriven_it_is_archived(&world, poison).await;
    }
}

/// The row at this position has come to this end, and the other nine are archived without a crash.
fn check_poison(world: &World, poison: usize, end: &str) {
    for (number, found) in world.ends().iter().enumerate() {
        assert_eq!(found, if number == poison { end } else { "done/archived" }, "{number} beside {poison}");
        if number != poison {
            assert_eq!(crashes(world, number), 0, "{number} beside {poison}");
        }
    }
}

/// After the cause is fixed.
async fn redriven_it_is_archived(world: &Arc<World>, poison: usize) {
    let row = world.rows()[&id(poison)].clone();
    let error = row["last_error"]["S"].as_str().unwrap();
    assert!(error.starts_with("given up: 5 workers died on it"), "{error}");
    world.network.gemini.is_fixed(&job(poison).path());
    let _ = world.ledger().redrive(&id(poison)).await.unwrap();
    world.invoke(records([id(poison).as_str()])).await.unwrap();
    assert_eq!(broken(world), [""; 0]);
}

/// The answer to records is an error or `{"records": number}`, whatever becomes of the rows. Lambda reads such an answer
/// only where `ReportBatchItemFailures` is set (the template's test holds that it is not), and there an answer without
/// `batchItemFailures` says that all records succeeded (Lambda Developer Guide, "Reporting batch item failures").
/// That is what it means here, too.
#[tokio::test]
async fn fault_34_no_answer_can_be_read_as_one_about_a_part_of_the_records() {
    let world = World::new("answers".to_owned());
    ten_deliveries(&world).await;
    let gemini = &world.network.gemini;
    for (number, status) in [(1, 500), (2, 403), (3, 404), (4, 200)] {
        gemini.breaks(&job(number).path(), Broken::Status(status));
    }
    gemini.has(&Job::new(Kind::BatchInline, Ending::Failed, 5));
    world.network.stores.bucket().occupy("batches/b6/responses.jsonl");
    gemini.breaks(&job(7).path(), Broken::Panics);
    world.network.refuse_writes(Refused::Rows([id(8)].into()));
    let one = |number: usize| records([id(number).as_str()]);
    for (number, end) in [
        (0, "done/archived"),
        (1, "waiting/"),
        (2, "waiting/"),
        (3, "waiting/"),
        (4, "waiting/"),
        (5, "done/ended"),
        (6, "failed/"),
        // Rows that are not worked now.
        (0, "done/archived"),
        (1, "waiting/"),
        (6, "failed/"),
    ] {
        assert_eq!(world.invoke(one(number)).await, Ok(json!({"records": 1})), "{number}");
        assert_eq!(world.ends()[number], end, "{number}");
    }
    for number in [7, 8] {
        assert!(world.invoke(one(number)).await.is_err(), "{number}");
    }
    world.network.refuse_writes(Refused::None);
    let mut no_key = one(9);
    no_key["Records"][0]["dynamodb"]["Keys"] = json!({});
    let no_records = json!({"Records": []});
    for (event, records) in [(records(["nobody's"]), 1), (no_records, 0), (no_key, 0), (ten_records(), 10)] {
        assert_eq!(world.invoke(event.clone()).await, Ok(json!({"records": records})), "{event}");
    }
    for schedule in ["sweep", "reconcile"] {
        let answer = world.invoke(json!({"schedule": schedule})).await.unwrap();
        assert!(answer.is_object() && !answer.to_string().contains("batchItemFailures"), "{answer}");
    }
}
