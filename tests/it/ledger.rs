//! The transition table: what the pure functions say is what DynamoDB does.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use gemhook::ledger::{
    condition::{Binds, Transition},
    transitions::*,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::{
    ledger_store,
    support::{Row, TestMachine, now, number},
};

const TRANSITIONS: [&Transition; 19] = [
    &LEASE,
    &TAKE_OVER,
    &GIVE_UP,
    &EXTEND,
    &WAIT,
    &FAIL,
    &COMMIT,
    &COMMIT_TO_ANNOUNCE,
    &END,
    &FINISH,
    &REDRIVE_FAILED,
    &REDRIVE_DONE,
    &VOID_LEASE,
    &END_JOB,
    &REPLACE_GONE_JOB,
    &OPEN_JOB,
    &WATCH_JOB,
    &LOOK_AT_JOB,
    &UNWATCH_JOB,
];

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn maybe<T: std::fmt::Debug + Clone + 'static>(
    values: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop_oneof![1 => Just(None), 4 => values.prop_map(Some)]
}

/// Rows of every shape near the edges of the conditions, impossible ones included, and those of both tables at once.
fn rows() -> impl Strategy<Value = Row> {
    let times = |from: i64| maybe(from..from + 6);
    let states =
        maybe(prop::sample::select(vec!["received", "archiving", "archiving", "waiting", "done", "failed"]));
    let outcomes =
        prop_oneof![Just(None), Just(Some("recorded")), Just(Some("archived")), Just(Some("gone"))];
    let ended_by = prop_oneof![3 => Just(None), 1 => Just(Some("msg_1")), 1 => Just(Some("msg_2"))];
    let deliveries = (states, outcomes, maybe(1..4_i64), maybe(0..4_i64), times(98), times(96), times(99));
    let jobs = (ended_by, maybe(8..12_i64), maybe(0..2_i64), maybe(0..3_i64));
    (deliveries, jobs).prop_map(|(delivery, job)| {
        let (state, outcome, attempt, crashes, due_at, lease_until, give_up_at) = delivery;
        let (ended_by, event_time, watch_until, schema) = job;
        let words = [("state", state), ("outcome", outcome), ("ended_by", ended_by)];
        let numbers = [
            ("attempt", attempt),
            ("crashes", crashes),
            ("due_at", due_at),
            ("lease_until", lease_until),
            ("give_up_at", give_up_at),
            ("event_time", event_time),
            ("watch_until", watch_until),
            ("schema", schema),
        ];
        let words = words.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value?))));
        let numbers = numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), AttributeValue::N(value?.to_string()))));
        let mut row: Row = words.chain(numbers).collect();
        if due_at.is_some() {
            row.insert("open".to_owned(), text("0"));
        }
        row
    })
}

fn binds() -> Binds {
    Binds::default()
        .number(":now", 100)
        .number(":mine", 2)
        .number(":max_crashes", 2)
        .number(":lease_until", 200)
        .number(":due_at", 150)
        .number(":give_up_at", 900)
        .number(":expires_at", 5)
        .text(":holder", "h")
        .text(":last_error", "why")
        .text(":outcome", "archived")
        .text(":job_id", "batches/b")
        .text(":open", "3")
        .text(":redrive", "r")
        .number(":schema", 1)
        .number(":zero", 0)
        .text(":error_kind", "transient")
        .number(":error_since", 70)
        .text(":webhook_id", "msg_3")
        .text(":replaces", "msg_2")
        .text(":kind", "batch")
        .text(":state", "BATCH_STATE_SUCCEEDED")
        .number(":event_time", 10)
        .number(":watch_until", 300)
        .number(":look_at", 120)
        .number(":looks", 3)
        .value(":delivery", Some(AttributeValue::Ss(vec!["msg_3".into()])))
        .value(":outputs", Some(AttributeValue::L(vec![text("o")])))
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_and_the_pure_functions_agree_on_every_transition() {
    let test = TestMachine::start().await;
    let (dynamodb, table) = (ledger_store::client(&test), &ledger_store::table("property"));
    let key = |id: &str| HashMap::from([("webhook_id".to_owned(), text(id))]);
    create_plain_table(&dynamodb, table).await;
    // The same rows each time: that every transition is tried both ways is then no matter of luck.
    let mut runner = TestRunner::deterministic();
    let strategy = rows();
    let mut happened: HashMap<&str, [u32; 2]> = HashMap::new();
    for (round, transition) in TRANSITIONS.iter().cycle().take(TRANSITIONS.len() * 200).enumerate() {
        let mut row = strategy.new_tree(&mut runner).unwrap().current();
        let id = format!("row-{round}");
        row.extend(key(&id));
        dynamodb.put_item().table_name(table).set_item(Some(row.clone())).send().await.unwrap();
        let binds = binds();
        let told = transition.expression(&binds);
        let update = dynamodb
            .update_item()
            .table_name(table)
            .set_key(Some(key(&id)))
            .condition_expression(told.condition)
            .update_expression(told.update)
            .set_expression_attribute_names(Some(told.names))
            .set_expression_attribute_values(Some(told.values).filter(|values| !values.is_empty()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        let allowed = transition.allows(&row, &binds);
        happened.entry(transition.name).or_default()[usize::from(allowed)] += 1;
        match update {
            Ok(done) => {
                assert!(allowed, "DynamoDB alone allows {} of {row:?}", transition.name);
                assert_eq!(done.attributes.unwrap(), transition.apply(&row, &binds), "{}", transition.name);
            }
            Err(error) => {
                assert!(error.into_service_error().is_conditional_check_failed_exception());
                assert!(!allowed, "DynamoDB alone refuses {} of {row:?}", transition.name);
            }
        }
    }
    for (name, [refused, allowed]) in happened {
        assert!(refused > 0 && allowed > 0, "{name} was not tried both ways");
    }
}

async fn create_plain_table(dynamodb: &aws_sdk_dynamodb::Client, table: &str) {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    };
    let name = "webhook_id";
    let definition =
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash);
    dynamodb
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(definition.build().unwrap())
        .key_schema(key.build().unwrap())
        .send()
        .await
        .unwrap();
}

/// What DynamoDB bills a row by: names and values.
fn size(row: &Row) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        other => panic!("no such attribute in a delivery: {other:?}"),
    };
    row.iter().map(|(name, attribute)| name.len() + value(attribute)).sum()
}

/// The ordinary event at its largest: leased, put off with the longest error, then ended.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_row_costs_one_write_unit() {
    let test = TestMachine::start().await;
    let job = format!("batches/{}", "b".repeat(36));
    let id = format!("msg_{}", uuid::Uuid::new_v4());
    let body = serde_json::json!({
        "type": "batch.succeeded", "version": "v1", "timestamp": "2026-05-28T20:26:30Z",
        "data": {"id": job, "output_file_uri": format!("files/batch-{}", "b".repeat(36))},
    });
    test.delivery(&id, body.to_string()).send().await.unwrap();
    let mut row = test.ended(&id).await;
    for (name, value) in [
        ("last_error", text("e".repeat(200))),
        ("error_kind", text("output_missing")),
        ("error_since", AttributeValue::N((now() * 1000).to_string())),
        ("job_id", text(job)),
        ("open", text("7")),
        ("due_at", AttributeValue::N((now() * 1000).to_string())),
        ("lease_until", AttributeValue::N((now() * 1000).to_string())),
    ] {
        row.insert(name.to_owned(), value);
    }
    assert!(number(&row, "attempt") > 0);
    assert!(size(&row) <= 1024, "{} bytes", size(&row));
}
