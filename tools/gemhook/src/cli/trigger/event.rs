//! Sample events: what Gemini would send for each type, in the fields that its guide names.

use gemhook::clock::rfc3339;
use std::str::FromStr;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

const BATCH: &str = "o08hk76gv328ihxcssjsgwt3g6omtfysxi46";
const INTERACTION: &str = "v1_ChdOdXRoYXJHTUxxS3l2ZElQMC1UcnlBcxIXTnV0aGFyR01McUt5dmRJUDAtVHJ5QXM";

/// `data.id=x` or `data.n:=3`.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    path: Vec<String>,
    value: Value,
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("it must look like data.id=batches/b1")?;
        let (path, value) = match path.strip_suffix(':') {
            Some(path) => {
                (path, serde_json::from_str(value).map_err(|error| format!("{value:?} is no JSON: {error}"))?)
            }
            None => (path, Value::from(value)),
        };
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err("a field has no name".to_owned());
        }
        Ok(Self { path, value })
    }
}

/// The body of an event of this type, `seconds` being when it happened.
pub fn sample(event_type: &str, seconds: i64, changes: &[Change]) -> Result<Vec<u8>> {
    let mut event = json!({
        "type": event_type,
        "version": "v1",
        "timestamp": rfc3339(seconds.saturating_mul(1000)),
        "data": data(event_type),
    });
    apply(&mut event, changes)?;
    Ok(serde_json::to_vec(&event)?)
}

/// The body of an event with some fields set; as it is where none are.
pub fn changed(body: &[u8], changes: &[Change]) -> Result<Vec<u8>> {
    if changes.is_empty() {
        return Ok(body.to_vec());
    }
    let mut event = serde_json::from_slice(body)?;
    apply(&mut event, changes)?;
    Ok(serde_json::to_vec(&event)?)
}

fn apply(event: &mut Value, changes: &[Change]) -> Result<()> {
    changes.iter().try_for_each(|change| set(event, &change.path, change.value.clone()))
}

fn data(event_type: &str) -> Value {
    let batch = format!("batches/{BATCH}");
    match event_type {
        "batch.succeeded" => json!({"id": batch, "output_file_uri": format!("files/batch-{BATCH}")}),
        "batch.failed" => json!({
            "id": batch,
            "error_code": "INVALID_ARGUMENT",
            "error_message": "line 3: request is missing",
        }),
        "interaction.failed" => json!({
            "id": INTERACTION,
            "error_code": "INTERNAL",
            "error_message": "the model could not finish",
        }),
        "video.generated" => json!({
            "id": "models/veo-3.1-generate-preview/operations/op1",
            "output_file_uri":
                "https://generativelanguage.googleapis.com/v1beta/files/vid1:download?alt=media",
            "file_name": "files/vid1",
        }),
        other if other.starts_with("batch.") => json!({"id": batch}),
        other if other.starts_with("interaction.") => json!({"id": INTERACTION}),
        _ => json!({}),
    }
}

fn set(event: &mut Value, path: &[String], value: Value) -> Result<()> {
    let Some((field, rest)) = path.split_first() else {
        *event = value;
        return Ok(());
    };
    let Value::Object(fields) = event else { bail!("{field} cannot be set: it is not in an object") };
    set(fields.entry(field).or_insert_with(|| Value::Object(Map::new())), rest, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_as_text_or_as_json_wherever_they_are() {
        let changes: Vec<Change> = ["data.id=42", "data.n:=42", "user_metadata.a.b=c=d", "version:=null"]
            .into_iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let event: Value = serde_json::from_slice(&sample("ping", 0, &changes).unwrap()).unwrap();
        let wanted = json!({
            "type": "ping", "version": null, "timestamp": "1970-01-01T00:00:00Z",
            "data": {"id": "42", "n": 42}, "user_metadata": {"a": {"b": "c=d"}},
        });
        assert_eq!(event, wanted);
        assert!("data.id".parse::<Change>().is_err());
        assert!("data..id=1".parse::<Change>().is_err());
        assert!("a:={".parse::<Change>().is_err());
        assert!(sample("ping", 0, &["type.name=x".parse().unwrap()]).is_err());
    }
}
