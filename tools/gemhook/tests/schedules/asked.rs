//! A call of the functions as the stores see it: what is asked of which row or object, and answers in the services' own
//! form.

use std::collections::BTreeMap;

use aws_smithy_runtime_api::{
    client::orchestrator::HttpRequest,
    http::{Response, StatusCode},
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::{
    bucket::{self, parameter},
    network::caller,
};

pub type Answer = Response<SdkBody>;

/// A request as it came, whole.
#[derive(Clone)]
pub struct Asked {
    /// Who asks.
    pub caller: String,
    pub method: String,
    pub path: String,
    pub query: String,
    /// Of the service's own header.
    pub operation: String,
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

impl Asked {
    pub fn of(request: HttpRequest) -> Self {
        let headers = request.headers().iter().map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers: BTreeMap<_, _> = headers.collect();
        let (path, query) = request.uri().split_once('?').unwrap_or((request.uri(), ""));
        let path = path.split_once("://").map_or(path, |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]);
        Self {
            caller: caller(),
            method: request.method().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            operation: headers.get("x-amz-target").cloned().unwrap_or_default(),
            headers,
            body: request.body().bytes().expect("a body in memory").to_vec().into(),
        }
    }

    pub fn writes_rows(&self) -> bool {
        ["PutItem", "UpdateItem", "TransactWriteItems"].iter().any(|word| self.operation.ends_with(word))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The row that is read or written, of a transaction the first one.
    pub fn key(&self) -> Option<String> {
        let body = self.json();
        let first = &body["TransactItems"][0]["Update"]["Key"];
        let keys = [&body["Key"], &body["Item"], first];
        let named = |key: &serde_json::Value, name: &str| key[name]["S"].as_str().map(str::to_owned);
        keys.iter().find_map(|key| named(key, "webhook_id").or_else(|| named(key, "job_id")))
    }

    /// For the trace: what is done to which key.
    pub fn label(&self) -> String {
        if let Some((_, operation)) = self.operation.split_once('.') {
            let shard = || Some(self.json()["ExpressionAttributeValues"][":open"]["S"].as_str()?.to_owned());
            return format!("{operation} {}", self.key().or_else(shard).unwrap_or_default());
        }
        let upload = parameter(&self.query, "uploadId").map(|id| format!(" of upload {id}"));
        let part = parameter(&self.query, "partNumber").map(|number| format!(" part {number}"));
        let (part, upload) = (part.unwrap_or_default(), upload.unwrap_or_default());
        format!("{} {}{part}{upload}", self.method, self.path)
    }

    pub fn refused(&self, status: u16, code: &str, s3_status: u16, s3_code: &str) -> Answer {
        match self.operation.is_empty() {
            true => bucket::fault(s3_status, s3_code),
            false => {
                text_answer(status, &format!(r#"{{"__type":"com.amazonaws#{code}","message":"scripted"}}"#))
            }
        }
    }

    pub fn conflict(&self) -> Answer {
        if self.operation.ends_with(".TransactWriteItems") {
            let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"scripted",
                "CancellationReasons":[{"Code":"TransactionConflict","Message":"scripted"},{"Code":"None"}]}"#;
            return text_answer(400, body);
        }
        self.refused(400, "TransactionConflictException", 409, "ConditionalRequestConflict")
    }
}

pub fn text_answer(status: u16, text: &str) -> Answer {
    let mut answer = Response::new(StatusCode::try_from(status).unwrap(), SdkBody::from(text));
    answer.headers_mut().insert("content-length", text.len().to_string());
    answer
}
