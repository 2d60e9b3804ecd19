//! A lease that was lost: each write of its worker is refused, whatever the row's state is by now.

use gemhook::ledger::{Committed, Delivery, ErrorKind, Fence, Lease, Ledger, Outcome, Wait};

use crate::{
    ledger_rig::{LedgerRig, MINUTE, archived, open},
    support::number,
};

const WRITES: [&str; 8] =
    ["extend", "wait", "fail", "end", "commit", "commit to announce", "open job", "finish"];

/// What a worker would write.
async fn write(rig: &LedgerRig, write: &str, row: &Delivery, name: &str) -> String {
    let (plain, announcing) = (rig.ledger(false), rig.ledger(true));
    let until = rig.now() + 20 * MINUTE;
    let fence = |fence: Fence| format!("{fence:?}");
    let committed = |committed: Committed| format!("{committed:?}");
    match write {
        "extend" => fence(plain.extend(row, until).await.unwrap()),
        "wait" => fence(plain.wait(row, waiting(until)).await.unwrap()),
        "fail" => fence(plain.fail(row, "why").await.unwrap()),
        "end" => fence(plain.end(row, Outcome::Archived, None).await.unwrap()),
        "finish" => fence(plain.finish(row).await.unwrap()),
        "open job" => committed(plain.record_open(row, &open(name), until).await.unwrap()),
        "commit" => committed(plain.commit(row, Outcome::Archived, &archived(name), None).await.unwrap()),
        _ => committed(announcing.commit(row, Outcome::Archived, &archived(name), None).await.unwrap()),
    }
}

fn waiting(due_at: i64) -> Wait<'static> {
    Wait { due_at, why: "why", kind: ErrorKind::Transient, checkpoint: None }
}

