//! The simulated models: they answer with the words they were sent, so that results can be foretold, or with as
//! much as was wished for.

use serde_json::{Value, json};

use super::{
    directives::Directives,
    job::{Failure, INTERNAL},
    synthetic,
};

/// A text that is held in memory may be this long.
const MAX_TEXT_BYTES: u64 = 64 << 20;
const DIMENSIONS: u64 = 768;
const MAX_DIMENSIONS: u64 = 3072;

/// Stands in a text for half of a surrogate pair, which no Rust string can hold. Unicode gives it to nobody.
const LONE_SURROGATE: char = '\u{fdd0}';

/// The text, ending in what becomes half of a surrogate pair.
pub(super) fn broken(text: &str) -> String {
    format!("{text}{LONE_SURROGATE}")
}

/// The JSON with the halves of surrogate pairs as Google's servers write them: as an escape.
pub(super) fn with_lone_surrogates(json: String) -> String {
    if json.contains(LONE_SURROGATE) { json.replace(LONE_SURROGATE, "\\ud83d") } else { json }
}

/// A `GenerateContentResponse` for a `GenerateContentRequest`.
pub(super) fn answer(request: Option<&Value>, model: &str, response_id: &str) -> Result<Value, Failure> {
    let said = contents(request, "contents")?;
    let directives = granted(&said)?;
    let text = match directives.size {
        Some(size) if size > MAX_TEXT_BYTES => {
            return Err(Failure::invalid(format!("a response may have {MAX_TEXT_BYTES} bytes at most")));
        }
        Some(size) => synthetic::text(response_id, size),
        None => format!("echo: {said}"),
    };
    let text = if directives.lone_surrogate { broken(&text) } else { text };
    let (prompt, candidates) = (tokens(&said), tokens(&text));
    Ok(json!({
        "candidates": [{
            "content": {"parts": [{"text": text}], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": prompt,
            "candidatesTokenCount": candidates,
            "totalTokenCount": prompt + candidates,
        },
        "modelVersion": model.strip_prefix("models/").unwrap_or(model),
        "responseId": response_id,
    }))
}

/// The embedding for an `EmbedContentRequest`: the same for the same words.
pub(super) fn embed(request: Option<&Value>) -> Result<Value, Failure> {
    let said = contents(request, "content")?;
    granted(&said)?;
    let asked = request.and_then(|request| {
        request.get("outputDimensionality").or_else(|| request.get("output_dimensionality"))?.as_u64()
    });
    let count = match asked.unwrap_or(DIMENSIONS) {
        count @ 1..=MAX_DIMENSIONS => usize::try_from(count).unwrap_or(usize::MAX),
        count => return Err(Failure::invalid(format!("outputDimensionality cannot be {count}"))),
    };
    Ok(json!({"embedding": {"values": synthetic::numbers(&said, count)}, "tokenCount": tokens(&said)}))
}

/// The words of a request.
fn contents(request: Option<&Value>, name: &str) -> Result<String, Failure> {
    match request.and_then(|request| request.get(name)) {
        Some(Value::Array(contents)) if !contents.is_empty() => Ok(said(contents)),
        Some(one @ Value::Object(_)) => Ok(said(std::slice::from_ref(one))),
        _ => Err(Failure::invalid(format!("{name} is required"))),
    }
}

fn said(contents: &[Value]) -> String {
    let said: Vec<&str> = contents
        .iter()
        .filter_map(|content| content.get("parts")?.as_array())
        .flatten()
        .filter_map(|part| part.get("text")?.as_str())
        .collect();
    said.join(" ")
}

fn granted(said: &str) -> Result<Directives, Failure> {
    let directives = Directives::read_for(said, &[])?;
    match directives.fail {
        Some(why) => Err(Failure::new(INTERNAL, why)),
        None => Ok(directives),
    }
}

pub(super) fn tokens(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(text: &str) -> Value {
        json!({"contents": [{"parts": [{"text": text}]}]})
    }

    #[test]
    fn echoes_all_text_and_counts_its_words() {
        let request = json!({"contents": [
            {"role": "user", "parts": [{"text": "one two"}, {"inlineData": {"data": "AA=="}}]},
            {"role": "model", "parts": [{"text": "three"}]},
        ]});
        let response = answer(Some(&request), "models/m", "r").unwrap();
        assert_eq!(response["candidates"][0]["content"]["parts"][0]["text"], "echo: one two three");
        assert_eq!(
            response["usageMetadata"],
            json!({"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7})
        );
        assert_eq!((&response["modelVersion"], &response["responseId"]), (&json!("m"), &json!("r")));
    }

    #[test]
    fn contents_are_required() {
        for request in [None, Some(json!({})), Some(json!({"contents": []})), Some(json!("hi"))] {
            let failure = answer(request.as_ref(), "models/m", "r").unwrap_err();
            assert_eq!((failure.code, failure.message.as_str()), (3, "contents is required"));
        }
        assert_eq!(embed(Some(&json!({}))).unwrap_err().message, "content is required");
    }

    #[test]
    fn a_prompt_may_wish_for_a_size_or_a_failure() {
        let sized = answer(Some(&contents(r#"simulate: {"size": 1000}"#)), "m", "r").unwrap();
        assert_eq!(sized["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap().len(), 1000);
        let failure = answer(Some(&contents(r#"simulate: {"fail": "too sad"}"#)), "m", "r").unwrap_err();
        assert_eq!(failure, Failure::new(13, "too sad"));
        let failure = answer(Some(&contents(r#"simulate: {"size": 99999999999}"#)), "m", "r").unwrap_err();
        assert_eq!(failure.code, 3);
    }

    #[test]
    fn the_same_words_have_the_same_embedding_of_the_size_asked_for() {
        let request =
            |text: &str| json!({"content": {"parts": [{"text": text}]}, "output_dimensionality": 5});
        let one = embed(Some(&request("one two"))).unwrap();
        assert_eq!(one["tokenCount"], 2);
        assert_eq!(one, embed(Some(&request("one two"))).unwrap());
        assert_ne!(one, embed(Some(&request("three"))).unwrap());
        let values: Vec<f64> = serde_json::from_value(one["embedding"]["values"].clone()).unwrap();
        assert_eq!(values.len(), 5);
        assert!(values.iter().all(|value| value.abs() <= 1.0), "{values:?}");
        let failure = embed(Some(&json!({"content": {}, "outputDimensionality": 0}))).unwrap_err();
        assert_eq!(failure.message, "outputDimensionality cannot be 0");
    }
}
