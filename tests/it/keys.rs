//! The sender's public keys: fetched seldom, kept long, and never a reason to turn a rightful delivery away for good.

use std::sync::Arc;

use bytes::Bytes;
use gemhook::{
    config::ReceiverSettings,
    secrets::PLACEHOLDER,
    webhook::{Authenticator, JwksCache, Tolerance, Unverified, Verdict, binding::BindingKey},
};
use lambda_http::http::{HeaderMap, HeaderValue};
use serde_json::json;

use crate::{
    endpoint::{Answers, BODY, Endpoint, HandClock, SECRET, Server},
    issuer::{Issuer, jwks},
    support::{sign, text},
};

/// The set of these senders, to be kept for as long as this says.
fn cached(issuers: &[&Issuer], control: &str) -> Answers {
    let headers = vec![("cache-control", control.to_owned())];
    Answers::With(200, headers, jwks(issuers).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_at_the_start_is_not_asked_for_again() {
    let issuer = Issuer::new("rsa-1");
    let endpoint = Endpoint::start(cached(&[&issuer], "max-age=300"), &[]).await;
    endpoint.receiver.prepare().await;
    assert_eq!((endpoint.keys.asked(), endpoint.secrets.asked()), (1, 1));
    // The request that only connects names no operation.
    assert_eq!(endpoint.dynamodb.take(), [("unknown".to_owned(), 1)].into());
    assert!(endpoint.rows().await.is_empty());
    assert_eq!(endpoint.v1a("msg_1", &issuer).await, 200);
    assert_eq!(endpoint.v1("msg_2", SECRET).await, 200);
    assert_eq!((endpoint.keys.asked(), endpoint.secrets.asked()), (0, 0));
    assert_eq!(endpoint.dynamodb.take(), [("PutItem".to_owned(), 2)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_could_prepare_nothing_is_made_good_by_the_deliveries() {
    let issuer = Issuer::new("rsa-1");
    let endpoint = Endpoint::start(Answers::Never, &[]).await;
    endpoint.secrets.now_answers(Answers::broken());
    endpoint.receiver.prepare().await;
    endpoint.secrets.now_answers(Answers::secret(SECRET));
    endpoint.keys.now_answers(cached(&[&issuer], "max-age=300"));
    endpoint.pass(30);
    assert_eq!(endpoint.v1("msg_1", SECRET).await, 200);
    assert_eq!(endpoint.v1a("msg_2", &issuer).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_fresh_for_as_long_as_its_answer_says_within_bounds() {
    let issuer = Issuer::new("rsa-1");
    let endpoint = Endpoint::start(Answers::broken(), &[]).await;
    for (at, (control, seconds)) in [
        ("public, max-age=7200", 7200),
        ("max-age=0", 300),
        ("max-age=99999999", 86_400),
        ("max-age=9223372036854775807", 86_400),
        ("no-store", 3600),
        ("max-age=soon", 3600),
        ("max-age=-1", 300),
    ]
    .into_iter()
    .enumerate()
    {
        let accepted = async |which: &str| endpoint.v1a(&format!("msg_{at}_{which}"), &issuer).await == 200;
        endpoint.keys.now_answers(cached(&[&issuer], control));
        endpoint.pass(86_400);
        assert!(accepted("first").await, "{control}");
        endpoint.pass(seconds - 1);
        assert!(accepted("second").await, "{control}");
        assert_eq!(endpoint.keys.asked(), 1, "{control}: fresh until then");
        endpoint.pass(1);
        assert!(accepted("third").await, "{control}");
        assert_eq!(endpoint.keys.asked(), 1, "{control}: and no longer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_keys_serve_while_no_newer_ones_are_to_be_had() {
    let issuer = Issuer::new("rsa-1");
    let endpoint = Endpoint::start(cached(&[&issuer], "max-age=300"), &[]).await;
    assert_eq!(endpoint.v1a("msg_0", &issuer).await, 200);
    assert_eq!(endpoint.keys.asked(), 1);
    let moved = Server::start(cached(&[&issuer], "max-age=300")).await;
    let odd = |text: &str| Answers::With(200, Vec::new(), text.to_owned());
    let small = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, {"kty": "EC"}]}).to_string();
    for (what, answers) in [
        ("down", Answers::broken()),
        ("elsewhere", Answers::With(302, vec![("location", moved.url.clone())], String::new())),
        ("cut short", odd(r#"{"keys":[{"kty":"OKP","#)),
        ("no set", odd("[]")),
        ("nothing", odd("")),
        ("deep", odd(&"[".repeat(100_000))),
        ("without a key", odd(r#"{"keys":[]}"#)),
        ("without a useful key", odd(&small)),
        ("endless", Answers::Endlessly),
        ("silent", Answers::Never),
    ] {
        endpoint.keys.now_answers(answers);
        endpoint.pass(86_400);
        for id in ["v1a", "jwt"] {
            let id = format!("msg_{id}_{}", what.replace(' ', "_"));
            let status = match id.contains("v1a") {
                true => endpoint.v1a(&id, &issuer).await,
                false => endpoint.token(&id, &issuer, "rsa-1").await,
            };
            assert_eq!(status, 200, "{what}");
        }
        assert_eq!(endpoint.keys.asked(), 1, "{what}: the second delivery did not ask again");
    }
    assert_eq!(moved.asked(), 0, "nobody is followed elsewhere");
    // The set may have 256 KiB; the rest is what the sockets hold.
    assert!(endpoint.keys.written() < 16 * 1024 * 1024, "{} bytes were read", endpoint.keys.written());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_fetched_once_and_known_keys_never_wait_for_it() {
    let (old, new, stranger) = (Issuer::new("rsa-1"), Issuer::new("rsa-2"), Issuer::new("rsa-3"));
    let endpoint = Endpoint::start(cached(&[&old], "max-age=86400"), &[]).await;
    assert_eq!(endpoint.v1a("msg_1", &old).await, 200);
    assert_eq!(endpoint.keys.asked(), 1);

    endpoint.keys.now_answers(cached(&[&new, &old], "max-age=86400"));
    endpoint.pass(30);
    assert_eq!(endpoint.v1a("msg_2", &new).await, 503, "a refresh is needed and not allowed yet: never 401");
    assert_eq!(endpoint.token("msg_3", &new, "rsa-2").await, 503);
    assert_eq!(endpoint.token("msg_4", &old, "rsa-1").await, 200, "known keys are not held up");
    assert_eq!(endpoint.keys.asked(), 0);

    endpoint.pass(30);
    assert_eq!(endpoint.v1a("msg_2", &new).await, 200);
    assert_eq!(endpoint.token("msg_3", &new, "rsa-2").await, 200);
    assert_eq!(endpoint.keys.asked(), 1, "one fetch brought both");

    // A forger receives 401 where the keys are newer than his delivery, and 503 for the rest of each minute.
    let mut answers = Vec::new();
    for second in 0..180 {
        endpoint.pass(1);
        answers.push(endpoint.v1a(&format!("msg_forged_{second}"), &stranger).await);
        assert_eq!(endpoint.v1a(&format!("msg_true_{second}"), &old).await, 200);
    }
    assert_eq!(endpoint.keys.asked(), 3);
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 3);
    assert_eq!(answers.iter().filter(|status| **status == 503).count(), 177);
}

/// At the authenticator itself: 64 writes at once are another matter.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_once_cause_one_fetch() {
    let (old, new) = (Issuer::new("rsa-1"), Issuer::new("rsa-2"));
    let server = Server::start(cached(&[&old], "max-age=86400")).await;
    let clock = Arc::new(HandClock::default());
    let keys = JwksCache::new(server.url.parse().unwrap()).unwrap().with_clock(clock.clone());
    let tolerance = Tolerance { past_seconds: 300, future_seconds: 300 };
    let authenticator =
        Authenticator { secrets: None, keys: Some(keys), audience: None, binding: None, tolerance };
    let accepted = async |issuer: &Issuer| {
        let deliveries = (0..64).map(|n| {
            let (id, at) = (format!("msg_{n}"), clock.seconds());
            let mut headers = HeaderMap::new();
            let signature = issuer.v1a(&id, at, b"{}");
            for (name, value) in
                [("webhook-id", id), ("webhook-timestamp", at.to_string()), ("webhook-signature", signature)]
            {
                headers.insert(name, HeaderValue::try_from(value).unwrap());
            }
            Unverified::new(&headers, Bytes::from_static(b"{}")).unwrap()
        });
        let deliveries: Vec<Unverified> = deliveries.collect();
        let at_once = deliveries.iter().map(|delivery| authenticator.authenticate(delivery, clock.seconds()));
        let verdicts = futures_util::future::join_all(at_once).await;
        verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Authenticated(_))).count()
    };
    assert_eq!((accepted(&old).await, server.asked()), (64, 1));
    server.now_answers(cached(&[&new], "max-age=86400"));
    clock.pass(60);
    assert_eq!((accepted(&new).await, server.asked()), (64, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_a_delivery_is_asked_for_again_and_the_secret_still_proves() {
    let issuer = Issuer::new("rsa-1");
    let endpoint = Endpoint::start(Answers::broken(), &[]).await;
    assert_eq!(endpoint.v1a("msg_1", &issuer).await, 503);
    assert_eq!(endpoint.token("msg_2", &issuer, "rsa-1").await, 503);
    assert_eq!(endpoint.v1("msg_3", SECRET).await, 200);
    let both = format!("v1,AAAA {}", issuer.v1a("msg_4", endpoint.now(), BODY.as_bytes()));
    assert_eq!(endpoint.post("msg_4", &both, BODY).await, 503, "the secret disproves only its own entry");
    assert_eq!(endpoint.keys.asked(), 1, "the others did not ask again at once");
    // Where no key could help, none is fetched.
    for signature in ["v1a,AAAA", "a.b.c", "v2,AAAA", "v1,AAAA"] {
        assert_eq!(endpoint.post("msg_4", signature, "{}").await, 401, "{signature}");
    }
    for header in [
        json!({"alg": "RS256"}),
        json!({"alg": "RS256", "kid": ""}),
        json!({"alg": "RS256", "kid": "k".repeat(129)}),
    ] {
        let unnamed = issuer.token(&header, &json!({}));
        assert_eq!(endpoint.post("msg_5", &unnamed, "{}").await, 401, "a token that names no key: {header}");
    }
    assert_eq!(endpoint.keys.asked(), 0);

    endpoint.keys.now_answers(cached(&[&issuer], "max-age=300"));
    endpoint.pass(5);
    assert_eq!(endpoint.v1a("msg_1", &issuer).await, 200);
}

/// Where the secret has decided, no keys are fetched: they could change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_secret_proves_causes_no_fetch_of_keys() {
    let issuer = Issuer::new("rsa-1");
    let endpoint = Endpoint::start(cached(&[&issuer], "max-age=300"), &[]).await;
    let v1 = |id: &str, at: u64| sign(SECRET, id, at, BODY.as_bytes());
    let both = format!("{} {}", v1("msg_1", endpoint.now()), issuer.v1a("msg_1", endpoint.now(), b"other"));
    assert_eq!(endpoint.post("msg_1", &both, BODY).await, 200);
    assert_eq!(endpoint.keys.asked(), 0);
}

/// A set may have 256 KiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_has_its_limit_to_the_byte() {
    let issuer = Issuer::new("rsa-1");
    for (bytes, status) in [(256 * 1024, 200), (256 * 1024 + 1, 503)] {
        let set = jwks(&[&issuer]).to_string();
        let set = format!("{set}{}", " ".repeat(bytes - set.len()));
        let endpoint = Endpoint::start(Answers::With(200, Vec::new(), set), &[]).await;
        assert_eq!(endpoint.v1a("msg_1", &issuer).await, status, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_counts_only_where_its_anchor_is_configured() {
    let issuer = Issuer::new("rsa-1");
    let keys = || cached(&[&issuer], "max-age=300");
    for (what, settings, expected) in [
        ("all", vec![], [200, 200, 200]),
        ("no dynamic webhooks", vec![("DYNAMIC_WEBHOOKS", "false")], [200, 401, 401]),
        ("no audience", vec![("JWT_AUDIENCE", "")], [200, 200, 401]),
        ("no secret", vec![("WEBHOOK_SECRET_ID", "")], [401, 200, 200]),
    ] {
        let endpoint = Endpoint::start(keys(), &settings).await;
        let answers = [
            endpoint.v1("msg_1", SECRET).await,
            endpoint.v1a("msg_2", &issuer).await,
            endpoint.token("msg_3", &issuer, "rsa-1").await,
        ];
        assert_eq!(answers, expected, "{what}");
    }
}

/// A stack of the template's with dynamic webhooks and a binding key, as `docs/dynamic.md` sets it up, before anybody
/// registered a static webhook: its signing secret holds the placeholder.
#[tokio::test(flavor = "multi_thread")]
async fn a_signing_secret_that_is_not_set_hides_no_public_key() {
    let (issuer, stranger) = (Issuer::new("rsa-1"), Issuer::new("rsa-1"));
    let key = "correct horse battery";
    let settings = [("BINDING_KEY_SECRET_ID", "binding-key")];
    let endpoint = Endpoint::start(cached(&[&issuer], "max-age=86400"), &settings).await;
    let secrets = |signing: &str| {
        Answers::Secrets(vec![("signing-secret", signing.to_owned()), ("binding-key", key.to_owned())])
    };
    endpoint.secrets.now_answers(secrets(PLACEHOLDER));
    assert_eq!(endpoint.v1a("msg_1", &issuer).await, 200);
    assert_eq!(endpoint.token("msg_2", &issuer, "rsa-1").await, 200);
    let at = endpoint.now();
    let token = BindingKey::parse(key).unwrap().mint();
    for (id, token, expected) in [("msg_3", token.as_str(), 200), ("msg_4", "n.x", 401)] {
        let event = json!({"type": "batch.succeeded", "user_metadata": {"gemhook_token": token}}).to_string();
        let signature = issuer.v1a(id, at, event.as_bytes());
        assert_eq!(endpoint.post(id, &signature, &event).await, expected, "{token}");
    }
    let body = BODY.as_bytes();
    let both = format!("{} {}", sign(SECRET, "msg_5", at, body), issuer.v1a("msg_5", at, body));
    assert_eq!(endpoint.post("msg_5", &both, BODY).await, 200, "one entry that can be checked is enough");
    assert_eq!(endpoint.rows().await.len(), 4);

    // The secret may be set later and prove these, so they are asked for again.
    let forged = format!("{} {}", sign(SECRET, "msg_6", at, body), stranger.v1a("msg_6", at, body));
    assert_eq!(endpoint.v1("msg_6", SECRET).await, 503);
    assert_eq!(endpoint.post("msg_6", &forged, BODY).await, 503);
    // No secret can prove these.
    for signature in ["v1a,AAAA", "v2,AAAA", "a.b.c"] {
        assert_eq!(endpoint.post("msg_7", signature, BODY).await, 401, "{signature}");
    }
    endpoint.pass(60);
    assert_eq!(endpoint.v1a("msg_8", &stranger).await, 401);

    endpoint.secrets.now_answers(secrets(SECRET));
    endpoint.pass(2);
    assert_eq!(endpoint.v1("msg_6", SECRET).await, 200, "the secret was set");
}

/// Whether a job must be proved to be ours is decided by the row alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_what_proved_it() {
    let issuer = Issuer::new("rsa-1");
    let endpoint = Endpoint::start(cached(&[&issuer], "max-age=300"), &[]).await;
    assert_eq!(endpoint.v1("msg_1", SECRET).await, 200);
    assert_eq!(endpoint.v1a("msg_1", &issuer).await, 200);
    assert_eq!(endpoint.token("msg_1", &issuer, "rsa-1").await, 200);
    let mut rows: Vec<[String; 4]> = Vec::new();
    for row in endpoint.rows().await {
        rows.push(["webhook_id", "scheme", "trust", "key_id"].map(|name| text(&row, name).to_owned()));
    }
    rows.sort();
    let secret = format!("whsec_...{}", &SECRET[SECRET.len() - 4..]);
    assert!(rows[0][0].starts_with("jwt~"), "{rows:?}");
    assert_eq!(rows[0][1..], ["jwt", "issuer", "rsa-1"]);
    assert_eq!(rows[1], ["msg_1", "v1", "project", &secret]);
    assert_eq!(rows[2], ["v1a~msg_1", "v1a", "issuer", "ed-rsa-1"]);
}

#[test]
fn keys_come_over_https_or_from_this_machine() {
    for (url, works) in [
        ("https://keys.example.com/set.json", true),
        ("http://127.0.0.1:9/", true),
        ("http://[::1]:9/", true),
        ("http://localhost:9/", true),
        ("http://keys.example.com/", false),
        ("http://127.0.0.1.example.com/", false),
        ("http://127.0.0.1@example.com/", false),
        ("file:///etc/passwd", false),
        ("keys", false),
    ] {
        let settings = ReceiverSettings::read(&|name| match name {
            "DELIVERIES_TABLE" => Some("deliveries".to_owned()),
            "DYNAMIC_WEBHOOKS" => Some("true".to_owned()),
            "JWKS_URL" => Some(url.to_owned()),
            _ => None,
        });
        assert_eq!(settings.is_ok(), works, "{url}: {settings:?}");
    }
}
