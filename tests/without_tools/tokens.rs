//! Tokens as an attacker would make them, each refused for its reason.

use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use gemhook::webhook::{KeySet, Rejection, Tolerance, Unverified, Verified, Verifier};
use lambda_http::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::issuer::{Issuer, jwks, token_by_hmac, unsigned};

const NOW: i64 = 1_780_000_000;
const AUDIENCE: &str = "https://hook.example.com/gemini";
const BODY: &str = r#"{"type":"batch.succeeded","version":"v1","data":{"id":"batches/1"}}"#;

/// A receiver that trusts one issuer, and a stranger with keys of his own under the same name.
struct Case {
    issuer: Issuer,
    stranger: Issuer,
    keys: KeySet,
}

impl Case {
    fn new() -> Self {
        let issuer = Issuer::new("rsa-1");
        let keys = KeySet::parse(jwks(&[&issuer]).to_string().as_bytes()).unwrap();
        Self { issuer, stranger: Issuer::new("rsa-1"), keys }
    }

    fn verify(&self, id: &str, token: &str, body: &str) -> Result<Verified, Rejection> {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_str(id).unwrap());
        headers.insert("webhook-timestamp", HeaderValue::from(NOW));
        headers.insert("webhook-signature", HeaderValue::from_str(token).unwrap());
        let tolerance = Tolerance { past_seconds: 300, future_seconds: 300 };
        let verifier =
            Verifier { secrets: None, keys: Some(&self.keys), audience: Some(AUDIENCE), tolerance };
        verifier.verify(&Unverified::new(&headers, Bytes::from(body.to_owned()))?, NOW)
    }

    fn reason(&self, token: &str) -> &'static str {
        self.verify("msg_1", token, BODY).map_or_else(Rejection::code, |_| "ok")
    }

    /// The good token with other members. `null` takes a member away.
    fn with(&self, header: Value, claims: Value) -> String {
        self.issuer.token(&changed(head(), header), &changed(good(), claims))
    }

    fn header(&self, changes: Value) -> String {
        self.with(changes, json!({}))
    }

    fn claims(&self, changes: Value) -> String {
        self.with(json!({}), changes)
    }

    fn hold(&self, cases: &[(&str, String, &str)]) {
        for (what, token, expected) in cases {
            assert_eq!(self.reason(token), *expected, "{what}");
        }
    }
}

fn head() -> Value {
    json!({"alg": "RS256", "kid": "rsa-1", "typ": "JWT"})
}

fn good() -> Value {
    let mut claims =
        json!({"iss": "https://accounts.example.com", "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW - 5});
    let event: Value = serde_json::from_str(BODY).unwrap();
    claims.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
    claims
}

fn changed(mut object: Value, changes: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name)
        } else {
            members.insert(name.clone(), value.clone())
        };
    }
    object
}

/// One member more at the end of an object's text, which a JSON library would not write twice.
fn and(object: &Value, member: &str) -> String {
    format!("{},{member}}}", object.to_string().strip_suffix('}').unwrap())
}

#[test]
fn rightful_tokens_are_accepted_in_every_spelling_that_is_allowed() {
    let case = Case::new();
    case.hold(&[
        ("as it should be", case.header(json!({})), "ok"),
        ("without a type", case.header(json!({"typ": null})), "ok"),
        ("type in small letters", case.header(json!({"typ": "jwt"})), "ok"),
        ("an unknown header", case.header(json!({"x": {"y": 1}})), "ok"),
        ("one of several audiences", case.claims(json!({"aud": ["https://other.example", AUDIENCE]})), "ok"),
        ("a fraction of a second", case.claims(json!({"exp": 1_780_000_000.5})), "ok"),
        ("ended within the leeway", case.claims(json!({"exp": NOW - 59})), "ok"),
        ("began within the leeway", case.claims(json!({"nbf": NOW + 60})), "ok"),
        ("no event in the claims", case.claims(json!({"type": null, "version": null, "data": null})), "ok"),
        ("8 KB to the byte", padded_to(&case, 8192), "ok"),
    ]);
    let members_in_another_order = r#"{"data":{"id":"batches/1"},"type":"batch.succeeded","version":"v1"}"#;
    assert!(case.verify("m", &case.header(json!({})), members_in_another_order).is_ok());
}

