//! Dynamic webhooks on the local machine: each form of Google's is archived, keys rotate, and a job that is not ours
//! changes nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::get};
use gemhook::{
    aws,
    clock::{Clock, Millis, SharedClock, SystemClock},
    config::ReceiverSettings,
    receiver::Receiver,
    secrets::Secret,
    webhook::binding::BindingKey,
};
use gemhook_cli::dev::{BindingKeyOption, Options};
use gemini_simulator::{DynamicForm, IssuerKeys, MetadataPlace, Settings, Subject};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};

use crate::support::{Row, TestMachine, end, folder, now, succeeded, text, three_requests};

const KEY: &str = "correct horse battery";

async fn machine(form: DynamicForm) -> TestMachine {
    let simulator =
        Settings { dynamic_form: form, finish_after: Duration::from_millis(50), ..Settings::default() };
    TestMachine::with(simulator).await
}

async fn bound(metadata_place: MetadataPlace) -> TestMachine {
    let simulator =
        Settings { metadata_place, finish_after: Duration::from_millis(50), ..Settings::default() };
    let binding_key = Some(BindingKeyOption::Given(Secret::new(KEY)));
    TestMachine::with_options(folder(), |options| Options { simulator, binding_key, ..options }).await
}

fn own(test: &TestMachine, metadata: Value) -> Value {
    json!({"uris": [test.machine.addresses.webhook_url], "user_metadata": metadata})
}

