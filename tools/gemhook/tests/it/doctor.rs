//! `gemhook doctor`: a sound place is found sound, and what is broken is named with what fixes it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use gemhook_cli::dev::Addresses;
use gemini_simulator::Settings;
use serde_json::{Value, json};

use crate::{
    fake_aws::{Account, FakeAws},
    support::TestMachine,
};

/// Of no local machine, so that a stack may have it.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Exit status, and each check's verdict with what was said.
struct Report {
    code: Option<i32>,
    checks: HashMap<String, (String, String)>,
}

impl Report {
    fn failures(&self) -> Vec<&str> {
        self.of("failure")
    }

    fn of(&self, verdict: &str) -> Vec<&str> {
        let of = self.checks.iter().filter(|(_, (found, _))| found == verdict);
        let mut names: Vec<&str> = of.map(|(check, _)| check.as_str()).collect();
        names.sort_unstable();
        names
    }
}

async fn doctor(aws: &FakeAws, arguments: &[&str], variables: &[(&str, &str)]) -> Report {
    let output = aws.gemhook(&[&["doctor", "--json"], arguments].concat(), variables).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("whsec_MfKQ") && !said.contains("whsec_Z2VtaG9v"), "a secret is shown: {said}");
    let text = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap().iter().map(|check| {
        let words = format!("{} / {}", text(check, "found"), text(check, "fix"));
        assert_eq!(check["fix"].is_null(), ["ok", "skipped"].contains(&&*text(check, "verdict")));
        (text(check, "check"), (text(check, "verdict"), words))
    });
    let report = Report { code: output.status.code(), checks: checks.collect() };
    assert_eq!(report.checks.len(), 13);
    assert_eq!(report.code, Some(i32::from(!report.failures().is_empty())), "{:?}", report.checks);
    report
}

