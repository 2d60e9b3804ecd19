//! What no bytes may break, a function for each fuzz target. `tests/fuzz/` calls them with libFuzzer, the tests below
//! with generated cases on any toolchain. Nobody can forge a signature, so whatever is accepted here must be a
//! delivery of the fixtures. Compiled for tests and fuzzing only.

pub mod answers;

use std::{collections::HashSet, sync::LazyLock};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use lambda_http::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::{
    function_url,
    webhook::{Event, KeySet, Scheme, SigningSecrets, Tolerance, Unverified, Verifier},
};

const NOW: i64 = 1_780_000_000;
const AUDIENCE: &str = "https://example.com/gemini-webhook-dynamic";
const NAMES: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// The fixtures' deliveries and everything that they are checked against.
struct Fixtures {
    secrets: Option<SigningSecrets>,
    keys: Option<KeySet>,
    /// Id, timestamp and body of those that are signed as a whole.
    signed: HashSet<[Vec<u8>; 3]>,
    /// The tokens of all fixtures, also of those deliveries that are rejected for another reason than the token.
    tokens: HashSet<Vec<u8>>,
    /// One that is accepted, to be changed here and there.
    base: [Vec<u8>; 4],
}

static FIXTURES: LazyLock<Fixtures> = LazyLock::new(|| {
    let read: Value =
        serde_json::from_str(include_str!("../tests/fixtures/signatures.json")).unwrap_or_default();
    let cases = || read.get("cases").and_then(Value::as_array).into_iter().flatten();
    let accepted = cases().filter(|case| case.pointer("/expected/verdict") == Some(&json!("accept")));
    let deliveries: Vec<[Vec<u8>; 4]> = accepted.map(delivery).collect();
    let set = |name: &str| read.pointer(&format!("/jwks/{name}/keys")).and_then(Value::as_array).cloned();
    let keys: Vec<Value> = ["three_okp", "rsa_only"].into_iter().filter_map(set).flatten().collect();
    let secrets = cases().filter_map(|case| case.pointer("/configured_secrets/0")?.as_str());
    Fixtures {
        secrets: secrets.take(1).find_map(|text| SigningSecrets::parse(text).ok()),
        keys: KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).ok(),
        signed: deliveries.iter().map(|[id, at, _, body]| [id.clone(), at.clone(), body.clone()]).collect(),
        tokens: cases().map(delivery).map(|[_, _, signature, _]| signature).collect(),
        base: deliveries.first().cloned().unwrap_or_default(),
    }
});

/// Id, timestamp, signature and body of a case.
fn delivery(case: &Value) -> [Vec<u8>; 4] {
    let pairs = || case.get("headers").and_then(Value::as_array).into_iter().flatten();
    let header = |name: &str| {
        let named = |pair: &&Value| {
            pair.get(0).and_then(Value::as_str).is_some_and(|other| other.eq_ignore_ascii_case(name))
        };
        pairs().find(named).and_then(|pair| pair.get(1)?.as_str()).unwrap_or_default().into()
    };
    let body = case.get("body_base64").and_then(Value::as_str).unwrap_or_default();
    let [id, at, signature] = NAMES.map(header);
    [id, at, signature, BASE64_STANDARD.decode(body).unwrap_or_default()]
}

fn check(headers: &HeaderMap, body: &[u8]) {
    let fixtures = &*FIXTURES;
    let delivery = match Unverified::new(headers, Bytes::copy_from_slice(body)) {
        Ok(delivery) => delivery,
        Err(rejection) => return assert!(matches!(rejection.status(), 400 | 401), "{rejection:?}"),
    };
    assert!(!delivery.id().is_empty() && !delivery.id().contains(['~', ',', ' ']), "{:?}", delivery.id());
    let verifier = Verifier {
        secrets: fixtures.secrets.as_ref(),
        keys: fixtures.keys.as_ref(),
        audience: Some(AUDIENCE),
        tolerance: Tolerance { past_seconds: 300, future_seconds: 300 },
    };
    let verified = match verifier.verify(&delivery, NOW) {
        Ok(verified) => verified,
        Err(rejection) => return assert!(matches!(rejection.status(), 400 | 401), "{rejection:?}"),
    };
    let [id, at, signature] =
        NAMES.map(|name| headers.get(name).map(|value| value.as_bytes().to_vec()).unwrap_or_default());
    let known = match verified.scheme() {
        Scheme::Jwt => fixtures.tokens.contains(signature.trim_ascii()),
        _ => fixtures.signed.contains(&[id, at, body.to_vec()]),
    };
    assert!(known, "{verified:?} is nobody's");
}

