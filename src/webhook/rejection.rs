//! Why a delivery is rejected: a closed list of reasons for the log, and an HTTP status for the sender.

/// A reason to reject a delivery. Its code goes to the log and the metric `Rejected`, never to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    MissingHeader,
    BadId,
    BadTimestamp,
    /// Signed, and older than the tolerance. A delivery that nobody signed is rejected for its signature instead.
    TimestampTooOld,
    /// Signed, and further ahead of our clock than the tolerance; or a token that is not valid yet.
    TimestampTooNew,
    NoSupportedSignature,
    NoMatchingSignature,
    /// Of a token: no token, or one that would choose its own key.
    MalformedSignature,
    AlgorithmNotAllowed,
    UnknownKey,
    WrongAudience,
    TokenExpired,
    /// A body that says otherwise than the token's claims.
    BodyMismatch,
    /// Metadata in the event without a binding token of ours.
    NotBound,
    BodyTooLarge,
    MethodNotAllowed,
    MalformedRequest,
}

impl Rejection {
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingHeader => "missing_header",
            Self::BadId => "bad_id",
            Self::BadTimestamp => "bad_timestamp",
            Self::TimestampTooOld => "timestamp_too_old",
            Self::TimestampTooNew => "timestamp_too_new",
            Self::NoSupportedSignature => "no_supported_signature",
            Self::NoMatchingSignature => "no_matching_signature",
            Self::MalformedSignature => "malformed_signature",
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::UnknownKey => "unknown_key",
            Self::WrongAudience => "wrong_audience",
            Self::TokenExpired => "token_expired",
            Self::BodyMismatch => "body_mismatch",
            Self::NotBound => "not_bound",
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
            | Self::NoMatchingSignature
            | Self::MalformedSignature
            | Self::AlgorithmNotAllowed
            | Self::UnknownKey
            | Self::WrongAudience
            | Self::TokenExpired
            | Self::BodyMismatch
            | Self::NotBound => 401,
            Self::MethodNotAllowed => 405,
            Self::BodyTooLarge => 413,
        }
    }
}
