//! What the functions' calls come to, in memory: a DynamoDB engine, a bucket and an event bus. Nothing waits here.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use dynoxide::{Database, DynoxideError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    asked::{Answer, Asked, text_answer},
    bucket::Bucket,
};

pub const DELIVERIES: &str = "deliveries";
pub const JOBS: &str = "jobs";

pub struct Stores {
    database: Database,
    bucket: Mutex<Bucket>,
    announced: Mutex<Vec<Value>>,
    /// Former pages of the index, by shard.
    pages: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Stores {
    pub fn new() -> Self {
        Self {
            database: Database::memory().unwrap(),
            bucket: Mutex::default(),
            announced: Mutex::default(),
            pages: Mutex::default(),
        }
    }

    pub fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap()
    }

    pub fn announced(&self) -> MutexGuard<'_, Vec<Value>> {
        self.announced.lock().unwrap()
    }

    /// All rows of a table by their key, as DynamoDB's JSON has them.
    pub fn rows(&self, table: &str) -> BTreeMap<String, Value> {
        let found = self.dynamodb("Scan", &json!({"TableName": table}).to_string()).unwrap();
        let found: Value = serde_json::from_str(&found).unwrap();
        let key = if table == JOBS { "job_id" } else { "webhook_id" };
        let rows = found["Items"].as_array().unwrap().iter();
        rows.map(|row| (row[key]["S"].as_str().unwrap().to_owned(), row.clone())).collect()
    }

    pub fn answer(&self, asked: &Asked) -> Answer {
        match asked.operation.split_once('.') {
            Some(("DynamoDB_20120810", operation)) => {
                let body = std::str::from_utf8(&asked.body).unwrap();
                match self.dynamodb(operation, body) {
                    Ok(text) => {
                        if operation == "Query" {
                            let shard = shard(body);
                            self.pages.lock().unwrap().entry(shard).or_default().push(text.clone());
                        }
                        text_answer(200, &text)
                    }
                    Err(error) => text_answer(error.status_code(), &error.to_json()),
                }
            }
            Some(("AWSEvents", "PutEvents")) => {
                let put: Value = serde_json::from_slice(&asked.body).unwrap();
                let detail = put["Entries"][0]["Detail"].as_str().unwrap();
                self.announced().push(serde_json::from_str(detail).unwrap());
                text_answer(200, r#"{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}"#)
            }
            _ => self.bucket().answer(asked),
        }
    }

    /// A page that this query was answered with before, as an index that lags behind would answer it. An empty one
    /// where there was none.
    pub fn older_page(&self, asked: &Asked, pick: usize) -> Answer {
        let pages = self.pages.lock().unwrap();
        let former = pages.get(&shard(std::str::from_utf8(&asked.body).unwrap()));
        match former.filter(|pages| !pages.is_empty()) {
            Some(pages) => text_answer(200, &pages[pick % pages.len()]),
            None => text_answer(200, r#"{"Items":[],"Count":0,"ScannedCount":0}"#),
        }
    }

    fn dynamodb(&self, operation: &str, body: &str) -> Result<String, DynoxideError> {
        let database = &self.database;
        match operation {
            "CreateTable" => done(database.create_table(read(body)?)?),
            "DescribeTable" => done(database.describe_table(read(body)?)?),
            "UpdateTimeToLive" => done(database.update_time_to_live(read(body)?)?),
            "DescribeTimeToLive" => done(database.describe_time_to_live(read(body)?)?),
            "PutItem" => done(database.put_item(read(body)?)?),
            "GetItem" => done(database.get_item(read(body)?)?),
            "UpdateItem" => done(database.update_item(read(body)?)?),
            "Query" => done(database.query(read(body)?)?),
            "Scan" => done(database.scan(read(body)?)?),
            "TransactWriteItems" => done(database.transact_write_items(read(body)?)?),
            other => panic!("nothing here asks for {other}"),
        }
    }
}

/// What names the shard in a query of the index.
fn shard(query: &str) -> String {
    let query: Value = serde_json::from_str(query).unwrap();
    let values = query["ExpressionAttributeValues"].as_object().unwrap();
    values.values().filter_map(|value| value["S"].as_str()).collect()
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, DynoxideError> {
    serde_json::from_str(body).map_err(|error| DynoxideError::SerializationException(error.to_string()))
}

fn done(answer: impl Serialize) -> Result<String, DynoxideError> {
    Ok(serde_json::to_string(&answer).unwrap())
}