/// Two leases of one row, the first of which has run out.
async fn two_leases(rig: &LedgerRig, name: &str) -> (Delivery, Delivery) {
    let first = rig.leased(name).await;
    rig.later(11 * MINUTE);
    let second = rig.lease(&first.key).await;
    assert_eq!((first.attempt, second.attempt), (1, 2));
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_of_a_lost_lease_is_refused_while_another_worker_holds_the_row() {
    let rig = LedgerRig::start().await;
    for stale in WRITES {
        for committed in [false, true] {
            let name = format!("{stale} {committed}");
            let (first, second) = two_leases(&rig, &name).await;
            if committed {
                let announcing = rig.ledger(true);
                let commit = announcing.commit(&second, Outcome::Archived, &archived(&name), None).await;
                assert_eq!(commit.unwrap(), Committed::Done);
            }
            let (row, job) = (rig.row(&first.key).await, rig.job(&name).await);
            assert_eq!(write(&rig, stale, &first, &name).await, "Lost", "{name}");
            assert_eq!(rig.row(&first.key).await, row, "{name}");
            assert_eq!(rig.job(&name).await, job, "{name}");
        }
    }
}

/// The state is then the one that the stale write wants, so that only attempt and holder tell them apart.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_worker_wrote_is_not_taken_for_our_own_work() {
    let rig = LedgerRig::start().await;
    for stale in WRITES {
        for written in ["wait", "fail", "end", "commit", "commit to announce"] {
            let name = format!("{stale} after {written}");
            let (first, second) = two_leases(&rig, &name).await;
            let told = write(&rig, written, &second, &name).await;
            assert!(["Held", "Done"].contains(&told.as_str()), "{name}: {told}");
            let row = rig.row(&first.key).await;
            assert_eq!(write(&rig, stale, &first, &name).await, "Lost", "{name}");
            assert_eq!(rig.row(&first.key).await, row, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_has_one_holder() {
    let rig = LedgerRig::start().await;
    let row = rig.leased("b").await;
    let ledger = rig.ledger(false);
    for _ in 0..3 {
        let again = ledger.lease(&row.key, rig.now() + MINUTE).await.unwrap();
        assert!(matches!(again, Lease::NotTaken), "{again:?}");
    }
    let table = rig.row(&row.key).await;
    assert_eq!((number(&table, "attempt"), number(&table, "crashes")), (1, 0));
    rig.later(11 * MINUTE);
    let until = rig.now() + MINUTE;
    let race = [(); 4].map(|()| {
        let (ledger, key) = (ledger.clone(), row.key.clone());
        tokio::spawn(async move { taken(&ledger, &key, until).await })
    });
    let mut taken = 0;
    for racer in race {
        taken += u32::from(racer.await.unwrap());
    }
    assert_eq!(taken, 1, "the lease that ran out was taken over more than once");
    assert_eq!(number(&rig.row(&row.key).await, "crashes"), 1);
}

async fn taken(ledger: &Ledger, key: &str, until: i64) -> bool {
    matches!(ledger.lease(key, until).await.unwrap(), Lease::Taken(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn error_since_is_set_once_and_a_checkpoint_stays_until_it_is_replaced() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    let began = rig.now();
    let key = rig.put("b").await;
    let mut since = Vec::new();
    for (kind, checkpoint) in [
        (ErrorKind::Transient, Some("{\"part\":1}")),
        (ErrorKind::Transient, Some("{\"part\":2}")),
        (ErrorKind::NotFound, Some("{\"part\":2}")),
        (ErrorKind::NotFound, None),
        (ErrorKind::Transient, None),
    ] {
        let row = rig.lease(&key).await;
        let wait = Wait { due_at: rig.now(), why: "why", kind, checkpoint };
        assert_eq!(ledger.wait(&row, wait).await.unwrap(), Fence::Held);
        rig.later(MINUTE);
        let row = rig.lease(&key).await;
        assert_eq!((row.error_kind, row.checkpoint.as_deref()), (Some(kind), checkpoint));
        since.push((row.error_since.unwrap() - began) / MINUTE);
        assert_eq!(row.error_began(kind, rig.now()), row.error_since.unwrap());
        assert_eq!(row.error_began(ErrorKind::Deadline, rig.now()), rig.now());
        let wait = Wait { due_at: rig.now(), why: "why", kind, checkpoint };
        assert_eq!(ledger.wait(&row, wait).await.unwrap(), Fence::Held);
    }
    assert_eq!(since, [0, 0, 2, 2, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_wait_for_an_absent_job_are_counted_apart() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    let mut times = Vec::new();
    for (name, kind) in [("absent", ErrorKind::NotFound), ("busy", ErrorKind::Transient)] {
        times.push(rig.now());
        let row = rig.leased(name).await;
        let wait = Wait { due_at: rig.now(), why: "why", kind, checkpoint: None };
        assert_eq!(ledger.wait(&row, wait).await.unwrap(), Fence::Held);
        rig.later(MINUTE);
    }
    let (mut oldest, mut absent, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for shard in Ledger::shards() {
        let page = ledger.due(shard, rig.now(), None, 10).await.unwrap();
        oldest.extend(page.oldest());
        absent.extend(page.oldest_not_found());
        rows.extend(page.rows);
    }
    assert_eq!((absent, oldest), (vec![times[0]], vec![times[1]]));
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.crashes == 0 && times.contains(&row.due_at)), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_has_seven_days_and_is_kept_for_thirty_once_it_is_done() {
    const DAY: i64 = 1_440 * MINUTE;
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    let key = rig.put("b").await;
    let new = rig.row(&key).await;
    assert_eq!(number(&new, "due_at"), rig.now() + 2 * MINUTE);
    assert_eq!(number(&new, "give_up_at"), rig.now() + 7 * DAY);
    rig.later(MINUTE);
    let row = rig.lease(&key).await;
    let job = archived("b");
    assert!(!ledger.has_ended(&job.name).await.unwrap());
    assert_eq!(ledger.commit(&row, Outcome::Archived, &job, None).await.unwrap(), Committed::Done);
    assert!(ledger.has_ended(&job.name).await.unwrap());
    // DynamoDB's TTL counts in seconds.
    assert_eq!(number(&rig.row(&key).await, "expires_at"), (rig.now() + 30 * DAY) / 1000);
}
