//! A batch as the API shows it: a long-running operation whose output is told twice.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    clock::Millis,
    dev::gemini::{
        batch::{Batch, Failure, Input, Outcome},
        rfc3339,
    },
};

const BATCH: &str = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch";
const OUTPUT: &str = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatchOutput";

/// `google.rpc.Code` of what was cancelled.
const CANCELLED: i32 = 1;

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
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct InlinedResponses<'a> {
    inlined_responses: &'a RawValue,
}

impl<'a> Operation<'a> {
    /// `responses` are those of an inline batch, where they are to be shown.
    pub(super) fn of(batch: &'a Batch, responses: Option<&'a RawValue>, now: Millis) -> Self {
        let outcome = batch.end.as_ref().map(|end| &end.outcome);
        let succeeded = matches!(outcome, Some(Outcome::Succeeded { .. }));
        let output = (succeeded && (batch.input != Input::Inline || responses.is_some())).then(|| Output {
            kind: None,
            responses_file: (batch.input != Input::Inline).then(|| format!("files/{}", batch.output_file())),
            inlined_responses: responses.map(|responses| InlinedResponses { inlined_responses: responses }),
        });
        let state = match outcome {
            Some(outcome) => outcome.state(),
            None if now > batch.created => "BATCH_STATE_RUNNING",
            None => "BATCH_STATE_PENDING",
        };
        Self {
            name: batch.name(),
            done: outcome.is_some(),
            error: match outcome {
                Some(Outcome::Failed(failure)) => Some(failure.clone()),
                Some(Outcome::Cancelled) => {
                    Some(Failure { code: CANCELLED, message: "The batch was cancelled.".into() })
                }
                _ => None,
            },
            response: succeeded.then(|| Output { kind: Some(OUTPUT), ..output.clone().unwrap_or_default() }),
            metadata: Metadata {
                kind: BATCH,
                model: &batch.model,
                display_name: batch.display_name.as_deref(),
                create_time: rfc3339(batch.created),
                end_time: batch.end.as_ref().map(|end| rfc3339(end.at)),
                update_time: rfc3339(batch.end.as_ref().map_or(batch.created, |end| end.at)),
                input_config: match &batch.input {
                    Input::File(id) => Some(InputConfig { file_name: format!("files/{id}") }),
                    Input::Inline => None,
                },
                batch_stats: stats(batch),
                state,
                name: batch.name(),
                output,
            },
        }
    }
}

fn stats(batch: &Batch) -> Option<BatchStats> {
    let counted = |count: u64| (count > 0).then(|| count.to_string());
    match batch.end.as_ref().map(|end| &end.outcome) {
        Some(Outcome::Succeeded { requests, failed }) => Some(BatchStats {
            request_count: requests.to_string(),
            successful_request_count: counted(requests.saturating_sub(*failed)),
            failed_request_count: counted(*failed),
            pending_request_count: None,
        }),
        _ => batch.requests.map(|requests| BatchStats {
            request_count: requests.to_string(),
            pending_request_count: counted(requests),
            ..BatchStats::default()
        }),
    }
}

fn is_false(done: &bool) -> bool {
    !done
}
