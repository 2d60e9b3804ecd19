//! An interaction: its state, and where in the answer its texts, media and waiting calls are ([`Interaction`]).
//!
//! Both shapes of the API are read, `steps` and the older `outputs`; `steps` counts where both have something. The
//! answer is read in one pass. Only names, types, short texts and the places of long ones are kept in memory.

use serde_json::{Map, Value, json};

use super::{Document, Name, Usage, metadata::UserMetadata};
use crate::{
    error::ProcessingError,
    json::{ITEM, Kind, Reader, Scanned, Span},
};

/// The longest value that is kept of the arguments of one call, and of the errors, in bytes. A longer one is cut and
/// kept as a text.
const MAX_VALUE_BYTES: u64 = 4 * 1024;
/// How many media and calls are read. Each takes room in the job's row, which DynamoDB limits to 400 KB.
const MAX_MEDIA: usize = 200;
const MAX_CALLS: usize = 16;

/// The state of an interaction, as far as it decides what happens here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InteractionState {
    Open,
    /// It waits for the client to send the result of a function call.
    RequiresAction,
    Completed,
    /// Failed, cancelled or cut short. It may have outputs all the same.
    EndedWithout,
}

impl InteractionState {
    /// Of the API's word. An unknown word counts as open.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "completed" => Self::Completed,
            "failed" | "cancelled" | "incomplete" | "budget_exceeded" => Self::EndedWithout,
            "requires_action" => Self::RequiresAction,
            _ => Self::Open,
        }
    }
}

/// An interaction as one answer shows it. Texts and inline media are still in `document`.
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
    pub usage: Usage,
    /// The final text: its pieces, grouped by step.
    pub text: Vec<Vec<Span>>,
    pub media: Vec<Media>,
    /// How many more there are than `media` has.
    pub more_media: usize,
    /// The function calls that wait for a result from the client.
    pub calls: Vec<Value>,
    /// Why the answer cannot be read to its end. What stands before that has been read.
    pub flaw: Option<String>,
    /// What of the metadata was left out.
    pub cut: Option<String>,
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
    Inline(Span),
    Uri(String),
}

/// What the answer says, with values that are still in it.
#[derive(Default)]
struct Answer {
    id: Option<String>,
    status: Option<String>,
    model: Option<String>,
    agent: Option<String>,
    user_metadata: UserMetadata,
    usage: Usage,
    errors: Option<Span>,
    steps: Outputs,
    outputs: Outputs,
    /// The step or output that has not ended, and the content of a step.
    item: Item,
    content: Item,
}

#[derive(Default)]
struct Outputs {
    text: Vec<Vec<Span>>,
    /// Whether a step that is not an output has followed the text.
    interrupted: bool,
    media: Vec<Media>,
    more_media: usize,
    calls: Vec<Call>,
}

struct Call {
    id: Option<String>,
    name: Option<String>,
    arguments: Option<Span>,
}

/// A step or a content: what one has, the other leaves out.
#[derive(Default)]
struct Item {
    kind: Option<String>,
    text: Option<Span>,
    data: Option<Span>,
    uri: Option<String>,
    mime_type: Option<String>,
    id: Option<String>,
    name: Option<String>,
    call_id: Option<String>,
    arguments: Option<Span>,
    content: Vec<Item>,
}

impl Interaction {
    /// Reads the whole answer. It blocks. An error means that the temporary folder could not be read.
    pub fn read(document: Document) -> Result<Self, ProcessingError> {
        let mut answer = Answer::default();
        let flaw = document.scan(&mut answer)?;
        let (user_metadata, cut) = answer.user_metadata.read(&document)?;
        let value = |span: Option<Span>| span.map(|span| document.value(span, MAX_VALUE_BYTES)).transpose();
        let put_out = if answer.steps.is_empty() { answer.outputs } else { answer.steps };
        let mut calls = Vec::new();
        for call in put_out.calls.iter().take(MAX_CALLS) {
            let arguments = value(call.arguments)?;
            calls.push(json!({"id": call.id, "name": call.name, "arguments": arguments}));
        }
        let state_word = answer.status.unwrap_or_default();
        Ok(Self {
            name: answer.id.as_deref().and_then(Name::interaction),
            state: InteractionState::of(&state_word),
            state_word,
            model: answer.model.or(answer.agent),
            user_metadata,
            errors: value(answer.errors)?,
            usage: answer.usage,
            text: put_out.text,
            media: put_out.media,
            more_media: put_out.more_media,
            calls,
            flaw,
            cut,
            document,
        })
    }
}

impl Reader for Answer {
    fn wants(&mut self, path: &[&str]) -> bool {
        match path {
            ["steps" | "outputs" | "webhookConfig"] | ["webhookConfig", "userMetadata"] => true,
            ["steps" | "outputs", ITEM] => true,
            ["steps", ITEM, "content"] | ["steps", ITEM, "content", ITEM] => true,
            ["usage", rest @ ..] => Usage::wants(rest),
            _ => false,
        }
    }

