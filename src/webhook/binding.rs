//! The binding token: what an application puts into a job's `user_metadata` to show that the job is its own.
//!
//! Google's keys prove that Google sent an event, not that our project asked for it. A token is a nonce and its
//! HMAC-SHA-256. It is checked in the event, if that carries the metadata, else in the job as the API shows it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secrets::{SecretError, SecretStore};

/// The member of `user_metadata` that holds the token.
pub const TOKEN: &str = "gemhook_token";

const CONTEXT: &[u8] = b"gemhook binding v1:";
const MIN_KEY_BYTES: usize = 16;
const MAX_NONCE_BYTES: usize = 64;
const TAG_BYTES: usize = 32;

pub struct BindingKey(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for BindingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl BindingKey {
    /// Any text of at least 16 bytes.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() < MIN_KEY_BYTES {
            return Err(format!("is too short: it must have at least {MIN_KEY_BYTES} characters"));
        }
        Ok(Self(Zeroizing::new(text.as_bytes().to_vec())))
    }

    /// A new token, which nobody without this key can make.
    pub fn mint(&self) -> String {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let mac = self.mac(&nonce).map(|mac| BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        format!("{nonce}.{}", mac.unwrap_or_default())
    }

    /// Whether the metadata carry a token of ours.
    pub fn binds(&self, metadata: &Map<String, Value>) -> bool {
        let Some((nonce, tag)) = token(metadata) else { return false };
        self.mac(nonce).is_some_and(|mac| mac.verify_slice(&tag).is_ok())
    }

    fn mac(&self, nonce: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(CONTEXT);
        mac.update(nonce.as_bytes());
        Some(mac)
    }
}

/// Whether any of the metadata contain a token of ours. A token that does not match may be of a key that this instance
/// has not read yet, so the key is then read again, as often as the store allows.
pub async fn is_bound(
    store: &SecretStore<BindingKey>,
    metadata: &[&Map<String, Value>],
) -> Result<bool, SecretError> {
    let bound_by = |key: &BindingKey| metadata.iter().any(|metadata| key.binds(metadata));
    let key = store.get().await?;
    if bound_by(&key) {
        return Ok(true);
    }
    if !metadata.iter().any(|metadata| has_token(metadata)) {
        return Ok(false);
    }
    Ok(store.renewed(&key).await.is_some_and(|newer| bound_by(&newer)))
}

/// Whether the metadata contain a text in the form of a token. Only such a text is a reason to read the key again.
fn has_token(metadata: &Map<String, Value>) -> bool {
    token(metadata).is_some()
}

/// Nonce and HMAC of the token in the metadata: `<nonce>.<base64url of 32 bytes>`.
fn token(metadata: &Map<String, Value>) -> Option<(&str, Vec<u8>)> {
    let (nonce, tag) = metadata.get(TOKEN)?.as_str()?.split_once('.')?;
    let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).ok()?;
    (nonce.len() <= MAX_NONCE_BYTES && tag.len() == TAG_BYTES).then_some((nonce, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(token: Value) -> Map<String, Value> {
        Map::from_iter([("job_group".to_owned(), Value::from("a")), (TOKEN.to_owned(), token)])
    }

    #[test]
    fn only_a_token_of_this_key_binds() {
        let key = BindingKey::parse("correct horse battery").unwrap();
        let token = key.mint();
        assert!(key.binds(&metadata(Value::from(token.clone()))));
        assert!(!BindingKey::parse("another horse battery").unwrap().binds(&metadata(token.clone().into())));
        assert!(!key.binds(&Map::new()));
        let (nonce, tag) = token.split_once('.').unwrap();
        for wrong in [
            Value::Null,
            Value::from(1),
            Value::from(""),
            Value::from("."),
            Value::from(nonce),
            Value::from(format!("{nonce}.")),
            Value::from(format!("0{nonce}.{tag}")),
            Value::from(format!("{nonce}.{}", &tag[..tag.len() - 1])),
            Value::from(format!("{nonce}.{tag}=")),
        ] {
            assert!(!key.binds(&metadata(wrong.clone())), "{wrong}");
        }
        let foreign = BindingKey::parse("another horse battery").unwrap().mint();
        assert!(has_token(&metadata(foreign.into())) && !has_token(&metadata(nonce.into())));
    }

    #[test]
    fn a_key_has_at_least_16_bytes_and_cannot_be_printed() {
        assert!(BindingKey::parse("fifteen letters").is_err());
        let key = BindingKey::parse("sixteen letters!").unwrap();
        assert_eq!(format!("{key:?}"), "[REDACTED]");
    }

    /// As a program in another language would make it, by
    /// `printf 'gemhook binding v1:n1' | openssl dgst -sha256 -hmac 'correct horse battery' -binary | base64`.
    #[test]
    fn the_recipe_is_the_documented_one() {
        let key = BindingKey::parse("correct horse battery").unwrap();
        assert!(key.binds(&metadata(Value::from("n1.gu0MY3ALysTGUAXWjO-kU4D3YMQvyle2gB-GKm1FgCM"))));
    }
}
