//! A request as somebody captured it: raw HTTP, headers and body apart, the event of a Lambda function, a record of a
//! first delivery or a row. The body's bytes are taken as they are.

use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use gemhook::clock::from_rfc3339;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// The headers of Standard Webhooks.
pub(super) const NAMES: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

#[derive(Default)]
pub(super) struct Captured {
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Seconds since the epoch, where the capture says so.
    pub arrived: Option<i64>,
    /// What a person should know of the capture itself.
    pub notes: Vec<String>,
    /// Of a row or a record, which keep no signature: how it was verified when it came.
    pub kept: Option<Kept>,
}

#[derive(Default)]
pub(super) struct Kept {
    pub scheme: String,
    pub key_id: String,
    pub body_sha256: Option<String>,
}

impl Captured {
    pub fn apart(headers: &[u8], body: Bytes) -> Self {
        let mut captured = Self { body, ..Self::default() };
        captured.add_lines(headers);
        captured
    }

    /// Anything that holds headers and body in one.
    pub fn whole(text: &[u8]) -> Result<Self> {
        if let Ok(Value::Object(_)) = serde_json::from_slice::<Value>(text) {
            return Self::json(serde_json::from_slice(text)?);
        }
        let (head, body) = split(text).context(
            "it is no request: neither headers and a blank line before the body, nor the event of a Lambda \
             function, nor a record of first-deliveries",
        )?;
        let mut captured = Self::apart(head, Bytes::copy_from_slice(body));
        captured.unframe();
        Ok(captured)
    }

    pub fn json(value: Value) -> Result<Self> {
        if value.get("webhook_id").is_some() {
            return Self::kept(&value);
        }
        if value.get("requestContext").is_none() && value.get("headers").is_none() {
            bail!("the JSON is neither the event of a Lambda function nor a record of first-deliveries");
        }
        Self::lambda(&value)
    }

    fn lambda(event: &Value) -> Result<Self> {
        let text = event.get("body").and_then(Value::as_str).unwrap_or_default();
        let mut captured = Self::default();
        captured.body = match event.get("isBase64Encoded").and_then(Value::as_bool) {
            Some(true) => {
                captured.notes.push("the event's body was base64 and has been decoded".to_owned());
                BASE64_STANDARD
                    .decode(text)
                    .context("isBase64Encoded is true, but the body is no base64")?
                    .into()
            }
            _ => Bytes::copy_from_slice(text.as_bytes()),
        };
        captured.add_object(event.get("headers"));
        if captured.headers.is_empty() {
            captured.add_object(event.get("multiValueHeaders"));
        }
        let times = ["/requestContext/timeEpoch", "/requestContext/requestTimeEpoch"];
        let at = times.into_iter().find_map(|target| event.pointer(target)?.as_i64());
        captured.arrived = at.filter(|at| *at > 0).map(|at| at.div_euclid(1000));
        Ok(captured)
    }

    /// A record of a first delivery, or a row as `gemhook deliveries show --json` writes it.
    fn kept(value: &Value) -> Result<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let body = match (text("body"), text("body_base64")) {
            (Some(body), _) => Bytes::copy_from_slice(body.as_bytes()),
            (None, Some(encoded)) => BASE64_STANDARD.decode(encoded).context("body_base64 is none")?.into(),
            (None, None) => bail!("it holds no body"),
        };
        let arrived = match value.get("received_at") {
            Some(Value::String(text)) => seconds(text).ok(),
            Some(Value::Number(millis)) => millis.as_i64().map(|millis| millis.div_euclid(1000)),
            _ => None,
        };
        let kept = Kept {
            scheme: text("scheme").unwrap_or("-").to_owned(),
            key_id: text("key_id").unwrap_or("-").to_owned(),
            body_sha256: text("body_sha256").map(str::to_owned),
        };
        let mut captured = Self { body, arrived, kept: Some(kept), ..Self::default() };
        captured.add_object(value.get("headers"));
        Ok(captured)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn add(&mut self, name: &str, value: &str) {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            _ => self.notes.push(format!("{name:?} is no header and was left out")),
        }
    }

    fn add_object(&mut self, headers: Option<&Value>) {
        for (name, value) in headers.and_then(Value::as_object).into_iter().flatten() {
            match value {
                Value::Array(values) => {
                    values.iter().filter_map(Value::as_str).for_each(|value| self.add(name, value));
                }
                value => self.add(name, value.as_str().unwrap_or_default()),
            }
        }
    }

    /// Lines of `name: value`; a request line is none. What curl puts before a line is left out.
    fn add_lines(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for line in text.lines() {
            let line = line.strip_prefix("> ").unwrap_or(line);
            if let Some((name, value)) = line.split_once(':').filter(|(name, _)| !name.contains(' ')) {
                self.add(name.trim(), value.trim());
            }
        }
    }

    /// Takes the body out of what HTTP/1.1 puts around it.
    fn unframe(&mut self) {
        if self
            .header("transfer-encoding")
            .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
        {
            match unchunked(&self.body) {
                Some(body) => {
                    self.notes.push("the body came in chunks and has been put together".to_owned());
                    self.body = body.into();
                }
                None => self.notes.push("the headers speak of chunks, but the body holds none".to_owned()),
            }
            return;
        }
        let Some(stated) = self.header("content-length").and_then(|text| text.parse::<usize>().ok()) else {
            return;
        };
        let found = self.body.len();
        if found > stated {
            self.notes.push(format!(
                "the capture goes on for {} bytes after the {stated} of its content-length, which were left out",
                found - stated
            ));
            self.body.truncate(stated);
        } else if found < stated {
            self.notes.push(format!("the body is cut off: {found} bytes of {stated}"));
        }
    }
}

fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let find = |end: &[u8]| text.windows(end.len()).position(|piece| piece == end).map(|at| (at, end.len()));
    let (at, length) = match (find(b"\r\n\r\n"), find(b"\n\n")) {
        (Some(one), Some(other)) => one.min(other),
        (one, other) => one.or(other)?,
    };
    let (head, rest) = text.split_at_checked(at)?;
    head.contains(&b':').then_some((head, rest.get(length..)?))
}

fn unchunked(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = text.windows(2).position(|piece| piece == b"\r\n")?;
        let line = std::str::from_utf8(text.get(..end)?).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        let chunk = text.get(end.checked_add(2)?..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunk.get(..size)?);
        text = chunk.get(size.checked_add(2)?..)?;
    }
}

/// Seconds since the epoch, or a time of RFC 3339.
pub(super) fn seconds(text: &str) -> Result<i64, String> {
    if !text.is_empty() && text.len() <= 11 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| "too large".to_owned());
    }
    from_rfc3339(text).map(|time| time.div_euclid(1000)).ok_or_else(|| {
        "it must be seconds since the epoch, or a time such as 2026-05-28T20:26:30Z".to_owned()
    })
}
