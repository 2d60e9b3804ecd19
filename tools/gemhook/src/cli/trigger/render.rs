//! A signed event in the forms that other tools take.

use std::io::{self, Write};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::signed::Signed;
use gemhook::clock::{Millis, rfc3339};

/// What nobody owns, where no address is known.
const SOMEWHERE: &str = "example.lambda-url.us-east-1.on.aws";

/// The whole event with which Lambda would invoke the function behind a Function URL.
pub(super) fn lambda(event: &Signed, to: Option<&Url>, now: Millis) -> Value {
    let host = to.and_then(Url::host_str).unwrap_or(SOMEWHERE);
    let path = to.map_or("/", Url::path);
    let (body, encoded) = match std::str::from_utf8(&event.body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (BASE64_STANDARD.encode(&event.body), true),
    };
    let mut headers = Map::new();
    headers.insert("host".to_owned(), host.into());
    headers.insert("content-length".to_owned(), event.body.len().to_string().into());
    headers.extend(event.headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())));
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": host.split('.').next(),
            "domainName": host,
            "domainPrefix": host.split('.').next(),
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "gemhook-trigger",
            },
            "requestId": uuid::Uuid::new_v4().to_string(),
            "routeKey": "$default",
            "stage": "$default",
            "time": rfc3339(now),
            "timeEpoch": now,
        },
        "body": body,
        "isBase64Encoded": encoded,
    })
}

pub(super) fn http(event: &Signed, to: &Url) -> Vec<u8> {
    let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
    let port = to.port().map(|port| format!(":{port}")).unwrap_or_default();
    let mut text = format!(
        "POST {}{query} HTTP/1.1\r\nhost: {}{port}\r\nconnection: close\r\ncontent-length: {}\r\n",
        to.path(),
        to.host_str().unwrap_or_default(),
        event.body.len()
    );
    for (name, value) in &event.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    [text.as_bytes(), &event.body].concat()
}

pub(super) fn curl(event: &Signed, to: &Url) -> Result<String> {
    let body = std::str::from_utf8(&event.body)
        .context("a body that is no text cannot stand in a command: use --print http or lambda")?;
    let mut command = format!("curl -i {}", quoted(to.as_str()));
    for (name, value) in &event.headers {
        command.push_str(&format!(" \\\n  -H {}", quoted(&format!("{name}: {value}"))));
    }
    command.push_str(&format!(" \\\n  --data-raw {}", quoted(body)));
    Ok(command)
}

/// For the shell, whatever the text holds.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

pub(super) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