/// A rightful token of exactly this length. Four characters hold three bytes, so the header may help.
fn padded_to(case: &Case, length: usize) -> String {
    let blank = |n: usize| "a".repeat(n);
    let sizes = (0..4).flat_map(|h| (length * 3 / 4 - 700..length * 3 / 4).map(move |c| (h, c)));
    let (h, c) = sizes
        .into_iter()
        .find(|(h, c)| {
            let header = changed(head(), json!({"pad": blank(*h)}));
            let claims = changed(good(), json!({"pad": blank(*c)}));
            let signed = unsigned(&header.to_string(), claims.to_string().as_bytes());
            signed.len() + 1 + 342 == length
        })
        .unwrap();
    case.with(json!({"pad": blank(h)}), json!({"pad": blank(c)}))
}

#[test]
fn no_token_chooses_its_algorithm() {
    let case = Case::new();
    let none = |alg: &str| format!("{}.", unsigned(&changed(head(), json!({"alg": alg})).to_string(), b"{}"));
    let signed_as = |alg: &str| case.header(json!({"alg": alg}));
    let hs256 = changed(head(), json!({"alg": "HS256"}));
    let signed = unsigned(&head().to_string(), good().to_string().as_bytes());
    let refused = "algorithm_not_allowed";
    case.hold(&[
        ("none", none("none"), refused),
        ("None", none("None"), refused),
        ("NONE", none("NONE"), refused),
        ("nOnE", none("nOnE"), refused),
        ("none over a right signature", signed_as("none"), refused),
        ("an empty name", signed_as(""), refused),
        ("rs256", signed_as("rs256"), refused),
        ("RS256 and a blank", signed_as("RS256 "), refused),
        ("RS384", signed_as("RS384"), refused),
        ("RS512", signed_as("RS512"), refused),
        ("PS256", signed_as("PS256"), refused),
        ("ES256", signed_as("ES256"), refused),
        (
            "EdDSA, rightly signed",
            case.issuer
                .token_by_ed25519(&changed(head(), json!({"alg": "EdDSA", "kid": "ed-rsa-1"})), &good()),
            refused,
        ),
        ("HS256 with the modulus", token_by_hmac(&case.issuer.modulus(), &hs256, &good()), refused),
        ("HS256 with the key's DER", token_by_hmac(&case.issuer.public_der(), &hs256, &good()), refused),
        (
            "HS256 with the key's JWK",
            token_by_hmac(case.issuer.rsa_jwk().to_string().as_bytes(), &hs256, &good()),
            refused,
        ),
        (
            "an HMAC that says RS256",
            token_by_hmac(&case.issuer.public_der(), &head(), &good()),
            "no_matching_signature",
        ),
        ("RS384 that says RS256", case.issuer.token_by(&RSA_PKCS1_SHA384, &signed), "no_matching_signature"),
        ("RS512 that says RS256", case.issuer.token_by(&RSA_PKCS1_SHA512, &signed), "no_matching_signature"),
        ("PS256 that says RS256", case.issuer.token_by(&RSA_PSS_SHA256, &signed), "no_matching_signature"),
        ("Ed25519 that says RS256", case.issuer.token_by_ed25519(&head(), &good()), "no_matching_signature"),
        ("by the id of the Ed25519 key", case.header(json!({"kid": "ed-rsa-1"})), "unknown_key"),
        ("no algorithm", case.header(json!({"alg": null})), "malformed_signature"),
        ("a number", case.header(json!({"alg": 256})), "malformed_signature"),
        ("a list", case.header(json!({"alg": ["RS256"]})), "malformed_signature"),
    ]);
}

