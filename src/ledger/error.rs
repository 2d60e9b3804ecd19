//! Why the tables could not be read or written, in the classes by which a caller decides what comes next.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::conflict_retry::is_conflict_code;

/// An error of the store. Codes are DynamoDB's (Developer Guide, "Error handling with DynamoDB").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// No answer, or one that leaves open whether the write was made: a timeout, a lost connection, a 5xx.
    #[error("DynamoDB {0}")]
    Unavailable(String),
    /// The store is reached and rejects the caller: IAM, an expired role, a missing table. Nothing was written.
    #[error("DynamoDB {0}")]
    NotAuthenticated(String),
    /// Contention or throttling that outlasted the retries of one call. Nothing was written.
    #[error("DynamoDB {0}")]
    Throttled(String),
    /// The item cannot be stored: it is too large or not valid. The fault is in our code, and the same write fails each
    /// time.
    #[error("DynamoDB {0}")]
    Invalid(String),
}

impl LedgerError {
    pub(super) fn of<E>(doing: &str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
        Self::of_code(code, format!("did not {doing}: {}", crate::aws::explain(error)))
    }

    /// By the code of an answer or of a cancellation reason.
    pub(super) fn of_code(code: Option<&str>, why: String) -> Self {
        match code {
            Some(
                "ValidationException"
                | "ValidationError"
                | "ItemCollectionSizeLimitExceeded"
                | "ItemCollectionSizeLimitExceededException"
                | "SerializationException",
            ) => Self::Invalid(why),
            Some(
                "AccessDenied"
                | "AccessDeniedException"
                | "ExpiredTokenException"
                | "IncompleteSignatureException"
                | "InvalidSignatureException"
                | "KMSAccessDeniedException"
                | "KMSDisabledException"
                | "KMSInvalidStateException"
                | "KMSNotFoundException"
                | "MissingAuthenticationTokenException"
                | "ResourceNotFoundException"
                | "UnrecognizedClientException",
            ) => Self::NotAuthenticated(why),
            Some(code) if is_conflict_code(code) => Self::Throttled(why),
            _ => Self::Unavailable(why),
        }
    }

    /// Whether the store has said that it wrote nothing, so that another write may follow.
    pub fn wrote_nothing(&self) -> bool {
        !matches!(self, Self::Unavailable(_))
    }
}
