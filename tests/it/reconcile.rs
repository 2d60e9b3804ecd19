//! What no event told of is found: batches by their list, other jobs by following them, and a webhook that is off.

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
};
use gemhook_cli::dev::quick;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};

use crate::support::{TestMachine, end, text, three_requests};

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
                    assert_eq!((id.as_str(), request.uri().query()), ("w1", Some("update_mask=state")));
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
    let (hands, clock) = later(0);
    let archiver = archiver(&test, &url, Arc::clone(&clock), &[]);
    for (by, what) in [(0, "it may still be delivered"), (48 * HOUR, "its file is gone")] {
        *hands.0.lock().unwrap() = by;
        let found = reconcile(&archiver, &clock).await;
        assert_eq!((&found["listed"], &found["entered"]), (&json!(1), &json!([])), "{what}");
    }
    *hands.0.lock().unwrap() = 2 * HOUR;
    let found = reconcile(&archiver, &clock).await;
    assert_eq!((&found["ended"], &found["entered"]), (&json!(1), &json!([job])));
    assert_eq!(found["troubles"], json!([]));
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
    let (hands, clock) = later(0);
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
        *hands.0.lock().unwrap() = hour * HOUR;
        if reconcile(&archiver, &clock).await["looked_at"] == 1 {
            looked.push(hour);
        }
    }
    assert_eq!(looked, [0, 1, 3, 7], "hours at which an open job was looked at");
    assert!(test.deliveries().await.is_empty());

    *front.video.lock().unwrap() = json!({"name": job, "done": true, "response": {}});
    *hands.0.lock().unwrap() = 13 * HOUR;
    assert_eq!(reconcile(&archiver, &clock).await["entered"], json!([job]));
    let row = test.delivery_row(&format!("job~{job}")).await.unwrap();
    assert_eq!((text(&row, "event_type"), text(&row, "job_hint")), ("video.reconciled", job));

    *hands.0.lock().unwrap() = 41 * HOUR;
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
    assert_eq!(reconcile(&only_looks, &clock).await["switched_off"], json!([]));

    front.webhook.lock().unwrap()["state"] = json!("disabled_due_to_failed_deliveries");
    let found = reconcile(&only_looks, &clock).await;
    assert_eq!(
        (&found["switched_off"], &found["switched_on"]),
        (&json!(["https://ours.example/"]), &json!([]))
    );
    let mends = archiver(&test, &url, Arc::clone(&clock), &[ours, ("REENABLE_WEBHOOK", "true")]);
    assert_eq!(reconcile(&mends, &clock).await["switched_on"], json!(["https://ours.example/"]));
    assert_eq!(front.webhook.lock().unwrap()["state"], "enabled");
    assert_eq!(reconcile(&mends, &clock).await["switched_off"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_knows_no_webhooks_is_no_trouble() {
    let test = TestMachine::start().await;
    let (_, clock) = later(0);
    let archiver = archiver(&test, &test.machine.addresses.gemini_url, Arc::clone(&clock), &[]);
    assert_eq!(reconcile(&archiver, &clock).await["troubles"], json!([]));
}
