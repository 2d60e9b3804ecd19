//! The buttons of the page, and the page of a stack.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use gemini_simulator::Settings;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::{
    command_line::GEMHOOK,
    doctor::{SECRET, account},
    fake_aws::FakeAws,
    page::Page,
    replay::{is_signed_now, receiver},
    support::{TestMachine, text},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_job_of_each_kind_ends_as_asked() {
    let page = Page::start();
    let make = async |kind: &str, event: Value| {
        let wanted = json!({"kind": kind, "event_type": event});
        page.done(Method::POST, "api/jobs", wanted).await["job"].as_str().unwrap().to_owned()
    };
    for (kind, event, state) in [
        ("batch", Value::Null, "BATCH_STATE_SUCCEEDED"),
        ("embeddings", Value::Null, "BATCH_STATE_SUCCEEDED"),
        ("interaction", Value::Null, "completed"),
        ("video", Value::Null, "succeeded"),
        ("batch", json!("batch.failed"), "BATCH_STATE_FAILED"),
        ("interaction", json!("interaction.failed"), "failed"),
    ] {
        let job = page.job(&make(kind, event).await).await;
        let row = page.json(&format!("api/jobs/{}", job.replace('/', "%2F"))).await;
        assert_eq!(row["row"]["state"], state, "{kind}");
        // The simulator's own webhook brought its event.
        let delivery = page.ended(row["row"]["ended_by"].as_str().unwrap()).await;
        assert_eq!(delivery["row"]["scheme"], "v1");
    }
    for wrong in
        [json!({"kind": "video", "event_type": "batch.failed"}), json!({"kind": "orchard"}), json!({})]
    {
        let answer = page.change(Method::POST, "api/jobs", wrong.clone()).await;
        assert_eq!(answer.status(), 422, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_triggered_replayed_and_redriven() {
    let page = Page::start();
    let wanted = json!({"event_type": "orchard.ripened", "set": ["data.id=tree-7", "n:=3"]});
    let sent = page.done(Method::POST, "api/deliveries", wanted).await;
    let id = sent["webhook_id"].as_str().unwrap().to_owned();
    assert_eq!(sent["status"], 200);
    let story = page.ended(&id).await;
    let body: Value = serde_json::from_str(story["row"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&body["data"]["id"], &body["n"], &body["type"]),
        (&json!("tree-7"), &json!(3), &json!("orchard.ripened"))
    );
    assert_eq!((&story["can_replay"], &story["can_redrive"]), (&json!(true), &json!(true)));

    let replay = format!("api/deliveries/{id}/replay");
    let same = page.done(Method::POST, &replay, json!({})).await;
    assert_eq!((&same["webhook_id"], &same["status"]), (&json!(id), &json!(200)));
    let new = page.done(Method::POST, &replay, json!({"new_id": true})).await;
    let new = new["webhook_id"].as_str().unwrap().to_owned();
    assert_eq!(page.ended(&new).await["row"]["body"], story["row"]["body"]);
    let (url, mut came) = receiver(202).await;
    let away = page.done(Method::POST, &replay, json!({"to": url})).await;
    assert_eq!(away["status"], 202);
    let (headers, sent) = came.recv().await.unwrap();
    assert!(is_signed_now(&headers, &sent, page.dev.address("webhook_secret")));
    assert_eq!(page.json("api/deliveries").await.as_array().unwrap().len(), 2);

    page.done(Method::POST, &format!("api/deliveries/{id}/redrive"), json!({})).await;
    let attempts = async || page.ended(&id).await["row"]["attempt"].as_i64().unwrap();
    while attempts().await < 2 {}

    let archived = page.done(Method::POST, "api/jobs", json!({"kind": "batch"})).await;
    let job = page.job(archived["job"].as_str().unwrap()).await;
    let row = page.json(&format!("api/jobs/{}", job.replace('/', "%2F"))).await;
    let ended_by = row["row"]["ended_by"].as_str().unwrap();
    assert_eq!(page.ended(ended_by).await["can_redrive"], false);
    for (path, body, status, why) in [
        (
            format!("api/deliveries/{ended_by}/redrive"),
            json!({}),
            409,
            "did not end in a way that can be redriven".to_owned(),
        ),
        ("api/deliveries/msg_none/replay".to_owned(), json!({}), 422, "there is no delivery".to_owned()),
        (replay.clone(), json!({"to": "nowhere"}), 422, "no address".to_owned()),
        (
            "api/deliveries".to_owned(),
            json!({"event_type": "x", "set": ["no field"]}),
            422,
            "data.id=".to_owned(),
        ),
    ] {
        refused(page.change(Method::POST, &path, body).await, status, &why).await;
    }
}

async fn refused(answer: Response, status: u16, why: &str) {
    assert_eq!(answer.status().as_u16(), status);
    let told: Value = answer.json().await.unwrap();
    assert!(told["error"].as_str().unwrap().contains(why), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulators_faults_and_clock_are_set_and_its_webhooks_shown() {
    let page = Page::start();
    let fault = json!([{"fault": "unavailable", "calls": 2, "on": "/batches"}]);
    assert_eq!(page.done(Method::PUT, "api/simulator/faults", fault.clone()).await, fault);
    let direct = async |what: &str| -> Value {
        let url = format!("{}/simulator/{what}", page.dev.address("gemini_url"));
        Client::new().get(url).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(direct("faults").await, fault);
    assert_eq!(
        page.done(Method::PUT, "api/simulator/clock", json!({"forward": 3600})).await["forward"],
        3600.0
    );
    assert_eq!(direct("clock").await["forward"], 3600.0);
    let policy = json!({"retries": [1.0, 5.0], "copies": 2, "disable_after": 3});
    assert_eq!(page.done(Method::PUT, "api/simulator/deliveries", policy.clone()).await, policy);
    assert_eq!(direct("deliveries").await, policy);
    let none = json!({"retries": [], "copies": 0});
    refused(page.change(Method::PUT, "api/simulator/deliveries", none).await, 422, "copies").await;
    let shown = page.json("api/simulator").await;
    assert_eq!(shown["deliveries"], policy);
    assert_eq!((&shown["faults"], &shown["webhooks"]["list"][0]["id"]), (&fault, &json!("builtin")));
    refused(page.change(Method::PUT, "api/simulator/clock", json!({"forward": 1})).await, 422, "moved back")
        .await;
    assert_eq!(
        page.change(Method::PUT, "api/simulator/faults", json!([{"fault": "gremlins"}])).await.status(),
        422
    );
    // A fault that strikes the list of webhooks leaves the rest to be seen, and to be cleared.
    page.done(Method::PUT, "api/simulator/faults", json!([{"fault": "unavailable"}])).await;
    let shown = page.json("api/simulator").await;
    assert!(shown["webhooks"]["error"].as_str().unwrap().contains("503"), "{shown}");
    assert_eq!(page.done(Method::PUT, "api/simulator/faults", json!([])).await, json!([]));
}

#[test]
fn the_page_offers_each_fault_of_the_documentation() {
    let document = include_str!("../../../../docs/simulator.md");
    let script = include_str!("../../src/cli/page/web/simulator.js");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `{\"fault\": \""));
    let names: Vec<&str> = rows.filter_map(|row| Some(row.split_once('"')?.0)).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(script.contains(&format!("\n  {name}: [")), "{name}");
    }
}

/// `gemhook page --stack s`, of a stack whose tables are a local machine's.
struct StackPage {
    child: Child,
    told: Value,
    http: Client,
}

impl StackPage {
    fn start(aws: &FakeAws, test: &TestMachine, more: &[&str]) -> Self {
        let at = &test.machine.addresses;
        let mut command = Command::new(GEMHOOK);
        command.args(["page", "--stack", "s", "--port", "0", "--json"]).args(more).env_clear();
        command.envs([
            ("AWS_ENDPOINT_URL", aws.url.as_str()),
            ("AWS_ENDPOINT_URL_DYNAMODB", &at.dynamodb_url),
            ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", &at.dynamodb_url),
            ("AWS_ENDPOINT_URL_S3", &at.s3_url),
            ("AWS_ACCESS_KEY_ID", &at.aws_access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &at.aws_secret_access_key),
            ("AWS_REGION", "us-east-1"),
        ]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        Self { child, told: serde_json::from_str(&first).unwrap(), http: Client::new() }
    }

    fn url(&self) -> &str {
        self.told["page_url"].as_str().unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url())).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    async fn change(&self, method: Method, path: &str, token: &str, body: Value) -> Response {
        let request = self.http.request(method, format!("{}{path}", self.url()));
        let request =
            request.header("origin", self.url().trim_end_matches('/')).header("x-gemhook-token", token);
        request.json(&body).send().await.unwrap()
    }
}

impl Drop for StackPage {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stacks_page_follows_its_tables_and_changes_nothing() {
    let test = TestMachine::with_secret(SECRET, Settings::default()).await;
    let aws = FakeAws::start(account(&test.machine.addresses)).await;
    let page = StackPage::start(&aws, &test, &[]);
    assert_eq!((&page.told["writes"], &page.told["of"]), (&json!(false), &json!("the stack s")));
    let place = page.json("api/place").await;
    assert_eq!(
        (&place["token"], &place["stack"], &place["local"]),
        (&Value::Null, &json!("s"), &json!(false))
    );

    let mut live = page.http.get(format!("{}api/changes", page.url())).send().await.unwrap();
    let job = test.silent_batch(crate::support::three_requests()).await;
    // The stream is followed from some moment on: only what comes after it is seen.
    let (mut seen, mut sent) = (String::new(), 0);
    while !seen.contains("\"outcome\":\"archived\"") && !seen.contains("\"outcome\":\"repeated\"") {
        sent += 1;
        let id = format!("msg_{sent}");
        assert_eq!(test.delivery(&id, crate::support::succeeded(&job)).send().await.unwrap().status(), 200);
        test.ended(&id).await;
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(2), live.chunk()).await;
        if let Ok(chunk) = chunk {
            seen.push_str(&String::from_utf8_lossy(&chunk.unwrap().unwrap()));
        }
    }
    let story = page.json("api/deliveries/msg_1").await;
    assert_eq!(
        (&story["row"]["outcome"], &story["can_redrive"], &story["can_replay"]),
        (&json!("archived"), &json!(false), &json!(false))
    );
    let report = page.json("api/deliveries/msg_1/verification").await;
    assert!(
        report["steps"].as_array().unwrap().iter().any(|step| step["step"] == "key" && step["state"] == "ok")
    );
    let preview = page.json(&format!("api/preview?job={}&at=0", job.replace('/', "%2F"))).await;
    assert_eq!(preview["lines"].as_array().unwrap().len(), 3);

    for token in ["", "null"] {
        for path in
            ["api/deliveries/msg_1/replay", "api/deliveries/msg_1/redrive", "api/jobs", "api/deliveries"]
        {
            assert_eq!(page.change(Method::POST, path, token, json!({})).await.status(), 403, "{path}");
        }
    }
    let answer = page.http.get(format!("{}api/simulator", page.url())).send().await.unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stacks_page_redrives_and_replays_where_it_may_write() {
    let test = TestMachine::with_secret(SECRET, Settings::default()).await;
    let aws = FakeAws::start(account(&test.machine.addresses)).await;
    let page = StackPage::start(&aws, &test, &["--allow-writes"]);
    assert_eq!(test.delivery("msg_1", r#"{"type":"orchard.ripened"}"#).send().await.unwrap().status(), 200);
    test.ended("msg_1").await;
    let token = page.json("api/place").await["token"].as_str().unwrap().to_owned();

    let answer =
        page.change(Method::POST, "api/deliveries/msg_1/replay", &token, json!({"new_id": true})).await;
    let replayed: Value = answer.json().await.unwrap();
    assert_eq!(replayed["status"], 200, "{replayed}");
    let row = test.ended(replayed["webhook_id"].as_str().unwrap()).await;
    assert_eq!(text(&row, "scheme"), "v1");

    let answer = page.change(Method::POST, "api/deliveries/msg_1/redrive", &token, json!({})).await;
    assert_eq!(answer.status(), 200);
    while crate::support::number(&test.ended("msg_1").await, "attempt") < 2 {}
    // Nothing is made up in a stack.
    for (path, body) in
        [("api/jobs", json!({"kind": "batch"})), ("api/deliveries", json!({"event_type": "x"}))]
    {
        assert_eq!(page.change(Method::POST, path, &token, body).await.status(), 404, "{path}");
    }
    assert_eq!(page.change(Method::PUT, "api/simulator/faults", &token, json!([])).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_machine_has_its_page_already() {
    let page = Page::start();
    let local = format!("--local={}", page.folder.path().display());
    let output = Command::new(GEMHOOK).args(["page", &local]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(page.dev.address("page_url")), "{said}");
}
