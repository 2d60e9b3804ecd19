//! Rows that this code cannot read, and rows of newer code.

use aws_sdk_dynamodb::types::AttributeValue;
use gemhook::ledger::{ErrorKind, Fence, Lease, Wait};
use serde_json::json;

use crate::{
    ledger_rig::{LedgerRig, MINUTE},
    rig::{Rig, event},
    support::{end, text},
};

fn n(number: &str) -> Option<AttributeValue> {
    Some(AttributeValue::N(number.into()))
}

fn s(text: &str) -> Option<AttributeValue> {
    Some(AttributeValue::S(text.into()))
}

/// What may be wrong with a row.
fn faults() -> Vec<(&'static str, Option<AttributeValue>)> {
    let mut faults: Vec<(&str, Option<AttributeValue>)> =
        ["body", "state", "schema", "attempt", "crashes", "received_at", "give_up_at", "trust"]
            .map(|name| (name, None))
            .to_vec();
    for name in ["attempt", "crashes", "received_at", "give_up_at", "schema", "event_time", "error_since"] {
        faults.push((name, s("no number")));
    }
    for name in ["state", "event_type", "job_hint", "trust", "last_error", "error_kind", "body"] {
        faults.push((name, n("1")));
    }
    faults.push(("attempt", Some(AttributeValue::Null(true))));
    faults.push(("attempt", n("1.5")));
    faults.push(("received_at", n("1e30")));
    faults.push(("state", s("of another time")));
    faults.push(("outcome", s("of another time")));
    faults.push(("error_kind", s("of another time")));
    faults.push(("schema", n("-1")));
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_ends_as_failed_with_what_is_wrong() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    for (index, (name, value)) in faults().into_iter().enumerate() {
        let key = rig.put(&format!("b{index}")).await;
        rig.spoil(&key, name, value.clone()).await;
        let lease = ledger.lease(&key, rig.now() + MINUTE).await;
        let Ok(Lease::Unreadable(why)) = lease else { panic!("{name} = {value:?}: {lease:?}") };
        let row = rig.row(&key).await;
        assert_eq!(text(&row, "state"), "failed", "{name} = {value:?}");
        assert!(why.contains(name), "{name} = {value:?}: {why}");
        assert!(text(&row, "last_error").contains(name), "{name} = {value:?}");
        assert!(!row.contains_key("open") && !row.contains_key("due_at"), "a sweep finds it again: {row:?}");
        let again = ledger.lease(&key, rig.now() + MINUTE).await.unwrap();
        assert!(matches!(again, Lease::NotTaken), "{name} = {value:?}: {again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_becomes_unreadable_under_a_lease_or_while_it_waits_ends_too() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    for (state, name, value) in [
        ("archiving", "lease_until", None),
        ("archiving", "lease_until", s("no number")),
        ("archiving", "attempt", s("no number")),
        ("archiving", "crashes", s("no number")),
        ("archiving", "body", None),
        ("waiting", "due_at", None),
        ("waiting", "attempt", s("no number")),
        ("waiting", "give_up_at", None),
    ] {
        let row = rig.leased(&format!("{state} {name} {}", value.is_some())).await;
        if state == "waiting" {
            let wait = Wait { due_at: rig.now(), why: "w", kind: ErrorKind::Transient, checkpoint: None };
            assert_eq!(ledger.wait(&row, wait).await.unwrap(), Fence::Held);
        }
        rig.spoil(&row.key, name, value.clone()).await;
        rig.later(11 * MINUTE);
        let lease = ledger.lease(&row.key, rig.now() + MINUTE).await.unwrap();
        assert!(matches!(lease, Lease::Unreadable(_)), "{state} {name} {value:?}: {lease:?}");
        assert_eq!(text(&rig.row(&row.key).await, "state"), "failed", "{state} {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_newer_schema_is_left_as_it_is() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    for state in ["received", "waiting", "archiving", "too late"] {
        let key = match state {
            "received" | "too late" => rig.put(state).await,
            _ => {
                let row = rig.leased(state).await;
                if state == "waiting" {
                    let kind = ErrorKind::Transient;
                    let wait = Wait { due_at: rig.now(), why: "w", kind, checkpoint: None };
                    assert_eq!(ledger.wait(&row, wait).await.unwrap(), Fence::Held);
                }
                row.key
            }
        };
        rig.spoil(&key, "schema", n("2")).await;
        // Newer code may have changed any attribute.
        rig.spoil(&key, "trust", None).await;
        rig.later(if state == "too late" { 8 * 24 * 60 * MINUTE } else { 11 * MINUTE });
        let before = rig.row(&key).await;
        let lease = ledger.lease(&key, rig.now() + MINUTE).await.unwrap();
        assert!(matches!(lease, Lease::NewerSchema(2)), "{state}: {lease:?}");
        assert_eq!(rig.row(&key).await, before, "{state}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_ends_what_cannot_be_read_and_leaves_what_is_newer() {
    let rig = Rig::start().await;
    let table = "rig-deliveries";
    for (id, name, value) in [
        ("msg_attempt", "attempt", s("no number")),
        ("msg_body", "body", None),
        ("msg_new", "schema", n("2")),
    ] {
        rig.deliver(id, &event("batch.succeeded", "batches/b")).await;
        let mut row = rig.row(id).await;
        match value {
            Some(value) => row.insert(name.to_owned(), value),
            None => row.remove(name),
        };
        rig.test.dynamodb().put_item().table_name(table).set_item(Some(row)).send().await.unwrap();
    }
    rig.later(3 * MINUTE);
    for due in [3, 1] {
        let swept = rig.invoke(json!({"schedule": "sweep"}), 15 * MINUTE).await;
        assert_eq!(swept["due"], due, "{swept}");
    }
    assert_eq!(end(&rig.row("msg_attempt").await), "failed/");
    assert_eq!(end(&rig.row("msg_body").await), "failed/");
    assert_eq!(end(&rig.row("msg_new").await), "received/");
}
