//! JSON from outside, as a row of DynamoDB can hold it, and back.
//!
//! What the application, the model or the event says may be anything that JSON allows. DynamoDB allows less
//! (Developer Guide, "Service, account, and table quotas" and "Naming rules and data types"): numbers of 38 digits
//! between 1E-130 and 1E+126, no empty names in a map, 32 levels, 400 KB a row. Where a value does not fit, the
//! smallest part of it that does not fit becomes its JSON text. Where there is no room for all of a value, its
//! beginning is kept and the row names it in `shortened`.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    condition::{Binds, Item},
    schema::attr,
};

/// Room in a row for values from outside, of its 400 KB. Keys, times and the names of deliveries take the rest.
const ROOM_BYTES: usize = 320 * 1024;

/// One value takes no more than this of it. JSON of 64 KB takes at most about 100 KB as attributes.
const MAX_VALUE_BYTES: usize = 128 * 1024;

/// How much is kept of a value that is too long, in bytes.
const SHORTENED_BYTES: usize = 16 * 1024;

/// The longest of the API's own words, for example a state.
const MAX_WORD_BYTES: usize = 256;

/// DynamoDB nests 32 levels, the attribute itself counted. What is deeper becomes text.
const MAX_DEPTH: usize = 24;

/// The longest name of a member of a map.
const MAX_NAME_BYTES: usize = 65_535;

/// Significant digits of a number, and the exponents of its first digit.
const MAX_DIGITS: usize = 38;
const EXPONENTS: std::ops::RangeInclusive<i64> = -130..=125;

/// The values from outside of one row. Room is given in the order in which values are added.
pub(super) struct Values {
    binds: Binds,
    room: usize,
    shortened: Vec<String>,
}

impl Values {
    pub fn new(binds: Binds) -> Self {
        Self { binds, room: ROOM_BYTES, shortened: Vec::new() }
    }

    /// Adds a value under the name of its attribute. A list that is too long loses its last items. Any other value that
    /// is too long becomes the beginning of its text.
    pub fn add(
        mut self,
        attribute: &'static str,
        bind: &'static str,
        value: Option<&impl Serialize>,
    ) -> Self {
        let Some(value) = value.and_then(|value| serde_json::to_value(value).ok()) else { return self };
        let room = self.room.min(MAX_VALUE_BYTES);
        let mut kept = to_attribute(&value);
        if size(&kept) > room {
            kept = AttributeValue::S(beginning(&value, room.min(SHORTENED_BYTES)));
            self.shortened.push(attribute.to_owned());
        }
        self.keep(bind, kept)
    }

    /// Adds one of the API's words. It is cut if it is too long.
    pub fn add_word(mut self, attribute: &'static str, bind: &'static str, word: &str) -> Self {
        let kept = word.get(..word.floor_char_boundary(MAX_WORD_BYTES)).unwrap_or_default();
        if kept.len() < word.len() {
            self.shortened.push(attribute.to_owned());
        }
        self.keep(bind, AttributeValue::S(kept.to_owned()))
    }

    /// Adds a list. Where there is no room for all of it, its tail is left out.
    pub fn add_list(mut self, attribute: &'static str, bind: &'static str, list: &[impl Serialize]) -> Self {
        if list.is_empty() {
            return self;
        }
        let all = list.iter().filter_map(|item| serde_json::to_value(item).ok());
        let mut taken = LIST_BYTES;
        let fitting: Vec<AttributeValue> = all
            .map(|item| to_attribute(&item))
            .take_while(|item| {
                taken += ITEM_BYTES + size(item);
                taken <= self.room
            })
            .collect();
        if fitting.len() < list.len() {
            self.shortened.push(attribute.to_owned());
        }
        self.keep(bind, AttributeValue::L(fitting))
    }

    /// All that was added, and `:shortened` where something was left out.
    pub fn binds(self) -> Binds {
        let shortened = Some(self.shortened).filter(|names| !names.is_empty());
        self.binds.value(SHORTENED_BIND, shortened.map(AttributeValue::Ss))
    }

    fn keep(mut self, bind: &'static str, value: AttributeValue) -> Self {
        self.room = self.room.saturating_sub(size(&value));
        self.binds = self.binds.value(bind, Some(value));
        self
    }
}

const SHORTENED_BIND: &str = ":shortened";

/// JSON as attributes, whatever it is.
pub(super) fn to_attribute(value: &Value) -> AttributeValue {
    nested(value, MAX_DEPTH)
}

fn nested(value: &Value, levels: usize) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(truth) => AttributeValue::Bool(*truth),
        Value::Number(number) => {
            let text = number.to_string();
            if fits(&text) { AttributeValue::N(text) } else { AttributeValue::S(text) }
        }
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(items) if levels > 0 => {
            AttributeValue::L(items.iter().map(|item| nested(item, levels - 1)).collect())
        }
        Value::Object(members) if levels > 0 && members.keys().all(|name| is_name(name)) => {
            let members = members.iter().map(|(name, value)| (name.clone(), nested(value, levels - 1)));
            AttributeValue::M(members.collect())
        }
        Value::Array(_) | Value::Object(_) => AttributeValue::S(value.to_string()),
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
}

/// Whether DynamoDB holds this JSON number without loss.
fn fits(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let Ok(exponent) = exponent.trim_start_matches('+').parse::<i64>() else { return false };
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let leading_zeros = digits.len() - digits.trim_start_matches('0').len();
    let significant = digits.trim_matches('0');
    // The exponent of the first digit that is not 0, in scientific notation.
    let signed = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let first = exponent.saturating_add(signed(whole.len()) - 1 - signed(leading_zeros));
    significant.is_empty() || (significant.len() <= MAX_DIGITS && EXPONENTS.contains(&first))
}

