//! Every sample event is accepted, recorded and understood as far as it can be.

use std::{fs, path::Path};

use gemhook::webhook::{Event, EventKind};
use serde_json::Value;

use crate::support::{TestMachine, text};

pub fn fixtures() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
    let read = |path: &Path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path))).collect()
}

fn kind(event: &Event) -> &'static str {
    match event.kind() {
        EventKind::Batch => "batch",
        EventKind::Interaction => "interaction",
        EventKind::Video => "video",
        EventKind::Unknown => "unknown",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_accepted_recorded_and_parsed() {
    let test = TestMachine::start().await;
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 33);
    for (name, fixture) in &fixtures {
        let body = fixture["payload"].to_string();
        let answer = test.delivery(&format!("msg_{name}"), body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
    }
    for (name, fixture) in &fixtures {
        let row =
            test.delivery_row(&format!("msg_{name}")).await.unwrap_or_else(|| panic!("no row of {name}"));
        assert_eq!(text(&row, "body"), fixture["payload"].to_string(), "{name}");

        let expect = &fixture["expect"];
        let event = Event::parse(text(&row, "body").as_bytes());
        assert_eq!(kind(&event), expect["kind"], "{name}");
        assert_eq!(text(&row, "job_hint"), expect["resource_id"].as_str().unwrap_or_default(), "{name}");
        if let Some(state) = expect["state"].as_str() {
            assert!(text(&row, "event_type").ends_with(&format!(".{state}")), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_is_kept_whatever_it_is() {
    let test = TestMachine::start().await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    for (id, body) in [
        ("msg_empty", Vec::new()),
        ("msg_binary", vec![0xff, 0x00, 0xfe]),
        ("msg_deep", deep.clone().into_bytes()),
        ("msg_text", b"hello".to_vec()),
    ] {
        assert_eq!(test.delivery(id, body.clone()).send().await.unwrap().status(), 200, "{id}");
        let row = test.ended(id).await;
        assert_eq!(crate::support::end(&row), "done/recorded", "{id}");
        let kept = match &row["body"] {
            aws_sdk_dynamodb::types::AttributeValue::S(text) => text.clone().into_bytes(),
            other => other.as_b().unwrap().as_ref().to_vec(),
        };
        assert_eq!(kept, body, "{id}");
    }
}
