//! What arrives: every decision about trust is made here and nowhere else.
//!
//! A request enters as [`Unverified`] and leaves as [`Verified`] or as a [`Refusal`]. Nothing else in the
//! library accepts an unverified delivery, and only [`Verifier::verify`] can make a verified one.

mod event;
mod headers;
mod refusal;
mod signing;
mod v1;

use bytes::Bytes;

pub use event::{Event, EventKind};
pub use headers::Unverified;
pub use refusal::Refusal;
pub use signing::SigningSecrets;

/// How old a delivery may be, and how far ahead of our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    pub past_seconds: i64,
    pub future_seconds: i64,
}

/// The form of signature that proved a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks `v1`: HMAC-SHA-256 with our project's secret.
    V1,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
        }
    }

    pub fn trust(self) -> Trust {
        match self {
            Self::V1 => Trust::Project,
        }
    }
}

/// What a signature proves about the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Signed with a secret that only our project has.
    Project,
    /// Signed with Google's keys: it comes from Google, but perhaps for somebody else's job.
    Issuer,
}

impl Trust {
    pub fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Issuer => "issuer",
        }
    }
}

/// A delivery whose sender is proved.
#[derive(Clone, Debug)]
pub struct Verified {
    id: String,
    body: Bytes,
    scheme: Scheme,
    key_id: String,
}

impl Verified {
    /// The `webhook-id` as signed.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Which key it was, in a spelling that gives nothing away.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

/// Checks deliveries against the secrets and the tolerance of one endpoint.
pub struct Verifier<'a> {
    pub secrets: &'a SigningSecrets,
    pub tolerance: Tolerance,
}

impl Verifier<'_> {
    /// `now` is in seconds since the epoch.
    pub fn verify(&self, delivery: Unverified, now: i64) -> Result<Verified, Refusal> {
        let age = now.saturating_sub(delivery.timestamp()?);
        if age > self.tolerance.past_seconds {
            return Err(Refusal::TimestampTooOld);
        }
        if age < -self.tolerance.future_seconds {
            return Err(Refusal::TimestampTooNew);
        }
        let signed = delivery.signed_parts();
        let signatures = v1::signatures(delivery.signature())?;
        let key_id = self.secrets.matching(&signed, &signatures).ok_or(Refusal::NoMatchingSignature)?;
        let (id, body) = delivery.into_parts();
        Ok(Verified { id, body, scheme: Scheme::V1, key_id })
    }
}
