//! The signing secrets of a static webhook: a list, newest first, so that a rotation loses nothing.

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secrets::Secret;

const PREFIX: &str = "whsec_";

/// The first bytes of every secret that the local machine makes for itself.
const DEVELOPMENT_MARK: &[u8] = b"gemhook-dev-only";

/// Accepts a secret with or without its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

struct Key {
    bytes: Zeroizing<Vec<u8>>,
    /// The short form in which the Gemini API shows a secret later: `whsec_...` and its last four characters.
    id: String,
}

/// One or more secrets, each of which proves a delivery.
pub struct SigningSecrets(Vec<Key>);

impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecrets({} [REDACTED])", self.0.len())
    }
}

impl SigningSecrets {
    /// Reads secrets separated by blanks: `whsec_` and base64 of 24 to 64 bytes (Standard Webhooks, "Signature
    /// scheme"). The error never contains a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys: Vec<Key> = text
            .split_ascii_whitespace()
            .enumerate()
            .map(|(at, word)| {
                parse_key(word).map_err(|why| format!("holds no signing secret at place {}: {why}", at + 1))
            })
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err("is empty: a signing secret looks like whsec_ and base64".into());
        }
        Ok(Self(keys))
    }

    /// Secrets that may be used here: `local` says whether the tables are on this machine.
    pub fn for_place(text: &str, local: bool) -> Result<Self, String> {
        let secrets = Self::parse(text)?;
        secrets.check_place(local)?;
        Ok(secrets)
    }

    /// A development secret counts only on a local machine. Everybody who has the repository's tools can make one.
    fn check_place(&self, local: bool) -> Result<(), String> {
        let development = self.0.iter().any(|key| key.bytes.starts_with(DEVELOPMENT_MARK));
        if development && !local {
            return Err("holds a development secret of a local machine, which counts only where \
                        AWS_ENDPOINT_URL_DYNAMODB is on loopback"
                .into());
        }
        Ok(())
    }

    /// A fresh secret that carries the development mark.
    pub fn development() -> Secret {
        let mut bytes = DEVELOPMENT_MARK.to_vec();
        bytes.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
        Secret::new(format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes)))
    }

    /// A key of any length, as test vectors have them.
    #[cfg(test)]
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self(vec![Key { bytes: Zeroizing::new(bytes.to_vec()), id: "vector".to_owned() }])
    }

    /// The id of the key that made one of the signatures over these bytes.
    ///
    /// Every key is tried with every signature, each in constant time. So the time depends only on how many there are.
    pub(super) fn matching(&self, signed: &[&[u8]], signatures: &[Vec<u8>]) -> Option<&str> {
        let mut found = None;
        for key in &self.0 {
            let mac = key.mac(signed)?;
            for signature in signatures {
                if mac.clone().verify_slice(signature).is_ok() && found.is_none() {
                    found = Some(key.id.as_str());
                }
            }
        }
        found
    }

    /// Signs as Gemini does, one `v1` entry for each secret.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let timestamp = timestamp.to_string();
        let signed: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let entries = self.0.iter().filter_map(|key| key.mac(&signed));
        let texts: Vec<String> = entries
            .map(|mac| format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
            .collect();
        texts.join(" ")
    }
}

impl Key {
    /// HMAC-SHA-256 (RFC 2104) over the parts, one behind the other.
    fn mac(&self, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.bytes).ok()?;
        for part in parts {
            mac.update(part);
        }
        Some(mac)
    }
}

fn parse_key(word: &str) -> Result<Key, &'static str> {
    let encoded = word.strip_prefix(PREFIX).unwrap_or(word);
    let bytes = Zeroizing::new(LENIENT.decode(encoded).map_err(|_| "it is not base64")?);
    if !(24..=64).contains(&bytes.len()) {
        return Err("it must hold 24 to 64 bytes");
    }
    let tail = encoded.get(encoded.len().saturating_sub(4)..).unwrap_or_default();
    Ok(Key { bytes, id: format!("{PREFIX}...{tail}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_standard_says() {
        let secrets = SigningSecrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_fault_names_the_place_and_never_the_secret() {
        let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for (text, why) in [
            ("", "is empty"),
            ("whsec_", "place 1: it must hold 24 to 64 bytes"),
            ("whsec_c2hvcnQ=", "place 1: it must hold 24 to 64 bytes"),
            ("whsec_se,cret", "place 1: it is not base64"),
            (&format!("{good} whsec_se!cret"), "place 2: it is not base64"),
        ] {
            let error = SigningSecrets::parse(text).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("cret:") && !error.contains("se!"), "{error}");
        }
    }

    #[test]
    fn blanks_and_padding_do_not_matter() {
        let signed = |text: &str| SigningSecrets::parse(text).unwrap().sign("m", 1, b"{}");
        let padded = "whsec_KM0L3nHyhdzZU90GyyESLyr7KmbZWPrNE4bAYOhD9x8=";
        let want = signed(padded);
        assert_eq!(signed(padded.trim_end_matches('=')), want);
        assert_eq!(signed(padded.trim_start_matches(PREFIX)), want);
        assert_eq!(signed(&format!("\n {padded}\t\n")), want);
    }

    #[test]
    fn secrets_cannot_be_printed() {
        let secrets = SigningSecrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{secrets:?}"), "SigningSecrets(1 [REDACTED])");
    }

    #[test]
    fn development_secrets_stay_on_this_machine() {
        let secrets = SigningSecrets::parse(SigningSecrets::development().expose()).unwrap();
        assert!(secrets.check_place(true).is_ok());
        assert!(secrets.check_place(false).unwrap_err().contains("development secret"));
    }
}