#[test]
fn no_token_brings_its_own_key() {
    let case = Case::new();
    let by_stranger = |header: Value| case.stranger.token(&changed(head(), header), &good());
    let malformed = "malformed_signature";
    let long = "k".repeat(129);
    case.hold(&[
        ("another's key under the id of ours", by_stranger(json!({})), "no_matching_signature"),
        ("jwk", by_stranger(json!({"jwk": case.stranger.rsa_jwk()})), malformed),
        ("jku", by_stranger(json!({"jku": "https://evil.example/keys"})), malformed),
        ("x5u", by_stranger(json!({"x5u": "https://evil.example/cert"})), malformed),
        ("x5c", by_stranger(json!({"x5c": ["AAAA"]})), malformed),
        ("jku, rightly signed", case.header(json!({"jku": "https://evil.example/keys"})), malformed),
        ("crit", case.header(json!({"crit": ["exp"]})), malformed),
        ("crit, empty", case.header(json!({"crit": []})), malformed),
        ("an unencoded payload", case.header(json!({"b64": false, "crit": ["b64"]})), malformed),
        ("b64 alone", case.header(json!({"b64": true})), malformed),
        ("zipped", case.header(json!({"zip": "DEF"})), malformed),
        ("encrypted", case.header(json!({"enc": "A128GCM"})), malformed),
        ("no id", case.header(json!({"kid": null})), "unknown_key"),
        ("an empty id", case.header(json!({"kid": ""})), "unknown_key"),
        ("an unknown id", case.header(json!({"kid": "rsa-2"})), "unknown_key"),
        ("an id in other letters", case.header(json!({"kid": "RSA-1"})), "unknown_key"),
        ("an id of 129 characters", case.header(json!({"kid": long})), "unknown_key"),
        ("an id of 10 KB", case.header(json!({"kid": "k".repeat(10_240)})), malformed),
        ("a path", case.header(json!({"kid": "../../../../dev/null"})), "unknown_key"),
        ("quotes", case.header(json!({"kid": "' OR '1'='1"})), "unknown_key"),
        ("a number", case.header(json!({"kid": 1})), malformed),
        ("a list", case.header(json!({"kid": ["rsa-1"]})), malformed),
    ]);
}

