//! The `v1a` entries of a Standard Webhooks signature header: Ed25519 by the sender's own key.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::jwks::KeySet;

const SIGNATURE_BYTES: usize = 64;

/// Entries beyond this many are not looked at: a sender has one, or two while keys change.
const MAX_SIGNATURES: usize = 8;

/// The signatures of this form that could be ones. Anything else matches no key, old or new.
pub(super) fn signatures(header: &str) -> Vec<Vec<u8>> {
    header
        .split_ascii_whitespace()
        .filter_map(|entry| entry.split_once(','))
        .filter(|(version, _)| *version == "v1a")
        .take(MAX_SIGNATURES)
        .filter_map(|(_, value)| BASE64_STANDARD.decode(value).ok())
        .filter(|signature| signature.len() == SIGNATURE_BYTES)
        .collect()
}

pub(super) fn is_named(header: &str) -> bool {
    header.split_ascii_whitespace().any(|entry| entry.starts_with("v1a,"))
}

pub(super) fn matching<'a>(keys: &'a KeySet, signed: &[&[u8]], signatures: &[Vec<u8>]) -> Option<&'a str> {
    let signed = signed.concat();
    signatures.iter().find_map(|signature| keys.ed25519_match(&signed, signature))
}
