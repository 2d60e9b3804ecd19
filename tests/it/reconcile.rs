//! Jobs without an event are found: batches by their list, other jobs by following them, and a webhook that is off.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, patch},
};
use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::{Clock, Millis, SharedClock, SystemClock},
    config::ArchiverSettings,
    webhook::binding::BindingKey,
};
use gemhook_cli::dev::quick;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};

use crate::{
    rig::{Make, Rig},
    scripted::Answer,
    support::{TestMachine, end, text, three_requests},
};

const HOUR: Millis = 3_600_000;

/// As much later as a test wants.
struct Later(Mutex<Millis>);

impl Clock for Later {
    fn now(&self) -> Millis {
        SystemClock.now() + *self.0.lock().unwrap()
    }
}

/// In front of the simulator: webhooks and videos as the test has them, all else passed on.
struct Front {
    behind: String,
    webhook: Mutex<Value>,
    video: Mutex<Value>,
}

impl Front {
    async fn serve(test: &TestMachine) -> (Arc<Self>, String) {
        let front = Arc::new(Self {
            behind: test.machine.addresses.gemini_url.clone(),
            webhook: Mutex::new(json!({"id": "w1", "uri": "https://ours.example/", "state": "enabled"})),
            video: Mutex::new(json!({"name": "models/veo/operations/o1"})),
        });
        let router = Router::new()
            .route(
                "/v1beta/webhooks",
                get(async |State(front): State<Arc<Front>>| {
                    let ours = front.webhook.lock().unwrap().clone();
                    let other = json!({"id": "w2", "uri": "https://other.example", "state": ours["state"]});
                    Json(json!({"webhooks": [other, ours]}))
                }),
            )
            .route(
                "/v1beta/webhooks/{id}",
                patch(async |State(front): State<Arc<Front>>, Path(id): Path<String>, request: Request| {
                    assert_eq!((id.as_str(), request.uri().query()), ("w1", None));
                    front.webhook.lock().unwrap()["state"] = json!("enabled");
                    Json(front.webhook.lock().unwrap().clone())
                }),
            )
            .route(
                "/v1beta/models/veo/operations/o1",
                get(async |State(front): State<Arc<Front>>| match front.video.lock().unwrap().clone() {
                    Value::Null => StatusCode::NOT_FOUND.into_response(),
                    video => Json(video).into_response(),
                }),
            )
            .fallback(pass)
            .with_state(Arc::clone(&front));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (front, url)
    }
}

async fn pass(State(front): State<Arc<Front>>, request: Request) -> Response {
    let url = format!("{}{}", front.behind, request.uri());
    let answer = reqwest::Client::new().get(url).header("x-goog-api-key", "k").send().await.unwrap();
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
    (status, answer.text().await.unwrap()).into_response()
}

/// An archiver of its own, beside the machine's, on the same tables.
fn archiver(test: &TestMachine, gemini: &str, clock: SharedClock, more: &[(&str, &str)]) -> Archiver {
    let settings = ArchiverSettings::read(&|name| {
        let own = more.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        own.or_else(|| (name == "GEMINI_BASE_URL").then(|| gemini.to_owned()))
            .or_else(|| test.machine.addresses.setting(name))
    });
    let stores = &test.machine.stores;
    let timeouts = aws::archiver_timeouts;
    let secrets = aws_sdk_secretsmanager::Config::builder().behavior_version_latest().build();
    let clients = Clients {
        dynamodb: stores.dynamodb(timeouts()),
        eventbridge: stores.eventbridge(&test.machine.addresses.eventbridge_url, timeouts()),
        s3: stores.s3(timeouts()),
        secrets: aws_sdk_secretsmanager::Client::from_conf(secrets),
    };
    Archiver::new(settings.unwrap(), clients, clock, quick()).unwrap()
}

async fn reconcile(archiver: &Archiver, clock: &SharedClock) -> Value {
    let mut context = Context::default();
    context.deadline = u64::try_from(clock.now() + 900_000).unwrap();
    archiver.invoke(LambdaEvent::new(json!({"schedule": "reconcile"}), context)).await.unwrap()
}

