//! As much of an AWS account as the commands ask: a stack's outputs, secrets, and what Lambda tells of functions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

#[derive(Default)]
pub struct Account {
    pub outputs: HashMap<&'static str, String>,
    pub secrets: HashMap<String, String>,
    /// Whether secrets can be read but not written.
    pub read_only: bool,
    /// How often secrets can still be written, where that is counted.
    pub writes_left: Option<u32>,
    pub policy: Value,
    pub concurrency: i64,
    pub mappings: Vec<Value>,
    /// Whether the bucket blocks all that would make it public.
    pub private: bool,
}

#[derive(Clone)]
pub struct FakeAws {
    pub url: String,
    pub account: Arc<Mutex<Account>>,
}

impl FakeAws {
    pub async fn start(account: Account) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let account = Arc::new(Mutex::new(account));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&account));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { url, account }
    }

    pub fn secret(&self, id: &str) -> String {
        self.account.lock().unwrap().secrets[id].clone()
    }
}

async fn answer(
    State(account): State<Arc<Mutex<Account>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut account = account.lock().unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    if let Some(target) = headers.get("x-amz-target") {
        let request: Value = serde_json::from_str(&body).unwrap();
        let id = request["SecretId"].as_str().unwrap_or_default().to_owned();
        let fault =
            |name: &str| (StatusCode::BAD_REQUEST, json!({"__type": name}).to_string()).into_response();
        return match target.to_str().unwrap() {
            "secretsmanager.GetSecretValue" => match account.secrets.get(&id) {
                Some(text) => {
                    json!({"ARN": id, "Name": id, "SecretString": text}).to_string().into_response()
                }
                None => fault("ResourceNotFoundException"),
            },
            "secretsmanager.PutSecretValue" if account.read_only || account.writes_left == Some(0) => {
                fault("AccessDeniedException")
            }
            "secretsmanager.PutSecretValue" => {
                account.writes_left = account.writes_left.map(|left| left - 1);
                account.secrets.insert(id, request["SecretString"].as_str().unwrap().to_owned());
                "{}".into_response()
            }
            _ => fault("UnknownOperationException"),
        };
    }
    if body.contains("Action=DescribeStacks") {
        return xml(&stack(&account.outputs));
    }
    if body.contains("Action=GetCallerIdentity") {
        return xml(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::123456789012:user/somebody</Arn><UserId>U</UserId><Account>123456789012</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>",
        );
    }
    if uri.query().is_some_and(|query| query.contains("publicAccessBlock")) {
        let (open, close) = ("<PublicAccessBlockConfiguration>", "</PublicAccessBlockConfiguration>");
        let names = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
        let rules = names.map(|name| format!("<{name}>{}</{name}>", account.private)).concat();
        return xml(&format!("{open}{rules}{close}"));
    }
    let told = match uri.path() {
        "/results" | "/results/" => return StatusCode::OK.into_response(),
        path if path.ends_with("/policy") => json!({"Policy": account.policy.to_string()}),
        path if path.contains("account-settings") => json!({"AccountLimit": {
            "ConcurrentExecutions": account.concurrency,
            "UnreservedConcurrentExecutions": account.concurrency,
        }}),
        path if path.contains("event-source-mappings") => json!({"EventSourceMappings": account.mappings}),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    told.to_string().into_response()
}

fn xml(text: &str) -> Response {
    ([("content-type", "text/xml")], text.to_owned()).into_response()
}

fn stack(outputs: &HashMap<&'static str, String>) -> String {
    let members: String = outputs
        .iter()
        .map(|(key, value)| {
            format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
        })
        .collect();
    format!(
        "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\
         <DescribeStacksResult><Stacks><member><StackName>s</StackName>\
         <CreationTime>2026-05-28T20:26:40Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>\
         <Outputs>{members}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
    )
}
