//! An end without an output can be undone; an end with an output absorbs everything.

use gemhook::{
    announce::Announcement,
    ledger::{Committed, Fence, Outcome},
};

use crate::{
    ledger_rig::{Fault, LedgerRig, MINUTE, archived, gone, job_of},
    support::{end, text},
};

#[tokio::test(flavor = "multi_thread")]
async fn ends_without_an_output_can_be_redriven_and_others_cannot() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    for (outcome, redriven) in [
        (Outcome::Gone, true),
        (Outcome::Foreign, true),
        (Outcome::Recorded, true),
        (Outcome::Repeated, false),
        (Outcome::Archived, false),
        (Outcome::Ended, false),
    ] {
        let name = outcome.name();
        let row = rig.leased(name).await;
        let told = ledger.commit(&row, outcome, &archived(name), None).await.unwrap();
        assert_eq!(told, Committed::Done);
        let before = rig.row(&row.key).await;
        let fence = ledger.redrive(&row.key).await.unwrap();
        let after = rig.row(&row.key).await;
        if redriven {
            assert_eq!((fence, end(&after).as_str()), (Fence::Held, "received/"), "{name}");
            for gone in ["outcome", "job_id", "expires_at", "error_kind", "error_since", "checkpoint"] {
                assert!(!after.contains_key(gone), "{name} keeps {gone}");
            }
            assert!(after.contains_key("open") && after.contains_key("due_at"));
            assert_eq!(after["attempt"], before["attempt"], "the fencing token is never lowered");
        } else {
            assert_eq!((fence, after), (Fence::Lost, before), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_gone_row_that_is_still_gone_ends_gone_again() {
    let rig = LedgerRig::start().await;
    for announces in [false, true] {
        let ledger = rig.ledger(announces);
        let name = format!("b{announces}");
        let row = rig.leased(&name).await;
        assert_eq!(ledger.commit(&row, Outcome::Gone, &gone(&name), None).await.unwrap(), Committed::Done);
        if announces {
            assert_eq!(ledger.finish(&row).await.unwrap(), Fence::Held);
        }
        let job = rig.job(&name).await;
        for _ in 0..2 {
            assert_eq!(ledger.redrive(&row.key).await.unwrap(), Fence::Held);
            let row = rig.lease(&row.key).await;
            let told = ledger.commit(&row, Outcome::Gone, &gone(&name), None).await.unwrap();
            assert_eq!(told, Committed::Already(Outcome::Gone));
            let row = rig.row(&row.key).await;
            assert_eq!(
                (end(&row), text(&row, "job_id")),
                ("done/gone".into(), format!("batches/{name}").as_str())
            );
        }
        assert_eq!(rig.job(&name).await, job, "the job's row was written again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gone_end_is_replaced_once_by_an_end_with_an_output() {
    let rig = LedgerRig::start().await;
    for by_redrive in [true, false] {
        let ledger = rig.ledger(true);
        let name = format!("b{by_redrive}");
        let row = rig.leased(&name).await;
        assert_eq!(ledger.commit(&row, Outcome::Gone, &gone(&name), None).await.unwrap(), Committed::Done);
        assert_eq!(ledger.finish(&row).await.unwrap(), Fence::Held);
        let before = rig.job(&name).await.unwrap();
        assert_eq!((text(&before, "outcome"), text(&before, "display_name")), ("gone", "of the gone end"));
        rig.later(MINUTE);
        if by_redrive {
            assert_eq!(ledger.redrive(&row.key).await.unwrap(), Fence::Held);
        } else {
            forget(&rig, &row.key).await;
            rig.put(&name).await;
        }
        let row = rig.lease(&row.key).await;
        let told = ledger.commit(&row, Outcome::Archived, &archived(&name), None).await.unwrap();
        assert_eq!(told, Committed::Done, "by redrive: {by_redrive}");
        let after = rig.job(&name).await.unwrap();
        assert_eq!(text(&after, "outcome"), "archived");
        assert_eq!(text(&after, "replaces"), text(&before, "ended_by"));
        assert!(after.contains_key("outputs"));
        for left in ["error", "display_name"] {
            assert!(!after.contains_key(left), "{left} is left of the gone end");
        }
        let id = |row| Announcement::of(row, "x").detail["id"].clone();
        assert_ne!(id(&before), id(&after), "a receiver that dedupes by id would drop the second");
        assert_eq!(end(&rig.row(&row.key).await), "archiving/archived", "it is announced like any other");

        // From now on nothing changes the row.
        for outcome in [Outcome::Archived, Outcome::Gone, Outcome::Ended] {
            forget(&rig, &row.key).await;
            let row = rig.leased(&name).await;
            let told = ledger.commit(&row, outcome, &archived(&name), None).await.unwrap();
            assert_eq!(told, Committed::Already(Outcome::Repeated), "{outcome:?}");
            assert_eq!(rig.job(&name).await.unwrap(), after, "{outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_without_an_output_replaces_nothing() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    let row = rig.leased("b").await;
    assert_eq!(ledger.commit(&row, Outcome::Gone, &gone("b"), None).await.unwrap(), Committed::Done);
    let job = rig.job("b").await;
    forget(&rig, &row.key).await;
    let row = rig.leased("b").await;
    let told = ledger.commit(&row, Outcome::Ended, &gone("b"), None).await.unwrap();
    assert_eq!(told, Committed::Already(Outcome::Repeated));
    assert!(text(&rig.row(&row.key).await, "last_error").contains("the job's row says gone"));
    assert_eq!(rig.job("b").await, job);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_gone_job_is_not_brought_back() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    let row = rig.leased("b").await;
    assert_eq!(ledger.commit(&row, Outcome::Gone, &gone("b"), None).await.unwrap(), Committed::Done);
    assert_eq!(ledger.erase(&rig.job("b").await.unwrap()).await.unwrap(), Fence::Held);
    let erased = rig.job("b").await.unwrap();
    assert_eq!(ledger.redrive(&row.key).await.unwrap(), Fence::Held);
    let row = rig.lease(&row.key).await;
    let told = ledger.commit(&row, Outcome::Archived, &archived("b"), None).await.unwrap();
    assert_eq!(told, Committed::Already(Outcome::Repeated));
    assert_eq!(rig.job("b").await.unwrap(), erased);
}

/// A row is erased as it was read. What it has become since stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_changed_since_it_was_read_is_not_erased() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger_without_retries();
    let row = rig.leased("b").await;
    assert_eq!(ledger.watch(&job_of("b"), rig.now()).await.unwrap(), Fence::Held);
    let open = rig.job("b").await.unwrap();
    assert_eq!(ledger.commit(&row, Outcome::Archived, &archived("b"), None).await.unwrap(), Committed::Done);
    let ended = rig.job("b").await.unwrap();
    assert_eq!(ledger.erase(&open).await.unwrap(), Fence::Lost);
    assert_eq!(rig.job("b").await.unwrap(), ended);
    rig.dynamodb()
        .delete_item()
        .table_name(&rig.tables.jobs)
        .key("job_id", ended["job_id"].clone())
        .send()
        .await
        .unwrap();
    assert_eq!(ledger.erase(&ended).await.unwrap(), Fence::Lost);
    assert_eq!(rig.job("b").await, None);
    for row in [open, ended] {
        rig.fault(Fault::Always("InternalServerError"));
        assert!(ledger.erase(&row).await.is_err(), "an error is no answer");
        rig.faults_came();
    }
}

async fn forget(rig: &LedgerRig, key: &str) {
    let delete = rig.dynamodb().delete_item().table_name(&rig.tables.deliveries);
    let key = aws_sdk_dynamodb::types::AttributeValue::S(key.to_owned());
    delete.key("webhook_id", key).send().await.unwrap();
}
