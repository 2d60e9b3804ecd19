//! Secrets that would be noticed: both functions and the commands run as processes that log all they can, and nothing
//! of a secret, a signature or a body's content is found in what they said, answered or wrote.

use std::{collections::HashMap, fs, path::Path, process::Command};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, prelude::BASE64_STANDARD};
use gemhook_cli::dev::stores::{TableNames, create_tables};
use serde_json::{Value, json};

use crate::{
    endpoint::{Answers, Server, request},
    fake_aws::{Account, FakeAws},
    issuer::{Issuer, jwks},
    lambda::Function,
    support::{TestMachine, end, now, sign, text, three_requests},
};

const SIGNING: &str = "canary-of-the-signing-secret";
const API_KEY: &str = "canary-of-the-api-key";
const BINDING: &str = "canary-of-the-binding-key";
const CONTENT: &str = "canary-of-the-body";

/// In what spellings a canary could show: as text, in base64, and as a list of bytes.
fn spellings(canary: &str) -> Vec<String> {
    let bytes = canary.as_bytes();
    let base64 = BASE64_STANDARD.encode(bytes);
    vec![
        canary.to_owned(),
        // The first and last characters depend on what stands around it.
        base64[..base64.len() - 4].to_owned(),
        format!("{bytes:?}")[1..40].to_owned(),
        bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    ]
}

/// The command, which is another package's program: `cargo test` at the root builds it, to the same folder.
fn gemhook() -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_receiver")).with_file_name("gemhook");
    assert!(path.exists(), "there is no {}: run `cargo test` for the whole workspace", path.display());
    Command::new(path)
}

struct Canaries(Vec<(String, Vec<String>)>);

impl Canaries {
    fn seen(&self, text: &str) -> Vec<&str> {
        let shows = |(_, spellings): &&(String, Vec<String>)| spellings.iter().any(|one| text.contains(one));
        self.0.iter().filter(shows).map(|(name, _)| name.as_str()).collect()
    }

    fn assert_absent(&self, place: &str, text: &str) {
        let seen = self.seen(text);
        let line = text.lines().find(|line| !self.seen(line).is_empty()).unwrap_or_default();
        assert!(seen.is_empty(), "{place} shows {seen:?}: {line:.2000}");
    }
}

