//! An interaction: its state, and where in the answer its texts, media and waiting calls stand.
//!
//! Both shapes of the API are read, `steps` and the older `outputs`.

use serde_json::{Map, Value, json};

use super::{
    Name,
    document::{Document, Json, Spot, Walked, items, members, short, spot, text_spot},
};
use crate::trouble::Trouble;

const LONGEST_WORD: u64 = 256;
const LONGEST_URI: u64 = 8 * 1024;
/// Of the arguments of one call, and of the errors.
const LONGEST_VALUE: u64 = 4 * 1024;
/// A row of the Jobs table has to hold a word on each of them.
const MOST_MEDIA: usize = 200;
const MOST_CALLS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InteractionState {
    Open,
    /// It waits for the client.
    RequiresAction,
    Completed,
    /// Failed, cancelled or cut short: what it has put out until then may be worth keeping.
    EndedWithout,
}

impl InteractionState {
    /// A word that nobody knows is no end.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "completed" => Self::Completed,
            "failed" | "cancelled" | "incomplete" | "budget_exceeded" => Self::EndedWithout,
            "requires_action" => Self::RequiresAction,
            _ => Self::Open,
        }
    }
}

#[derive(Debug)]
pub struct Interaction {
    pub name: Option<Name>,
    /// The API's own word.
    pub state_word: String,
    pub state: InteractionState,
    /// The model, or the agent that chooses its models itself.
    pub model: Option<String>,
    pub user_metadata: Option<Map<String, Value>>,
    pub errors: Option<Value>,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// The final text: its pieces, by the step that put them out.
    pub text: Vec<Vec<Spot>>,
    pub media: Vec<Media>,
    /// How many more there are than `media` has.
    pub more_media: usize,
    /// The calls that wait for a result of the client's.
    pub calls: Vec<Value>,
    pub document: Document,
}

/// An image, a video, a sound or a document among the outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub kind: String,
    pub mime_type: Option<String>,
    pub at: MediaAt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaAt {
    /// In the answer itself, in base64.
    Inline(Spot),
    Uri(String),
}

/// What the answer says, with values that are still in it.
#[derive(Default)]
struct Told {
    id: Option<String>,
    status: Option<String>,
    model: Option<String>,
    agent: Option<String>,
    webhook_config: Option<Spot>,
    usage: Option<Spot>,
    errors: Option<Spot>,
    steps: Outputs,
    outputs: Outputs,
}

#[derive(Default)]
struct Outputs {
    text: Vec<Vec<Spot>>,
    /// Whether something that is no output has followed the text.
    interrupted: bool,
    media: Vec<Media>,
    more_media: usize,
    calls: Vec<Call>,
}

struct Call {
    id: Option<String>,
    name: Option<String>,
    arguments: Option<Spot>,
}

/// A step or a content: what one has, the other leaves out.
#[derive(Default)]
struct Item {
    kind: Option<String>,
    text: Option<Spot>,
    data: Option<Spot>,
    uri: Option<String>,
    mime_type: Option<String>,
    id: Option<String>,
    name: Option<String>,
    call_id: Option<String>,
    arguments: Option<Spot>,
    content: Vec<Item>,
}

impl Interaction {
    /// Parsing walks the whole answer. It blocks.
    pub fn read(document: Document) -> Result<Self, Trouble> {
        let mut told = Told::default();
        document.walk(|json| members(json, |name, json| told.take(name, json)))?;
        let value = |spot: Option<Spot>| spot.map(|spot| document.value(spot, LONGEST_VALUE)).transpose();
        let usage = value(told.usage)?.unwrap_or_default();
        let count = |name| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        let put_out = if told.steps.is_empty() { told.outputs } else { told.steps };
        let mut calls = Vec::new();
        for call in put_out.calls.iter().take(MOST_CALLS) {
            let arguments = value(call.arguments)?;
            calls.push(json!({"id": call.id, "name": call.name, "arguments": arguments}));
        }
        let config = value(told.webhook_config)?.unwrap_or_default();
        let metadata = config.get("user_metadata").or_else(|| config.get("userMetadata"));
        let state_word = told.status.unwrap_or_default();
        Ok(Self {
            name: told.id.as_deref().and_then(Name::interaction),
            state: InteractionState::of(&state_word),
            state_word,
            model: told.model.or(told.agent),
            user_metadata: metadata.and_then(Value::as_object).cloned(),
            errors: value(told.errors)?,
            tokens_in: count("total_input_tokens"),
            tokens_out: count("total_output_tokens") + count("total_thought_tokens"),
            text: put_out.text,
            media: put_out.media,
            more_media: put_out.more_media,
            calls,
            document,
        })
    }

