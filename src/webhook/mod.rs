//! What arrives: every decision about trust is made here and nowhere else.
//!
//! A request enters as [`Unverified`], passes the [`Gate`], and leaves as [`Verified`] or as a [`Refusal`]. Nothing
//! else in the library accepts an unverified delivery, and only [`Verifier::verify`] can make a verified one.

pub mod binding;
mod event;
mod gate;
mod headers;
mod jwt;
mod key_source;
mod keys;
mod refusal;
mod signing;
mod v1;
mod v1a;
#[cfg(test)]
mod vectors;

use bytes::Bytes;

pub use event::{Event, EventKind};
pub use gate::{Admitted, Denied, Gate};
pub use headers::Unverified;
pub use key_source::{KeySource, KeysOwed};
pub use keys::KeySet;
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
    /// Standard Webhooks `v1a`: Ed25519 with a key of the sender's.
    V1a,
    /// A bare RS256 token with a key of the sender's.
    Jwt,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
            Self::Jwt => "jwt",
        }
    }

    pub fn trust(self) -> Trust {
        match self {
            Self::V1 => Trust::Project,
            Self::V1a | Self::Jwt => Trust::Issuer,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    id: String,
    row_key: String,
    body: Bytes,
    scheme: Scheme,
    key_id: String,
}

impl Verified {
    /// The `webhook-id` as it came. A token does not sign it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the delivery's row is keyed by: each form has keys that no other form can choose.
    pub fn row_key(&self) -> &str {
        &self.row_key
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

/// What deliveries to one endpoint are checked against. A form counts only where its anchor is there.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    pub secrets: Option<&'a SigningSecrets>,
    pub keys: Option<&'a KeySet>,
    /// Without one no token counts.
    pub audience: Option<&'a str>,
    pub tolerance: Tolerance,
}

impl Verifier<'_> {
    /// `now` is in seconds since the epoch.
    pub fn verify(&self, delivery: &Unverified, now: i64) -> Result<Verified, Refusal> {
        let age = now.saturating_sub(delivery.timestamp()?);
        if age > self.tolerance.past_seconds {
            return Err(Refusal::TimestampTooOld);
        }
        if age < -self.tolerance.future_seconds {
            return Err(Refusal::TimestampTooNew);
        }
        match (self.keys, self.audience) {
            (Some(keys), Some(audience)) if jwt::is_token(delivery.signature()) => {
                let token = jwt::Token::parse(delivery.signature())?;
                let key_id = token.verify(keys, audience, delivery.body(), now)?;
                Ok(delivery.verified(format!("jwt~{}", token.digest()), Scheme::Jwt, key_id))
            }
            _ => self.verify_entries(delivery),
        }
    }

    fn verify_entries(&self, delivery: &Unverified) -> Result<Verified, Refusal> {
        let signed = delivery.signed_parts();
        let header = delivery.signature();
        let mut refusal = Refusal::NoSupportedSignature;
        if let (Some(secrets), Ok(signatures)) = (self.secrets, v1::signatures(header)) {
            refusal = Refusal::NoMatchingSignature;
            if let Some(key_id) = secrets.matching(&signed, &signatures) {
                return Ok(delivery.verified(delivery.id().to_owned(), Scheme::V1, &key_id));
            }
        }
        if let Some(keys) = self.keys.filter(|_| v1a::is_named(header)) {
            refusal = Refusal::NoMatchingSignature;
            if let Some(key_id) = v1a::matching(keys, &signed, &v1a::signatures(header)) {
                return Ok(delivery.verified(format!("v1a~{}", delivery.id()), Scheme::V1a, key_id));
            }
        }
        Err(refusal)
    }
}
