//! Every file in `events/` is what its name says: each is handed to its function, whose clock stands still.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use gemhook::{
    archiver::{Archiver, Clients},
    aws,
    clock::{Clock, Millis},
    config::{ArchiverSettings, ReceiverSettings},
    gemini::catalogue,
    receiver::Receiver,
};
use gemhook_cli::dev::{
    quick,
    stores::{TableNames, create_tables},
};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;

use crate::support::{Row, TestMachine, number, text};

/// As in `events/README.md`.
const SECRET: &str = "whsec_Z2VtaG9vayBleGFtcGxlLCBwcm90ZWN0cyBub3RoaW5n";
const SIGNED_AT: Millis = 1_780_000_000_000;

struct StandingStill;

impl Clock for StandingStill {
    fn now(&self) -> Millis {
        SIGNED_AT
    }
}

fn samples(function: &str) -> BTreeMap<String, Value> {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("events")).unwrap();
    let mut samples = BTreeMap::new();
    for path in files.map(|file| file.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        match name.split_once('.') {
            Some((of, name)) if of == function => {
                samples.insert(name.to_owned(), serde_json::from_slice(&fs::read(&path).unwrap()).unwrap());
            }
            Some(("receiver" | "archiver", _)) => {}
            _ => assert_eq!(name, "README", "a sample of no function"),
        }
    }
    samples
}

/// Tables of their own, so that the machine's archiver does not see the rows.
fn names() -> TableNames {
    TableNames { deliveries: "sample-deliveries".into(), jobs: "sample-jobs".into() }
}

async fn machine() -> TestMachine {
    let test = TestMachine::start().await;
    create_tables(&test.dynamodb(), &names()).await.unwrap();
    test
}

fn no_secrets() -> aws_sdk_secretsmanager::Client {
    let config = aws_sdk_secretsmanager::Config::builder().behavior_version_latest();
    aws_sdk_secretsmanager::Client::from_conf(config.build())
}

fn receiver(test: &TestMachine) -> Arc<Receiver> {
    let settings = ReceiverSettings::read(&|name| match name {
        "DELIVERIES_TABLE" => Some(names().deliveries),
        "WEBHOOK_SECRET" => Some(SECRET.to_owned()),
        _ => None,
    });
    Arc::new(
        Receiver::new(settings.unwrap(), test.dynamodb(), no_secrets(), Arc::new(StandingStill)).unwrap(),
    )
}

fn archiver(test: &TestMachine) -> Archiver {
    let settings = ArchiverSettings::read(&|name| match name {
        "DELIVERIES_TABLE" => Some(names().deliveries),
        "JOBS_TABLE" => Some(names().jobs),
        "BUCKET" => Some(test.machine.addresses.bucket.clone()),
        "GEMINI_API_KEY" => Some("any".to_owned()),
        "GEMINI_BASE_URL" => Some(test.machine.addresses.gemini_url.clone()),
        _ => None,
    });
    let clients = Clients {
        dynamodb: test.dynamodb(),
        s3: test.machine.stores.s3(aws::archiver_timeouts()),
        eventbridge: test
            .machine
            .stores
            .eventbridge(&test.machine.addresses.eventbridge_url, aws::archiver_timeouts()),
        secrets: no_secrets(),
    };
    Archiver::new(settings.unwrap(), clients, Arc::new(StandingStill), quick()).unwrap()
}

/// The request id of the invocation is that of the event, as it is in Lambda.
async fn receive(receiver: &Arc<Receiver>, event: &Value) -> u64 {
    let mut context = Context::default();
    context.request_id = event["requestContext"]["requestId"].as_str().unwrap().to_owned();
    let answer = Arc::clone(receiver).invoke(LambdaEvent::new(event.clone(), context)).await.unwrap();
    u64::try_from(answer.status_code).unwrap()
}

async fn row(test: &TestMachine, id: &str) -> Row {
    let rows = test.rows(&names().deliveries).await;
    rows.into_iter().find(|row| text(row, "webhook_id") == id).unwrap_or_else(|| panic!("no row {id}"))
}

fn image(event: &Value) -> Row {
    let image = event["Records"][0]["dynamodb"]["NewImage"].clone();
    serde_json::from_value::<serde_dynamo::Item>(image).unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_of_the_receiver_is_answered_as_its_name_says() {
    let test = machine().await;
    let receiver = receiver(&test);
    let mut samples = samples("receiver");
    for odd in ["bad-signature", "stale"] {
        assert_eq!(receive(&receiver, &samples.remove(odd).unwrap()).await, 401, "{odd}");
    }
    assert!(test.rows(&names().deliveries).await.is_empty());
    let duplicate = samples.remove("duplicate").unwrap();
    let types: Vec<&str> =
        catalogue::SUBSCRIBABLE_EVENTS.into_iter().chain(catalogue::GUIDE_ONLY_EVENTS).collect();
    assert_eq!(samples.len(), types.len());
    for event_type in &types {
        let event = &samples[*event_type];
        assert_eq!(receive(&receiver, event).await, 200, "{event_type}");
        let row = row(&test, event["headers"]["webhook-id"].as_str().unwrap()).await;
        assert_eq!((text(&row, "event_type"), text(&row, "state")), (*event_type, "received"));
        assert!(!text(&row, "job_hint").is_empty(), "{event_type}");
    }
    assert_eq!(receive(&receiver, &duplicate).await, 200);
    assert_eq!(test.rows(&names().deliveries).await.len(), types.len(), "the duplicate changed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_samples_are_rows_as_the_receiver_writes_them_and_are_worked() {
    let test = machine().await;
    let (receiver, archiver) = (receiver(&test), archiver(&test));
    let (receivers, archivers) = (samples("receiver"), samples("archiver"));
    for (name, kind, of) in
        [("received", "INSERT", "batch.succeeded"), ("redriven", "MODIFY", "batch.failed")]
    {
        let event = &archivers[name];
        assert_eq!(event["Records"][0]["eventName"], kind);
        receive(&receiver, &receivers[of]).await;
        let id = receivers[of]["headers"]["webhook-id"].as_str().unwrap();
        let (mut written, shown) = (row(&test, id).await, image(event));
        if name == "redriven" {
            // A redrive keeps the count of attempts. The receipt is the first invocation's.
            for kept in ["attempt", "receipt"] {
                written.insert(kept.to_owned(), shown[kept].clone());
            }
            test.dynamodb()
                .put_item()
                .table_name(names().deliveries)
                .set_item(Some(written.clone()))
                .send()
                .await
                .unwrap();
        }
        for (attribute, value) in &shown {
            assert_eq!(written.get(attribute), Some(value), "{attribute} of {name}");
        }

        let worked = archiver.invoke(LambdaEvent::new(event.clone(), context())).await.unwrap();
        assert_eq!(worked["records"], 1);
        // The sample's job is nobody's, so the row waits for a second look.
        let row = row(&test, id).await;
        assert_eq!(
            (text(&row, "state"), number(&row, "attempt")),
            ("waiting", number(&shown, "attempt") + 1)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedules_are_understood() {
    let test = machine().await;
    let archiver = archiver(&test);
    let samples = samples("archiver");
    assert_eq!(samples.len(), 4);
    for name in ["sweep", "reconcile"] {
        assert_eq!(samples[name]["schedule"], name);
        let answer = archiver.invoke(LambdaEvent::new(samples[name].clone(), context())).await.unwrap();
        assert!(answer.is_object(), "{name}: {answer}");
    }
}

fn context() -> Context {
    let mut context = Context::default();
    context.deadline = u64::try_from(SIGNED_AT + 900_000).unwrap();
    context
}
