//! `gemhook trigger`: what it sends is taken, and what it prints is what other tools take.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Output, Stdio},
};

use gemhook::webhook::{Event, EventKind};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};

use crate::{
    command_line::{GEMHOOK, STATE_HOME},
    support::{TestMachine, end, text},
};

const TYPES: [&str; 10] = [
    "batch.succeeded",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    "interaction.completed",
    "interaction.failed",
    "interaction.cancelled",
    "interaction.requires_action",
    "video.generated",
    "ping",
];

/// With `--json`, unless it is to print the event.
async fn trigger(test: &TestMachine, arguments: &[&str]) -> Output {
    let local = test.tell(&test.machine.addresses);
    let mut command = Command::new(GEMHOOK);
    command.arg("trigger").args(arguments).arg(local).env_remove("WEBHOOK_SECRET");
    if !arguments.iter().any(|argument| argument.starts_with("--print")) {
        command.arg("--json");
    }
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_sent_accepted_and_distinguished() {
    let test = TestMachine::start().await;
    for event_type in TYPES {
        let output = trigger(&test, &[event_type]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let id = answer(&output)["webhook_id"].as_str().unwrap().to_owned();
        let row = test.delivery_row(&id).await.unwrap();
        assert_eq!(text(&row, "event_type"), event_type);
        let event = Event::parse(text(&row, "body").as_bytes());
        assert_eq!(event.job_hint.is_none(), event.kind() == EventKind::Unknown, "{event_type}");
        assert!(event.time.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_in_a_sentence_how_the_event_was_answered_and_what_to_run_next() {
    let test = TestMachine::start().await;
    let local = test.tell(&test.machine.addresses);
    let url = &test.machine.addresses.webhook_url;
    for (arguments, code, wanted) in
        [(["--id", "msg_said"], 0, "accepted msg_said with 200"), (["--age", "400"], 1, "with 401")]
    {
        let mut command = Command::new(GEMHOOK);
        command.args(["trigger", "ping", &local]).args(arguments).env_remove("WEBHOOK_SECRET");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(said.starts_with(url) && said.contains(wanted) && said.contains("gemhook d"), "{said}");
        assert!(said.ends_with('\n') && said.lines().count() == 1, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_ones_own_is_archived_and_a_duplicate_changes_nothing() {
    let test = TestMachine::start().await;
    let job = test.silent_batch(crate::support::three_requests()).await;
    let set = format!("data.id={job}");
    for _ in 0..2 {
        let same = ["--id", "msg_mine", "--set", "timestamp=2026-05-28T20:26:30Z"];
        let output = trigger(&test, &[&["batch.succeeded", "--set", &set][..], &same].concat()).await;
        assert_eq!(answer(&output)["status"], 200, "{output:?}");
    }
    assert_eq!(end(&test.ended("msg_mine").await), "done/archived");
    assert_eq!(test.deliveries().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_event_and_one_of_another_secret_are_refused_and_the_exit_status_says_so() {
    let test = TestMachine::start().await;
    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for arguments in [["ping", "--age", "301"], ["ping", "--age", "-400"], ["ping", "--secret", other]] {
        let output = trigger(&test, &arguments).await;
        assert_eq!(
            (output.status.code(), &answer(&output)["status"]),
            (Some(1), &json!(401)),
            "{arguments:?}"
        );
        assert!(!String::from_utf8_lossy(&output.stdout).contains("whsec_"));
    }
    assert!(test.deliveries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_for_lambda_is_a_whole_event() {
    let test = TestMachine::start().await;
    let body = test.folder().join("body");
    std::fs::write(&body, [0xff, 0x00]).unwrap();
    for (arguments, id) in [
        (["interaction.completed", "--print", "lambda", "--id", "msg_text"], "msg_text"),
        (["--body", body.to_str().unwrap(), "--print=lambda", "--id", "msg_binary"], "msg_binary"),
    ] {
        let event = answer(&trigger(&test, &arguments).await);
        let receiver = test.machine.receiver();
        let answer = receiver.invoke(LambdaEvent::new(event, Context::default())).await.unwrap();
        assert_eq!(answer.status_code, 200, "{id}");
        assert!(test.delivery_row(id).await.is_some(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_for_the_wire_and_for_the_shell_is_taken() {
    let test = TestMachine::start().await;
    let quote = "data.text=it's \"quoted\" $HOME";
    let request =
        trigger(&test, &["ping", "--print", "http", "--id", "msg_http", "--set", quote]).await.stdout;
    let address =
        test.machine.addresses.webhook_url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let said = tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(&request).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(said.await.unwrap().starts_with("HTTP/1.1 200 "));

    let command =
        trigger(&test, &["ping", "--print", "curl", "--id", "msg_curl", "--set", quote]).await.stdout;
    let mut shell = Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(&command).unwrap();
    let output = tokio::task::spawn_blocking(move || shell.wait_with_output().unwrap()).await.unwrap();
    assert!(output.stdout.starts_with(b"HTTP/1.1 200 "), "{output:?}");
    for id in ["msg_http", "msg_curl"] {
        let row = test.delivery_row(id).await.unwrap();
        let event: Value = serde_json::from_str(text(&row, "body")).unwrap();
        assert_eq!(event["data"]["text"], "it's \"quoted\" $HOME");
    }
}

#[test]
fn without_a_place_or_a_secret_it_says_what_is_missing() {
    let folder = crate::support::folder();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(GEMHOOK);
        command.arg("trigger").args(arguments).env_remove("WEBHOOK_SECRET");
        command.current_dir(folder.path()).env(STATE_HOME, folder.path());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&["ping"]);
    assert!(code == Some(1) && said.contains("no signing secret"), "{said}");
    let (code, said) = run(&["ping", "--secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    assert!(code == Some(1) && said.contains("no address"), "{said}");
    let (code, said) = run(&["ping", "--secret", "whsec_s3cret!"]);
    assert!(code == Some(1) && !said.contains("s3cret"), "{said}");
    assert_eq!(run(&[]).0, Some(2));
    assert_eq!(run(&["ping", "--set", "nothing"]).0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_signature_is_accepted_from_the_command_line() {
    let test = TestMachine::start().await;
    for (form, trust) in [("v1", "project"), ("v1a", "issuer"), ("jwt", "issuer")] {
        let output = trigger(&test, &["ping", "--form", form]).await;
        assert_eq!(answer(&output)["status"], 200, "{output:?}");
        let rows = test.deliveries().await;
        let row = rows.iter().find(|row| text(row, "scheme") == form).unwrap();
        assert_eq!(text(row, "trust"), trust);
    }
    for wrong in [
        &["ping", "--form", "jwt", "--audience", "https://example.com/"][..],
        &["ping", "--form", "v1a", "--age", "400"],
    ] {
        assert_eq!(answer(&trigger(&test, wrong).await)["status"], 401, "{wrong:?}");
    }
    assert_eq!(test.deliveries().await.len(), 3);
}

#[test]
fn googles_forms_need_a_running_machine() {
    let folder = crate::support::folder();
    for form in ["v1a", "jwt"] {
        let output = Command::new(GEMHOOK)
            .args(["trigger", "ping", "--form", form, "--to", "http://127.0.0.1:9/"])
            .current_dir(folder.path())
            .env(STATE_HOME, folder.path())
            .env_remove("WEBHOOK_SECRET")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("gemhook dev"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_made_first_so_that_the_event_is_of_one_that_is_there() {
    let test = TestMachine::start().await;
    for (arguments, event_type, ended) in [
        (&["--job", "batch"][..], "batch.succeeded", "done/archived"),
        (&["--job", "embeddings"], "batch.succeeded", "done/archived"),
        (&["--job", "interaction"], "interaction.completed", "done/archived"),
        (&["--job", "video"], "video.generated", "done/archived"),
        (&["batch.failed", "--job", "batch"], "batch.failed", "done/ended"),
        (&["batch.expired", "--job", "batch"], "batch.expired", "done/ended"),
        (&["interaction.failed", "--job", "interaction"], "interaction.failed", "done/ended"),
        (
            &["interaction.requires_action", "--job", "interaction"],
            "interaction.requires_action",
            "done/recorded",
        ),
    ] {
        let output = trigger(&test, arguments).await;
        assert_eq!(answer(&output)["status"], 200, "{arguments:?}: {output:?}");
        let row = test.ended(answer(&output)["webhook_id"].as_str().unwrap()).await;
        assert_eq!((text(&row, "event_type"), text(&row, "trust")), (event_type, "project"), "{arguments:?}");
        assert_eq!(end(&row), ended, "{arguments:?}");
    }
    assert_eq!(test.deliveries().await.len(), 8, "nobody else heard of these jobs");

    for (arguments, why) in [
        (&["batch.succeeded", "--job", "video"][..], "a video's only event is video.generated"),
        (&["interaction.completed", "--job", "batch"], "does not end with interaction.completed"),
    ] {
        let output = trigger(&test, arguments).await;
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
    let set = ["--job", "batch", "--set", "user_metadata.job_group=a", "--id", "msg_set"];
    assert_eq!(answer(&trigger(&test, &set).await)["status"], 200);
    let event: Value =
        serde_json::from_str(text(&test.delivery_row("msg_set").await.unwrap(), "body")).unwrap();
    assert_eq!(event["user_metadata"], json!({"job_group": "a"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_sent_at_once_and_copies_of_one_are_one_delivery() {
    let test = TestMachine::start().await;
    let count = async || test.deliveries().await.len();
    let output = trigger(&test, &["orchard.ripened", "--repeat", "12", "--concurrency", "5"]).await;
    let answers = answer(&output);
    assert_eq!((output.status.code(), answers.as_array().unwrap().len(), count().await), (Some(0), 12, 12));
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["status"] == 200), "{answers}");

    let copies = ["orchard.ripened", "--id", "msg_same", "--repeat", "9", "--concurrency", "9"];
    assert_eq!(answer(&trigger(&test, &copies).await).as_array().unwrap().len(), 9);
    assert_eq!(count().await, 13);
    let copies = ["--job", "batch", "--id", "msg_job", "--repeat", "3", "--concurrency", "3"];
    assert_eq!(answer(&trigger(&test, &copies).await).as_array().unwrap().len(), 3);
    assert_eq!(count().await, 14, "of one job, so with one body");
    let mut piped = Command::new(GEMHOOK);
    piped.args(["trigger", "--body", "-", "--repeat", "2", "--json"]).arg(test.tell(&test.machine.addresses));
    let mut piped =
        piped.env_remove("WEBHOOK_SECRET").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(b"piped").unwrap();
    let output = tokio::task::spawn_blocking(move || piped.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(test.deliveries().await.iter().filter(|row| text(row, "body") == "piped").count(), 2);

    let jobs = answer(&trigger(&test, &["--job", "batch", "--repeat", "3", "--concurrency", "3"]).await);
    let mut named = std::collections::BTreeSet::new();
    for answer in jobs.as_array().unwrap() {
        named.insert(text(&test.ended(answer["webhook_id"].as_str().unwrap()).await, "job_id").to_owned());
    }
    assert_eq!(named.len(), 3, "each is of its own job");

    let refused = trigger(&test, &["ping", "--age", "400", "--repeat", "2"]).await;
    assert_eq!((refused.status.code(), answer(&refused)[1]["status"].as_u64()), (Some(1), Some(401)));
    let local = test.tell(&test.machine.addresses);
    let mut command = Command::new(GEMHOOK);
    command.args(["trigger", "ping", "--repeat", "2", &local]).env_remove("WEBHOOK_SECRET");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.lines().last().unwrap().starts_with("sent 2 events to ") && said.contains(": 2 answered 200; "),
        "{said}"
    );
}