/// The row of the only delivery, once it has ended.
async fn only(test: &TestMachine) -> Row {
    loop {
        let rows = test.deliveries().await;
        if let [row] = rows.as_slice()
            && matches!(text(row, "state"), "done" | "failed")
        {
            return row.clone();
        }
        assert!(rows.len() < 2, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An event of this job, signed with the local machine's key as Google would.
async fn post(test: &TestMachine, form: DynamicForm, id: &str, body: &str) -> u16 {
    let at = &test.machine.addresses;
    let keys = IssuerKeys::read(&at.issuer_keys).unwrap();
    let timestamp = i64::try_from(now()).unwrap();
    let subject = Subject { id, timestamp, audience: &at.webhook_url };
    let request = test.http.post(&at.webhook_url).header("content-type", "application/json");
    let request = request.header("webhook-id", id).header("webhook-timestamp", timestamp);
    let signature = keys.sign(form, subject, body.as_bytes()).unwrap();
    request
        .header("webhook-signature", signature)
        .body(body.to_owned())
        .send()
        .await
        .unwrap()
        .status()
        .as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dynamic_batch_is_archived_in_each_form() {
    for (form, scheme, prefix) in [(DynamicForm::V1a, "v1a", "v1a~msg_"), (DynamicForm::Jwt, "jwt", "jwt~")] {
        let test = machine(form).await;
        let job = test.create_batch(three_requests(), own(&test, json!({"group": "nightly"}))).await;
        let row = only(&test).await;
        assert_eq!(end(&row), "done/archived", "{row:?}");
        assert_eq!((text(&row, "scheme"), text(&row, "trust")), (scheme, "issuer"));
        assert!(text(&row, "webhook_id").starts_with(prefix), "{row:?}");
        let job_row = test.job_row(&job).await.unwrap();
        assert_eq!(text(&job_row, "ended_by"), text(&row, "webhook_id"));
        assert_eq!(job_row["user_metadata"].as_m().unwrap()["group"].as_s().unwrap(), "nightly");
        assert_eq!(test.objects().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_somebody_elses_job_changes_nothing_in_either_form() {
    let test = TestMachine::start().await;
    let body = succeeded("batches/somebodyelses");
    assert_eq!(post(&test, DynamicForm::V1a, "msg_1", &body).await, 200);
    assert_eq!(post(&test, DynamicForm::Jwt, "msg_2", &body).await, 200);
    assert_eq!(end(&test.ended("v1a~msg_1").await), "done/foreign");
    for row in test.deliveries().await {
        assert_eq!(end(&test.ended(text(&row, "webhook_id")).await), "done/foreign");
    }
    let jobs = test.machine.addresses.jobs_table.clone();
    assert!(test.rows(&jobs).await.is_empty() && test.objects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tokens_are_required_only_a_bound_job_counts() {
    for place in [MetadataPlace::Top, MetadataPlace::Data, MetadataPlace::Nowhere] {
        let test = bound(place).await;
        let token = BindingKey::parse(KEY).unwrap().mint();
        let metadata = json!({"gemhook_token": token, "group": "nightly"});
        test.create_batch(three_requests(), own(&test, metadata)).await;
        assert_eq!(end(&only(&test).await), "done/archived", "{place:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unbound_job_is_refused_at_the_door_or_ends_foreign() {
    let test = bound(MetadataPlace::Top).await;
    let mut sent = test.machine.simulator.watch();
    test.create_batch(three_requests(), own(&test, json!({"group": "nightly"}))).await;
    assert_eq!(sent.recv().await.unwrap().answer, Ok(401));
    assert!(test.deliveries().await.is_empty());

    let test = bound(MetadataPlace::Nowhere).await;
    test.create_batch(three_requests(), own(&test, json!({"group": "nightly"}))).await;
    let row = only(&test).await;
    assert_eq!(end(&row), "done/foreign");
    assert!(text(&row, "last_error").contains("binding token"), "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_set_is_served_without_a_key_and_keeps_the_old_ones_when_it_rotates() {
    let test = TestMachine::start().await;
    let at = test.machine.addresses.clone();
    let answer = test.http.get(&at.jwks_url).send().await.unwrap();
    assert!(answer.headers()["cache-control"].to_str().unwrap().contains("max-age=3600"));
    let before: Value = answer.json().await.unwrap();
    let rotate = format!("{}/simulator/keys/rotate", at.gemini_url);
    let rotated: Value = test.http.post(rotate).send().await.unwrap().json().await.unwrap();
    let after: Value = test.http.get(&at.jwks_url).send().await.unwrap().json().await.unwrap();
    assert_eq!(rotated, after);
    let (before, after) = (before["keys"].as_array().unwrap(), after["keys"].as_array().unwrap());
    assert_eq!((before.len(), &after[2..]), (2, before.as_slice()));
    assert!(after.iter().all(|key| key.get("d").is_none()), "only public halves are told");
    let mode = std::os::unix::fs::PermissionsExt::mode(&at.issuer_keys.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// A clock that is moved by hand.
struct Moved(AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Millis {
        self.0.load(Ordering::SeqCst)
    }
}

/// The machine's key set behind a counter.
async fn counted(test: &TestMachine) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let upstream = test.machine.addresses.jwks_url.clone();
    let pass = |State((upstream, asked)): State<(String, Arc<AtomicUsize>)>| async move {
        asked.fetch_add(1, Ordering::SeqCst);
        reqwest::get(upstream).await.unwrap().text().await.unwrap()
    };
    let router = Router::new().route("/keys", get(pass)).with_state((upstream, Arc::clone(&asked)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_accepted_after_exactly_one_refresh() {
    let test = TestMachine::start().await;
    let at = test.machine.addresses.clone();
    let (url, asked) = counted(&test).await;
    let settings = ReceiverSettings::read(&|name| match name {
        "JWKS_URL" => Some(url.clone()),
        other => at.setting(other),
    });
    let dynamodb = test.machine.stores.dynamodb(aws::receiver_timeouts());
    let config = aws_sdk_secretsmanager::Config::builder().behavior_version_latest();
    let secrets = aws_sdk_secretsmanager::Client::from_conf(config.build());
    let clock = Arc::new(Moved(AtomicI64::new(SystemClock.now())));
    let shared: SharedClock = clock.clone();
    let receiver = Arc::new(Receiver::new(settings.unwrap(), dynamodb, secrets, shared).unwrap());
    let deliver = async |id: &str| {
        let body = succeeded("batches/b1");
        let timestamp = clock.now() / 1000;
        let subject = Subject { id, timestamp, audience: &at.webhook_url };
        let keys = IssuerKeys::read(&at.issuer_keys).unwrap();
        let signature = keys.sign(DynamicForm::V1a, subject, body.as_bytes()).unwrap();
        let event = json!({
            "headers": {
                "webhook-id": id,
                "webhook-timestamp": timestamp.to_string(),
                "webhook-signature": signature,
            },
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "body": body,
        });
        let answer = Arc::clone(&receiver).invoke(LambdaEvent::new(event, Context::default())).await.unwrap();
        (u64::try_from(answer.status_code).unwrap(), asked.load(Ordering::SeqCst))
    };
    for id in ["msg_1", "msg_2"] {
        assert_eq!(deliver(id).await, (200, 1), "one fetch serves them all");
    }
    let rotate = format!("{}/simulator/keys/rotate", at.gemini_url);
    test.http.post(rotate).send().await.unwrap().error_for_status().unwrap();
    clock.0.fetch_add(1000, Ordering::SeqCst);
    assert_eq!(deliver("msg_3").await, (503, 1), "the last fetch was a moment ago");
    clock.0.fetch_add(61_000, Ordering::SeqCst);
    for id in ["msg_3", "msg_4"] {
        assert_eq!(deliver(id).await, (200, 2), "it is accepted after one refresh");
    }
}