fn record(id: &str) -> Value {
    json!({"Records": [{
        "eventID": "1",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": now(),
            "Keys": {"webhook_id": {"S": id}},
            "NewImage": {"webhook_id": {"S": id}, "state": {"S": "received"}},
            "SequenceNumber": "1",
            "SizeBytes": 100,
            "StreamViewType": "NEW_IMAGE",
        },
    }]})
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_leaves_the_machine() {
    let test = TestMachine::start().await;
    let names = TableNames { deliveries: "canary-deliveries".into(), jobs: "canary-jobs".into() };
    create_tables(&test.dynamodb(), &names).await.unwrap();
    let secret = format!("whsec_{}", BASE64_STANDARD.encode(SIGNING));
    let held = [("signing", secret.as_str()), ("api", API_KEY), ("binding", BINDING)];
    let secrets = held.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let aws = FakeAws::start(Account { secrets: HashMap::from(secrets), ..Account::default() }).await;
    let issuer = Issuer::new("rsa-1");
    let keys = Server::start(Answers::json(&jwks(&[&issuer]))).await;
    let at = test.machine.addresses.clone();
    let everything = |name: &'static str, value: &str| (name, value.to_owned());
    let variables = vec![
        everything("RUST_LOG", "trace"),
        everything("AWS_ACCESS_KEY_ID", &at.aws_access_key_id),
        everything("AWS_SECRET_ACCESS_KEY", &at.aws_secret_access_key),
        everything("AWS_REGION", &at.aws_region),
        everything("AWS_ENDPOINT_URL", &aws.url),
        everything("AWS_ENDPOINT_URL_DYNAMODB", &at.dynamodb_url),
        everything("AWS_ENDPOINT_URL_S3", &at.s3_url),
        everything("AWS_ENDPOINT_URL_EVENTBRIDGE", &at.eventbridge_url),
        everything("DELIVERIES_TABLE", &names.deliveries),
        everything("JOBS_TABLE", &names.jobs),
        everything("BUCKET", &at.bucket),
        everything("WEBHOOK_SECRET_ID", "signing"),
        everything("GEMINI_API_KEY_SECRET_ID", "api"),
        everything("BINDING_KEY_SECRET_ID", "binding"),
        everything("GEMINI_BASE_URL", &at.gemini_url),
        everything("DYNAMIC_WEBHOOKS", "true"),
        everything("JWKS_URL", &keys.url),
        everything("JWT_AUDIENCE", "https://hook.example.com"),
    ];
    let said = |name: &str| test.folder().join(name);
    let receiver = Function::start(env!("CARGO_BIN_EXE_receiver"), &variables, &said("receiver")).await;
    let archiver = Function::start(env!("CARGO_BIN_EXE_archiver"), &variables, &said("archiver")).await;

    let job = test.silent_batch(three_requests()).await;
    let body = json!({"type": "batch.succeeded", "data": {"id": job, "note": CONTENT}}).to_string();
    let seconds = now();
    let signature = sign(&secret, "msg_canary", seconds, body.as_bytes());
    let forged = sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_canary", seconds, body.as_bytes());
    let v1a = issuer.v1a("msg_canary", seconds, body.as_bytes());
    let token = issuer.token(
        &json!({"alg": "RS256", "kid": "rsa-1"}),
        &json!({"aud": "https://hook.example.com", "exp": seconds + 300}),
    );
    let mut canaries: Vec<_> =
        [SIGNING, API_KEY, BINDING, CONTENT].map(|canary| (canary.to_owned(), spellings(canary))).into();
    for (name, value) in [("v1", &signature), ("forged", &forged), ("v1a", &v1a), ("token", &token)] {
        let tail = &value[value.len() - 40..];
        canaries.push((format!("the {name} signature"), vec![tail.to_owned()]));
    }
    let canaries = Canaries(canaries);

    for (signature, status) in
        [(&signature, 200), (&signature, 200), (&forged, 401), (&v1a, 200), (&token, 200)]
    {
        let headers = json!({
            "webhook-id": "msg_canary",
            "webhook-timestamp": seconds.to_string(),
            "webhook-signature": signature,
        });
        let answer = receiver.invoke(request(headers, &body)).await;
        assert_eq!(answer["statusCode"], status, "{answer}");
        canaries.assert_absent("the answer", &answer.to_string());
    }
    let rows = test.rows(&names.deliveries).await;
    assert_eq!(rows.len(), 3);
    for row in &rows {
        let answer = archiver.invoke(record(text(row, "webhook_id"))).await;
        canaries.assert_absent("the archiver's answer", &answer.to_string());
    }
    for schedule in ["sweep", "reconcile"] {
        let answer = archiver.invoke(json!({"task": schedule, "schedule": schedule})).await;
        canaries.assert_absent(schedule, &answer.to_string());
    }

    for arguments in [
        vec!["deliveries", "list"],
        vec!["deliveries", "list", "--json"],
        vec!["jobs", "list"],
        vec!["jobs", "list", "--json"],
        vec!["jobs", "show", &job],
        vec!["jobs", "fetch", &job, "--to", test.folder().join("fetched").to_str().unwrap()],
        vec!["reconcile"],
        vec!["webhook", "list"],
        vec!["webhook", "get", "nobody"],
        vec!["trigger", "ping", "--to", &at.webhook_url, "--secret", &secret],
        vec!["trigger", "ping", "--to", "http://127.0.0.1:9/", "--secret", &format!("{secret}!")],
        vec!["doctor"],
    ] {
        let mut command = gemhook();
        command.args(&arguments).env_clear().current_dir(test.folder());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.env("GEMINI_API_KEY", API_KEY).env_remove("GEMINI_API_KEY_SECRET_ID");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!told.is_empty() || !errors.is_empty(), "{arguments:?} said nothing");
        // Whoever asks for whole rows gets their bodies, on standard output and nowhere else.
        let told =
            if arguments == ["deliveries", "list", "--json"] { told.replace(CONTENT, "") } else { told };
        canaries.assert_absent(&format!("{arguments:?}"), &format!("{told}{errors}"));
    }

    drop((receiver, archiver));
    for name in ["receiver", "archiver"] {
        let log = fs::read_to_string(said(name)).unwrap();
        assert!(log.contains("\"level\":\"INFO\""), "{name} logged nothing: {log:.500}");
        canaries.assert_absent(&format!("the {name}'s log"), &log);
    }
    let mut rows = test.rows(&names.deliveries).await;
    assert!(rows.iter().any(|row| end(row) == "done/archived"), "{rows:?}");
    for row in &mut rows {
        let kept = row.remove("body");
        assert!(matches!(kept, Some(AttributeValue::S(kept)) if kept == body), "the body is whole");
    }
    rows.extend(test.rows(&names.jobs).await);
    canaries.assert_absent("a row", &format!("{rows:?}"));
}
