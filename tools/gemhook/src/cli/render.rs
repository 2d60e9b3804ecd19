//! What people read: tables, times, rows and questions. Nothing from outside reaches a terminal unescaped.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use anyhow::{Result, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::Value;

use gemhook::{
    clock::{Millis, rfc3339},
    ledger::{condition::Item, schema::attr},
};

/// A text without anything that a terminal would obey, or by which it would show another text.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .map(|char| if is_unsafe(char) { char.escape_unicode().to_string() } else { char.to_string() })
        .collect()
}

fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A row as JSON. A body that is no text is in base64.
pub fn as_json(mut row: Item) -> Value {
    let binary = match row.get(attr::BODY) {
        Some(AttributeValue::B(bytes)) => Some(BASE64_STANDARD.encode(bytes)),
        _ => None,
    };
    if binary.is_some() {
        row.remove(attr::BODY);
    }
    let mut value: Value = serde_dynamo::from_item(row).unwrap_or_default();
    if let (Some(fields), Some(binary)) = (value.as_object_mut(), binary) {
        fields.insert("body_base64".to_owned(), binary.into());
    }
    value
}

/// One line of JSON, in which what JSON lets pass and a terminal obeys is escaped too.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)?;
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if is_unsafe(char) {
            write!(line, "\\u{:04x}", u32::from(char))?;
        } else {
            line.push(char);
        }
    }
    print_line(&line)
}

pub fn print_line(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// All of a row, an attribute a line; times in words, what is nested as JSON.
pub fn print_row(row: &Value) -> Result<()> {
    let fields = row.as_object().into_iter().flatten();
    let width = fields.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        let told = match value {
            Value::String(text) if name == attr::BODY => match serde_json::from_str::<Value>(text) {
                Ok(body) => indented(&body, width)?,
                Err(_) => plain(text).into_owned(),
            },
            Value::String(text) => plain(text).into_owned(),
            Value::Number(number) if name == attr::EXPIRES_AT => time(number.as_i64().map(|at| at * 1000)),
            Value::Number(number) if is_time(name) => time(number.as_i64()),
            Value::Object(_) | Value::Array(_) => indented(value, width)?,
            other => other.to_string(),
        };
        print_line(&format!("{name:<width$}  {told}"))?;
    }
    Ok(())
}

fn indented(value: &Value, width: usize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    let lines: Vec<Cow<str>> = text.lines().map(plain).collect();
    Ok(lines.join(&format!("\n{:width$}  ", "")))
}

fn is_time(name: &str) -> bool {
    name.ends_with("_at") || name.ends_with("_until") || name == attr::EVENT_TIME
}

/// In UTC, to the second.
pub fn time(at: Option<Millis>) -> String {
    let text = at.map(|at| rfc3339(at - at.rem_euclid(1000))).filter(|text| !text.is_empty());
    text.map_or("-".to_owned(), |text| text.replace('T', " ").trim_end_matches('Z').to_owned())
}

/// Asks on the terminal. Where there is none, only `--yes` is a yes.
pub fn agreed(question: &str, yes: bool) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        bail!("{question}: there is nobody to ask; say --yes");
    }
    eprint!("{question}? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A text of a row as JSON, or a dash.
pub fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or("-")
}

pub fn at(row: &Value, name: &str) -> Option<Millis> {
    row.get(name).and_then(Value::as_i64)
}

/// Compact metadata for a table: `key=value` pairs.
pub fn pairs(value: Option<&Value>) -> String {
    let pairs = value.and_then(Value::as_object).into_iter().flatten().map(|(key, value)| match value {
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    });
    let told = pairs.collect::<Vec<_>>().join(" ");
    if told.is_empty() { "-".to_owned() } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_come_out_escaped() {
        assert_eq!(plain("a\u{1b}[31mb\u{9b}c\u{202e}d\ne"), "a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{a}e");
        assert!(matches!(plain("plain é"), Cow::Borrowed("plain é")));
    }

    #[test]
    fn times_and_metadata_are_short() {
        assert_eq!(time(Some(1_769_083_200_999)), "2026-01-22 12:00:00");
        assert_eq!(time(None), "-");
        assert_eq!(pairs(Some(&serde_json::json!({"a": "x", "b": {"c": 1}}))), "a=x b={\"c\":1}");
        assert_eq!(pairs(None), "-");
    }
}
