//! Why a delivery is refused: a closed list of reasons for the log, and a status for the sender.

/// A reason to refuse. Its code goes to the log, never to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    MissingHeader,
    BadId,
    BadTimestamp,
    TimestampTooOld,
    TimestampTooNew,
    NoSupportedSignature,
    NoMatchingSignature,
    BodyTooLarge,
    MethodNotAllowed,
    MalformedRequest,
}

impl Refusal {
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingHeader => "missing_header",
            Self::BadId => "bad_id",
            Self::BadTimestamp => "bad_timestamp",
            Self::TimestampTooOld => "timestamp_too_old",
            Self::TimestampTooNew => "timestamp_too_new",
            Self::NoSupportedSignature => "no_supported_signature",
            Self::NoMatchingSignature => "no_matching_signature",
            Self::BodyTooLarge => "body_too_large",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::MalformedRequest => "malformed_request",
        }
    }

    pub fn status(self) -> u16 {
        match self {
            Self::MissingHeader | Self::BadId | Self::BadTimestamp | Self::MalformedRequest => 400,
            Self::TimestampTooOld
            | Self::TimestampTooNew
            | Self::NoSupportedSignature
            | Self::NoMatchingSignature => 401,
            Self::MethodNotAllowed => 405,
            Self::BodyTooLarge => 413,
        }
    }
}