/// Three header values and a body, a line each. A value that no header can have is left out.
pub fn headers(data: &[u8]) {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in NAMES {
        let value = lines.next().unwrap_or_default();
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    check(&headers, lines.next().unwrap_or_default());
}

fn with_signature(signature: &[u8]) {
    let [id, at, _, body] = &FIXTURES.base;
    headers(&[id.as_slice(), b"\n", at, b"\n", signature, b"\n", body.as_slice()].concat());
}

/// The signature header of a delivery that is right but for it.
pub fn signature(data: &[u8]) {
    with_signature(data);
}

/// A token's header, claims and signature, a line each, so that the JSON in them can be got at.
pub fn jwt(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut part = || BASE64_URL_SAFE_NO_PAD.encode(lines.next().unwrap_or_default());
    let (header, claims, signature) = (part(), part(), part());
    with_signature(format!("{header}.{claims}.{signature}").as_bytes());
}

/// A key set as its server may answer.
pub fn keyset(data: &[u8]) {
    let Ok(keys) = KeySet::parse(data) else { return };
    let [id, at, _, body] = &FIXTURES.base;
    let mut headers = HeaderMap::new();
    let v1a = format!("v1a,{}", BASE64_STANDARD.encode([7; 64]));
    for (name, value) in NAMES.into_iter().zip([id.as_slice(), at, v1a.as_bytes()]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let Ok(delivery) = Unverified::new(&headers, Bytes::copy_from_slice(body)) else { return };
    let tolerance = Tolerance { past_seconds: 300, future_seconds: 300 };
    let verifier = Verifier { secrets: None, keys: Some(&keys), audience: Some(AUDIENCE), tolerance };
    assert!(verifier.verify(&delivery, NOW).is_err(), "a signature of sevens was accepted");
}

/// A body that is signed, and the same bytes as an event of Lambda's.
pub fn event(data: &[u8]) {
    let event = Event::parse(data);
    assert!(event.is_json || event == Event::default(), "{event:?}");
    assert!(event.job_hint.as_deref() != Some(""), "an empty hint");
    let Some(mut event) = serde_json::from_slice(data).ok() else { return };
    let Some(request) = function_url::request(&mut event) else { return };
    let (parts, body) = request.into_parts();
    check(&parts.headers, &body);
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read};

    use flate2::read::GzDecoder;
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    /// Bytes that nearly are something: a seed with a few places cut, doubled or overwritten.
    pub(super) fn near(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
        let edits = vec((any::<Index>(), 0..4_u8, any::<u8>()), 0..6);
        let edited = (proptest::sample::select(seeds), edits).prop_map(|(mut bytes, edits)| {
            for (at, kind, byte) in edits {
                let at = at.index(bytes.len() + 1);
                match kind {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, byte),
                    2 => bytes.extend_from_within(..at.min(200)),
                    _ => {
                        if let Some(place) = bytes.get_mut(at) {
                            *place = byte;
                        }
                    }
                }
            }
            bytes
        });
        prop_oneof![1 => vec(any::<u8>(), 0..300), 9 => edited]
    }

    fn cases() -> Vec<Value> {
        let read: Value = serde_json::from_str(include_str!("../tests/fixtures/signatures.json")).unwrap();
        read["cases"].as_array().unwrap().clone()
    }

    fn whole() -> Vec<Vec<u8>> {
        cases().iter().map(|case| delivery(case).join(&b'\n')).collect()
    }

    fn signatures() -> Vec<Vec<u8>> {
        cases().iter().map(|case| delivery(case)[2].clone()).collect()
    }

    fn tokens() -> Vec<Vec<u8>> {
        let parts = |token: Vec<u8>| {
            let decoded = token.split(|byte| *byte == b'.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part));
            decoded.collect::<Result<Vec<_>, _>>().ok().filter(|parts| parts.len() == 3)
        };
        signatures().into_iter().filter_map(parts).map(|parts| parts.join(&b'\n')).collect()
    }

    fn sets() -> Vec<Vec<u8>> {
        let read: Value = serde_json::from_str(include_str!("../tests/fixtures/signatures.json")).unwrap();
        read["jwks"].as_object().unwrap().values().map(|set| set.to_string().into_bytes()).collect()
    }

    fn events() -> Vec<Vec<u8>> {
        let wrapped = |case: &Value| {
            let [id, at, signature, body] =
                delivery(case).map(|part| String::from_utf8_lossy(&part).into_owned());
            json!({
                "headers": {"webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature},
                "requestContext": {"http": {"method": "POST", "path": "/"}},
                "body": body,
                "isBase64Encoded": false,
            })
        };
        let bodies = cases().iter().map(|case| delivery(case)[3].clone()).collect::<Vec<_>>();
        cases().iter().map(|case| wrapped(case).to_string().into_bytes()).chain(bodies).collect()
    }

    #[test]
    fn the_seeds_reach_what_they_are_for() {
        assert!(FIXTURES.secrets.is_some() && FIXTURES.keys.is_some());
        assert_eq!((whole().len(), tokens().len(), sets().len(), events().len()), (88, 12, 8, 176));
        assert_eq!(FIXTURES.signed.len(), 12);
        for seed in whole() {
            headers(&seed);
        }
    }

    /// One for each branch of the code that libFuzzer has reached so far (`tests/fuzz/run`).
    #[test]
    fn no_kept_input_breaks_it() {
        let packed: &[u8] = include_bytes!("../tests/fuzz/corpus.tar.gz");
        let mut archive = tar::Archive::new(GzDecoder::new(packed));
        let mut inputs = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().into_owned();
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            let target = path.parent().unwrap().to_str().unwrap().to_owned();
            let run = match target.as_str() {
                "headers" => headers,
                "signature" => signature,
                "jwt" => jwt,
                "keyset" => keyset,
                "event" => event,
                "batch" => answers::batch,
                "interaction" => answers::interaction,
                "operation" => answers::operation,
                "error_response" => answers::error_response,
                "lines" => answers::lines,
                "scan" => answers::scan,
                other => panic!("no target {other}"),
            };
            run(&data);
            *inputs.entry(target).or_insert(0) += 1;
        }
        assert_eq!(inputs.len(), 11, "{inputs:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_headers_break_it(data in near(whole())) { headers(&data) }

        #[test]
        fn no_signature_breaks_it(data in near(signatures())) { signature(&data) }

        #[test]
        fn no_token_breaks_it(data in near(tokens())) { jwt(&data) }

        #[test]
        fn no_key_set_breaks_it(data in near(sets())) { keyset(&data) }

        #[test]
        fn no_event_breaks_it(data in near(events())) { event(&data) }
    }
}
