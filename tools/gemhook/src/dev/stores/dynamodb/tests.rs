use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use aws_sdk_dynamodbstreams::types::{AttributeValue as Streamed, ShardIteratorType};

use super::*;
use crate::dev::stores::testing::{TestStores, port};
use gemhook::ledger::schema::attr;

const TABLE: &str = "gemhook-deliveries";

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

async fn put(client: &Client, id: &str, rest: &[(&str, AttributeValue)]) {
    let mut put = client.put_item().table_name(TABLE).item(attr::WEBHOOK_ID, s(id));
    for (name, value) in rest {
        put = put.item(*name, value.clone());
    }
    put.send().await.unwrap();
}

async fn ids(client: &Client) -> Vec<String> {
    let rows = client.scan().table_name(TABLE).send().await.unwrap().items.unwrap_or_default();
    let mut ids: Vec<_> = rows.iter().map(|row| row[attr::WEBHOOK_ID].as_s().unwrap().clone()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn rows_survive_a_reopen() {
    let open = TestStores::open().await;
    put(&open.dynamodb(), "a", &[]).await;
    let open = open.reopen().await;
    assert_eq!(ids(&open.dynamodb()).await, ["a"]);
    let ttl = open.dynamodb().describe_time_to_live().table_name(TABLE).send().await.unwrap();
    let ttl = ttl.time_to_live_description.unwrap();
    assert_eq!(ttl.attribute_name.as_deref(), Some(attr::EXPIRES_AT));
}

#[tokio::test]
async fn the_index_gives_the_due_rows_in_order() {
    let open = TestStores::open().await;
    let client = open.dynamodb();
    for (id, due) in [("late", 30), ("early", 10), ("middle", 20)] {
        let rest =
            [(attr::OPEN, s("1")), (attr::DUE_AT, n(due)), (attr::RECEIVED_AT, n(5)), (attr::BODY, s("{}"))];
        put(&client, id, &rest).await;
    }
    put(&client, "ended", &[]).await;
    let due = client.query().table_name(TABLE).index_name("due");
    let due = due
        .key_condition_expression("#open = :open AND due_at <= :now")
        .expression_attribute_names("#open", "open");
    let due = due.expression_attribute_values(":open", s("1")).expression_attribute_values(":now", n(20));
    let rows = due.send().await.unwrap().items.unwrap();
    let found: Vec<_> = rows.iter().map(|row| row[attr::WEBHOOK_ID].as_s().unwrap().as_str()).collect();
    assert_eq!(found, ["early", "middle"]);
    assert_eq!(rows[0][attr::RECEIVED_AT], n(5));
    assert!(!rows[0].contains_key(attr::BODY));
}

#[tokio::test]
async fn a_refused_put_returns_the_row_that_is_there() {
    let open = TestStores::open().await;
    let client = open.dynamodb();
    put(&client, "a", &[(attr::RECEIPT, s("first"))]).await;
    let again = client.put_item().table_name(TABLE).item(attr::WEBHOOK_ID, s("a"));
    let again = again
        .condition_expression("attribute_not_exists(webhook_id)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let refused = again.send().await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(refused) =
        refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.item.unwrap()[attr::RECEIPT], s("first"));
}

#[tokio::test]
async fn the_stream_shows_the_new_image() {
    let open = TestStores::open().await;
    put(&open.dynamodb(), "a", &[(attr::STATE, s("received"))]).await;
    let streams = open.stores.streams(gemhook::aws::archiver_timeouts());
    let all = streams.list_streams().table_name(TABLE).send().await.unwrap();
    let arn = all.streams()[0].stream_arn().unwrap();
    let stream = streams.describe_stream().stream_arn(arn).send().await.unwrap().stream_description.unwrap();
    let shard = stream.shards()[0].shard_id().unwrap();
    let from = streams.get_shard_iterator().stream_arn(arn).shard_id(shard);
    let from = from.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
    let records = streams.get_records().set_shard_iterator(from.shard_iterator).send().await.unwrap();
    let image = records.records()[0].dynamodb().unwrap().new_image().unwrap();
    assert_eq!(image[attr::STATE], Streamed::S("received".into()));
}

#[tokio::test]
async fn a_sweep_removes_the_expired_row_only() {
    let open = TestStores::open().await;
    let client = open.dynamodb();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    put(&client, "expired", &[(attr::EXPIRES_AT, n(now - 60))]).await;
    put(&client, "kept", &[(attr::EXPIRES_AT, n(now + 60))]).await;
    put(&client, "open", &[]).await;
    assert_eq!(open.stores.sweep_ttl().await.unwrap(), 1);
    assert_eq!(ids(&client).await, ["kept", "open"]);
}

#[tokio::test]
async fn a_table_of_another_shape_is_an_error_that_names_the_folder() {
    let open = TestStores::open().await;
    let client = open.dynamodb();
    create_tables(&client, &TableNames { deliveries: TABLE.into(), jobs: "gemhook-jobs".into() })
        .await
        .unwrap();
    client.delete_table().table_name("gemhook-jobs").send().await.unwrap();
    let other = Table { key: "another", index: None, ttl: None, stream: false };
    create_table(&client, "gemhook-jobs", &other).await.unwrap();

    let no_index = Table { index: None, ..schema::DELIVERIES };
    let found = create_table(&client, TABLE, &no_index).await.unwrap_err();
    assert_eq!(
        format!("{found:#}"),
        "the table gemhook-deliveries differs: it has 1 indexes, this version needs 0"
    );
    let wider = Index { includes: &[attr::RECEIVED_AT, attr::BODY], ..schema::DUE };
    let wider = Table { index: Some(wider), ..schema::DELIVERIES };
    let found = format!("{:#}", create_table(&client, TABLE, &wider).await.unwrap_err());
    assert!(found.contains("its index is \"due\" on open (HASH), due_at (RANGE)"), "{found}");
    let no_stream = Table { stream: false, ..schema::DELIVERIES };
    assert!(create_table(&client, TABLE, &no_stream).await.is_err());

    let folder = open.close().await;
    let listeners = (port().await, port().await);
    let (_shutdown, fires) = watch::channel(false);
    let refused =
        crate::dev::stores::open(folder.path(), listeners.0, listeners.1, fires).await.err().unwrap();
    let refused = format!("{refused:#}");
    assert!(refused.contains(folder.path().to_str().unwrap()), "{refused}");
    assert!(refused.ends_with("its key is another (HASH), this version needs job_id (HASH)"), "{refused}");
}
