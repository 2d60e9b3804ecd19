//! The secrets of registered webhooks, and the `v1` signatures of the Standard Webhooks specification that they make:
//! an HMAC-SHA256 over `id.timestamp.body`, in base64.

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Accepts a secret with or without its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A text that shows as `[REDACTED]`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// One or more secrets, newest first, each of which signs.
pub struct SigningSecrets(Vec<Hmac<Sha256>>);

impl SigningSecrets {
    /// Reads secrets separated by blanks, each base64 with or without `whsec_` before it. The error never contains one.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let keys: Vec<_> = text.split_ascii_whitespace().map(parse_key).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err("is empty") } else { Ok(Self(keys)) }
    }

    /// The value of the `webhook-signature` header, one `v1` entry for each secret. `timestamp` is in seconds.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let entries = self.0.iter().map(|key| {
            let mac = key.clone().chain_update(format!("{id}.{timestamp}.")).chain_update(body);
            format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
        });
        entries.collect::<Vec<_>>().join(" ")
    }
}

fn parse_key(word: &str) -> Result<Hmac<Sha256>, &'static str> {
    let bytes = LENIENT.decode(word.strip_prefix("whsec_").unwrap_or(word)).map_err(|_| "is not base64")?;
    if !(24..=64).contains(&bytes.len()) {
        return Err("must hold 24 to 64 bytes");
    }
    Hmac::new_from_slice(&bytes).map_err(|_| "is no key")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector in the specification's reference libraries.
    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secrets: &str) -> String {
        let body = br#"{"test": 2432232314}"#;
        SigningSecrets::parse(secrets).unwrap().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    }

    #[test]
    fn signs_as_the_standard_says_with_every_secret() {
        assert_eq!(sign(ONE), SIGNED);
        let other = "whsec_KM0L3nHyhdzZU90GyyESLyr7KmbZWPrNE4bAYOhD9x8";
        assert_eq!(sign(&format!("{other}\n{ONE}")), format!("{} {SIGNED}", sign(&format!("{other}="))));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for text in ["", " ", "whsec_", "whsec_c2hvcnQ=", "whsec_se,cret"] {
            assert!(SigningSecrets::parse(text).is_err(), "{text}");
        }
        assert_eq!(format!("{:?}", Secret::new(ONE)), "[REDACTED]");
    }
}
