//! The simulated model: it answers with the words it was sent, so that results can be foretold.

use serde_json::{Value, json};

use super::batch::{Failure, INVALID_ARGUMENT};

/// A `GenerateContentResponse` for a `GenerateContentRequest`.
pub(super) fn answer(request: Option<&Value>, model: &str, response_id: &str) -> Result<Value, Failure> {
    let contents = request.and_then(|request| request.get("contents"));
    let contents = match contents {
        Some(Value::Array(contents)) if !contents.is_empty() => contents.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => return Err(Failure { code: INVALID_ARGUMENT, message: "contents is required".into() }),
    };
    let said: Vec<&str> = contents
        .iter()
        .filter_map(|content| content.get("parts")?.as_array())
        .flatten()
        .filter_map(|part| part.get("text")?.as_str())
        .collect();
    let said = said.join(" ");
    let text = format!("echo: {said}");
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

fn tokens(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
