//! Secrets in Secrets Manager: rotated without a redeploy, kept while the store is away, and never shown.

use gemhook::{
    secrets::{PLACEHOLDER, Secret, SecretSource, SecretStore},
    webhook::{SigningSecrets, binding::BindingKey},
};

use crate::{
    endpoint::{Answers, Endpoint, SECRET},
    issuer::{Issuer, jwks},
};

const NEWER: &str = "whsec_KM0L3nHyhdzZU90GyyESLyr7KmbZWPrNE4bAYOhD9x8=";
const STRANGERS: &str = "whsec_ZZZZ3nHyhdzZU90GyyESLyr7KmbZWPrNE4bAYOhD9x8=";

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_one_write_and_loses_nothing() {
    let endpoint = Endpoint::start(Answers::broken(), &[]).await;
    assert_eq!(endpoint.v1("msg_1", SECRET).await, 200);
    assert_eq!(endpoint.secrets.asked(), 1);

    endpoint.secrets.now_answers(Answers::secret(&format!("{NEWER} {SECRET}")));
    endpoint.pass(30);
    assert_eq!(endpoint.v1("msg_2", SECRET).await, 200, "the old one proves");
    assert_eq!(endpoint.secrets.asked(), 0, "and nobody asked");
    assert_eq!(endpoint.v1("msg_3", NEWER).await, 200, "the new one is looked for when it is first needed");
    assert_eq!(endpoint.v1("msg_4", SECRET).await, 200, "both prove");
    assert_eq!(endpoint.secrets.asked(), 1);

    endpoint.secrets.now_answers(Answers::secret(NEWER));
    endpoint.pass(300);
    assert_eq!(endpoint.v1("msg_5", NEWER).await, 200);
    assert_eq!(
        endpoint.v1("msg_6", SECRET).await,
        401,
        "what was taken out proves nothing once the value is read anew"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_signatures_cause_one_read_in_a_while() {
    let endpoint = Endpoint::start(Answers::broken(), &[]).await;
    assert_eq!(endpoint.v1("msg_1", SECRET).await, 200);
    assert_eq!(endpoint.secrets.asked(), 1);
    for second in 0..300 {
        endpoint.pass(1);
        assert_eq!(endpoint.v1(&format!("msg_{second}"), STRANGERS).await, 401);
    }
    assert_eq!(endpoint.secrets.asked(), 10, "one in thirty seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_once_read_outlives_its_store() {
    let endpoint = Endpoint::start(Answers::broken(), &[]).await;
    assert_eq!(endpoint.v1("msg_1", SECRET).await, 200);
    for (at, answers) in [
        Answers::broken(),
        Answers::secret("whsec_no!base64"),
        Answers::secret(""),
        Answers::secret(PLACEHOLDER),
        Answers::Never,
    ]
    .into_iter()
    .enumerate()
    {
        endpoint.secrets.now_answers(answers);
        endpoint.pass(3600);
        endpoint.secrets.asked();
        assert_eq!(endpoint.v1(&format!("msg_{at}"), SECRET).await, 200);
        assert_eq!(endpoint.v1(&format!("msg_{at}_2"), SECRET).await, 200);
        assert_eq!(endpoint.v1("msg_forged", STRANGERS).await, 401);
        assert_eq!(endpoint.secrets.asked(), 1, "the others did not ask again at once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_secret_nothing_is_refused_and_strangers_cause_no_calls() {
    let endpoint = Endpoint::start(Answers::broken(), &[]).await;
    for answers in [Answers::broken(), Answers::secret(PLACEHOLDER), Answers::secret("whsec_no!base64")] {
        endpoint.secrets.now_answers(answers);
        endpoint.pass(2);
        for _ in 0..100 {
            assert_eq!(endpoint.v1("msg_1", SECRET).await, 503);
        }
        assert_eq!(endpoint.secrets.asked(), 1);
    }
    endpoint.secrets.now_answers(Answers::secret(SECRET));
    endpoint.pass(2);
    assert_eq!(endpoint.v1("msg_1", SECRET).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_key_is_read_only_for_an_event_that_the_issuer_signed() {
    let issuer = Issuer::new("rsa-1");
    let set = Answers::json(&jwks(&[&issuer]));
    let endpoint = Endpoint::start(set, &[("BINDING_KEY_SECRET_ID", "binding-key")]).await;
    let key = "correct horse battery";
    let told = |token: &str| {
        format!(
            r#"{{"type":"batch.succeeded","data":{{"id":"batches/1"}},"user_metadata":{{"gemhook_token":"{token}"}}}}"#
        )
    };
    // Both secrets come from the one counted store: this value is a key of either kind.
    assert_eq!(endpoint.v1("msg_1", SECRET).await, 200);
    endpoint.secrets.asked();
    let signed = async |id: &str, token: &str| {
        let body = told(token);
        endpoint.post(id, &issuer.v1a(id, endpoint.now(), body.as_bytes()), &body).await
    };
    endpoint.secrets.now_answers(Answers::broken());
    assert_eq!(signed("msg_2", "n.x").await, 503, "without the key nothing is judged");
    endpoint.secrets.now_answers(Answers::secret(key));
    endpoint.pass(2);
    assert_eq!(signed("msg_2", &BindingKey::parse(key).unwrap().mint()).await, 200);
    assert_eq!(signed("msg_3", &BindingKey::parse("another horse battery").unwrap().mint()).await, 401);
    assert_eq!(endpoint.secrets.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_binding_key_is_read_when_a_token_does_not_match_and_not_more_than_twice_a_minute() {
    let issuer = Issuer::new("rsa-1");
    let set =
        Answers::With(200, vec![("cache-control", "max-age=86400".to_owned())], jwks(&[&issuer]).to_string());
    let settings = [("BINDING_KEY_SECRET_ID", "binding-key"), ("WEBHOOK_SECRET_ID", "")];
    let endpoint = Endpoint::start(set, &settings).await;
    let [old, new, other] = ["correct horse battery", "another horse battery", "no horse of ours at all"];
    let post = async |id: &str, metadata: String| {
        let body = format!(r#"{{"type":"batch.succeeded","user_metadata":{metadata}}}"#);
        endpoint.post(id, &issuer.v1a(id, endpoint.now(), body.as_bytes()), &body).await
    };
    let by = |key: &str| format!(r#"{{"gemhook_token":"{}"}}"#, BindingKey::parse(key).unwrap().mint());
    endpoint.secrets.now_answers(Answers::secret(old));
    assert_eq!(post("msg_1", by(old)).await, 200);
    assert_eq!(endpoint.secrets.asked(), 1);

    endpoint.secrets.now_answers(Answers::secret(new));
    endpoint.pass(29);
    assert_eq!(post("msg_2", by(new)).await, 401, "the key was read a moment ago");
    assert_eq!(endpoint.secrets.asked(), 0);
    endpoint.pass(1);
    assert_eq!(post("msg_2", by(new)).await, 200);
    assert_eq!(endpoint.secrets.asked(), 1);

    for second in 0..300 {
        endpoint.pass(1);
        assert_eq!(post(&format!("msg_other_{second}"), by(other)).await, 401);
    }
    assert_eq!(endpoint.secrets.asked(), 10, "one in thirty seconds");
    endpoint.pass(60);
    for metadata in ["{}", r#"{"gemhook_token":"n"}"#, r#"{"gemhook_token":"n.AAAA"}"#] {
        assert_eq!(post("msg_3", metadata.to_owned()).await, 401, "{metadata}");
    }
    assert_eq!(endpoint.secrets.asked(), 0, "what is no token is by no key, old or new");
}

#[test]
fn nothing_that_holds_a_secret_can_be_printed() {
    let printed = [
        format!("{:?}", Secret::new(SECRET)),
        format!("{:?}", SecretSource::Given(Secret::new(SECRET))),
        format!("{:?}", SigningSecrets::parse(SECRET).unwrap()),
        format!("{:?}", BindingKey::parse(SECRET).unwrap()),
        format!("{:?}", SigningSecrets::parse(&format!("{SECRET} {SECRET}x")).unwrap_err()),
    ];
    for text in printed {
        assert!(!text.contains(&SECRET[6..20]), "{text}");
    }
    // That it cannot be serialised either is the compiler's business: none of these types implements `Serialize`.
}

#[tokio::test]
async fn the_error_of_a_store_names_no_value() {
    let config = aws_sdk_secretsmanager::Config::builder().behavior_version_latest().build();
    let client = aws_sdk_secretsmanager::Client::from_conf(config);
    let source = SecretSource::Given(Secret::new("whsec_private!private"));
    let store = SecretStore::new(source, client, SigningSecrets::parse);
    let error = store.get().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("private!"), "{error:?}");
}