/// The beginning of a value's text, at most this many bytes of it.
fn beginning(value: &Value, bytes: usize) -> String {
    let json;
    let text = match value {
        Value::String(text) => text,
        other => {
            json = other.to_string();
            &json
        }
    };
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default().to_owned()
}

/// What a list or map costs, and each of its members.
const LIST_BYTES: usize = 3;
const ITEM_BYTES: usize = 1;

/// What a value counts for in the size of its row (Developer Guide, "DynamoDB item sizes and formats").
fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::L(items) => {
            LIST_BYTES + items.iter().map(|item| ITEM_BYTES + size(item)).sum::<usize>()
        }
        AttributeValue::M(members) => {
            let members = members.iter().map(|(name, value)| ITEM_BYTES + name.len() + size(value));
            LIST_BYTES + members.sum::<usize>()
        }
        _ => 1,
    }
}

/// A value of a row as JSON. Numbers keep their value; one that no JSON number of ours holds becomes text.
pub fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(digits) => number_to_json(digits),
        AttributeValue::Bool(truth) => Value::Bool(*truth),
        AttributeValue::L(items) => items.iter().map(to_json).collect(),
        AttributeValue::Ss(items) => items.iter().map(String::as_str).collect(),
        AttributeValue::M(members) => Value::Object(
            members.iter().map(|(name, value)| (name.clone(), to_json(value))).collect::<Map<_, _>>(),
        ),
        _ => Value::Null,
    }
}

/// DynamoDB writes out numbers: what came as `1e100` comes back as 101 digits.
fn number_to_json(digits: &str) -> Value {
    let whole = digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<u64>().map(Value::from));
    whole.or_else(|_| digits.parse::<f64>().map(Value::from)).unwrap_or_else(|_| digits.into())
}

/// The names of what a row does not hold in full.
pub fn shortened(row: &Item) -> Vec<String> {
    row.get(attr::SHORTENED).and_then(|names| names.as_ss().ok()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_within_the_range_of_dynamodb_are_numbers_and_others_are_text() {
        let nines = "9".repeat(38);
        for fit in ["0", "-0.0", "1", "-1.5", "1e125", "9.9e125", "1e-130", &nines, "0.001", "1E+2", "10e124"]
        {
            assert!(fits(fit), "{fit}");
        }
        let digits = "1".repeat(39);
        for not in ["1e126", "1e400", "1e-131", "1e-200", &digits, "0.1e-130", "1.7976931348623157e308"] {
            assert!(!fits(not), "{not}");
        }
        let zeros = format!("1{}", "0".repeat(100));
        assert!(fits(&zeros), "trailing zeros are no significant digits");
    }

    #[test]
    fn only_the_part_that_does_not_fit_becomes_text() {
        let value = json!({"job_group": "nightly", "limit": 1e200, "odd": {"": 1, "a": [2]}, "n": 7});
        let kept = to_attribute(&value);
        let kept = kept.as_m().unwrap();
        assert_eq!(kept["job_group"].as_s().unwrap(), "nightly");
        assert_eq!(kept["limit"].as_s().unwrap(), "1e+200");
        assert_eq!(kept["odd"].as_s().unwrap(), r#"{"":1,"a":[2]}"#);
        assert_eq!(kept["n"].as_n().unwrap(), "7");
    }

    #[test]
    fn what_is_too_long_is_cut_and_named() {
        let long = "é".repeat(MAX_VALUE_BYTES);
        let outputs = vec!["o".repeat(1000); 1000];
        let binds = Values::new(Binds::default())
            .add("error", ":error", Some(&long))
            .add("model", ":model", Some(&"m"))
            .add_list("outputs", ":outputs", &outputs)
            .binds();
        assert_eq!(binds.get(":error").unwrap().as_s().unwrap().len(), SHORTENED_BYTES);
        // Of 320 KiB, 16 KiB and 1 byte are taken. A list takes 3 bytes, and each of these items 1001.
        assert_eq!(binds.get(":outputs").unwrap().as_l().unwrap().len(), 310);
        assert_eq!(binds.get(":shortened").unwrap().as_ss().unwrap(), &["error", "outputs"]);
    }

    #[test]
    fn what_just_fits_is_kept_whole() {
        let long = "x".repeat(128 * 1024);
        let binds = Values::new(Binds::default())
            .add_word("state", ":state", &"s".repeat(256))
            .add("error", ":error", Some(&long))
            .add_list("outputs", ":outputs", &["o"])
            .binds();
        assert_eq!(binds.get(":error").unwrap().as_s().unwrap().len(), long.len());
        assert!(binds.get(":shortened").is_none());
    }

    #[test]
    fn a_value_counts_for_as_much_as_in_the_developer_guide() {
        for (value, bytes) in [
            (json!("é"), 2),
            // A byte for two digits, and one more.
            (json!(12345), 4),
            (json!(true), 1),
            (json!(null), 1),
            (json!(["a", "bc"]), 3 + (1 + 1) + (1 + 2)),
            (json!({"ab": "cde"}), 3 + (1 + 2 + 3)),
        ] {
            assert_eq!(size(&to_attribute(&value)), bytes, "{value}");
        }
    }

    #[test]
    fn a_row_comes_back_as_json() {
        let names = ["error".to_owned(), "outputs".to_owned()];
        let set = AttributeValue::Ss(names.to_vec());
        for (value, json) in [
            (AttributeValue::Bool(true), json!(true)),
            (AttributeValue::Null(true), json!(null)),
            (set.clone(), json!(["error", "outputs"])),
            (AttributeValue::N("7".to_owned()), json!(7)),
        ] {
            assert_eq!(to_json(&value), json);
        }
        let row = Item::from([("shortened".to_owned(), set)]);
        assert_eq!(shortened(&row), names);
    }
}
