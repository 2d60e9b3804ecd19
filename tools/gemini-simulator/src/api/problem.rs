//! What is answered when something is wrong, in the shape of `google.rpc.Status`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{Quota, Seconds, job::Failure};

#[derive(Debug)]
pub(super) struct Problem {
    code: StatusCode,
    status: &'static str,
    message: String,
    details: Option<Value>,
}

impl Problem {
    fn new(code: StatusCode, status: &'static str, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into(), details: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    pub(super) fn already_exists(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "ALREADY_EXISTS", message)
    }

    pub(super) fn precondition(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "FAILED_PRECONDITION", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message)
    }

    pub(super) fn unsatisfiable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "OUT_OF_RANGE", message)
    }

    pub(super) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "The model is overloaded. Please try again later.",
        )
    }

    /// As Google answers for what is not there.
    pub(super) fn entity_not_found() -> Self {
        Self::not_found("Requested entity was not found.")
    }

    pub(super) fn no_permission_for(file: &str) -> Self {
        Self::forbidden(format!("You do not have permission to access the file {file} or it may not exist."))
    }

    pub(super) fn throttled(wait: Option<Seconds>, quota: Option<Quota>) -> Self {
        let wait = wait.map(|Seconds(wait)| {
            let delay = format!("{}s", wait.as_secs_f64());
            json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
        });
        let details: Vec<Value> = quota.map(quota_failure).into_iter().chain(wait).collect();
        let problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
        );
        Self { details: (!details.is_empty()).then(|| details.into()), ..problem }
    }

    pub(super) fn no_key() -> Self {
        Self::forbidden(
            "Method doesn't allow unregistered callers. Please use an API key: the simulator takes any.",
        )
    }
}

/// Which quota is used up. Its id alone says for how long.
fn quota_failure(quota: Quota) -> Value {
    let (metric, id) = match quota {
        Quota::Minute => {
            ("generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier")
        }
        Quota::Day => {
            ("generate_requests_per_model_per_day", "GenerateRequestsPerDayPerProjectPerModel-FreeTier")
        }
    };
    json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{
            "quotaMetric": format!("generativelanguage.googleapis.com/{metric}"),
            "quotaId": id,
            "quotaValue": "20",
        }],
    })
}

/// Any error of our own: the log has it, the client does not.
impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        tracing::error!(error = format!("{:#}", error.into()), "a request could not be answered");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "An internal error has occurred.")
    }
}

/// A request that cannot be fulfilled at all.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::invalid(failure.message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code.as_u16(), "message": self.message, "status": self.status});
        if let (Some(error), Some(details)) = (error.as_object_mut(), self.details) {
            error.insert("details".into(), details);
        }
        (self.code, Json(json!({"error": error}))).into_response()
    }
}
