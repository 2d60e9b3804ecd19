//! Checks a delivery against secrets and keys that are at hand. No network, no clock of its own.
//!
//! The order is: form of the timestamp, signature, age, then what the body says. So a delivery that nobody signed is
//! rejected for its signature, however old it claims to be, and `timestamp_too_old` always means a signed delivery.

use bytes::Bytes;

use super::{
    event::{self, Event},
    headers::Unverified,
    jwks::KeySet,
    jwt::{self, Token},
    rejection::Rejection,
    signing::SigningSecrets,
    v1, v1a,
};

/// How old a delivery may be, and how far ahead of our clock (`WEBHOOK_TOLERANCE_SECONDS` and
/// `WEBHOOK_FUTURE_TOLERANCE_SECONDS`, both 300 by default). Standard Webhooks asks for a check in both directions
/// ("Verifying webhook authenticity").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    pub past_seconds: i64,
    pub future_seconds: i64,
}

impl Tolerance {
    /// Both times are in seconds since the epoch.
    pub(super) fn check(self, timestamp: i64, now: i64) -> Result<(), Rejection> {
        let age = now.saturating_sub(timestamp);
        if age > self.past_seconds {
            return Err(Rejection::TimestampTooOld);
        }
        if age < -self.future_seconds {
            return Err(Rejection::TimestampTooNew);
        }
        Ok(())
    }
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

/// A delivery whose sender is proved. Only [`Verifier::verify`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    row_key: String,
    body: Bytes,
    scheme: Scheme,
    key_id: String,
    event: Event,
}

impl Verified {
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

    /// What the body says. It is parsed here once.
    pub fn event(&self) -> &Event {
        &self.event
    }
}

/// A signature that matches: which form, which key, and the token if it is one.
struct Proof<'a> {
    scheme: Scheme,
    key_id: &'a str,
    token: Option<&'a Token<'a>>,
}

/// What deliveries to one endpoint are checked against. A form counts only where its anchor is there.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    pub secrets: Option<&'a SigningSecrets>,
    pub keys: Option<&'a KeySet>,
    /// The `aud` that a token must have. Without one no token counts.
    pub audience: Option<&'a str>,
    pub tolerance: Tolerance,
}

impl Verifier<'_> {
    /// `now` is in seconds since the epoch.
    pub fn verify(&self, delivery: &Unverified, now: i64) -> Result<Verified, Rejection> {
        let timestamp = delivery.timestamp()?;
        let token: Token;
        let proof = match (self.keys, self.audience) {
            (Some(keys), Some(audience)) if jwt::is_token(delivery.signature()) => {
                token = Token::parse(delivery.signature())?;
                let key_id = token.verify(keys, audience, now)?;
                Proof { scheme: Scheme::Jwt, key_id, token: Some(&token) }
            }
            _ => self.prove_by_entries(delivery)?,
        };
        self.tolerance.check(timestamp, now)?;
        let body = event::members(delivery.body());
        if proof.token.is_some_and(|token| token.contradicts(body.as_ref())) {
            return Err(Rejection::BodyMismatch);
        }
        let id = delivery.id();
        let row_key = match proof.token {
            Some(token) => format!("jwt~{}", token.digest()),
            None if proof.scheme == Scheme::V1a => format!("v1a~{id}"),
            None => id.to_owned(),
        };
        Ok(Verified {
            row_key,
            body: delivery.body().clone(),
            scheme: proof.scheme,
            key_id: proof.key_id.to_owned(),
            event: body.map_or_else(Event::default, |members| Event::read(&members)),
        })
    }

    /// One valid entry of the list is enough. Entries whose anchor is missing are skipped.
    fn prove_by_entries(&self, delivery: &Unverified) -> Result<Proof<'_>, Rejection> {
        let signed = delivery.signed_parts();
        let header = delivery.signature();
        let mut rejection = Rejection::NoSupportedSignature;
        if let (Some(secrets), Ok(signatures)) = (self.secrets, v1::signatures(header)) {
            rejection = Rejection::NoMatchingSignature;
            if let Some(key_id) = secrets.matching(&signed, &signatures) {
                return Ok(Proof { scheme: Scheme::V1, key_id, token: None });
            }
        }
        if let Some(keys) = self.keys.filter(|_| v1a::is_named(header)) {
            rejection = Rejection::NoMatchingSignature;
            if let Some(key_id) = v1a::matching(keys, &signed, &v1a::signatures(header)) {
                return Ok(Proof { scheme: Scheme::V1a, key_id, token: None });
            }
        }
        Err(rejection)
    }
}
