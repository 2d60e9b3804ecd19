//! Which rows a command is about: by state, type, time and metadata; the newest of them first.

use std::{cmp::Reverse, time::Duration};

use anyhow::Result;
use serde_json::{Map, Value};

use super::render::{as_json, at};
use gemhook::{
    clock::{Millis, millis},
    ledger::{LedgerError, Page, condition::Item, schema::attr},
    webhook::Event,
};

#[derive(clap::Args, Clone, Debug, Default)]
pub struct Filter {
    /// Only rows of this state or outcome (`waiting`, `failed`, `archived`, …); may be repeated
    #[arg(long, value_name = "STATE")]
    pub state: Vec<String>,
    /// Only rows of this type or kind: `batch.succeeded`, or `batch` for all of them
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Only rows not older than that, such as 30m, 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<Duration>,
    /// Only rows whose metadata has this value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub meta: Vec<(String, String)>,
}

/// A number with a unit: 90s, 30m, 2h, 7d.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a number and s, m, h or d, such as 2h".to_owned()),
    };
    let number: u32 = number.parse().map_err(|_| "a whole number before the unit, such as 2h".to_owned())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE, such as job_group=nightly")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        self.state.is_empty() && self.kind.is_none() && self.since.is_none() && self.meta.is_empty()
    }

    pub fn lets_through(&self, row: &Value, now: Millis) -> bool {
        let has = |name: &str, wanted: &str| row.get(name).and_then(Value::as_str) == Some(wanted);
        let state = self.state.is_empty()
            || self.state.iter().any(|word| has(attr::STATE, word) || has(attr::OUTCOME, word));
        let kind = self.kind.as_deref().is_none_or(|kind| {
            let told = [attr::EVENT_TYPE, attr::KIND].into_iter().find_map(|name| row.get(name)?.as_str());
            told.is_some_and(|told| told == kind || told.split('.').next() == Some(kind))
        });
        // A job that is open has no end, so it is always recent.
        let since = self.since.is_none_or(|since| {
            newest_time(row).is_none_or(|time| time >= now.saturating_sub(millis(since)))
        });
        state && kind && since && self.has_metadata(row)
    }

    fn has_metadata(&self, row: &Value) -> bool {
        if self.meta.is_empty() {
            return true;
        }
        let body = || Event::parse(row.get(attr::BODY)?.as_str()?.as_bytes()).user_metadata;
        let own = row.get(attr::USER_METADATA).and_then(Value::as_object).cloned();
        let metadata: Map<String, Value> = own.or_else(body).unwrap_or_default();
        self.meta.iter().all(|(key, wanted)| match metadata.get(key) {
            Some(Value::String(text)) => text == wanted,
            // Numbers and the like, as they would be typed.
            Some(value) => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *value),
            None => false,
        })
    }
}

fn newest_time(row: &Value) -> Option<Millis> {
    [attr::ENDED_AT, attr::RECEIVED_AT].into_iter().find_map(|name| at(row, name))
}

/// The newest rows of a table that is read page by page, at most `most`.
pub async fn newest(
    filter: &Filter,
    most: usize,
    now: Millis,
    page: impl AsyncFn(Option<Item>) -> Result<Page, LedgerError>,
) -> Result<Vec<Value>, LedgerError> {
    let mut newest = Newest::new(filter, most, now);
    let mut after = None;
    loop {
        let (rows, next) = page(after).await?;
        newest.take(rows);
        after = next;
        if after.is_none() {
            return Ok(newest.rows);
        }
    }
}

/// The newest rows until now; no more than these are held.
pub struct Newest<'a> {
    filter: &'a Filter,
    most: usize,
    now: Millis,
    pub rows: Vec<Value>,
}

impl<'a> Newest<'a> {
    pub fn new(filter: &'a Filter, most: usize, now: Millis) -> Self {
        Self { filter, most, now, rows: Vec::new() }
    }

    pub fn take(&mut self, page: Vec<Item>) {
        let rows = page.into_iter().map(as_json).filter(|row| self.filter.lets_through(row, self.now));
        self.rows.extend(rows);
        // Open jobs have no time yet: they come first.
        self.rows.sort_by_key(|row| Reverse(newest_time(row).unwrap_or(Millis::MAX)));
        self.rows.truncate(self.most);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_pass_by_state_type_time_and_metadata() {
        let row = json!({"state": "done", "outcome": "archived", "event_type": "batch.succeeded",
            "received_at": 1_000_000, "body": r#"{"user_metadata":{"g":"x","n":7}}"#});
        let filter = |state: &str, kind: &str, since: u64, meta: (&str, &str)| Filter {
            state: vec![state.into()],
            kind: Some(kind.into()),
            since: Some(Duration::from_secs(since)),
            meta: vec![(meta.0.into(), meta.1.into())],
        };
        for (wanted, passes) in [
            (filter("done", "batch", 60, ("g", "x")), true),
            (filter("archived", "batch.succeeded", 60, ("n", "7")), true),
            (filter("failed", "batch", 60, ("g", "x")), false),
            (filter("done", "video", 60, ("g", "x")), false),
            (filter("done", "batch", 1, ("g", "x")), false),
            (filter("done", "batch", 60, ("g", "y")), false),
            (Filter::default(), true),
        ] {
            assert_eq!(wanted.lets_through(&row, 1_030_000), passes, "{wanted:?}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for text in ["", "2", "h", "-1h", "2 h", "2é"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
