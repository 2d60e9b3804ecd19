//! Values from outside as a table can keep them: the same value, or its text where no value will do.

use serde_json::Value;

use super::unescaped;

/// A value, from its JSON.
///
/// Half a surrogate pair becomes U+FFFD. A number that a float or DynamoDB would change, and a word that JSON does
/// not know, such as `NaN`, become texts. What cannot be read even so, or is nested deeper than `serde_json` goes
/// (128 levels), becomes a text as a whole. Of a member that is there twice the last counts.
pub fn value(json: &[u8]) -> Value {
    serde_json::from_str(&repaired(json))
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(json).into_owned()))
}

/// The same JSON with every text and every word in a form that strict parsers take.
fn repaired(json: &[u8]) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((&byte, tail)) = rest.split_first() {
        let length = match byte {
            b'"' => {
                let length = length_of_text(tail);
                let inside = tail.get(..length).unwrap_or_default();
                out.push_str(&Value::String(unescaped(inside)).to_string());
                length + 2
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => {
                out.push(char::from(byte));
                1
            }
            _ if byte.is_ascii_whitespace() => 1,
            _ => {
                let ends = |byte: &u8| b"{}[],:\"".contains(byte) || byte.is_ascii_whitespace();
                let length = rest.iter().position(ends).unwrap_or(rest.len());
                let word = String::from_utf8_lossy(rest.get(..length).unwrap_or_default());
                match is_kept(&word) {
                    true => out.push_str(&word),
                    false => out.push_str(&Value::String(word.into_owned()).to_string()),
                }
                length
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// Of what stands before the closing quotation mark.
fn length_of_text(inside: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = inside.iter().position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.unwrap_or(inside.len())
}

/// Whether a word is the same after a parser has read it and a table has kept it.
fn is_kept(word: &str) -> bool {
    if matches!(word, "true" | "false" | "null") {
        return true;
    }
    let Ok(read @ Value::Number(_)) = serde_json::from_str::<Value>(word) else { return false };
    match (decimal(word), decimal(&read.to_string())) {
        // DynamoDB keeps 38 digits between 1e-130 and 9.99e125.
        (Some((digits, power)), read) => {
            digits.len() <= 38 && (-129..=125).contains(&power) && read == Some((digits, power))
        }
        _ => false,
    }
}

/// The digits of a number without the zeros around them, and the power of ten of the first one. Signs are left out.
fn decimal(number: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('-');
    let digits = format!("{whole}{fraction}");
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let digits = digits.trim_matches('0');
    if digits.is_empty() {
        return Some((String::new(), 0));
    }
    let power = i64::try_from(whole.len()).ok()? - 1 - i64::try_from(zeros).ok()?;
    Some((digits.to_owned(), exponent.parse::<i64>().ok()?.checked_add(power)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_stays_the_same_or_becomes_its_text() {
        for (text, expected) in [
            (
                r#"{"a": [1, -2.50, 1e3, 0, 0.0, true, null]}"#,
                json!({"a": [1, -2.5, 1e3, 0, 0.0, true, null]}),
            ),
            ("0.30000000000000004", json!(0.30000000000000004)),
            ("18446744073709551615", json!(u64::MAX)),
            ("12345678901234567890123", json!("12345678901234567890123")),
            ("0.1234567890123456789", json!("0.1234567890123456789")),
            ("1e200", json!("1e200")),
            ("1e-140", json!("1e-140")),
            ("1e400", json!("1e400")),
            ("[NaN, -Infinity]", json!(["NaN", "-Infinity"])),
            (r#""x\ud800""#, json!("x\u{fffd}")),
            (r#"{"a": "é", "a": 2}"#, json!({"a": 2})),
            ("{\"a\": \"tab\there\"}", json!({"a": "tab\there"})),
            (r#"{"a": "#, json!(r#"{"a": "#)),
            ("", json!("")),
        ] {
            assert_eq!(value(text.as_bytes()), expected, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(value(deep.as_bytes()), json!(deep));
    }
}