    pub fn has_output(&self) -> bool {
        !self.text.is_empty() || !self.media.is_empty()
    }
}

impl Told {
    fn take(&mut self, name: &str, json: &mut Json) -> Walked {
        match name {
            "id" => self.id = short(json, LONGEST_WORD)?,
            "status" => self.status = short(json, LONGEST_WORD)?,
            "model" => self.model = short(json, LONGEST_WORD)?,
            "agent" => self.agent = short(json, LONGEST_WORD)?,
            "webhook_config" | "webhookConfig" => self.webhook_config = Some(spot(json)?),
            "usage" => self.usage = Some(spot(json)?),
            "errors" | "error" => self.errors = Some(spot(json)?),
            "steps" => items(json, |json| {
                let step = Item::read(json, 1)?;
                self.steps.step(step);
                Ok(())
            })?,
            "outputs" => items(json, |json| {
                let output = Item::read(json, 0)?;
                self.outputs.output(output);
                Ok(())
            })?,
            _ => drop(spot(json)?),
        }
        Ok(())
    }
}

impl Item {
    /// A step has contents, which have none themselves.
    fn read(json: &mut Json, depth: u8) -> Walked<Self> {
        let mut item = Self::default();
        members(json, |name, json| {
            match name {
                "type" => item.kind = short(json, LONGEST_WORD)?,
                "text" => item.text = text_spot(json)?,
                "data" => item.data = text_spot(json)?,
                "uri" => item.uri = short(json, LONGEST_URI)?,
                "mime_type" | "mimeType" => item.mime_type = short(json, LONGEST_WORD)?,
                "id" => item.id = short(json, LONGEST_WORD)?,
                "name" => item.name = short(json, LONGEST_WORD)?,
                "call_id" => item.call_id = short(json, LONGEST_WORD)?,
                "arguments" => item.arguments = Some(spot(json)?),
                "content" if depth > 0 => items(json, |json| {
                    item.content.push(Self::read(json, depth - 1)?);
                    Ok(())
                })?,
                _ => drop(spot(json)?),
            }
            Ok(())
        })?;
        Ok(item)
    }

    fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

impl Outputs {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.media.is_empty() && self.calls.is_empty()
    }

    fn step(&mut self, step: Item) {
        if !step.is("model_output") {
            return self.other(step);
        }
        let mut text = Vec::new();
        for content in step.content {
            match content.text {
                Some(spot) if content.is("text") => text.push(spot),
                _ => self.media(content),
            }
        }
        self.text(text);
    }

    fn output(&mut self, output: Item) {
        match output.text {
            Some(spot) if output.is("text") => self.text(vec![spot]),
            _ if output.data.is_some() || output.uri.is_some() => self.media(output),
            _ => self.other(output),
        }
    }

    /// The final text is what no other step has followed by more text.
    fn text(&mut self, pieces: Vec<Spot>) {
        if pieces.is_empty() {
            return;
        }
        if std::mem::take(&mut self.interrupted) {
            self.text.clear();
        }
        self.text.push(pieces);
    }

    fn media(&mut self, content: Item) {
        let at = match (content.data, content.uri) {
            (Some(spot), _) => MediaAt::Inline(spot),
            (None, Some(uri)) => MediaAt::Uri(uri),
            (None, None) => return,
        };
        if self.media.len() == MOST_MEDIA {
            self.more_media += 1;
            return;
        }
        let kind = content.kind.unwrap_or_default();
        self.media.push(Media { kind, mime_type: content.mime_type, at });
    }

