//! The program as a user runs it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

use crate::{fake_aws::FakeAws, support::folder};

pub const GEMHOOK: &str = env!("CARGO_BIN_EXE_gemhook");

/// Where each `gemhook dev` says that it runs. Tests set it, so that they do not find those of other tests or the user's.
pub const STATE_HOME: &str = "XDG_STATE_HOME";

/// `gemhook dev --json` in a folder, and the lines it writes.
pub struct Dev {
    pub child: Child,
    pub addresses: Value,
    pub lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Dev {
    pub fn start(folder: &Path, more: &[&str]) -> Self {
        Self::start_under(folder, folder, more)
    }

    /// Other commands with the same `state` find it.
    pub fn start_under(state: &Path, folder: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(GEMHOOK)
            .args(["dev", "--json", "--port", "0", "--data"])
            .arg(folder)
            .args(more)
            .env(STATE_HOME, state)
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

/// A function counts at every level. The machine counts nothing, so a delivery that is accepted is no news for stderr.
#[test]
fn dev_writes_nothing_to_stderr_about_what_goes_well() {
    let folder = folder();
    let mut dev = Command::new(GEMHOOK)
        .args(["dev", "--json", "--port", "0", "--data"])
        .arg(folder.path())
        .env(STATE_HOME, folder.path())
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(dev.stdout.take().unwrap());
    lines.read_line(&mut first).unwrap();
    let local = format!("--local={}", folder.path().display());
    let sent = Command::new(GEMHOOK).args(["trigger", "orchard.ripened", &local]).output().unwrap();
    assert!(sent.status.success(), "{sent:?}");
    let stopped = Command::new("kill").args(["-INT", &dev.id().to_string()]).status();
    assert!(stopped.unwrap().success());
    let said = dev.wait_with_output().unwrap().stderr;
    assert_eq!(String::from_utf8_lossy(&said), "");
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
    let port = taken.local_addr().unwrap().port().min(65_530).to_string();
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

fn help(of: &[String]) -> String {
    let output = Command::new(GEMHOOK).args(of).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{of:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("Commands:\n").unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    // What begins further to the right goes on with the line before.
    let begun = lines.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names = begun.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn each_command_has_an_example_and_a_line_in_the_documentation() {
    let document = include_str!("../../../../docs/command-line.md");
    let mut left: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = left.pop() {
        let help = help(&command);
        let below = commands(&help);
        if below.is_empty() {
            seen += 1;
            assert!(help.contains("Example: gemhook "), "{command:?} has no example");
            let name = format!("`gemhook {}`", command.join(" "));
            assert!(document.contains(&name), "{name} is not documented");
        }
        left.extend(below.into_iter().map(|name| [&command[..], &[name]].concat()));
    }
    assert!(seen > 20, "only {seen} commands were found");
}

#[test]
fn the_exit_statuses_are_those_of_the_documentation() {
    let help = help(&[]);
    let document = include_str!("../../../../docs/command-line.md");
    let (_, told) = help.split_once("Exit status:\n").unwrap();
    let told: Vec<(i32, &str)> = told
        .lines()
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(status, meaning)| (status.parse().unwrap(), meaning))
        .collect();
    assert_eq!(told.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [0, 1, 2]);
    let (_, table) = document.split_once("| status | meaning |\n").unwrap();
    let rows: Vec<&str> = table.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
    let wanted: Vec<String> =
        told.iter().map(|(status, meaning)| format!("| {status} | {meaning} |")).collect();
    assert_eq!(rows, wanted);

    let folder = folder();
    for (arguments, status) in
        [(&["--version"][..], 0), (&["deliveries", "list"], 1), (&["deliveries", "lisst"], 2), (&["--x"], 2)]
    {
        let mut command = Command::new(GEMHOOK);
        command.args(arguments).current_dir(folder.path()).env(STATE_HOME, folder.path());
        command.env_remove("DELIVERIES_TABLE");
        assert_eq!(command.output().unwrap().status.code(), Some(status), "{arguments:?}");
    }
}

#[test]
fn the_only_running_machine_is_found_from_any_folder_and_several_are_named() {
    let (state, here, first, second) = (folder(), folder(), folder(), folder());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(GEMHOOK);
        command.args(arguments).current_dir(here.path()).env(STATE_HOME, state.path());
        let output = command.env_remove("DELIVERIES_TABLE").env_remove("WEBHOOK_SECRET").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let list = ["deliveries", "list"];
    assert_eq!(run(&list).0, Some(1));
    let mut lives = Dev::start_under(state.path(), first.path(), &[]);
    assert_eq!(run(&list).0, Some(0));
    assert_eq!(run(&["trigger", "ping"]).0, Some(0));

    let mut killed = Dev::start_under(state.path(), second.path(), &[]);
    let (code, said) = run(&list);
    assert_eq!(code, Some(1));
    for dev in [&lives, &killed] {
        assert!(said.contains(&format!("--local={}", dev.address("data_dir"))), "{said}");
    }
    // A command that needs no machine does not mind.
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (code, said) = run(&["trigger", "ping", "--to", "http://127.0.0.1:9/", "--secret", secret]);
    assert!(code == Some(1) && !said.contains("several"), "{said}");

    // It leaves its entry and its addresses behind.
    killed.signal("KILL");
    killed.child.wait().unwrap();
    assert!(second.path().join("addresses.json").exists());
    assert_eq!(run(&list).0, Some(0));
    lives.signal("TERM");
    lives.child.wait().unwrap();
    assert_eq!(run(&list).0, Some(1));
    let left = std::fs::read_dir(state.path().join("gemhook/machines")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_running_machine_is_found_from_a_folder_below_and_its_tables_fit_the_terminal() {
    let folder = folder();
    let dev = Dev::start(&folder.path().join(".gemhook"), &[]);
    let below = folder.path().join("src/deep");
    std::fs::create_dir_all(&below).unwrap();
    let run = |arguments: &[&str], columns: Option<&str>| {
        let mut command = Command::new(GEMHOOK);
        for name in ["DELIVERIES_TABLE", "WEBHOOK_SECRET", "COLUMNS"] {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(&below).envs(columns.map(|columns| ("COLUMNS", columns)));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let id = "msg_2f1d9c52-4a3e-4d1c-9d3f-0123456789ab";
    let job = "data.id=batches/o08hk76gv328ihxcssjsgwt3g6omtfysxi46";
    run(&["trigger", "batch.succeeded", "--id", id, "--set", job], None);
    for columns in ["80", "100", "120"] {
        let table = run(&["deliveries", "list", "--local"], Some(columns));
        let width: usize = columns.parse().unwrap();
        assert!(table.lines().all(|line| line.chars().count() <= width), "{columns}:\n{table}");
        assert!(table.contains(id), "the id stays whole:\n{table}");
    }
    let whole = run(&["deliveries", "list"], None);
    assert!(whole.contains(job.trim_start_matches("data.id=")), "not cut in a pipe:\n{whole}");
    drop(dev);
}

#[test]
fn completions_and_manual_pages_are_generated() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(GEMHOOK).args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("redrive"), "{shell}");
    }
    let folder = folder();
    let made = Command::new(GEMHOOK).args(["man", "--to"]).arg(folder.path().join("man1")).output().unwrap();
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let page = std::fs::read_to_string(folder.path().join("man1/gemhook-deliveries-redrive.1")).unwrap();
    assert!(page.starts_with(".ie") || page.contains(".TH gemhook"), "{page:.200}");
}
