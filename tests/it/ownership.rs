//! Google's keys prove that Google speaks, not that it speaks of a job of ours.

use std::sync::Arc;

use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::SystemClock,
    config::ArchiverSettings,
    job::JobKind,
    ledger::NewDelivery,
    webhook::binding::BindingKey,
};
use gemhook_cli::dev::quick;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};

use crate::{
    endpoint::{Answers, BODY, Endpoint, SECRET, Server, secrets_manager},
    issuer::{Issuer, jwks},
    rig::{Make, Rig},
    scripted,
    support::{TestMachine, end, now, sign, succeeded, text, three_requests},
};

const BINDING: &str = "correct horse battery";

async fn endpoint(issuer: &Issuer) -> Endpoint {
    Endpoint::start(Answers::json(&jwks(&[issuer])), &[("BINDING_KEY", BINDING)]).await
}

/// Works off what is in the table, as the schedule would.
async fn sweep(endpoint: &Endpoint) {
    let at = endpoint.test.machine.addresses.clone();
    let settings = ArchiverSettings::read(&|name| match name {
        "DELIVERIES_TABLE" => Some(endpoint.names.deliveries.clone()),
        "JOBS_TABLE" => Some(endpoint.names.jobs.clone()),
        "BUCKET" => Some(at.bucket.clone()),
        "GEMINI_API_KEY" => Some("k".to_owned()),
        "GEMINI_BASE_URL" => Some(at.gemini_url.clone()),
        "BINDING_KEY" => Some(BINDING.to_owned()),
        "EVENT_BUS" => Some("none".to_owned()),
        _ => None,
    });
    let stores = &endpoint.test.machine.stores;
    let clients = Clients {
        dynamodb: endpoint.test.dynamodb(),
        eventbridge: stores.eventbridge(&at.eventbridge_url, aws::archiver_timeouts()),
        s3: stores.s3(aws::archiver_timeouts()),
        secrets: secrets_manager(&endpoint.secrets.url),
    };
    let archiver = Archiver::new(settings.unwrap(), clients, Arc::new(SystemClock), quick()).unwrap();
    for row in endpoint.rows().await {
        let record = json!({
            "eventID": "1",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": now(),
                "Keys": {"webhook_id": {"S": text(&row, "webhook_id")}},
                "NewImage": {"webhook_id": {"S": text(&row, "webhook_id")}, "state": {"S": "received"}},
                "SequenceNumber": "1",
                "SizeBytes": 100,
                "StreamViewType": "NEW_IMAGE",
            },
        });
        let mut context = Context::default();
        context.deadline = (now() + 900) * 1000;
        archiver.invoke(LambdaEvent::new(json!({"Records": [record]}), context)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_googles_for_a_job_without_our_token_changes_nothing() {
    let issuer = Issuer::new("rsa-1");
    let endpoint = endpoint(&issuer).await;
    let others = endpoint.test.silent_batch(three_requests()).await;
    let ours = endpoint.test.silent_batch(three_requests()).await;
    let token = BindingKey::parse(BINDING).unwrap().mint();
    for (id, job, metadata) in [("msg_others", &others, None), ("msg_ours", &ours, Some(token))] {
        let mut event: Value = serde_json::from_str(&succeeded(job)).unwrap();
        event["user_metadata"] = metadata.map_or(Value::Null, |token| json!({"gemhook_token": token}));
        let body = event.to_string();
        let signature = issuer.v1a(id, endpoint.now(), body.as_bytes());
        assert_eq!(endpoint.post(id, &signature, &body).await, 200, "{id}");
    }
    sweep(&endpoint).await;
    let mut rows = endpoint.rows().await;
    rows.sort_by_key(|row| text(row, "webhook_id").to_owned());
    let ends: Vec<String> =
        rows.iter().map(|row| format!("{} {}", text(row, "webhook_id"), end(row))).collect();
    assert_eq!(ends, ["v1a~msg_others done/foreign", "v1a~msg_ours done/archived"]);
    let jobs = endpoint.test.rows(&endpoint.names.jobs).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(text(&jobs[0], "job_id"), ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_an_id_from_another_form() {
    let issuer = Issuer::new("rsa-1");
    let endpoint = endpoint(&issuer).await;
    assert_eq!(endpoint.v1a("msg_1", &issuer).await, 200, "a stranger's event comes first");
    assert_eq!(endpoint.token("msg_1", &issuer, "rsa-1").await, 200);
    assert_eq!(endpoint.v1("msg_1", SECRET).await, 200);
    for taken in ["v1a~msg_1", "jwt~msg_1", "job~batches"] {
        let signature = sign(SECRET, taken, endpoint.now(), BODY.as_bytes());
        assert_eq!(endpoint.post(taken, &signature, BODY).await, 400, "{taken}");
    }
    let rows = endpoint.rows().await;
    let mut keys: Vec<(&str, &str)> =
        rows.iter().map(|row| (text(row, "webhook_id").get(..5).unwrap(), text(row, "trust"))).collect();
    keys.sort_unstable();
    assert!(matches!(keys[..], [(_, "issuer"), ("msg_1", "project"), ("v1a~m", "issuer")]), "{keys:?}");
}

/// What the archiver reads before its first row, it does not read for its first row.
#[tokio::test(flavor = "multi_thread")]
async fn the_archiver_reads_its_secrets_when_it_starts() {
    let secrets = Server::start(Answers::secret(BINDING)).await;
    let settings = vec![("BINDING_KEY_SECRET_ID", "binding".to_owned())];
    let make = Make { settings, secrets_url: Some(secrets.url.clone()), ..Make::default() };
    let rig = Rig::make(TestMachine::start().await, "rig", make).await;
    rig.archiver().prepare().await;
    assert_eq!(secrets.asked(), 1);
    let batch = json!({"name": "batches/b1", "done": true, "metadata": {"state": "BATCH_STATE_FAILED"}});
    rig.api.says("batches/b1", [scripted::Answer::json(batch)]);
    let row = NewDelivery::of_job("batches/b1", JobKind::Batch, None, "r", rig.now()).only_if_bound();
    rig.ledger().enter(row).await.unwrap();
    assert_eq!(end(&rig.work("job~batches/b1").await), "done/foreign");
    assert_eq!(secrets.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_key_that_was_written_since_binds_and_strangers_tokens_cause_one_read() {
    const NEWER: &str = "a newer binding key";
    let secrets = Server::start(Answers::secret(BINDING)).await;
    let settings = vec![("BINDING_KEY_SECRET_ID", "binding".to_owned())];
    let make = Make { settings, secrets_url: Some(secrets.url.clone()), ..Make::default() };
    let rig = Rig::make(TestMachine::start().await, "rig", make).await;
    let work = async |number: usize, key: &str| {
        let job = format!("batches/b{number}");
        let token = BindingKey::parse(key).unwrap().mint();
        let batch = json!({"name": job, "done": true, "metadata": {"state": "BATCH_STATE_FAILED",
            "webhookConfig": {"userMetadata": {"gemhook_token": token}}}});
        rig.api.says(&job, [scripted::Answer::json(batch)]);
        let row = NewDelivery::of_job(&job, JobKind::Batch, None, "r", rig.now()).only_if_bound();
        rig.ledger().enter(row).await.unwrap();
        end(&rig.work(&format!("job~{job}")).await)
    };
    assert_eq!(work(1, BINDING).await, "done/ended");
    secrets.now_answers(Answers::secret(NEWER));
    rig.later(31_000);
    assert_eq!(work(2, NEWER).await, "done/ended");
    assert_eq!(secrets.asked(), 2);
    for number in 3..6 {
        assert_eq!(work(number, "the key of a stranger").await, "done/foreign");
    }
    assert_eq!(secrets.asked(), 0, "no more than once in 30 seconds");
}
