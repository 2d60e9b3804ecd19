//! An interaction as the API shows it, in steps. What is made up in it is made up while it is sent.

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    Simulator, fake_model,
    interaction::{Answerer, Interaction, Outcome, Part},
    job::{Failure, Job, WebhookConfig},
    rfc3339,
    synthetic::{self, Form},
};

/// Stands for what a thought was signed with.
const SIGNATURE: &str = "c2ltdWxhdGVk";

/// What was sent, as steps, in whichever of its shapes it came.
pub(super) fn steps(input: Value) -> Vec<Value> {
    let items = match input {
        Value::Array(items) => items,
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        other => vec![other],
    };
    let (mut steps, mut contents) = (Vec::new(), Vec::new());
    let user = |contents: &mut Vec<Value>| {
        (!contents.is_empty()).then(|| json!({"type": "user_input", "content": std::mem::take(contents)}))
    };
    for item in items {
        let word = |name: &str| item.get(name).and_then(Value::as_str);
        let step = match (word("type"), word("role")) {
            (Some(kind), _) if is_step(kind) => item,
            (_, Some("model")) => json!({"type": "model_output", "content": item.get("content")}),
            (_, Some(_)) => json!({"type": "user_input", "content": item.get("content")}),
            _ if item.is_object() => {
                contents.push(item);
                continue;
            }
            _ => continue,
        };
        steps.extend(user(&mut contents));
        steps.push(step);
    }
    steps.extend(user(&mut contents));
    steps
}

fn is_step(kind: &str) -> bool {
    ["user_input", "model_output", "thought"].contains(&kind)
        || kind.ends_with("_call")
        || kind.ends_with("_result")
}

/// All text in the steps, the results of functions included.
pub(super) fn said(steps: &[Value]) -> String {
    let mut said = Vec::new();
    for step in steps {
        match (&step["result"], &step["content"]) {
            (Value::Null, Value::Array(contents)) => {
                said.extend(
                    contents.iter().filter_map(|content| content["text"].as_str()).map(str::to_owned),
                );
            }
            (Value::Null, Value::String(text)) | (Value::String(text), _) => said.push(text.clone()),
            (Value::Null, _) => {}
            (result, _) => said.push(result.to_string()),
        }
    }
    said.join(" ")
}

/// `output` says whether what came of it is shown.
pub(super) fn show(
    simulator: &Simulator,
    version: &str,
    job: &Job<Interaction>,
    output: bool,
) -> anyhow::Result<Response> {
    let mut gaps = Gaps::default();
    let mut shown = fields(simulator, version, job, &mut gaps);
    if !output {
        shown.retain(|name, _| !["steps", "outputs", "usage"].contains(&name.as_str()));
        gaps = Gaps::default();
    }
    gaps.fill(&fake_model::with_lone_surrogates(serde_json::to_string(&shown)?))
}

fn fields(
    simulator: &Simulator,
    version: &str,
    job: &Job<Interaction>,
    gaps: &mut Gaps,
) -> Map<String, Value> {
    let (asked, outcome) = (&job.asked, job.outcome());
    let mut shown = Map::new();
    let mut set = |name: &str, value: Value| drop(shown.insert(name.to_owned(), value));
    set("id", job.id.as_str().into());
    set("object", "interaction".into());
    set("status", outcome.map_or("in_progress", Outcome::status).into());
    set("created", rfc3339(job.created).into());
    set("updated", rfc3339(job.updated()).into());
    let answerer = match asked.answerer.0 {
        Answerer::Model => "model",
        Answerer::Agent => "agent",
    };
    set(answerer, asked.answerer.1.as_str().into());
    if let Some(previous) = &asked.previous {
        set("previous_interaction_id", previous.as_str().into());
    }
    if job.webhook != WebhookConfig::default() {
        set("webhook_config", json!(job.webhook));
    }
    match outcome {
        Some(Outcome::Completed) => {
            let output = output(simulator, version, job, gaps);
            set("usage", asked.usage());
            match simulator.legacy_outputs {
                true => set("outputs", output.into()),
                false => {
                    let thought = json!({"type": "thought", "signature": SIGNATURE});
                    let output = json!({"type": "model_output", "content": output});
                    set("steps", [asked.steps.clone(), vec![thought, output]].concat().into());
                }
            }
        }
        Some(Outcome::RequiresAction) => {
            let call: Vec<Value> = asked.function.iter().map(|function| job.call(function)).collect();
            match simulator.legacy_outputs {
                true => set("outputs", call.into()),
                false => set("steps", [asked.steps.clone(), call].concat().into()),
            }
        }
        Some(Outcome::Failed(Failure { message, .. })) => {
            set("errors", json!([{"code": "internal", "message": message}]));
        }
        Some(Outcome::Cancelled | Outcome::Incomplete | Outcome::BudgetExceeded | Outcome::Idle) | None => {}
    }
    shown
}

fn output(simulator: &Simulator, version: &str, job: &Job<Interaction>, gaps: &mut Gaps) -> Vec<Value> {
    let parts = job.asked.output().into_iter().map(|part| match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Long(size) => json!({"type": "text", "text": gaps.leave(Form::Text, job.id.clone(), size)}),
        Part::Media(media, _) if media.as_file => {
            let uri = format!("{}/{version}/files/{}:download?alt=media", simulator.base_url, job.file());
            json!({"type": media.kind, "mime_type": media.mime_type, "uri": uri})
        }
        Part::Media(media, size) => {
            let data = gaps.leave(Form::Base64, job.file(), size);
            json!({"type": media.kind, "mime_type": media.mime_type, "data": data})
        }
    });
    parts.collect()
}

/// Places in an answer that are filled while it is sent, so that it need not fit into memory.
#[derive(Default)]
struct Gaps {
    /// A text that nothing else in the answer holds.
    mark: Uuid,
    left: Vec<(Form, String, u64)>,
}

impl Gaps {
    fn leave(&mut self, form: Form, name: String, size: u64) -> String {
        if self.left.is_empty() {
            self.mark = Uuid::new_v4();
        }
        self.left.push((form, name, size));
        self.mark.to_string()
    }

    fn fill(self, text: &str) -> anyhow::Result<Response> {
        let length: u64 = self.left.iter().map(|(form, _, size)| form.length(*size)).sum();
        let mut pieces = Vec::new();
        let mut rest = text;
        for (form, name, size) in self.left {
            let Some((before, after)) = rest.split_once(&self.mark.to_string()) else { break };
            pieces.push(stream::iter([Ok(Bytes::from(before.to_owned()))]).boxed());
            pieces.push(synthetic::stream(form, &name, 0..size).boxed());
            rest = after;
        }
        let written: usize = text.len().saturating_sub(pieces.len() / 2 * self.mark.to_string().len());
        pieces.push(stream::iter([Ok(Bytes::from(rest.to_owned()))]).boxed());
        let length = length.saturating_add(u64::try_from(written)?);
        let body = Body::from_stream(stream::iter(pieces).flatten());
        let headers = [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::CONTENT_LENGTH, length.to_string()),
        ];
        Ok((headers, body).into_response())
    }
}
