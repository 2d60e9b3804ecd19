//! Every single bit of a rightful delivery turned over, one at a time, in each form: none is accepted as another.

use bytes::Bytes;
use gemhook::webhook::{KeySet, Rejection, SigningSecrets, Tolerance, Unverified, Verified, Verifier};
use lambda_http::http::{HeaderMap, HeaderValue};
use serde_json::json;

use crate::{
    issuer::{Issuer, jwks},
    signing::sign,
};

const NOW: u64 = 1_780_000_000;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const AUDIENCE: &str = "https://hook.example.com";
const BODY: &[u8] = br#"{"type":"batch.succeeded","version":"v1","data":{"id":"batches/123456"}}"#;

struct Receiver {
    secrets: SigningSecrets,
    keys: KeySet,
}

/// Id, timestamp, signature and body.
type Delivery = [Vec<u8>; 4];

impl Receiver {
    fn new(issuer: &Issuer) -> Self {
        let keys = KeySet::parse(jwks(&[issuer]).to_string().as_bytes()).unwrap();
        Self { secrets: SigningSecrets::parse(SECRET).unwrap(), keys }
    }

    /// `None` where it could not even be sent.
    fn verify(&self, [id, at, signature, body]: &Delivery) -> Option<Result<Verified, Rejection>> {
        let mut headers = HeaderMap::new();
        for (name, value) in [("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)]
        {
            headers.insert(name, HeaderValue::from_bytes(value).ok()?);
        }
        let verifier = Verifier {
            secrets: Some(&self.secrets),
            keys: Some(&self.keys),
            audience: Some(AUDIENCE),
            tolerance: Tolerance { past_seconds: 300, future_seconds: 300 },
        };
        let unverified = Unverified::new(&headers, Bytes::from(body.clone()));
        Some(unverified.and_then(|delivery| verifier.verify(&delivery, NOW as i64)))
    }

    /// Turns each bit of one part over and hands on what was accepted all the same.
    fn flip(&self, delivery: &Delivery, part: usize) -> (usize, Vec<Verified>) {
        let bits = delivery[part].len() * 8;
        let accepted = (0..bits).filter_map(|bit| {
            let mut flipped = delivery.clone();
            flipped[part][bit / 8] ^= 1 << (bit % 8);
            self.verify(&flipped)?.ok()
        });
        (bits, accepted.collect())
    }
}

fn delivery(signature: String) -> Delivery {
    ["msg_1".into(), NOW.to_string().into(), signature.into(), BODY.to_vec()]
}

#[test]
fn no_bit_of_a_signed_delivery_can_be_turned_over() {
    let issuer = Issuer::new("rsa-1");
    let receiver = Receiver::new(&issuer);
    for signature in [sign(SECRET, "msg_1", NOW, BODY), issuer.v1a("msg_1", NOW, BODY)] {
        let whole = delivery(signature);
        assert!(receiver.verify(&whole).unwrap().is_ok());
        for part in 0..4 {
            let (bits, accepted) = receiver.flip(&whole, part);
            assert!(bits > 0 && accepted.is_empty(), "part {part}: {accepted:?}");
        }
    }
}

/// A token signs itself alone. Id, time and body beside it may be turned: what comes of it is the same row (or, for
/// a body, the copy beside it), and the body is a hint that the job's own state overrules.
#[test]
fn no_bit_of_a_token_can_be_turned_over_and_what_stands_beside_it_makes_no_other_row() {
    let issuer = Issuer::new("rsa-1");
    let receiver = Receiver::new(&issuer);
    let header = json!({"alg": "RS256", "kid": "rsa-1"});
    let bare = json!({"aud": AUDIENCE, "exp": NOW + 300});
    let telling = json!({"aud": AUDIENCE, "exp": NOW + 300, "type": "batch.succeeded", "version": "v1",
        "data": {"id": "batches/123456"}});
    for (claims, tells) in [(bare, false), (telling, true)] {
        let whole = delivery(issuer.token(&header, &claims));
        let row = receiver.verify(&whole).unwrap().unwrap().row_key().to_owned();
        let (bits, accepted) = receiver.flip(&whole, 2);
        assert!(bits > 3000 && accepted.is_empty(), "{accepted:?}");
        for part in [0, 1, 3] {
            let (_, accepted) = receiver.flip(&whole, part);
            assert!(accepted.iter().all(|verified| verified.row_key() == row));
            assert_eq!(accepted.is_empty(), tells && part == 3, "part {part}");
        }
    }
}
