//! The sender's public keys: [`KeySet`], read from a JSON Web Key Set (RFC 7517, section 5).
//!
//! An Ed25519 key (`kty` `OKP`, RFC 8037) is used for `v1a` signatures, an RSA key (RFC 7518, section 6.3) for RS256
//! tokens. So each key is used with one algorithm only, whatever a token says (RFC 8725, section 3.1). Entries of
//! another kind, for another use or with a bad length are skipped; they do not make the set unusable.

use std::collections::HashMap;

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_URL_SAFE_NO_PAD,
};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::Value;

/// A `v1a` signature is tried with every Ed25519 key, so their number is bounded. Real sets hold about three.
const MAX_KEYS: usize = 32;
const MAX_KEY_ID_BYTES: usize = 128;
const ED25519_BYTES: usize = 32;
/// 2,048 to 8,192 bits. RFC 7518, section 3.3, asks for 2,048 at least.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Keys by the one algorithm each may be used with.
#[derive(Default)]
pub struct KeySet {
    ed25519: Vec<(String, DecodingKey)>,
    rsa: HashMap<String, DecodingKey>,
}

#[derive(Deserialize)]
struct Listed {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Entry {
    kty: String,
    crv: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    x: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl KeySet {
    /// Reads a set. It fails only where the text is not a JSON Web Key Set. The result may have no usable key.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let listed: Listed = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let mut set = Self::default();
        for entry in listed.keys.into_iter().take(MAX_KEYS) {
            if let Ok(entry) = serde_json::from_value::<Entry>(entry) {
                set.add(entry);
            }
        }
        Ok(set)
    }

    /// Adds an entry if it is a key that verifies signatures of one of the two algorithms. Of two RSA keys with the same
    /// `kid` the last one counts.
    fn add(&mut self, entry: Entry) {
        let verifies = |operations: &Vec<String>| operations.iter().any(|operation| operation == "verify");
        let for_signatures = entry.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && entry.key_ops.as_ref().is_none_or(verifies);
        let algorithm = entry.alg.as_deref();
        match (entry.kty.as_str(), entry.crv.as_deref()) {
            _ if !for_signatures => {}
            ("OKP", Some("Ed25519")) if matches!(algorithm, None | Some("EdDSA" | "Ed25519")) => {
                if let Some(key) = entry.x.as_deref().and_then(ed25519) {
                    let id = entry.kid.unwrap_or_else(|| format!("ed25519-{}", self.ed25519.len()));
                    self.ed25519.push((id, key));
                }
            }
            ("RSA", _) if matches!(algorithm, None | Some("RS256")) => {
                let key = entry.n.as_deref().zip(entry.e.as_deref()).and_then(|(n, e)| rsa(n, e));
                if let Some((id, key)) = entry.kid.filter(|id| id.len() <= MAX_KEY_ID_BYTES).zip(key) {
                    self.rsa.insert(id, key);
                }
            }
            _ => {}
        }
    }

    /// The id of the Ed25519 key that made this signature. The form carries no key id, so each one is tried.
    pub(super) fn ed25519_match(&self, signed: &[u8], signature: &[u8]) -> Option<&str> {
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        let is_by =
            |key: &DecodingKey| matches!(crypto::verify(&signature, signed, key, Algorithm::EdDSA), Ok(true));
        self.ed25519.iter().find(|(_, key)| is_by(key)).map(|(id, _)| id.as_str())
    }

    /// Whether the named RSA key made this signature; none where there is no such key.
    pub(super) fn rs256_match(&self, key_id: &str, signed: &[u8], signature: &str) -> Option<bool> {
        let key = self.rsa.get(key_id)?;
        Some(matches!(crypto::verify(signature, signed, key, Algorithm::RS256), Ok(true)))
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.ed25519.is_empty() && self.rsa.is_empty()
    }
}

fn ed25519(x: &str) -> Option<DecodingKey> {
    let bytes = LENIENT.decode(x).ok().filter(|bytes| bytes.len() == ED25519_BYTES)?;
    DecodingKey::from_ed_components(&BASE64_URL_SAFE_NO_PAD.encode(bytes)).ok()
}

fn rsa(n: &str, e: &str) -> Option<DecodingKey> {
    let modulus = LENIENT.decode(n).ok().filter(|bytes| RSA_BYTES.contains(&bytes.len()))?;
    let exponent = LENIENT.decode(e).ok().filter(|bytes| is_odd_beyond_one(bytes))?;
    Some(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// With an exponent of 1 every message is its own signature. An even exponent is not one of an RSA key.
fn is_odd_beyond_one(number: &[u8]) -> bool {
    number.last().is_some_and(|last| {
        last % 2 == 1 && (*last > 1 || number.iter().rev().skip(1).any(|byte| *byte != 0))
    })
}
