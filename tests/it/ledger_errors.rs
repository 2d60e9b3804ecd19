//! What the store answers that is neither yes nor no, and the tokens of transactions.

use std::collections::HashSet;

use gemhook::ledger::{Committed, Lease, LedgerError, Outcome};
use gemhook_cli::dev::stores::create_tables;

use crate::{
    ledger_rig::{Fault, LedgerRig, MINUTE, archived, open},
    ledger_store,
};

fn class(error: &LedgerError) -> &'static str {
    match error {
        LedgerError::Unavailable(_) => "unavailable",
        LedgerError::NotAuthenticated(_) => "denied",
        LedgerError::Throttled(_) => "throttled",
        LedgerError::Invalid(_) => "invalid",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_of_the_store_has_the_class_by_which_a_worker_goes_on() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger_without_retries();
    for (code, told) in [
        ("ValidationException", "invalid"),
        ("ItemCollectionSizeLimitExceededException", "invalid"),
        ("AccessDeniedException", "denied"),
        ("ResourceNotFoundException", "denied"),
        ("ThrottlingException", "throttled"),
        ("ProvisionedThroughputExceededException", "throttled"),
        ("TransactionConflictException", "throttled"),
        ("InternalServerError", "unavailable"),
    ] {
        let row = rig.leased(code).await;
        rig.writes();
        rig.fault(Fault::Always(code));
        let written = ledger.fail(&row, "why").await.unwrap_err();
        let committed = ledger.commit(&row, Outcome::Archived, &archived(code), None).await.unwrap_err();
        rig.faults_came();
        let calls = if told == "throttled" { 14 } else { 2 };
        assert_eq!(rig.writes().len(), calls, "{code}: only contention is repeated");
        for error in [&written, &committed] {
            assert_eq!(class(error), told, "{code}: {error}");
            assert_eq!(error.wrote_nothing(), told != "unavailable", "{code}");
            assert!(error.to_string().contains(code), "the reason is lost: {error}");
        }
        assert_eq!(rig.job(code).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_cancelled_as_invalid_is_our_fault() {
    let rig = LedgerRig::start().await;
    let row = rig.leased("b").await;
    rig.writes();
    rig.fault(Fault::Always("ValidationError"));
    let error = rig.ledger(false).commit(&row, Outcome::Archived, &archived("b"), None).await.unwrap_err();
    rig.faults_came();
    assert_eq!(rig.writes().len(), 1, "it is not repeated");
    assert_eq!(class(&error), "invalid", "{error}");
    assert!(error.to_string().contains("ValidationError"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_said_to_have_died_only_where_they_died() {
    let rig = LedgerRig::start().await;
    let ledger = rig.ledger(false);
    for (name, deaths) in [("late", 2), ("deadly", 5)] {
        let row = rig.leased(name).await;
        for _ in 0..deaths {
            rig.later(11 * MINUTE);
            rig.lease(&row.key).await;
        }
        rig.later(if name == "late" { 8 * 24 * 60 * MINUTE } else { 11 * MINUTE });
        let lease = ledger.lease(&row.key, rig.now() + MINUTE).await.unwrap();
        let Lease::GaveUp(row) = lease else { panic!("{name}: {lease:?}") };
        let why = row.last_error.unwrap();
        assert_eq!(why.contains("died"), name == "deadly", "{why}");
    }
}

/// The tokens of the transactions that a commit sent.
fn tokens(rig: &LedgerRig) -> Vec<String> {
    let writes = rig.writes();
    let transactions = writes.iter().filter(|(operation, _)| operation == "TransactWriteItems");
    transactions.map(|(_, request)| request["ClientRequestToken"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_belongs_to_one_call_on_one_row_of_one_table() {
    let rig = LedgerRig::start().await;
    let other = ledger_store::tables();
    create_tables(&rig.dynamodb(), &other).await.unwrap();
    let mut all = HashSet::new();
    for (tables, case) in [(&rig.tables, "here"), (&other, "in another stack")] {
        let ledger = rig.ledger_of(tables, false);
        for round in ["put", "put again under the same id"] {
            let row = gemhook::ledger::NewDelivery::of_job(
                "batches/b",
                gemhook::job::JobKind::Batch,
                None,
                "r",
                rig.now(),
            );
            ledger.enter(row).await.unwrap();
            let key = "job~batches/b";
            let lease = ledger.lease(key, rig.now() + 10 * MINUTE).await.unwrap();
            let Lease::Taken(row) = lease else { panic!("{case} {round}: {lease:?}") };
            assert_eq!(row.attempt, 1);
            rig.writes();
            rig.fault(Fault::Conflict);
            let _ = ledger.commit(&row, Outcome::Archived, &archived("b"), None).await.unwrap();
            let sent = tokens(&rig);
            assert_eq!(sent.len(), 2, "{case} {round}");
            assert_eq!(sent[0], sent[1], "{case} {round}: a repeat is the same request");
            assert!((1..=36).contains(&sent[0].len()));
            assert!(all.insert(sent[0].clone()), "{case} {round}: the token was used before");
            let key = aws_sdk_dynamodb::types::AttributeValue::S(key.to_owned());
            let delete = rig.dynamodb().delete_item().table_name(&tables.deliveries);
            delete.key("webhook_id", key).send().await.unwrap();
        }
    }
    let row = rig.leased("kind").await;
    rig.writes();
    let ledger = rig.ledger(false);
    rig.fault(Fault::Always("AccessDeniedException"));
    assert!(ledger.commit(&row, Outcome::Archived, &archived("kind"), None).await.is_err());
    assert!(ledger.record_open(&row, &open("kind"), rig.now()).await.is_err());
    rig.faults_came();
    let sent: HashSet<String> = tokens(&rig).into_iter().collect();
    assert_eq!(sent.len(), 2, "a commit and a record of an open job are two requests");
    let told = ledger.commit(&row, Outcome::Archived, &archived("kind"), None).await.unwrap();
    assert_eq!(told, Committed::Done);
}
