//! Who sent a delivery? Every decision about trust is made in this module and nowhere else.
//!
//! The form of the signature header picks the trust anchor, and each form has one fixed algorithm. Nothing in the
//! request can choose another one.
//!
//! ```text
//!  webhook-signature        trust anchor            algorithm        the delivery is       row key
//!  ---------------------    --------------------    ------------     -----------------     -----------
//!  "v1,<base64> ..."     -> signing secrets      -> HMAC-SHA-256  -> the project's own     <id>
//!  "v1a,<base64> ..."    -> Google's public keys -> Ed25519       -> Google's (1)          v1a~<id>
//!  "<head>.<claims>.<s>" -> Google's public keys -> RS256         -> Google's (1)          jwt~<digest>
//!  anything else         -> none                                  -> rejected
//!
//!  (1) Perhaps for another customer's job: the binding token, or the job itself, says whose it is.
//! ```
//!
//! What the anchors answer becomes one [`Verdict`]:
//!
//! | the anchors that the header names | verdict | HTTP |
//! | --- | --- | --- |
//! | one proves the delivery, and its timestamp is in the tolerance | [`Verdict::Authenticated`] | 200 once stored |
//! | none proves it, and one could not be asked (secret not set, keys not fetched) | [`Verdict::Unavailable`] | 503 |
//! | all were asked and none proves it, or it is proved and too old | [`Verdict::Rejected`] | 400 or 401 |
//!
//! # The rules and where they come from
//!
//! - The signed text is `id.timestamp.body`, over the raw bytes; the header is a list separated by spaces, and one
//!   valid entry is enough (Standard Webhooks specification, "Signature scheme" and "Webhook headers").
//! - A secret has 24 to 64 bytes and is compared in constant time; the timestamp is checked against a tolerance of
//!   5 minutes (Standard Webhooks, "Signature scheme" and "Verifying webhook authenticity"). The signature is
//!   checked first, so that only a delivery that somebody signed counts as too old.
//! - Google signs static webhooks with `v1` and documents RS256 tokens for dynamic ones (Gemini API guide,
//!   "Webhooks"). Real dynamic deliveries were reported to carry `v1a` (googleapis/python-genai, issue 2927).
//! - The algorithm of a token is pinned and is never read from the token (RFC 8725, section 3.1). `alg` and `kid` are
//!   as in RFC 7515, sections 4.1.1 and 4.1.4; a header that brings its own key (`jku`, `jwk`, `x5u`, `x5c`) or a
//!   critical extension (`crit`) is rejected (RFC 7515, sections 4.1.2 to 4.1.11). `aud`, `exp` and `nbf` are as in
//!   RFC 7519, sections 4.1.3 to 4.1.5.
//! - Public keys are read as a JSON Web Key Set (RFC 7517, section 5; Ed25519 keys as in RFC 8037, section 2).
//!
//! # The files
//!
//! [`Unverified`] (`headers`) is checked by a [`Verifier`] (`verifier`), which needs no network. [`Authenticator`]
//! (`authenticator`) fetches secrets ([`crate::secrets`]) and keys (`jwks_cache`) for it. Only [`Verifier::verify`]
//! makes a [`Verified`], and nothing else in the library accepts an unverified delivery.

mod authenticator;
pub mod binding;
mod event;
mod headers;
mod jwks;
mod jwks_cache;
mod jwt;
mod rejection;
mod signing;
mod v1;
mod v1a;
#[cfg(test)]
mod vectors;
mod verifier;

pub use authenticator::{Authenticator, Verdict};
pub use event::{Event, EventKind};
pub use headers::Unverified;
pub use jwks::KeySet;
pub use jwks_cache::{JwksCache, JwksUnavailable};
pub use rejection::Rejection;
pub use signing::SigningSecrets;
pub use verifier::{Scheme, Tolerance, Trust, Verified, Verifier};
