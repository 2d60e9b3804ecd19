//! The least work that records a delivery: check the signature, sign one PutItem by hand, send it over plain HTTP on
//! one kept connection. No TLS, no retries, no time limits, no logs: a lower bound, not something to deploy.

use std::{
    env,
    fmt::Write,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

type HmacSha256 = Hmac<Sha256>;

struct Receiver {
    secret: Vec<u8>,
    host: String,
    region: String,
    table: String,
    access_key: String,
    secret_key: String,
    connection: Mutex<Option<TcpStream>>,
}

fn main() -> Result<(), Error> {
    let secret = env::var("WEBHOOK_SECRET")?;
    let receiver = Arc::new(Receiver {
        secret: BASE64_STANDARD.decode(secret.trim_start_matches("whsec_"))?,
        host: env::var("AWS_ENDPOINT_URL")?.trim_start_matches("http://").to_owned(),
        region: env::var("AWS_REGION")?,
        table: env::var("DELIVERIES_TABLE")?,
        access_key: env::var("AWS_ACCESS_KEY_ID")?,
        secret_key: env::var("AWS_SECRET_ACCESS_KEY")?,
        connection: Mutex::default(),
    });
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let receiver = Arc::clone(&receiver);
        async move {
            let status = receiver.take(&event.payload).await?;
            Ok::<_, Error>(json!({"statusCode": status}))
        }
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(lambda_runtime::run(handler))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Result<HmacSha256, Error> {
    let mut mac = HmacSha256::new_from_slice(key)?;
    for part in parts {
        mac.update(part);
    }
    Ok(mac)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Receiver {
    async fn take(&self, event: &Value) -> Result<u16, Error> {
        let header = |name: &str| event["headers"][name].as_str().unwrap_or_default();
        let body = event["body"].as_str().unwrap_or_default();
        let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        if now.abs_diff(timestamp.parse().unwrap_or(0)) > 300 {
            return Ok(401);
        }
        let signed = mac(&self.secret, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body.as_bytes()])?;
        let given = header("webhook-signature").strip_prefix("v1,").unwrap_or_default();
        if signed.verify_slice(&BASE64_STANDARD.decode(given).unwrap_or_default()).is_err() {
            return Ok(401);
        }
        let item = json!({
            "TableName": self.table,
            "Item": {"webhook_id": {"S": id}, "body": {"S": body}},
            "ConditionExpression": "attribute_not_exists(webhook_id)",
        });
        self.put(&item.to_string(), now).await?;
        Ok(200)
    }

    /// One PutItem, signed by Signature Version 4. A refused condition is a duplicate, which is as good.
    async fn put(&self, body: &str, now: u64) -> Result<(), Error> {
        let (date, time) = (date(now / 86_400), now % 86_400);
        let stamp = format!("{date}T{:02}{:02}{:02}Z", time / 3600, time / 60 % 60, time % 60);
        let names = "content-type;host;x-amz-date;x-amz-target";
        let canonical = format!(
            "POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:{}\nx-amz-date:{stamp}\n\
             x-amz-target:DynamoDB_20120810.PutItem\n\n{names}\n{}",
            self.host,
            hex(&Sha256::digest(body))
        );
        let scope = format!("{date}/{}/dynamodb/aws4_request", self.region);
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, &[part.as_bytes()])?.finalize().into_bytes().to_vec();
        }
        let signature = hex(&mac(&key, &[to_sign.as_bytes()])?.finalize().into_bytes());
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-date: {stamp}\r\n\
             x-amz-target: DynamoDB_20120810.PutItem\r\ncontent-length: {}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\r\n{body}",
            self.host,
            body.len(),
            self.access_key
        );
        let mut held = self.connection.lock().await;
        let connection = match &mut *held {
            Some(connection) => connection,
            none => none.insert(TcpStream::connect(&self.host).await?),
        };
        connection.write_all(request.as_bytes()).await?;
        let mut answer = [0; 4096];
        let length = connection.read(&mut answer).await?;
        let status = answer[..length].split(|byte| *byte == b' ').nth(1);
        match status {
            Some(b"200" | b"400") => Ok(()),
            _ => Err("DynamoDB did not take the row".into()),
        }
    }
}

/// Days since 1970 as YYYYMMDD.
fn date(days: u64) -> String {
    let shifted = days + 719_468;
    let era_day = shifted % 146_097;
    let era_year = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let march_month = (5 * year_day + 2) / 153;
    let (day, month) = (year_day - (153 * march_month + 2) / 5 + 1, (march_month + 2) % 12 + 1);
    let year = era_year + shifted / 146_097 * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}")
}
