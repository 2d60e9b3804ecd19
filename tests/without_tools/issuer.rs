//! A sender with public keys: what Google signs, signed here by a library and keys of our own.

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaEncoding},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

pub struct Issuer {
    /// The id of its RSA key. The other's is the same with `ed-` before it.
    name: &'static str,
    ed25519: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl Issuer {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            ed25519: Ed25519KeyPair::generate().unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    pub fn ed25519_jwk(&self) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.ed25519.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": format!("ed-{}", self.name), "x": x})
    }

    pub fn rsa_jwk(&self) -> Value {
        let n = BASE64_URL_SAFE_NO_PAD.encode(self.modulus());
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.name, "n": n, "e": "AQAB"})
    }

    pub fn modulus(&self) -> Vec<u8> {
        self.rsa.public_key().modulus().big_endian_without_leading_zero().to_vec()
    }

    pub fn public_der(&self) -> Vec<u8> {
        let der: aws_lc_rs::encoding::PublicKeyX509Der = self.rsa.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    /// A `v1a` signature header.
    pub fn v1a(&self, id: &str, at: impl std::fmt::Display, body: &[u8]) -> String {
        let signed = [format!("{id}.{at}.").as_bytes(), body].concat();
        format!("v1a,{}", BASE64_STANDARD.encode(self.ed25519.sign(&signed)))
    }

    pub fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), claims.to_string().as_bytes())
    }

    /// A token of whatever these texts are.
    pub fn token_of(&self, header: &str, claims: &[u8]) -> String {
        self.token_by(&RSA_PKCS1_SHA256, &unsigned(header, claims))
    }

    pub fn token_by(&self, encoding: &'static dyn RsaEncoding, signed: &str) -> String {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token that Ed25519 signs, whatever its header says.
    pub fn token_by_ed25519(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(&header.to_string(), claims.to_string().as_bytes());
        let signature = self.ed25519.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The key set of these senders.
pub fn jwks(issuers: &[&Issuer]) -> Value {
    let keys: Vec<Value> = issuers.iter().flat_map(|one| [one.ed25519_jwk(), one.rsa_jwk()]).collect();
    json!({"keys": keys})
}

pub fn unsigned(header: &str, claims: &[u8]) -> String {
    format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims))
}

/// A token that is an HMAC under this key: what a verifier takes that lets the token choose its algorithm.
pub fn token_by_hmac(key: &[u8], header: &Value, claims: &Value) -> String {
    let signed = unsigned(&header.to_string(), claims.to_string().as_bytes());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
}