    fn other(&mut self, step: Item) {
        self.interrupted = true;
        if step.is("function_call") {
            self.calls.push(Call { id: step.id, name: step.name, arguments: step.arguments });
        } else if step.is("function_result") {
            self.calls.retain(|call| call.id.is_none() || call.id != step.call_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::Spilled;

    fn read(json: &str) -> Interaction {
        Interaction::read(Document::new(Spilled::from_bytes(json.as_bytes()))).unwrap()
    }

    fn texts(interaction: &Interaction) -> Vec<Vec<String>> {
        let text = |spot: &Spot| {
            let mut text = Vec::new();
            let keep = |piece: bytes::Bytes| {
                text.extend_from_slice(&piece);
                Ok(())
            };
            interaction.document.text(*spot, keep).unwrap();
            String::from_utf8(text).unwrap()
        };
        interaction.text.iter().map(|step| step.iter().map(text).collect()).collect()
    }

    #[test]
    fn the_final_text_is_what_no_other_step_interrupts() {
        let steps = r#"{"id": "v1_abc", "status":"completed", "steps": [
            {"type":"user_input","content":[{"type":"text","text":"hi"}]},
            {"content":[ {"text" :  "early", "type":"text"}],"type":"model_output"},
            {"type":"thought","signature":"c2ln"},
            {"type":"model_output","content":[{"type":"text","text":"a \"joke\"\n"},{"type":"text","text":"\u00e9\ud83d\ude00"}]},
            {"type":"model_output","content":[{"type":"text","text":"the end"}]},
            {"type":"thought"}], "agent":"deep-research"}"#;
        let interaction = read(steps);
        assert_eq!(texts(&interaction), [vec!["a \"joke\"\n", "é😀"], vec!["the end"]]);
        assert_eq!(interaction.name.unwrap().as_str(), "interactions/v1_abc");
        assert_eq!(interaction.model.as_deref(), Some("deep-research"));

        let outputs =
            r#"{"outputs":[{"type":"thought"},{"type":"text","text":"one"},{"type":"text","text":"two"}]}"#;
        assert_eq!(texts(&read(outputs)), [["one"], ["two"]]);
    }

    #[test]
    fn media_are_found_where_they_stand() {
        let data = r#"{"steps":[{"type":"model_output","content":[
            {"type":"image","mime_type":"image/png","data": "aGVs\u0062G8\u003d"},
            {"type":"video","uri":"https://h/v1beta/files/vid1"}, {"type":"image","data":"%%"}]}]}"#;
        let interaction = read(data);
        let [image, video, odd] = &interaction.media[..] else { panic!("{:?}", interaction.media) };
        assert_eq!((image.kind.as_str(), image.mime_type.as_deref()), ("image", Some("image/png")));
        let MediaAt::Inline(spot) = image.at else { panic!("{image:?}") };
        let mut bytes = Vec::new();
        let keep = |piece: bytes::Bytes| {
            bytes.extend_from_slice(&piece);
            Ok(())
        };
        interaction.document.decoded(spot, keep).unwrap();
        assert_eq!(bytes, b"hello");
        assert_eq!(interaction.document.decoded_length(spot), Ok(Some(5)));
        assert_eq!(video.at, MediaAt::Uri("https://h/v1beta/files/vid1".into()));
        let MediaAt::Inline(spot) = odd.at else { panic!("{odd:?}") };
        assert_eq!(interaction.document.decoded_length(spot), Ok(None), "no base64");
    }

    #[test]
    fn calls_wait_until_their_result_is_there() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5000));
        let interaction = read(&format!(
            r#"{{"status":"requires_action","webhook_config":{{"user_metadata":{{"a":1}}}},"steps":[
            {{"type":"function_call","id":"f1","name":"done","arguments":{{}}}},
            {{"type":"function_result","call_id":"f1","result":[]}},
            {{"type":"function_call","id":"f2","name":"weather","arguments":{{"at": "Boston"}}}},
            {{"type":"function_call","id":"f3","name":"long","arguments":{long}}}]}}"#
        ));
        assert_eq!(interaction.state, InteractionState::RequiresAction);
        assert_eq!(interaction.user_metadata.unwrap()["a"], 1);
        let [weather, cut] = &interaction.calls[..] else { panic!("{:?}", interaction.calls) };
        assert_eq!(weather, &json!({"id": "f2", "name": "weather", "arguments": {"at": "Boston"}}));
        assert_eq!(cut["arguments"].as_str().unwrap(), &long[..4096], "cut, and so a text");
    }

    #[test]
    fn an_answer_that_breaks_off_or_is_no_object_is_no_result() {
        let broken = Document::new(Spilled::from_bytes(b"{\"status\": \"completed\", \"steps\": [{\"te"));
        assert!(matches!(Interaction::read(broken), Err(Trouble::Passing { .. })));
        assert_eq!(read("[1]").state, InteractionState::Open);
    }
}
