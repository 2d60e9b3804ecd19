//! The program as a user runs it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

use crate::{fake_aws::FakeAws, support::folder};

pub const GEMHOOK: &str = env!("CARGO_BIN_EXE_gemhook");

/// `gemhook dev --json` in a folder, and the lines it writes.
pub struct Dev {
    pub child: Child,
    pub addresses: Value,
    pub lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Dev {
    pub fn start(folder: &std::path::Path, more: &[&str]) -> Self {
        let mut child = Command::new(GEMHOOK)
            .args(["dev", "--json", "--port", "0", "--data"])
            .arg(folder)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().expect("no first line").unwrap();
        Self { child, addresses: serde_json::from_str(&first).unwrap(), lines }
    }

    pub fn address(&self, name: &str) -> &str {
        self.addresses[name].as_str().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Gone already in most tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl FakeAws {
    /// `gemhook` with this account and these variables, and with nothing of this process's own.
    pub async fn gemhook(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(GEMHOOK);
        command.args(arguments).env_clear().env("AWS_ENDPOINT_URL", &self.url);
        command.envs([
            ("AWS_ACCESS_KEY_ID", "gemhook"),
            ("AWS_SECRET_ACCESS_KEY", "gemhook-local-only"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_MAX_ATTEMPTS", "1"),
        ]);
        command.envs(variables.iter().copied());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

#[test]
fn dev_tells_where_everything_is_and_ends_with_ctrl_c() {
    let folder = folder();
    let mut dev = Dev::start(folder.path(), &[]);
    for name in [
        "webhook_url",
        "gemini_url",
        "dynamodb_url",
        "s3_url",
        "eventbridge_url",
        "deliveries_table",
        "jobs_table",
        "bucket",
        "data_dir",
        "webhook_secret",
        "aws_access_key_id",
        "aws_secret_access_key",
    ] {
        assert!(dev.addresses[name].as_str().is_some_and(|value| !value.is_empty()), "{name}");
    }
    let second =
        Command::new(GEMHOOK).args(["dev", "--port", "0", "--data"]).arg(folder.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("gemhook: "), "{second:?}");
    dev.signal("INT");
    assert_eq!(dev.child.wait().unwrap().code(), Some(0));
}

#[test]
fn dev_names_a_port_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().min(65_531).to_string();
    let folder = folder();
    let dev =
        Command::new(GEMHOOK).args(["dev", "--port", &port, "--data"]).arg(folder.path()).output().unwrap();
    assert_eq!(dev.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&dev.stderr).contains(&format!("cannot listen on port {port}")),
        "{dev:?}"
    );
}

#[test]
fn demo_proves_it_and_says_so() {
    let demo = Command::new(GEMHOOK).args(["demo", "--json"]).output().unwrap();
    assert_eq!(demo.status.code(), Some(0), "{demo:?}");
    let report: Value = serde_json::from_slice(&demo.stdout).unwrap();
    assert_eq!(report["differences"], serde_json::json!([]));
    let answers: Vec<u64> = report["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["status"].as_u64().unwrap())
        .collect();
    assert_eq!(answers, [200, 200, 200, 401, 401, 200, 200, 200, 200]);
    assert_eq!(report["objects"][0]["lines"], 1000);
    assert_eq!(report["objects"][0]["sha256"], report["source_sha256"]);
    assert!(report["proved"].as_str().unwrap().contains("archived once"));
}
