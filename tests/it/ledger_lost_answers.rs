//! Every write of the ledger, with its answer lost once and with a conflict in its way: what is reported, and what
//! the row says, is what it would be without.

use gemhook::ledger::{Committed, ErrorKind, Inserted, Lease, Ledger, NewDelivery, Outcome, Wait};

use crate::{
    ledger_rig::{Fault, LedgerRig, MINUTE, archived, gone, job_of, open},
    support::{Row, end, number, text},
};

/// The writes by the names of their transitions, and what each reports when it was made.
const WRITES: [(&str, &str); 24] = [
    ("put", "Stored"),
    ("put found", "Stored"),
    ("lease", "Taken 1"),
    ("take over", "Taken 2"),
    ("give up", "GaveUp"),
    ("fail unreadable", "Unreadable"),
    ("extend", "Held"),
    ("wait", "Held"),
    ("fail", "Held"),
    ("end", "Held"),
    ("commit", "Done"),
    ("commit to announce", "Done"),
    ("repeat", "Already(Repeated)"),
    ("gone again", "Already(Gone)"),
    ("replace gone job", "Done"),
    ("open job", "Done"),
    ("finish", "Held"),
    ("redrive failed", "Held"),
    ("redrive done", "Held"),
    ("void lease", "Held"),
    ("watch job", "Held"),
    ("look at job", "Held"),
    ("unwatch job", "Held"),
    ("erase ended job", "Held"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_recognises_itself() {
    let rig = LedgerRig::start().await;
    for (write, reported) in WRITES {
        let told = make(&rig, write, Some(Fault::LoseAnswer)).await;
        // The repeat of a put does not change the row, and says that it was there.
        let reported = if reported == "Stored" { "StoredBefore" } else { reported };
        assert_eq!(told, reported, "{write}");
        assert!(rig.faults_came(), "no answer of {write} was lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_meets_another_one_is_made_a_moment_later() {
    let rig = LedgerRig::start().await;
    for (write, reported) in WRITES {
        assert_eq!(make(&rig, write, Some(Fault::Conflict)).await, reported, "{write}");
        assert!(rig.faults_came(), "{write} met nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_job_is_erased_once_whatever_happens_to_the_answer() {
    let rig = LedgerRig::start().await;
    for (name, fault) in [("lost", Fault::LoseAnswer), ("conflict", Fault::Conflict)] {
        let ledger = rig.ledger(false);
        let _ = ledger.watch(&job_of(name), rig.now()).await.unwrap();
        let row = rig.job(name).await.unwrap();
        rig.fault(fault);
        assert_eq!(format!("{:?}", ledger.erase(&row).await.unwrap()), "Held");
        assert!(rig.faults_came());
        assert_eq!(rig.job(name).await, None);
    }
}

/// Prepares a row, makes the write with this fault in its way, holds the row to what the write must leave, and says
/// what the write reported.
async fn make(rig: &LedgerRig, write: &str, fault: Option<Fault>) -> String {
    let (plain, announcing) = (rig.ledger(false), rig.ledger(true));
    let name = format!("{write} {}", rig.now());
    rig.later(1);
    let key = format!("job~{}", job_of(&name));
    let until = rig.now() + 10 * MINUTE;
    let fault = || {
        if let Some(fault) = fault.clone() {
            rig.fault(fault);
        }
    };
    match write {
        "put" | "put found" => {
            let row = NewDelivery::of_job(
                &job_of(&name),
                gemhook::job::JobKind::Batch,
                None,
                "this receipt",
                rig.now(),
            );
            fault();
            let put =
                if write == "put" { rig.deliveries().insert(row).await } else { plain.enter(row).await };
            assert_eq!(text(&rig.row(&key).await, "receipt"), "this receipt");
            return format!("{:?}", put.unwrap());
        }
        "lease" => {
            rig.put(&name).await;
            fault();
            let told = lease(&plain, &key, until).await;
            assert_eq!(number(&rig.row(&key).await, "attempt"), 1);
            return told;
        }
        "take over" => {
            rig.leased(&name).await;
            rig.later(11 * MINUTE);
            fault();
            let told = lease(&plain, &key, until + 11 * MINUTE).await;
            let row = rig.row(&key).await;
            assert_eq!((number(&row, "attempt"), number(&row, "crashes")), (2, 1));
            return told;
        }
        "give up" => {
            rig.put(&name).await;
            rig.later(8 * 24 * 60 * MINUTE);
            fault();
            let told = lease(&plain, &key, rig.now() + MINUTE).await;
            assert_closed(&rig.row(&key).await, "failed/");
            return told;
        }
        "fail unreadable" => {
            rig.put(&name).await;
            rig.spoil(&key, "received_at", None).await;
            // The lease that finds it out is a write too, and its answer may be lost as well.
            fault();
            fault();
            let told = lease(&plain, &key, until).await;
            assert_closed(&rig.row(&key).await, "failed/");
            return told;
        }
        _ => {}
    }
    if let Some(told) = of_lease(rig, write, &name, &fault).await {
        return told;
    }
    match write {
        "redrive failed" | "redrive done" => {
            let row = rig.leased(&name).await;
            let ended = match write {
                "redrive failed" => plain.fail(&row, "why").await,
                _ => plain.end(&row, Outcome::Foreign, None).await,
            };
            assert_eq!(format!("{:?}", ended.unwrap()), "Held");
            fault();
            let told = format!("{:?}", plain.redrive(&key).await.unwrap());
            assert_eq!(end(&rig.row(&key).await), "received/");
            told
        }
        "void lease" => {
            rig.leased(&name).await;
            fault();
            let told = format!("{:?}", plain.void_lease(&key).await.unwrap());
            assert_eq!(number(&rig.row(&key).await, "lease_until"), 0);
            told
        }
        "watch job" => {
            fault();
            let told = plain.watch(&job_of(&name), until).await.unwrap();
            assert_eq!(number(&rig.job(&name).await.unwrap(), "watch_until"), until);
            format!("{told:?}")
        }
        "look at job" | "unwatch job" => {
            let _ = plain.watch(&job_of(&name), until).await.unwrap();
            let (watched, _) = plain.watched(None).await.unwrap();
            let watched = watched.into_iter().find(|watched| watched.job == job_of(&name)).unwrap();
            fault();
            let told = match write {
                "look at job" => plain.looked(&watched, until).await.unwrap(),
                _ => plain.unwatch(&watched.job).await.unwrap(),
            };
            let row = rig.job(&name).await.unwrap();
            match write {
                "look at job" => assert_eq!(number(&row, "looks"), 1, "counted once"),
                _ => assert!(!row.contains_key("watch_until")),
            }
            format!("{told:?}")
        }
        "erase ended job" => {
            let row = rig.leased(&name).await;
            assert_eq!(committed(&announcing, &row, &name).await, "Done");
            let job = rig.job(&name).await.unwrap();
            fault();
            let told = plain.erase(&job).await.unwrap();
            let row = rig.job(&name).await.unwrap();
            assert!(row.contains_key("ended_by") && !row.contains_key("outputs"));
            format!("{told:?}")
        }
        other => panic!("no such write: {other}"),
    }
}

/// The writes that a lease allows.
async fn of_lease(rig: &LedgerRig, write: &str, name: &str, fault: &impl Fn()) -> Option<String> {
    let (plain, announcing) = (rig.ledger(false), rig.ledger(true));
    let key = format!("job~{}", job_of(name));
    let names = [
        "extend",
        "wait",
        "fail",
        "end",
        "commit",
        "commit to announce",
        "repeat",
        "gone again",
        "replace gone job",
        "open job",
        "finish",
    ];
    if !names.contains(&write) {
        return None;
    }
    if matches!(write, "gone again" | "replace gone job" | "repeat") {
        let row = rig.leased(name).await;
        let first = if write == "repeat" { archived(name) } else { gone(name) };
        let outcome = if write == "repeat" { Outcome::Archived } else { Outcome::Gone };
        assert_eq!(plain.commit(&row, outcome, &first, None).await.unwrap(), Committed::Done);
        if write == "repeat" {
            let delete = rig.dynamodb().delete_item().table_name(&rig.tables.deliveries);
            let id = aws_sdk_dynamodb::types::AttributeValue::S(key.clone());
            delete.key("webhook_id", id).send().await.unwrap();
        } else {
            let _ = plain.redrive(&key).await.unwrap();
        }
    }
    let row = if matches!(write, "gone again" | "replace gone job") {
        rig.lease(&key).await
    } else {
        rig.leased(name).await
    };
    if write == "finish" {
        assert_eq!(committed(&announcing, &row, name).await, "Done");
    }
    fault();
    let until = rig.now() + 20 * MINUTE;
    let told = match write {
        "extend" => format!("{:?}", plain.extend(&row, until).await.unwrap()),
        "wait" => {
            let kind = ErrorKind::Transient;
            let wait = Wait { due_at: until, why: "why", kind, checkpoint: Some("{}") };
            format!("{:?}", plain.wait(&row, wait).await.unwrap())
        }
        "fail" => format!("{:?}", plain.fail(&row, "why").await.unwrap()),
        "end" => format!("{:?}", plain.end(&row, Outcome::Foreign, None).await.unwrap()),
        "finish" => format!("{:?}", announcing.finish(&row).await.unwrap()),
        "commit to announce" => committed(&announcing, &row, name).await,
        "gone again" => {
            let told = plain.commit(&row, Outcome::Gone, &gone(name), None).await.unwrap();
            format!("{told:?}")
        }
        "open job" => format!("{:?}", plain.record_open(&row, &open(name), until).await.unwrap()),
        _ => committed(&plain, &row, name).await,
    };
    let row = rig.row(&key).await;
    match write {
        "extend" => assert_eq!(number(&row, "lease_until"), until),
        "wait" => assert_eq!((end(&row).as_str(), number(&row, "due_at")), ("waiting/", until)),
        "fail" => assert_closed(&row, "failed/"),
        "end" => assert_closed(&row, "done/foreign"),
        "open job" => assert_closed(&row, "done/recorded"),
        "repeat" => assert_closed(&row, "done/repeated"),
        "gone again" => assert_closed(&row, "done/gone"),
        "commit to announce" => assert_eq!(end(&row), "archiving/archived"),
        _ => assert_closed(&row, "done/archived"),
    }
    Some(told)
}

async fn committed(ledger: &Ledger, row: &gemhook::ledger::Delivery, name: &str) -> String {
    format!("{:?}", ledger.commit(row, Outcome::Archived, &archived(name), None).await.unwrap())
}

async fn lease(ledger: &Ledger, key: &str, until: i64) -> String {
    match ledger.lease(key, until).await.unwrap() {
        Lease::Taken(row) => format!("Taken {}", row.attempt),
        Lease::GaveUp(_) => "GaveUp".into(),
        Lease::Unreadable(_) => "Unreadable".into(),
        other => format!("{other:?}"),
    }
}

/// A row that no sweep finds any more.
fn assert_closed(row: &Row, as_what: &str) {
    assert_eq!(end(row), as_what);
    for name in ["open", "due_at", "lease_until", "checkpoint"] {
        assert!(!row.contains_key(name), "{name} is left in {row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_comes_twice_is_no_repeat_of_ours() {
    let rig = LedgerRig::start().await;
    let row = |receipt: &str| {
        NewDelivery::of_job("batches/b", gemhook::job::JobKind::Batch, None, receipt, rig.now())
    };
    assert_eq!(rig.deliveries().insert(row("one")).await.unwrap(), Inserted::Stored);
    assert_eq!(rig.deliveries().insert(row("one")).await.unwrap(), Inserted::StoredBefore);
    assert_eq!(rig.deliveries().insert(row("two")).await.unwrap(), Inserted::Duplicate);
}
