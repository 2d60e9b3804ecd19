//! `gemhook replay`: recorded deliveries go out again, signed now.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    command_line::GEMHOOK,
    support::{TestMachine, end, now, sign, text},
};

/// A receiver that answers every POST alike and says what came.
pub async fn receiver(status: u16) -> (String, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let (sender, came) = mpsc::unbounded_channel();
    let take = move |headers: HeaderMap, body: Bytes| async move {
        sender.send((headers, body)).ok();
        (StatusCode::from_u16(status).unwrap(), "seen\u{1b}[31m")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().fallback(take)).into_future());
    (url, came)
}

/// Whether the headers hold what this secret signs for the body, at a time that is not long ago.
pub fn is_signed_now(headers: &HeaderMap, body: &[u8], secret: &str) -> bool {
    let of = |name: &str| headers[name].to_str().unwrap().to_owned();
    let at: u64 = of("webhook-timestamp").parse().unwrap();
    at + 300 > now() && sign(secret, &of("webhook-id"), at, body) == of("webhook-signature")
}

async fn replay(test: &TestMachine, arguments: &[&str]) -> Output {
    let local = test.tell(&test.machine.addresses);
    let mut command = Command::new(GEMHOOK);
    command.arg("replay").args(arguments).arg(local).env_remove("WEBHOOK_SECRET");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn rows(output: &Output) -> Vec<Value> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

async fn recorded(test: &TestMachine, id: &str, body: &[u8]) {
    assert_eq!(test.delivery(id, body).send().await.unwrap().status(), 200);
    test.ended(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_goes_to_any_address_with_its_own_body_a_new_time_and_the_current_secret() {
    let test = TestMachine::start().await;
    let (url, mut came) = receiver(202).await;
    let (odd, binary) = (br#"{ "type":"orchard.ripened",  "data":{"id":"7"} }"#, [0xff, 0x00, 0x7b]);
    recorded(&test, "msg_odd", odd).await;
    recorded(&test, "msg_binary", &binary).await;

    let output = replay(&test, &["msg_odd", "msg_binary", "--to", &url, "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = rows(&output);
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0]["replays"], &told[0]["webhook_id"]), (&json!("msg_odd"), &json!("msg_odd")));
    assert_eq!((&told[0]["status"], &told[0]["answer"]), (&json!(202), &json!("seen\u{1b}[31m")));
    for (id, body) in [("msg_odd", &odd[..]), ("msg_binary", &binary[..])] {
        let (headers, sent) = came.recv().await.unwrap();
        assert_eq!((headers["webhook-id"].to_str().unwrap(), &sent[..]), (id, body));
        assert!(is_signed_now(&headers, &sent, &test.machine.addresses.webhook_secret), "{headers:?}");
    }

    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let output = replay(&test, &["msg_odd", "--to", &url, "--secret", other]).await;
    let (headers, sent) = came.recv().await.unwrap();
    assert!(is_signed_now(&headers, &sent, other), "{headers:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("orchard.ripened") && said.contains("msg_odd  202 (seen\\u{1b}[31m)"), "{said}");
    assert!(said.ends_with(&format!("replayed 1 delivery to {url}, 1 accepted\n")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_itself_takes_it_as_a_duplicate_and_with_a_new_id_as_a_delivery() {
    let test = TestMachine::start().await;
    let job = test.silent_batch(crate::support::three_requests()).await;
    recorded(&test, "msg_first", crate::support::succeeded(&job).as_bytes()).await;

    let output = replay(&test, &["msg_first"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--new-id"), "{output:?}");
    assert_eq!(test.deliveries().await.len(), 1);

    let told = rows(&replay(&test, &["msg_first", "--new-id", "--json"]).await);
    let id = told[0]["webhook_id"].as_str().unwrap();
    assert!(id != "msg_first" && told[0]["replays"] == "msg_first", "{told:?}");
    let row = test.ended(id).await;
    assert_eq!((end(&row).as_str(), text(&row, "trust")), ("done/repeated", "project"));
    assert_eq!(test.deliveries().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_chooses_and_refusals_silence_and_unknown_ids_make_the_exit_status_1() {
    let test = TestMachine::start().await;
    let (url, mut came) = receiver(500).await;
    for id in ["msg_1", "msg_2"] {
        recorded(&test, id, br#"{"type":"orchard.ripened"}"#).await;
    }
    recorded(&test, "msg_3", br#"{"type":"ping"}"#).await;

    let chosen = ["--state", "recorded", "--type", "orchard", "--since", "2h", "--to", &url, "--json"];
    let output = replay(&test, &chosen).await;
    let ids: Vec<String> =
        rows(&output).iter().map(|row| row["replays"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        (output.status.code(), ids.as_slice()),
        (Some(1), &["msg_1".to_owned(), "msg_2".to_owned()][..])
    );
    assert_eq!([came.recv().await.is_some(), came.recv().await.is_some()], [true, true]);

    let silent = replay(&test, &["msg_1", "--to", "http://127.0.0.1:9/", "--json"]).await;
    let told = rows(&silent);
    assert_eq!((silent.status.code(), &told[0]["status"]), (Some(1), &Value::Null));
    assert!(told[0]["error"].as_str().unwrap().contains("cannot reach"), "{told:?}");

    // Nothing goes out where one of the ids is unknown.
    let unknown = replay(&test, &["msg_1", "msg_none", "--to", &url]).await;
    assert!(
        String::from_utf8_lossy(&unknown.stderr).contains("there is no delivery msg_none"),
        "{unknown:?}"
    );
    let nothing = replay(&test, &["--state", "failed", "--to", &url]).await;
    assert_eq!(nothing.status.code(), Some(0), "{nothing:?}");
    for ambiguous in [&["--to", &url][..], &["msg_1", "--state", "failed"]] {
        assert_eq!(replay(&test, ambiguous).await.status.code(), Some(1));
    }
    assert!(came.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_googles_keys_signed_keeps_its_form_on_this_machine() {
    let test = TestMachine::start().await;
    let local = test.tell(&test.machine.addresses);
    for form in ["v1a", "jwt"] {
        let mut command = Command::new(GEMHOOK);
        command.args(["trigger", "ping", "--form", form, "--id", &format!("msg_{form}"), &local]);
        let sent = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(sent.status.success(), "{sent:?}");
        let rows_now = test.deliveries().await;
        let key = rows_now
            .iter()
            .find(|row| text(row, "scheme") == form)
            .map(|row| text(row, "webhook_id"))
            .unwrap();
        // A token is another one each time. The id of the other form is what the receiver's key holds of it.
        let again = rows(&replay(&test, &[key, "--json"]).await);
        assert_eq!(again[0]["webhook_id"] == "msg_v1a", form == "v1a", "{again:?}");
        let told = rows(&replay(&test, &[key, "--new-id", "--json"]).await);
        assert_eq!(told[0]["status"], 200);
        let sent = told[0]["webhook_id"].as_str().unwrap();
        if form == "v1a" {
            let row = test.ended(&format!("v1a~{sent}")).await;
            assert_eq!((text(&row, "scheme"), text(&row, "trust")), (form, "issuer"));
        }
    }
    let rows_now = test.deliveries().await;
    let count = |form: &str| rows_now.iter().filter(|row| text(row, "scheme") == form).count();
    assert_eq!((count("v1a"), count("jwt"), count("v1")), (2, 3, 0));
    let beside = test.delivery("msg_same", r#"{"type":"ping"}"#).send().await.unwrap();
    let other = test.delivery("msg_same", r#"{"type":"ping","data":{}}"#).send().await.unwrap();
    assert_eq!((beside.status().as_u16(), other.status().as_u16()), (200, 200));
    let rows_now = test.deliveries().await;
    let key =
        rows_now.iter().map(|row| text(row, "webhook_id")).find(|key| key.starts_with("msg_same~")).unwrap();
    let again = rows(&replay(&test, &[key, "--json"]).await);
    assert_eq!((&again[0]["webhook_id"], &again[0]["status"]), (&json!("msg_same"), &json!(200)));
    // With a secret of one's own it cannot, and says so.
    let secret = test.machine.addresses.webhook_secret.clone();
    let output = replay(&test, &["v1a~msg_v1a", "--new-id", "--secret", &secret]).await;
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("Google's keys signed v1a~msg_v1a"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn new_deliveries_are_handed_to_a_program_signed_now_and_its_answers_are_shown() {
    let test = TestMachine::start().await;
    let (url, mut came) = receiver(418).await;
    let mut watch = Watch::start(&test, &["--forward-to", &url, "--type", "orchard", "--json"]);
    for (id, body) in [
        ("msg_other", r#"{"type":"ping"}"#),
        ("msg_1", r#"{"type":"orchard.ripened"}"#),
        ("msg_2", r#"{"type":"orchard.picked"}"#),
    ] {
        recorded(&test, id, body.as_bytes()).await;
        // A duplicate and a change of its row are nothing new.
        recorded(&test, id, body.as_bytes()).await;
    }
    for id in ["msg_1", "msg_2"] {
        let (headers, body) = came.recv().await.unwrap();
        assert_eq!(headers["webhook-id"], id);
        assert!(is_signed_now(&headers, &body, &test.machine.addresses.webhook_secret), "{headers:?}");
        let told: Value = serde_json::from_str(&watch.line()).unwrap();
        assert_eq!((&told["webhook_id"], &told["status"]), (&json!(id), &json!(418)));
    }
    assert!(came.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_said_and_what_comes_later_is_forwarded() {
    let test = TestMachine::start().await;
    let mut watch =
        Watch::start(&test, &["--forward-to", "http://127.0.0.1:9/hook", "--meta", "job_group=a"]);
    for (id, group) in [("msg_1", "a"), ("msg_2", "b"), ("msg_3", "a")] {
        let body = json!({"type": "orchard.ripened", "user_metadata": {"job_group": group}}).to_string();
        recorded(&test, id, body.as_bytes()).await;
    }
    for id in ["msg_1", "msg_3"] {
        let line = watch.line();
        assert!(line.contains(id) && line.contains("--- cannot reach http://127.0.0.1:9/hook"), "{line}");
    }
}

#[test]
fn what_is_forwarded_is_new_so_no_state_chooses_it() {
    let both = ["deliveries", "watch", "--forward-to", "http://127.0.0.1:9/", "--state", "failed"];
    assert_eq!(Command::new(GEMHOOK).args(both).output().unwrap().status.code(), Some(2));
}

/// `gemhook deliveries watch`, once it watches.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(test: &TestMachine, arguments: &[&str]) -> Self {
        let mut command = Command::new(GEMHOOK);
        command.args(["deliveries", "watch"]).args(arguments).arg(test.tell(&test.machine.addresses));
        command.env_remove("WEBHOOK_SECRET").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut begun = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut begun).unwrap();
        assert!(begun.contains("forwarding to"), "{begun}");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