    fn value(&mut self, path: &[&str], value: &Scanned<'_>) {
        match path {
            ["id"] => self.id = value.text(),
            ["status"] => self.status = value.text(),
            ["model"] => self.model = value.text(),
            ["agent"] => self.agent = value.text(),
            ["errors" | "error"] if !value.is_null() => self.errors = Some(value.span),
            ["webhookConfig", "userMetadata", _] => self.user_metadata.take(value),
            ["usage", rest @ ..] => self.usage.take(rest, value),
            ["steps" | "outputs", ITEM, member] => self.item.take(member, value),
            ["steps", ITEM, "content", ITEM, member] => self.content.take(member, value),
            ["steps", ITEM, "content", ITEM] => {
                let content = std::mem::take(&mut self.content);
                self.item.content.push(content);
            }
            ["steps", ITEM] => self.steps.step(std::mem::take(&mut self.item)),
            ["outputs", ITEM] => self.outputs.output(std::mem::take(&mut self.item)),
            _ => {}
        }
    }
}

impl Item {
    fn take(&mut self, member: &str, value: &Scanned<'_>) {
        let span = (value.kind == Kind::Text).then_some(value.span);
        match member {
            "type" => self.kind = value.text(),
            "text" => self.text = span,
            "data" => self.data = span,
            "uri" => self.uri = value.text(),
            "mimeType" => self.mime_type = value.text(),
            "id" => self.id = value.text(),
            "name" => self.name = value.text(),
            "callId" => self.call_id = value.text(),
            "arguments" => self.arguments = Some(value.span),
            _ => {}
        }
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
                Some(span) if content.is("text") => text.push(span),
                _ => self.media(content),
            }
        }
        self.text(text);
    }

    fn output(&mut self, output: Item) {
        match output.text {
            Some(span) if output.is("text") => self.text(vec![span]),
            _ if output.data.is_some() || output.uri.is_some() => self.media(output),
            _ => self.other(output),
        }
    }

    /// Text after another step replaces the text before it. So the final text is the last unbroken run of output.
    fn text(&mut self, pieces: Vec<Span>) {
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
            (Some(span), _) => MediaAt::Inline(span),
            (None, Some(uri)) => MediaAt::Uri(uri),
            (None, None) => return,
        };
        if self.media.len() == MAX_MEDIA {
            self.more_media += 1;
            return;
        }
        let kind = content.kind.unwrap_or_default();
        self.media.push(Media { kind, mime_type: content.mime_type, at });
    }

    /// A step that is not an output. A function call waits until a function result with its id follows.
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
    use crate::gemini::SpooledBody;

    fn read(json: &str) -> Interaction {
        Interaction::read(Document::new(SpooledBody::from_bytes(json.as_bytes()))).unwrap()
    }

    fn texts(interaction: &Interaction) -> Vec<Vec<String>> {
        let text = |span: &Span| {
            let mut text = Vec::new();
            let keep = |piece: bytes::Bytes| {
                text.extend_from_slice(&piece);
                Ok(())
            };
            interaction.document.text(*span, keep).unwrap();
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
        let MediaAt::Inline(span) = image.at else { panic!("{image:?}") };
        let mut bytes = Vec::new();
        let keep = |piece: bytes::Bytes| {
            bytes.extend_from_slice(&piece);
            Ok(())
        };
        interaction.document.decoded(span, keep).unwrap();
        assert_eq!(bytes, b"hello");
        assert_eq!(interaction.document.decoded_length(span), Ok(Some(5)));
        assert_eq!(video.at, MediaAt::Uri("https://h/v1beta/files/vid1".into()));
        let MediaAt::Inline(span) = odd.at else { panic!("{odd:?}") };
        assert_eq!(interaction.document.decoded_length(span), Ok(None), "no base64");
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
    fn of_an_answer_that_is_no_strict_json_all_is_read_that_can_be() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for (odd, flaw) in [
            (r#""a": "\ud800""#, false),
            (r#""a": NaN, "usage": {"x": -Infinity}"#, false),
            (r#""id": "v1_first", "id": "v1_abc""#, false),
            (&format!(r#""a": {deep}"#), false),
            ("\"a\": \"raw\nline\"", false),
            (r#""a": 1 2"#, true),
        ] {
            let interaction = read(&format!(
                r#"{{"status":"completed","steps":[{{"type":"model_output","content":[{{"type":"text","text":"t\ud800"}}]}}],
                "usage":{{"total_input_tokens":"5"}},"webhook_config":{{"user_metadata":{{"a":NaN}}}},{odd}}}"#
            ));
            assert_eq!(
                (interaction.state, interaction.flaw.is_some()),
                (InteractionState::Completed, flaw),
                "{odd}"
            );
            assert_eq!(texts(&interaction), [["t\u{fffd}"]]);
            assert_eq!(
                (interaction.usage.tokens_in(), interaction.user_metadata.unwrap()["a"].as_str()),
                (5, Some("NaN"))
            );
        }
        let broken = read("{\"status\": \"completed\", \"steps\": [{\"te");
        assert_eq!(broken.state, InteractionState::Completed);
        assert_eq!(broken.flaw.as_deref(), Some("it breaks off after 38 bytes"));
        let list = read("[1]");
        assert_eq!(
            (list.state, list.flaw.as_deref()),
            (InteractionState::Open, Some("it is no JSON object"))
        );
    }
}
