//! The faults of the simulated API, and the whole machine behind them: what is archived is what the API has.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
    time::Duration,
};

use gemhook::worker::RetryPolicy;
use gemhook_cli::dev::Options;
use gemini_simulator::{Fault, Settings, clock::Clock};
use serde_json::{Value, json};

use crate::{
    command_line::GEMHOOK,
    support::{Row, TestMachine, end, folder, number, succeeded, text, three_requests},
};

const SIZE: usize = 3_000_000;

fn faults(list: Value) -> Vec<Fault> {
    serde_json::from_value(list).unwrap()
}

async fn film(test: &TestMachine, prompt: &str) -> String {
    let url = format!("{}/v1beta/models/veo:predictLongRunning", test.machine.addresses.gemini_url);
    let asked = json!({"instances": [{"prompt": prompt}]});
    let answer = test.http.post(url).header("x-goog-api-key", "k").json(&asked).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["name"].as_str().unwrap().to_owned()
}

/// Waits until the job has ended here.
fn wait(test: &TestMachine, job: &str) {
    let local = test.tell(&test.machine.addresses);
    let waited = Command::new(GEMHOOK).args(["jobs", "wait", job, "--timeout", "60s", &local]).output();
    let Output { status, stderr, .. } = waited.unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
}

/// A row that waits for a time that has not come, by the clock of the machine.
async fn waiting(test: &TestMachine, id: &str) -> Row {
    for _ in 0..1000 {
        let row = test.delivery_row(id).await.unwrap();
        if text(&row, "state") == "waiting" && number(&row, "due_at") > test.machine.simulator.clock().now() {
            return row;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{id} does not wait");
}

/// With the waits of a deployed stack: only the clock is moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_unknown_for_46_hours_waits_and_is_archived_once_it_shows() {
    const UNKNOWN: i64 = 46 * 3600;
    let simulator = Settings { finish_after: Duration::from_millis(50), ..Settings::default() };
    let waits = |options| Options { simulator, retry_policy: RetryPolicy::default(), ..options };
    let test = TestMachine::with_options(folder(), waits).await;
    let job = test.silent_batch(three_requests()).await;
    let unknown = json!([{"fault": "not_found", "seconds": UNKNOWN, "on": "/batches/"}]);
    test.machine.simulator.set_faults(faults(unknown));
    let sent = test.delivery("msg_early", succeeded(&job)).send().await.unwrap();
    assert_eq!(sent.status(), 200);

    for hours in [0, 20, 41] {
        let forward = json!({"forward": hours * 3600}).to_string();
        let clock = format!("{}/simulator/clock", test.machine.addresses.gemini_url);
        assert_eq!(test.http.put(clock).body(forward).send().await.unwrap().status(), 200);
        let row = waiting(&test, "msg_early").await;
        assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "not_found"), "{hours} h");
    }
    test.machine.simulator.clock().move_to(Duration::from_secs(47 * 3600 + 1800)).await.unwrap();
    let row = test.ended("msg_early").await;
    assert_eq!(end(&row), "done/archived", "{row:?}");
    assert_eq!(number(&row, "crashes"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_archived_whole_whatever_happens_on_the_way() {
    let test = TestMachine::start().await;
    for list in [
        json!([{"fault": "unavailable", "calls": 2, "on": "/operations/"}]),
        json!([{"fault": "throttled", "wait": 0.2, "calls": 2, "on": "/operations/"}]),
        json!([{"fault": "cut", "after": 1_000_000, "calls": 2}]),
        json!([{"fault": "cut", "after": 1_000_000, "calls": 1}, {"fault": "no_ranges"}]),
        json!([{"fault": "wrong_length", "by": 9, "calls": 1}]),
        json!([{"fault": "redirected"}]),
        json!([{"fault": "slow", "wait": 0.1}]),
    ] {
        test.machine.simulator.set_faults(faults(list.clone()));
        let name = film(&test, &format!("simulate: {{\"size\": {SIZE}}}")).await;
        wait(&test, &name);
        test.machine.simulator.set_faults(Vec::new());

        let operation: Value = test.gemini(&format!("v1beta/{name}")).await.json().await.unwrap();
        let sample = &operation["response"]["generateVideoResponse"]["generatedSamples"][0];
        let uri = sample["video"]["uri"].as_str().unwrap();
        let source = test.http.get(uri).header("x-goog-api-key", "k").send().await.unwrap();
        let source = source.bytes().await.unwrap();
        assert_eq!(source.len(), SIZE);
        let key = format!("videos/{}/0.mp4", name.rsplit('/').next().unwrap());
        assert!(test.objects().await[&key] == source, "{list}");
        let row = test.job_row(&name).await.unwrap();
        assert_eq!(text(&row, "state"), "succeeded", "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_is_asked_for_again() {
    for status in [404, 403] {
        let test = TestMachine::start().await;
        test.machine.simulator.set_faults(faults(json!([{"fault": "expired", "status": status}])));
        let name = film(&test, "a cat").await;
        loop {
            let rows = test.deliveries().await;
            if rows.iter().any(|row| text(row, "last_error").contains(&status.to_string())) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The operation's answer is kept first, whatever becomes of its video.
        let videos = |keys: Vec<String>| keys.into_iter().filter(|key| key.ends_with(".mp4")).count();
        assert_eq!(videos(test.objects().await.into_keys().collect()), 0);
        test.machine.simulator.set_faults(Vec::new());
        wait(&test, &name);
        assert_eq!(videos(test.objects().await.into_keys().collect()), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_event_was_dropped_is_found_by_reconciling() {
    let settings = Settings { finish_after: Duration::from_millis(20), ..Settings::default() };
    let test =
        TestMachine::with(Settings { faults: faults(json!([{"fault": "dropped"}])), ..settings }).await;
    let name = test.create_batch(three_requests(), json!({})).await;
    loop {
        let batch: Value = test.gemini(&format!("v1beta/{name}")).await.json().await.unwrap();
        if batch["done"] == true {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(test.deliveries().await.is_empty());
    let local = test.tell(&test.machine.addresses);
    let reconciled = Command::new(GEMHOOK).args(["reconcile", &local]).output().unwrap();
    assert!(reconciled.status.success(), "{}", String::from_utf8_lossy(&reconciled.stderr));
    wait(&test, &name);
    let [row] = test.deliveries().await.try_into().unwrap();
    assert_eq!(
        (text(&row, "webhook_id"), text(&row, "outcome")),
        (format!("job~{name}").as_str(), "archived")
    );
    assert_eq!(number(&row, "attempt"), 1);
}

#[test]
fn the_faults_that_are_documented_are_all_that_there_are() {
    let document = include_str!("../../../../docs/simulator.md");
    let told = document.lines().filter_map(|line| line.strip_prefix("| `{\"fault\"")?.split_once("` |"));
    let mut named = BTreeSet::new();
    for (rest, _) in told {
        let fault: Fault = serde_json::from_str(&format!("{{\"fault\"{rest}")).unwrap();
        named.insert(serde_json::to_value(fault).unwrap()["fault"].as_str().unwrap().to_owned());
    }
    let unknown = serde_json::from_value::<Fault>(json!({"fault": "gremlins"})).unwrap_err().to_string();
    let known = unknown.split('`').skip(3).step_by(2).map(str::to_owned);
    assert_eq!(named, known.collect(), "{unknown}");
}

/// The simulator names the directives that it knows when it is given another.
#[tokio::test(flavor = "multi_thread")]
async fn the_directives_that_are_documented_are_all_that_there_are() {
    let document = include_str!("../../../../docs/simulator.md");
    let (_, table) = document.split_once("| directive |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let named: BTreeSet<String> = rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
    let test = TestMachine::start().await;
    let url = format!("{}/v1beta/models/veo:predictLongRunning", test.machine.addresses.gemini_url);
    let asked = json!({"instances": [{"prompt": r#"simulate: {"gremlins": 1}"#}]});
    let answer = test.http.post(url).header("x-goog-api-key", "k").json(&asked).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let message = answer["error"]["message"].as_str().unwrap();
    let known = message.split('`').skip(3).step_by(2).map(str::to_owned);
    assert_eq!(named, known.collect(), "{message}");
}
