//! A batch as the API shows it: a long-running operation whose output is there twice.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    batch::{Batch, Call, Input, Outcome},
    clock::Millis,
    job::{Failure, Job, WebhookConfig},
    rfc3339,
};

/// The types of a batch and of its output.
fn types(call: Call) -> (&'static str, &'static str) {
    match call {
        Call::GenerateContent => (
            "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatchOutput",
        ),
        Call::EmbedContent => (
            "type.googleapis.com/google.ai.generativelanguage.v1main.EmbedContentBatch",
            "type.googleapis.com/google.ai.generativelanguage.v1main.EmbedContentBatchOutput",
        ),
    }
}

#[derive(Serialize)]
pub(super) struct Operation<'a> {
    name: String,
    metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "is_false")]
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Output<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    create_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    update_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_config: Option<InputConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_stats: Option<BatchStats>,
    state: &'static str,
    name: String,
    /// The API is seen to echo an interaction's; that it does so for a batch is likely.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_config: Option<&'a WebhookConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputConfig {
    file_name: String,
}

/// Counts are strings, as int64 always is in this JSON, and zero is left out.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchStats {
    request_count: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    successful_request_count: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_request_count: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_request_count: Option<String>,
}

#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responses_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inlined_responses: Option<InlinedResponses<'a>>,
    /// Where the SDKs look for embeddings; the reference has them in the same place as other responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    inlined_embed_content_responses: Option<InlinedResponses<'a>>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct InlinedResponses<'a> {
    inlined_responses: &'a RawValue,
}

impl<'a> Operation<'a> {
    /// As seen for a batch that had just succeeded (tidyverse/ellmer#926).
    pub(super) fn hide_output(&mut self) {
        self.response = None;
        self.metadata.output = None;
    }

    /// `responses` are those of an inline batch, where they are to be shown.
    pub(super) fn of(job: &'a Job<Batch>, responses: Option<&'a RawValue>, now: Millis) -> Self {
        let (batch, outcome) = (&job.asked, job.outcome());
        let succeeded = outcome.is_some_and(Outcome::succeeded);
        let ended_with_output = outcome.is_some_and(|outcome| batch.has_output(outcome));
        let (kind, output_kind) = types(batch.call);
        let file = (ended_with_output && batch.input != Input::Inline)
            .then(|| format!("files/{}", job.output_file()));
        let inlined = responses.map(|responses| InlinedResponses { inlined_responses: responses });
        let told = Output { responses_file: file, inlined_responses: inlined.clone(), ..Output::default() };
        let shown = match batch.call {
            Call::GenerateContent => told.clone(),
            Call::EmbedContent => {
                Output { inlined_responses: None, inlined_embed_content_responses: inlined, ..told.clone() }
            }
        };
        let has_output = told.responses_file.is_some() || told.inlined_responses.is_some();
        Self {
            name: job.name(),
            done: outcome.is_some(),
            error: outcome.and_then(Outcome::error),
            response: succeeded.then_some(Output { kind: Some(output_kind), ..told }),
            metadata: Metadata {
                kind,
                model: &batch.model,
                display_name: batch.display_name.as_deref(),
                create_time: rfc3339(job.created),
                end_time: job.end.as_ref().map(|end| rfc3339(end.at)),
                update_time: rfc3339(job.updated()),
                input_config: match &batch.input {
                    Input::File(id) => Some(InputConfig { file_name: format!("files/{id}") }),
                    Input::Inline => None,
                },
                batch_stats: stats(job),
                state: match outcome {
                    Some(outcome) => outcome.state(),
                    None if now > job.created => "BATCH_STATE_RUNNING",
                    None => "BATCH_STATE_PENDING",
                },
                name: job.name(),
                webhook_config: Some(&job.webhook).filter(|config| **config != WebhookConfig::default()),
                output: has_output.then_some(shown),
            },
        }
    }
}

fn stats(job: &Job<Batch>) -> Option<BatchStats> {
    let counted = |count: u64| (count > 0).then(|| count.to_string());
    match job.outcome() {
        Some(Outcome::Succeeded { requests, failed }) => Some(BatchStats {
            request_count: requests.to_string(),
            successful_request_count: counted(requests.saturating_sub(*failed)),
            failed_request_count: counted(*failed),
            pending_request_count: None,
        }),
        outcome => job.asked.requests.map(|requests| {
            let answered = outcome.and_then(|_| job.asked.partial()).unwrap_or(0);
            BatchStats {
                request_count: requests.to_string(),
                successful_request_count: counted(answered),
                pending_request_count: counted(requests.saturating_sub(answered)),
                ..BatchStats::default()
            }
        }),
    }
}

fn is_false(done: &bool) -> bool {
    !done
}