async fn dev(test: &TestMachine, aws: &FakeAws, change: impl FnOnce(&mut Addresses)) -> Report {
    let mut at = test.machine.addresses.clone();
    change(&mut at);
    doctor(aws, &[&test.tell(&at)], &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_machine_is_sound_and_the_probe_leaves_nothing() {
    let (test, aws) = (TestMachine::start().await, FakeAws::start(Account::default()).await);
    let report = dev(&test, &aws, |_| {}).await;
    assert_eq!((report.failures(), report.of("warning")), (vec![], vec![]), "{:?}", report.checks);
    let skipped = ["concurrency", "credentials", "permissions", "stack", "stream mapping"];
    assert_eq!(report.of("skipped"), skipped);
    assert!(report.checks["probe"].1.contains("came out recorded"));
    assert!(test.deliveries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_piece_of_a_local_machine_is_named() {
    let (test, aws) = (TestMachine::start().await, FakeAws::start(Account::default()).await);
    let report = dev(&test, &aws, |at| at.webhook_secret = SECRET.to_owned()).await;
    assert_eq!(report.failures(), ["probe", "webhook"], "{:?}", report.checks);
    let report = dev(&test, &aws, |at| at.webhook_secret = "not-set-yet".to_owned()).await;
    assert_eq!(report.failures(), ["secret", "webhook"], "{:?}", report.checks);
    let report = dev(&test, &aws, |at| at.webhook_url = "http://127.0.0.1:9/".to_owned()).await;
    assert_eq!(report.failures(), ["probe", "url", "webhook"], "{:?}", report.checks);
    let report = dev(&test, &aws, |at| at.gemini_url = "http://127.0.0.1:9".to_owned()).await;
    assert_eq!(report.failures(), ["gemini key", "webhook"], "{:?}", report.checks);
    let report = dev(&test, &aws, |at| at.bucket = "another".to_owned()).await;
    assert_eq!(report.failures(), ["bucket"], "{:?}", report.checks);

    let off = TimeToLiveSpecification::builder().enabled(false).attribute_name("expires_at").build().unwrap();
    let table = &test.machine.addresses.deliveries_table;
    let update = test.dynamodb().update_time_to_live().table_name(table).time_to_live_specification(off);
    update.send().await.unwrap();
    let report = dev(&test, &aws, |_| {}).await;
    assert_eq!(report.failures(), ["deliveries table"], "{:?}", report.checks);
    assert!(report.checks["deliveries table"].1.contains("aws dynamodb update-time-to-live"));
}

fn policy(with_invoke: bool) -> Value {
    let allow = |action: &str, condition: Value| json!({"Effect": "Allow", "Principal": "*", "Action": action, "Condition": condition});
    let mut statements = vec![allow(
        "lambda:InvokeFunctionUrl",
        json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}),
    )];
    if with_invoke {
        let only = json!({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}});
        statements.push(allow("lambda:InvokeFunction", only));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// An account whose stack is the local machine's stores and function.
pub fn account(at: &Addresses) -> Account {
    let outputs = HashMap::from([
        ("ReceiverUrl", at.webhook_url.clone()),
        ("DeliveriesTableName", at.deliveries_table.clone()),
        ("JobsTableName", at.jobs_table.clone()),
        ("ResultsBucketName", "results".to_owned()),
        ("SigningSecretArn", "arn:signing".to_owned()),
        ("ApiKeySecretArn", "arn:key".to_owned()),
        ("ReceiverFunctionName", "receiver".to_owned()),
        ("ArchiverFunctionName", "archiver".to_owned()),
    ]);
    let stream = format!("arn:aws:dynamodb:us-east-1:1:table/{}/stream/2026", at.deliveries_table);
    Account {
        outputs,
        secrets: [("arn:signing", SECRET), ("arn:key", "k")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .into(),
        policy: policy(true),
        concurrency: 1000,
        mappings: vec![json!({"UUID": "u1", "EventSourceArn": stream, "State": "Enabled"})],
        private: true,
        ..Account::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_stack_is_found_sound_and_each_broken_piece_is_named() {
    let test = TestMachine::with_secret(SECRET, Settings::default()).await;
    let at = &test.machine.addresses;
    let aws = FakeAws::start(account(at)).await;
    let variables =
        [("AWS_ENDPOINT_URL_DYNAMODB", at.dynamodb_url.as_str()), ("GEMINI_BASE_URL", &at.gemini_url)];
    let look = || doctor(&aws, &["--stack", "s"], &variables);
    let report = look().await;
    assert_eq!(report.of("ok").len(), 13, "{:?}", report.checks);

    type Break = fn(&mut Account);
    let broken: [(Break, &[&str], &str); 6] = [
        (|account| account.policy = policy(false), &["permissions"], "it answers 403"),
        (|account| account.private = false, &["bucket"], "put-public-access-block"),
        (|account| account.mappings[0]["State"] = json!("Disabled"), &["stream mapping"], "--uuid u1"),
        (|account| account.mappings.clear(), &["stream mapping"], "does not invoke"),
        (
            |account| account.secrets.insert("arn:signing".into(), "not-set-yet".into()).map_or((), drop),
            &["secret", "webhook"],
            "gemhook webhook create --stack s",
        ),
        (
            |account| account.outputs.remove("JobsTableName").map_or((), drop),
            &["jobs table", "stack"],
            "deploy",
        ),
    ];
    for (make, names, fix) in broken {
        *aws.account.lock().unwrap() = account(at);
        make(&mut aws.account.lock().unwrap());
        let report = look().await;
        assert_eq!(report.failures(), names, "{:?}", report.checks);
        assert!(report.checks[names[0]].1.contains(fix), "{:?}", report.checks[names[0]]);
    }
    *aws.account.lock().unwrap() = Account { concurrency: 10, ..account(at) };
    let report = look().await;
    assert_eq!((report.code, report.of("warning")), (Some(0), vec!["concurrency"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_sent_to_and_read_by_its_name() {
    let test = TestMachine::with_secret(SECRET, Settings::default()).await;
    let at = &test.machine.addresses;
    let aws = FakeAws::start(account(at)).await;
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", at.dynamodb_url.as_str())];
    let trigger = ["trigger", "ping", "--id", "msg_of_the_stack", "--stack", "s"];
    let output = aws.gemhook(&trigger, &variables).await;
    assert!(output.status.success(), "{output:?}");
    test.ended("msg_of_the_stack").await;
    aws.account.lock().unwrap().secrets.insert("arn:signing".into(), "not-set-yet".into());
    let output = aws.gemhook(&trigger, &variables).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("webhook create --stack s"), "{said}");
    for command in
        [["deliveries", "list", "--stack", "s", "--json"], ["deliveries", "--stack", "s", "list", "--json"]]
    {
        let output = aws.gemhook(&command, &variables).await;
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let row = &rows[0];
        assert_eq!((&row["webhook_id"], &row["outcome"]), (&json!("msg_of_the_stack"), &json!("recorded")));
    }
    let output = aws.gemhook(&["jobs", "list", "--stack", "s", "--local"], &variables).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = aws.gemhook(&["jobs", "list"], &[]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("--stack"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template_has_every_output_that_a_sound_stack_needs() {
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml");
    let template = std::fs::read_to_string(template).unwrap();
    let outputs = template.split_once("\nOutputs:\n").unwrap().1;
    let test = TestMachine::start().await;
    for name in account(&test.machine.addresses).outputs.keys() {
        assert!(outputs.contains(&format!("  {name}:\n")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_development_secret_in_a_stack_is_a_failure() {
    let test = TestMachine::start().await;
    let at = &test.machine.addresses;
    let aws = FakeAws::start(account(at)).await;
    aws.account.lock().unwrap().secrets.insert("arn:signing".into(), at.webhook_secret.clone());
    let variables =
        [("AWS_ENDPOINT_URL_DYNAMODB", at.dynamodb_url.as_str()), ("GEMINI_BASE_URL", &at.gemini_url)];
    let report = doctor(&aws, &["--stack", "s"], &variables).await;
    assert_eq!(report.failures(), ["secret"], "{:?}", report.checks);
}
