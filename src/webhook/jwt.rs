//! The documented form for dynamic webhooks: the signature header is a bare RS256 token.
//!
//! The token does not sign id, timestamp or body. It proves only that Google issued it, so the archiver looks the job
//! up with our own API key. A body that contradicts the claims is rejected.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{jwks::KeySet, rejection::Rejection};

const MAX_TOKEN_BYTES: usize = 8 * 1024;
const MAX_KEY_ID_BYTES: usize = 128;

/// How far apart the issuer's clock and ours may be.
const LEEWAY_SECONDS: i64 = 60;

/// The members of an event that claims may repeat.
const EVENT_MEMBERS: [&str; 4] = ["type", "version", "timestamp", "data"];

/// A token in its three parts (RFC 7515, section 7.1). Nothing of it is verified yet.
pub(super) struct Token<'a> {
    signed: &'a str,
    signature: &'a str,
    key_id: String,
    claims: Claims,
}

/// Header members that let a sender choose the key, or change what is signed and how it is read (RFC 7515, section
/// 4.1; `b64` is RFC 7797; `enc` and `zip` are RFC 7516). A token that has one of them is rejected.
const NEVER_IN_A_HEADER: [&str; 9] = ["b64", "crit", "cty", "enc", "jku", "jwk", "x5c", "x5u", "zip"];

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    aud: Option<Audience>,
    exp: Option<Number>,
    nbf: Option<Number>,
    #[expect(dead_code, reason = "read so that anything but a number is refused")]
    iat: Option<Number>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A number and nothing that looks like one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Fraction(f64),
}

impl Number {
    fn seconds(&self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit")]
            Self::Whole(seconds) => *seconds as f64,
            Self::Fraction(seconds) => *seconds,
        }
    }
}

/// Whether a signature header is a token and not a list of entries.
pub(super) fn is_token(header: &str) -> bool {
    !header.contains(',') && header.trim().contains('.')
}

impl<'a> Token<'a> {
    /// Takes a compact JWS apart (RFC 7515, section 7.1) and refuses every algorithm but RS256.
    pub fn parse(header: &'a str) -> Result<Self, Rejection> {
        let token = header.trim();
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::MalformedSignature)?;
        let (head, claims) = signed.split_once('.').ok_or(Rejection::MalformedSignature)?;
        if token.len() > MAX_TOKEN_BYTES || claims.contains('.') {
            return Err(Rejection::MalformedSignature);
        }
        let head = decode(head)?;
        let odd = NEVER_IN_A_HEADER.iter().any(|name| head.contains_key(*name));
        let header: Header = read(head)?;
        if header.alg != "RS256" {
            return Err(Rejection::AlgorithmNotAllowed);
        }
        if odd || header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(Rejection::MalformedSignature);
        }
        let key_id = header.kid.filter(|id| !id.is_empty() && id.len() <= MAX_KEY_ID_BYTES);
        Ok(Self {
            signed,
            signature,
            key_id: key_id.ok_or(Rejection::UnknownKey)?,
            claims: read(decode(claims)?)?,
        })
    }

    /// Proves the token and returns the id of its key. Signature, `aud`, `exp` and `nbf` are checked in this order;
    /// `now` is in seconds since the epoch.
    pub fn verify(&self, keys: &KeySet, audience: &str, now: i64) -> Result<&str, Rejection> {
        match keys.rs256_match(&self.key_id, self.signed.as_bytes(), self.signature) {
            None => return Err(Rejection::UnknownKey),
            Some(false) => return Err(Rejection::NoMatchingSignature),
            Some(true) => {}
        }
        let meant = match &self.claims.aud {
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Several(several)) => several.iter().any(|one| one == audience),
            None => false,
        };
        if !meant {
            return Err(Rejection::WrongAudience);
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit")]
        let (soon, late) = ((now + LEEWAY_SECONDS) as f64, (now - LEEWAY_SECONDS) as f64);
        if self.claims.exp.as_ref().is_none_or(|exp| exp.seconds() <= late) {
            return Err(Rejection::TokenExpired);
        }
        if self.claims.nbf.as_ref().is_some_and(|nbf| nbf.seconds() > soon) {
            return Err(Rejection::TimestampTooNew);
        }
        Ok(&self.key_id)
    }

    /// Whether the claims repeat the event and the body says otherwise. Whether Google's claims do is not documented.
    pub fn contradicts(&self, body: Option<&Map<String, Value>>) -> bool {
        let claimed = |member: &str| self.claims.rest.get(member);
        if EVENT_MEMBERS.iter().all(|member| claimed(member).is_none()) {
            return false;
        }
        let Some(event) = body else { return true };
        EVENT_MEMBERS
            .iter()
            .any(|member| claimed(member).is_some_and(|claim| event.get(*member) != Some(claim)))
    }

    /// What a row is keyed by: the same token is the same delivery, whatever id came with it.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(self.signed.as_bytes());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// An object whose members have names of their own. Of two of one name, one reader takes the first and another the
/// last.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Distinct;

        impl<'de> Visitor<'de> for Distinct {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with distinct members")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member is there twice"));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Distinct)
    }
}

fn decode(part: &str) -> Result<Map<String, Value>, Rejection> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::MalformedSignature)?;
    let members: Members = serde_json::from_slice(&text).map_err(|_| Rejection::MalformedSignature)?;
    Ok(members.0)
}

fn read<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T, Rejection> {
    serde_json::from_value(Value::Object(members)).map_err(|_| Rejection::MalformedSignature)
}