fn later(by: Millis) -> (Arc<Later>, SharedClock) {
    let clock = Arc::new(Later(Mutex::new(by)));
    (Arc::clone(&clock), clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_event_never_came_is_found_in_its_hours_and_archived_once() {
    let test = TestMachine::start().await;
    let (_, url) = Front::serve(&test).await;
    let job = test.silent_batch(three_requests()).await;
    let (fake_clock, clock) = later(0);
    let archiver = archiver(&test, &url, Arc::clone(&clock), &[]);
    for (by, what) in [(0, "it may still be delivered"), (48 * HOUR, "its file is gone")] {
        *fake_clock.0.lock().unwrap() = by;
        let found = reconcile(&archiver, &clock).await;
        assert_eq!((&found["listed"], &found["entered"]), (&json!(1), &json!([])), "{what}");
    }
    *fake_clock.0.lock().unwrap() = 2 * HOUR;
    let found = reconcile(&archiver, &clock).await;
    assert_eq!((&found["ended"], &found["entered"]), (&json!(1), &json!([job])));
    assert_eq!(found["errors"], json!([]));
    let row = test.ended(&format!("job~{job}")).await;
    assert_eq!(
        (end(&row).as_str(), text(&row, "scheme"), text(&row, "trust")),
        ("done/archived", "job", "project")
    );
    assert_eq!(text(&test.job_row(&job).await.unwrap(), "ended_by"), format!("job~{job}"));

    let again = reconcile(&archiver, &clock).await;
    assert_eq!((&again["ended"], &again["entered"]), (&json!(1), &json!([])));
    assert_eq!((test.deliveries().await.len(), test.objects().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_listed_through_all_pages_and_only_where_it_is_switched_on() {
    let test = TestMachine::start().await;
    let (_, url) = Front::serve(&test).await;
    let mut jobs = Vec::new();
    for _ in 0..105 {
        jobs.push(
            test.create_batch(json!([{"request": {}}]), json!({"uris": ["http://127.0.0.1:9/"]})).await,
        );
    }
    for job in &jobs {
        while test.gemini(&format!("v1beta/{job}")).await.json::<Value>().await.unwrap()["done"] != true {}
    }
    let (_, clock) = later(2 * HOUR);
    let off = archiver(&test, &url, Arc::clone(&clock), &[("RECONCILE_BATCHES", "false")]);
    assert_eq!(reconcile(&off, &clock).await["listed"], 0);
    let on = archiver(&test, &url, Arc::clone(&clock), &[]);
    let found = reconcile(&on, &clock).await;
    assert_eq!((&found["listed"], found["entered"].as_array().unwrap().len()), (&json!(105), 105));
    for job in &jobs {
        test.ended(&format!("job~{job}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_job_is_looked_at_less_and_less_until_it_has_ended() {
    let test = TestMachine::start().await;
    let (front, url) = Front::serve(&test).await;
    let job = "models/veo/operations/o1";
    // The user's own code: one update that sets one attribute.
    let (fake_clock, clock) = later(0);
    let until = clock.now() + 40 * HOUR;
    let update = test.dynamodb().update_item().table_name(&test.machine.addresses.jobs_table);
    update
        .key("job_id", AttributeValue::S(job.to_owned()))
        .update_expression("SET watch_until = :until")
        .condition_expression("attribute_not_exists(ended_by)")
        .expression_attribute_values(":until", AttributeValue::N(until.to_string()))
        .send()
        .await
        .unwrap();
    let archiver = archiver(&test, &url, Arc::clone(&clock), &[]);
    let mut looked = Vec::new();
    for hour in 0..12 {
        *fake_clock.0.lock().unwrap() = hour * HOUR;
        if reconcile(&archiver, &clock).await["looked_at"] == 1 {
            looked.push(hour);
        }
    }
    assert_eq!(looked, [0, 1, 3, 7], "hours at which an open job was looked at");
    assert!(test.deliveries().await.is_empty());

    *front.video.lock().unwrap() = json!({"name": job, "done": true, "response": {}});
    *fake_clock.0.lock().unwrap() = 13 * HOUR;
    assert_eq!(reconcile(&archiver, &clock).await["entered"], json!([job]));
    let row = test.delivery_row(&format!("job~{job}")).await.unwrap();
    assert_eq!((text(&row, "event_type"), text(&row, "job_hint")), ("video.reconciled", job));

    *fake_clock.0.lock().unwrap() = 41 * HOUR;
    assert_eq!(reconcile(&archiver, &clock).await["looked_at"], 0, "nobody wants it followed any longer");
    assert!(!test.job_row(job).await.is_some_and(|row| row.contains_key("watch_until")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_switched_off_is_noticed_and_switched_on_only_when_asked() {
    let test = TestMachine::start().await;
    let (front, url) = Front::serve(&test).await;
    let (_, clock) = later(0);
    let ours = ("WEBHOOK_URL", "https://ours.example");
    let only_looks = archiver(&test, &url, Arc::clone(&clock), &[ours]);
    assert_eq!(reconcile(&only_looks, &clock).await["disabled_webhooks"], json!([]));

    front.webhook.lock().unwrap()["state"] = json!("disabled_due_to_failed_deliveries");
    let found = reconcile(&only_looks, &clock).await;
    assert_eq!(
        (&found["disabled_webhooks"], &found["reenabled_webhooks"]),
        (&json!(["https://ours.example/"]), &json!([]))
    );
    let mends = archiver(&test, &url, Arc::clone(&clock), &[ours, ("REENABLE_WEBHOOK", "true")]);
    assert_eq!(reconcile(&mends, &clock).await["reenabled_webhooks"], json!(["https://ours.example/"]));
    assert_eq!(front.webhook.lock().unwrap()["state"], "enabled");
    assert_eq!(reconcile(&mends, &clock).await["disabled_webhooks"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_without_webhooks_is_no_error() {
    let test = TestMachine::start().await;
    let (_, clock) = later(0);
    let archiver = archiver(&test, &test.machine.addresses.gemini_url, Arc::clone(&clock), &[]);
    assert_eq!(reconcile(&archiver, &clock).await["errors"], json!([]));
}

const BINDING: &str = "correct horse battery";

async fn rig(settings: &[(&'static str, &str)]) -> Rig {
    let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Rig::make(TestMachine::start().await, "rig", Make { settings, ..Make::default() }).await
}

/// A page of the list: batches with their times of creation and end, in hours before the rig's now.
fn page(rig: &Rig, batches: &[(&str, i64, i64)], next: Option<&str>) -> Answer {
    let time = |hours: i64| {
        let time = aws_sdk_dynamodb::primitives::DateTime::from_millis(rig.now() - hours * HOUR);
        time.fmt(aws_sdk_dynamodb::primitives::DateTimeFormat::DateTime).unwrap()
    };
    let operations = batches.iter().map(|(name, created, ended)| {
        json!({"name": name, "done": true, "metadata": {"state": "BATCH_STATE_FAILED",
            "createTime": time(*created), "endTime": time(*ended)}})
    });
    let operations: Vec<Value> = operations.collect();
    Answer::json(json!({"operations": operations, "nextPageToken": next.unwrap_or_default()}))
}

fn list_webhooks(rig: &Rig, uri: &str) {
    rig.api
        .says("webhooks", [Answer::json(json!({"webhooks": [{"id": "w", "uri": uri, "state": "enabled"}]}))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_job_that_cannot_be_read_is_put_off_and_the_others_are_looked_at() {
    let rig = rig(&[("RECONCILE_BATCHES", "false")]).await;
    let until = rig.now() + 100 * HOUR;
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for number in 0..6 {
        for (jobs, kind) in [(&mut bad, "bad"), (&mut good, "good")] {
            let job = format!("interactions/v1_{kind}{number}");
            let _ = rig.ledger().watch(&job, until).await.unwrap();
            jobs.push(job);
        }
    }
    for (number, job) in bad.iter().enumerate() {
        let answers = [
            Answer::fault(400, "retired"),
            Answer::fault(503, "too large"),
            Answer::bytes("{\"id\": \"v1"),
            Answer::fault(403, "no"),
        ];
        rig.api.says(job, [answers[number % answers.len()].clone()]);
    }
    for job in &good {
        rig.api.says(job, [Answer::json(json!({"id": job, "status": "budget_exceeded"}))]);
    }
    let found = rig.reconcile().await;
    let mut entered: Vec<&str> =
        found["entered"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    entered.sort_unstable();
    assert_eq!(entered, good);
    assert_eq!(found["errors"].as_array().unwrap().len(), bad.len(), "{found}");
    for job in &bad {
        let row = rig.job(job).await.unwrap();
        assert_eq!((&row["looks"], row["look_at"].as_i64().unwrap()), (&json!(1), rig.now() + HOUR), "{job}");
    }
    let asked = rig.api.asked().len();
    rig.reconcile().await;
    assert!(rig.api.asked().len() < asked + bad.len(), "they were put off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_says_nothing_about_any_followed_job() {
    let rig = rig(&[("RECONCILE_BATCHES", "false")]).await;
    for number in 0..3 {
        let job = format!("interactions/v1_{number}");
        let _ = rig.ledger().watch(&job, rig.now() + 100 * HOUR).await.unwrap();
        rig.api.says(&job, [Answer::fault(401, "revoked")]);
    }
    rig.reconcile().await;
    for number in 0..3 {
        assert_eq!(rig.job(&format!("interactions/v1_{number}")).await.unwrap().get("looks"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_listed_by_default_only_where_a_static_webhook_makes_them_ours() {
    for (uri, setting, listed) in [
        ("https://another.example/", "auto", 0),
        ("https://ours.example", "auto", 1),
        ("https://another.example/", "true", 1),
        ("https://ours.example", "false", 0),
    ] {
        let rig = rig(&[("RECONCILE_BATCHES", setting), ("WEBHOOK_URL", "https://ours.example/")]).await;
        list_webhooks(&rig, uri);
        rig.api.says("batches", [page(&rig, &[("batches/b1", 5, 4)], None)]);
        let found = rig.reconcile().await;
        assert_eq!((&found["listed"], &found["errors"]), (&json!(listed), &json!([])), "{uri} {setting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_batch_must_be_bound_where_a_binding_key_is_set() {
    let rig = rig(&[("RECONCILE_BATCHES", "true"), ("BINDING_KEY", BINDING)]).await;
    rig.api.says("batches", [page(&rig, &[("batches/theirs", 5, 4), ("batches/ours", 5, 4)], None)]);
    let token = BindingKey::parse(BINDING).unwrap().mint();
    for (job, metadata) in [("batches/theirs", json!({})), ("batches/ours", json!({"gemhook_token": token}))]
    {
        let batch = json!({"name": job, "done": true, "metadata": {"state": "BATCH_STATE_FAILED",
            "webhookConfig": {"userMetadata": metadata}}});
        rig.api.says(job, [Answer::json(batch)]);
    }
    assert_eq!(rig.reconcile().await["entered"].as_array().unwrap().len(), 2);
    assert_eq!(end(&rig.work("job~batches/theirs").await), "done/foreign");
    assert_eq!(rig.job("batches/theirs").await, None);
    assert_eq!(end(&rig.work("job~batches/ours").await), "done/ended");
    rig.later(HOUR);
    assert_eq!(rig.reconcile().await["entered"], json!([]), "nor is it entered again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_comes_newest_first_is_left_where_it_is_too_old() {
    let new: &[(&str, i64, i64)] = &[("batches/b1", 5, 4), ("batches/b2", 6, 5)];
    let old: &[(&str, i64, i64)] = &[("batches/b3", 100, 90), ("batches/b4", 200, 190)];
    let rig = rig(&[("RECONCILE_BATCHES", "true")]).await;
    rig.api.says("batches", [page(&rig, new, Some("p2")), page(&rig, old, Some("p3"))]);
    let found = rig.reconcile().await;
    assert_eq!((&found["listed"], rig.api.asked_for("batches").len()), (&json!(4), 2));

    // In any other order all of it is read.
    let rig = Rig::make(rig.test, "other", Make { settings: setting(), ..Make::default() }).await;
    let oldest_first: Vec<_> = old.iter().rev().copied().collect();
    let pages = [page(&rig, &oldest_first, Some("p2")), page(&rig, old, Some("p3")), page(&rig, new, None)];
    rig.api.says("batches", pages);
    let found = rig.reconcile().await;
    assert_eq!((&found["listed"], found["entered"].as_array().unwrap().len()), (&json!(6), 2));
}

fn setting() -> Vec<(&'static str, String)> {
    vec![("RECONCILE_BATCHES", "true".to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_too_long_for_one_invocation_goes_on_in_the_next() {
    let rig = rig(&[("RECONCILE_BATCHES", "true")]).await;
    let first = page(&rig, &[("batches/b1", 5, 4)], Some("p2"));
    rig.api.says("batches", [first.slow(std::time::Duration::from_millis(200))]);
    let time_passes = async {
        while rig.api.asked_for("batches").is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        rig.later(20 * 60_000);
    };
    let (found, ()) = tokio::join!(rig.reconcile(), time_passes);
    assert_eq!((&found["listed"], found["errors"].as_array().unwrap().len()), (&json!(1), 1), "{found}");
    rig.api.says("batches", [page(&rig, &[("batches/b2", 5, 4)], None)]);
    assert_eq!(rig.reconcile().await["entered"], json!(["batches/b2"]));
    let asked: Vec<bool> =
        rig.api.asked_for("batches").iter().map(|asked| asked.target.contains("pageToken=p2")).collect();
    assert_eq!(asked, [false, true]);
    rig.reconcile().await;
    assert!(!rig.api.asked_for("batches")[2].target.contains("pageToken"), "then from the beginning again");

    // A page that is not there any more.
    let gone = [page(&rig, &[("batches/b1", 5, 4)], Some("p2")).slow(std::time::Duration::from_millis(200))];
    rig.api.says("batches", gone);
    let asked = rig.api.asked_for("batches").len();
    let time_passes = async {
        while rig.api.asked_for("batches").len() == asked {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        rig.later(20 * 60_000);
    };
    tokio::join!(rig.reconcile(), time_passes);
    rig.api.says("batches", [Answer::fault(400, "page token"), page(&rig, &[("batches/b3", 5, 4)], None)]);
    assert_eq!(rig.reconcile().await["entered"], json!(["batches/b3"]));
}