#[test]
fn a_member_that_is_there_twice_is_not_read_at_all() {
    let case = Case::new();
    let twice_in_header =
        |member: &str| case.issuer.token_of(&and(&head(), member), good().to_string().as_bytes());
    let twice_in_claims =
        |member: &str| case.issuer.token_of(&head().to_string(), and(&good(), member).as_bytes());
    for member in
        [r#""alg":"none""#, r#""alg":"RS256""#, r#""kid":"rsa-2""#, r#""typ":"JWT""#, r#""\u0061lg":"none""#]
    {
        assert_eq!(case.reason(&twice_in_header(member)), "malformed_signature", "{member}");
    }
    for member in
        [r#""exp":9999999999"#, r#""aud":"x""#, r#""type":"batch.failed""#, r#""iss":"x""#, r#""data":{}"#]
    {
        assert_eq!(case.reason(&twice_in_claims(member)), "malformed_signature", "{member}");
    }
    assert_eq!(case.reason(&twice_in_claims(r#""other":1"#)), "ok", "the way of making them is right");
}

#[test]
fn a_token_has_three_parts_in_the_one_right_spelling() {
    let case = Case::new();
    let token = case.header(json!({}));
    let [head, claims, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let sized = |n: usize| {
        let mut bytes = bytes.clone();
        bytes.resize(n, 0);
        format!("{head}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    };
    // The last character of 256 bytes has four bits to spare; any but zeros spell the same bytes once more.
    let last = signature.chars().last().unwrap();
    let respelled = format!("{}{}", &token[..token.len() - 1], char::from(last as u8 + 1));
    let (malformed, no_match) = ("malformed_signature", "no_matching_signature");
    let nested = |text: &str| case.issuer.token_of(&self::head().to_string(), text.as_bytes());
    case.hold(&[
        ("two parts", format!("{head}.{claims}"), malformed),
        ("two parts and an end", format!("{head}.{claims}."), no_match),
        ("four parts", format!("{token}.{signature}"), malformed),
        ("five parts, as encrypted ones", format!("{head}.a.{claims}.b.{signature}"), malformed),
        ("dots alone", "..".to_owned(), malformed),
        ("no header", format!(".{claims}.{signature}"), malformed),
        ("no claims", format!("{head}..{signature}"), malformed),
        ("padded header", format!("{head}=.{claims}.{signature}"), malformed),
        ("padded claims", format!("{head}.{claims}=.{signature}"), malformed),
        ("padded signature", format!("{token}=="), no_match),
        ("a blank inside", format!("{head}. {claims}.{signature}"), malformed),
        (
            "a tab in the signature",
            format!("{head}.{claims}.{}\t{}", &signature[..9], &signature[9..]),
            no_match,
        ),
        ("two tokens", format!("{token} {token}"), malformed),
        ("spare bits", respelled, no_match),
        ("no signature", sized(0), no_match),
        ("a byte too few", sized(255), no_match),
        ("a byte too many", sized(257), no_match),
        ("zeros", format!("{head}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 256])), no_match),
        ("a token in a token", nested(&token), malformed),
        ("a token in a text", nested(&json!(token).to_string()), malformed),
        ("a nested token by its header", case.header(json!({"cty": "JWT"})), malformed),
        ("claims that are a list", nested("[]"), malformed),
        ("claims that are nothing", nested("null"), malformed),
        ("more after the claims", nested(&format!("{} {{}}", good())), malformed),
        (
            "claims of no known letters",
            case.issuer.token_of(&self::head().to_string(), b"{\"a\":\"\xff\"}"),
            malformed,
        ),
        ("depth", nested(&format!("{{\"a\":{}{}}}", "[".repeat(2000), "]".repeat(2000))), malformed),
        ("a byte more than 8 KB", padded_to(&case, 8193), malformed),
        ("another type", case.header(json!({"typ": "JOSE"})), malformed),
        ("a type for another use", case.header(json!({"typ": "dpop+jwt"})), malformed),
        ("a number for a type", case.header(json!({"typ": 1})), malformed),
        ("behind v1", format!("v1,{token}"), "no_supported_signature"),
        ("behind v1a", format!("v1a,{token}"), no_match),
    ]);
}

#[test]
fn claims_of_the_wrong_type_or_time_do_not_count() {
    let case = Case::new();
    let exp = |text: &str| {
        let claims = and(&changed(good(), json!({"exp": null})), &format!("\"exp\":{text}"));
        case.issuer.token_of(&head().to_string(), claims.as_bytes())
    };
    let (malformed, expired) = ("malformed_signature", "token_expired");
    case.hold(&[
        ("exp as a text", exp("\"9999999999\""), malformed),
        ("exp as a list", exp("[9999999999]"), malformed),
        ("exp as an object", exp("{\"a\":1}"), malformed),
        ("exp as a truth", exp("true"), malformed),
        ("exp beyond all numbers", exp("1e400"), malformed),
        ("exp that is no number", exp("NaN"), malformed),
        ("exp null", exp("null"), expired),
        ("exp missing", case.claims(json!({"exp": null})), expired),
        ("exp just past the leeway", case.claims(json!({"exp": NOW - 60})), expired),
        ("exp zero", exp("0"), expired),
        ("exp below zero", exp("-1e300"), expired),
        ("nbf to come", case.claims(json!({"nbf": NOW + 61})), "timestamp_too_new"),
        ("nbf as a text", case.claims(json!({"nbf": "0"})), malformed),
        ("iat as a text", case.claims(json!({"iat": "0"})), malformed),
        ("iat as a list", case.claims(json!({"iat": [0]})), malformed),
        ("iat as an object", case.claims(json!({"iat": {}})), malformed),
    ]);
}

#[test]
fn a_token_for_somebody_else_is_refused() {
    let case = Case::new();
    let aud = |aud: Value| case.claims(json!({"aud": aud}));
    let wrong = "wrong_audience";
    case.hold(&[
        ("missing", aud(Value::Null), wrong),
        ("another", aud(json!("https://evil.example.com/gemini")), wrong),
        ("a part of ours", aud(json!("https://hook.example.com")), wrong),
        ("ours and more", aud(json!(format!("{AUDIENCE}/"))), wrong),
        ("in other letters", aud(json!(AUDIENCE.to_uppercase())), wrong),
        ("empty", aud(json!("")), wrong),
        ("an empty list", aud(json!([])), wrong),
        ("a list of others", aud(json!(["a", "b"])), wrong),
        ("a list in a list", aud(json!([[AUDIENCE]])), "malformed_signature"),
        ("a number", aud(json!(1)), "malformed_signature"),
        ("an object", aud(json!({AUDIENCE: true})), "malformed_signature"),
    ]);
}

#[test]
fn a_body_that_contradicts_the_claims_is_refused() {
    let case = Case::new();
    let token = case.header(json!({}));
    for body in [
        "",
        "null",
        "[]",
        "{",
        r#"{"type":"batch.succeeded","version":"v1","data":{"id":"batches/2"}}"#,
        r#"{"type":"batch.failed","version":"v1","data":{"id":"batches/1"}}"#,
        r#"{"type":"batch.succeeded","version":"v1"}"#,
        r#"{"type":"batch.succeeded","data":{"id":"batches/1"}}"#,
        r#"{"type":"batch.succeeded","version":"v1","data":{"id":"batches/1","more":1}}"#,
    ] {
        assert_eq!(case.verify("m", &token, body).unwrap_err(), Rejection::BodyMismatch, "{body}");
    }
}

#[test]
fn a_token_is_one_delivery_under_whatever_id_it_comes() {
    let case = Case::new();
    let token = case.header(json!({}));
    let [first, second] =
        ["msg_1", "msg_2"].map(|id| case.verify(id, &token, BODY).unwrap().row_key().to_owned());
    assert_eq!(first, second);
    assert!(first.starts_with("jwt~") && first.len() == 36, "{first}");
    let another = case.verify("msg_1", &case.claims(json!({"iat": NOW})), BODY).unwrap();
    assert_ne!(another.row_key(), first);
}

#[test]
fn keys_that_are_for_something_else_are_not_used() {
    let issuer = Issuer::new("rsa-1");
    let token = issuer.token(&head(), &good());
    let reason = |key: Value| {
        let keys = KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
        Case { issuer: Issuer::new("a"), stranger: Issuer::new("b"), keys }.reason(&token)
    };
    assert_eq!(reason(issuer.rsa_jwk()), "ok");
    assert_eq!(reason(changed(issuer.rsa_jwk(), json!({"key_ops": ["sign", "verify"]}))), "ok");
    for odd in [
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt"]}),
        json!({"key_ops": []}),
        json!({"key_ops": "verify"}),
        json!({"alg": "RS512"}),
        json!({"alg": "HS256"}),
        json!({"kty": "oct"}),
        json!({"kid": null}),
        json!({"e": "AQ"}),
        json!({"e": "AAAAAQ"}),
        json!({"e": "Ag"}),
        json!({"e": ""}),
        json!({"n": BASE64_URL_SAFE_NO_PAD.encode([0xff; 255])}),
        json!({"n": ""}),
    ] {
        assert_eq!(reason(changed(issuer.rsa_jwk(), odd.clone())), "unknown_key", "{odd}");
    }
    assert_eq!(
        reason(changed(issuer.rsa_jwk(), json!({"use": "enc", "key_ops": ["verify"]}))),
        "unknown_key"
    );
    // An exponent of one makes every message its own signature: nothing else would refuse it.
    let short = BASE64_URL_SAFE_NO_PAD.encode([&[0; 128][..], &issuer.modulus()[..128]].concat());
    assert_eq!(reason(changed(issuer.rsa_jwk(), json!({"n": short}))), "no_matching_signature");
}

#[test]
fn an_ed25519_key_that_is_for_something_else_is_not_used() {
    let issuer = Issuer::new("rsa-1");
    let keys = |key: Value| KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
    for right in [json!({}), json!({"alg": null}), json!({"alg": "Ed25519"})] {
        assert!(!keys(changed(issuer.ed25519_jwk(), right.clone())).is_empty(), "{right}");
    }
    for odd in [
        json!({"use": "enc"}),
        json!({"key_ops": ["sign"]}),
        json!({"alg": "RS256"}),
        json!({"alg": "ES256"}),
        json!({"crv": "X25519"}),
        json!({"x": "AAAA"}),
    ] {
        assert!(keys(changed(issuer.ed25519_jwk(), odd.clone())).is_empty(), "{odd}");
    }
    assert!(!keys(issuer.rsa_jwk()).is_empty(), "keys of one kind are enough");
}
