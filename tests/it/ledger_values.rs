//! Values from outside: any JSON value comes back out of the Jobs row as the same value or as its text.

use aws_sdk_dynamodb::types::AttributeValue;
use gemhook::{
    job::EndedJob,
    ledger::{Committed, Outcome},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Map, Value, json};

use crate::{
    ledger_rig::{LedgerRig, archived},
    support::{Row, text},
};

fn numbers() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            1e125,
            9.999e125,
            1e126,
            1e-130,
            9e-131,
            1e200,
            1e-200,
            -1e300,
            0.0,
            -0.0,
            0.1,
            1e22,
            123_456_789.123_456_79,
        ])
        .prop_map(Value::from),
    ]
}

/// JSON of any shape, up to about as deep as a parser lets through.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        numbers(),
        any::<String>().prop_map(Value::from),
    ];
    let bush = leaf.prop_recursive(6, 200, 8, |inner| {
        let name = prop_oneof![1 => Just(String::new()), 8 => any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    });
    // Deep nesting around it, of either kind.
    (bush, prop_oneof![3 => 0..4_usize, 1 => 15..100_usize], any::<bool>()).prop_map(
        |(value, depth, list)| {
            (0..depth).fold(value, |inner, _| if list { json!([inner]) } else { json!({"in": inner}) })
        },
    )
}

/// Whether an attribute holds the value itself or its text, part by part. Written without the code under test.
fn holds(kept: &AttributeValue, value: &Value) -> bool {
    match (kept, value) {
        (AttributeValue::Null(true), Value::Null) => true,
        (AttributeValue::Bool(kept), Value::Bool(value)) => kept == value,
        (AttributeValue::S(kept), Value::String(value)) => kept == value,
        (AttributeValue::S(kept), value) => kept == &value.to_string(),
        (AttributeValue::N(kept), Value::Number(value)) => match (value.as_i64(), value.as_u64()) {
            (Some(value), _) => kept.parse() == Ok(value),
            (_, Some(value)) => kept.parse() == Ok(value),
            _ => kept.parse() == Ok(value.as_f64().unwrap()),
        },
        (AttributeValue::L(kept), Value::Array(values)) => {
            kept.len() == values.len() && kept.iter().zip(values).all(|(kept, value)| holds(kept, value))
        }
        (AttributeValue::M(kept), Value::Object(values)) => {
            kept.len() == values.len()
                && values.iter().all(|(name, value)| kept.get(name).is_some_and(|kept| holds(kept, value)))
        }
        _ => false,
    }
}

/// What DynamoDB refuses and an embedded store may not: numbers out of range, empty names, more than 32 levels.
fn assert_storable(kept: &AttributeValue, level: usize) {
    assert!(level <= 32, "too deep");
    match kept {
        AttributeValue::N(digits) => {
            let number: f64 = digits.parse().unwrap();
            assert!(number == 0.0 || (1e-130..1e126).contains(&number.abs()), "{digits}");
        }
        AttributeValue::L(items) => items.iter().for_each(|item| assert_storable(item, level + 1)),
        AttributeValue::M(members) => members.iter().for_each(|(name, value)| {
            assert!((1..=65_535).contains(&name.len()), "a name of {} bytes", name.len());
            assert_storable(value, level + 1);
        }),
        _ => {}
    }
}

async fn commit(rig: &LedgerRig, name: &str, job: EndedJob) -> Row {
    let row = rig.leased(name).await;
    let told = rig.ledger(false).commit(&row, Outcome::Archived, &job, None).await.unwrap();
    assert_eq!(told, Committed::Done, "{name}");
    rig.job(name).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_json_value_comes_back_as_itself_or_as_its_text() {
    let rig = LedgerRig::start().await;
    let mut runner = TestRunner::deterministic();
    let strategy = values();
    for round in 0..150 {
        let value = strategy.new_tree(&mut runner).unwrap().current();
        if value.to_string().len() > 64 * 1024 {
            continue;
        }
        let metadata =
            Map::from_iter([("job_group".to_owned(), json!("nightly")), ("v".to_owned(), value.clone())]);
        let name = format!("b{round}");
        let job = EndedJob { user_metadata: Some(metadata), error: Some(value.clone()), ..archived(&name) };
        let row = commit(&rig, &name, job).await;
        let metadata = row["user_metadata"].as_m().unwrap();
        assert_eq!(metadata["job_group"].as_s().unwrap(), "nightly", "what rules route by is where it was");
        for kept in [&metadata["v"], &row["error"]] {
            assert!(holds(kept, &value), "{value} became {kept:?}");
        }
        assert_storable(&row["user_metadata"], 1);
        assert_storable(&row["error"], 1);
        assert!(!row.contains_key("shortened"), "{value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_kilobytes_of_any_kind_are_kept_whole() {
    let rig = LedgerRig::start().await;
    let kib = 1024;
    for (name, value) in [
        ("ones", json!(vec![1; 32 * kib - 1])),
        ("empties", json!(vec![json!([]); 21 * kib])),
        ("floats", json!(vec![1e200; 9 * kib])),
        ("text", json!("é".repeat(32 * kib - 1))),
        ("controls", json!("\u{1}".repeat(10 * kib))),
        ("names", Value::Object((0..6 * kib).map(|n| (format!("{n:x}"), json!(0))).collect())),
        ("long name", json!({"n".repeat(64 * kib - 10): 1})),
    ] {
        assert!(value.to_string().len() <= 64 * kib + 10, "{name}: {}", value.to_string().len());
        let job = EndedJob { error: Some(value.clone()), ..archived(name) };
        let row = commit(&rig, name, job).await;
        assert!(holds(&row["error"], &value), "{name}");
        assert!(!row.contains_key("shortened"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_what_it_does_not_hold_in_full() {
    let rig = LedgerRig::start().await;
    let huge = "x".repeat(300 * 1024);
    let one = archived("b").outputs.remove(0);
    let job = EndedJob {
        user_metadata: Some(Map::from_iter([("a".to_owned(), json!(huge))])),
        error: Some(json!({"message": huge})),
        model: Some(huge.clone()),
        display_name: Some(huge.clone()),
        outputs: vec![one; 5000],
        state: huge,
        ..archived("b")
    };
    let row = commit(&rig, "b", job).await;
    let mut shortened = row["shortened"].as_ss().unwrap().clone();
    shortened.sort();
    assert_eq!(shortened, ["display_name", "error", "model", "outputs", "state", "user_metadata"]);
    let kept = row["outputs"].as_l().unwrap().len();
    assert!(kept > 500, "{kept} outputs are named");
    assert!(row["error"].as_s().unwrap().starts_with("{\"message\":\"xxx"), "the beginning is kept");
    assert!(text(&row, "model").len() >= 1024);
}
