//! `gemhook verify`: the receiver's verdict, and the words for what went wrong.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use gemhook_cli::dev::{BindingKeyOption, Options};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use crate::{
    command_line::{GEMHOOK, STATE_HOME},
    support::{TestMachine, folder, now, sign},
};

const SECRET: &str = "whsec_KM0L3nHyhdzZU90GyyESLyr7KmbZWPrNE4bAYOhD9x8=";
const ID: &str = "msg_1";
const AT: u64 = 1_780_000_000;
const BODY: &str =
    r#"{"type":"batch.succeeded","data":{"id":"batches/b1","n":[1,2.50,{}],"note":"\u00e9 é/"}}"#;

fn verify(target: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(GEMHOOK);
    command.arg("verify").args(arguments).current_dir(target).env(STATE_HOME, target);
    for name in ["WEBHOOK_SECRET", "BINDING_KEY", "DELIVERIES_TABLE"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// What was found and what to do, of the steps that failed.
fn failed(report: &Value) -> Vec<(String, String)> {
    let steps = report["steps"].as_array().unwrap().iter();
    let told = |step: &Value| {
        (step["found"].as_str().unwrap().to_owned(), step["hint"].as_str().unwrap().to_owned())
    };
    steps.filter(|step| step["state"] == "failed").map(told).collect()
}

struct Case {
    folder: TempDir,
}

impl Case {
    fn new(headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let folder = folder();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        std::fs::write(folder.path().join("headers"), lines).unwrap();
        std::fs::write(folder.path().join("body"), body).unwrap();
        Self { folder }
    }

    fn signed(signature: &str, body: impl AsRef<[u8]>) -> Self {
        let at = AT.to_string();
        Self::new(&[("webhook-id", ID), ("webhook-timestamp", &at), ("webhook-signature", signature)], body)
    }

    fn check(&self, arguments: &[&str]) -> (bool, Value) {
        let fixed = ["--headers", "headers", "--body", "body", "--json"];
        let output = verify(self.folder.path(), &[&fixed, arguments].concat());
        let report = report(&output);
        let verified = report["verified"] == true;
        assert_eq!(output.status.code(), Some(i32::from(!verified)), "{report}");
        (verified, report)
    }

    /// With our secret, at the time of signing.
    fn refused(&self) -> Value {
        let (verified, report) = self.check(&["--secret", SECRET, "--at", &AT.to_string()]);
        assert!(!verified && !report.to_string().contains(&SECRET[..20]), "{report}");
        report
    }
}

#[test]
fn every_vector_gets_the_verdict_of_the_receiver() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../tests/fixtures/signatures.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    let mut judged = 0;
    for case in cases.iter().filter(|case| case["level"] == "required") {
        let pairs: Vec<(&str, &str)> = case["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .collect();
        let captured =
            Case::new(&pairs, BASE64_STANDARD.decode(case["body_base64"].as_str().unwrap()).unwrap());
        let (at, tolerance) = (case["now"].to_string(), case["tolerance_seconds"].to_string());
        let mut arguments = vec!["--at", &at, "--tolerance", &tolerance];
        let secrets = case["configured_secrets"].as_array().map(|secrets| {
            secrets.iter().map(|secret| secret.as_str().unwrap()).collect::<Vec<_>>().join(" ")
        });
        arguments.extend(secrets.iter().flat_map(|secrets| ["--secret", secrets]));
        if let Some(name) = case["jwks"].as_str() {
            std::fs::write(captured.folder.path().join("jwks"), vectors["jwks"][name].to_string()).unwrap();
            arguments.extend(["--jwks", "jwks"]);
        }
        arguments
            .extend(case["expected_audience"].as_str().iter().flat_map(|audience| ["--audience", audience]));
        let (verified, report) = captured.check(&arguments);
        let (id, expected) = (&case["id"], &case["expected"]);
        assert_eq!(verified, expected["verdict"] == "accept", "{id}: {report}");
        if !verified && expected["reason"] != "bad_secret" {
            assert_eq!(report["reason"], expected["reason"], "{id}: {report}");
            assert!(!failed(&report).is_empty(), "{id}: {report}");
        }
        judged += 1;
    }
    assert!(judged > 50, "{judged}");
}

#[test]
fn a_body_that_was_written_anew_is_recognised() {
    for (signed, given, how) in [
        (r#"{"a":1}"#, r#"{"a": 1}"#, "compact"),
        (r#"{"b":[1,{}],"a":""}"#, "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": \"\"\n}", "compact"),
        (r#"{"a":1}"#, "{\"a\":1}\n", "without the blanks or newlines"),
        (r#"{"a":1}"#, "\u{feff}{\"a\":1}", "without the byte order mark"),
        (r#"{"a":1}"#, "eyJhIjoxfQ==", "decoded from base64"),
        (r#"{"a":1}"#, r#""{\"a\":1}""#, "out of the JSON text"),
        (r#"{"a":"é"}"#, "{\"a\":\"Ã©\"}", "read as latin-1"),
        (r#"{"a":"é 😀"}"#, r#"{"a": "\u00e9 \ud83d\ude00"}"#, "texts unescaped"),
        (r#"{"a": "\u00e9 \ud83d\ude00"}"#, r#"{"a":"é 😀"}"#, "texts escaped to ASCII"),
    ] {
        let report = Case::signed(&sign(SECRET, ID, AT, signed.as_bytes()), given).refused();
        let found = failed(&report);
        assert!(found[0].0.contains(how) && found[0].1.contains("re-serialised"), "{given}: {report}");
    }
}

#[test]
fn the_layouts_of_others_are_recognised_too() {
    for (signed, how) in [
        ("{\"b\": [1, {\"c\": \"x\"}], \"a\": 2}", "Python's default"),
        ("{\n  \"b\": [\n    1,\n    {\n      \"c\": \"x\"\n    }\n  ],\n  \"a\": 2\n}", "indented by 2"),
        (
            "{\n    \"b\": [\n        1,\n        {\n            \"c\": \"x\"\n        }\n    ],\n    \"a\": 2\n}",
            "indented by 4",
        ),
        ("{\"a\":2,\"b\":[1,{\"c\":\"x\"}]}", "keys sorted"),
        ("{\"b\":[1,{\"c\":\"x\"}],\"a\":2}\r\n", "CR LF"),
    ] {
        let given = r#"{"b":[1,{"c":"x"}],"a":2}"#;
        let report = Case::signed(&sign(SECRET, ID, AT, signed.as_bytes()), given).refused();
        assert!(failed(&report)[0].0.contains(how), "{how}: {report}");
    }
    let lines = sign(SECRET, ID, AT, b"one\r\ntwo\r\nthree");
    let report = Case::signed(&lines, "one\ntwo\nthree").refused();
    assert!(failed(&report)[0].0.contains("CR LF instead of LF"), "{report}");
}

fn mac(key: &[u8], body: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{ID}.{AT}.{body}").as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn what_the_sender_does_wrong_is_recognised() {
    let right = sign(SECRET, ID, AT, BODY.as_bytes());
    let bare = right.strip_prefix("v1,").unwrap();
    let bytes = BASE64_STANDARD.decode(bare).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = |key: &str| format!("v1,{}", BASE64_STANDARD.encode(mac(key.as_bytes(), BODY)));
    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (signature, found, hint) in [
        (text(SECRET), "text of the secret as the key, whsec_ included", "decodes to"),
        (text(&SECRET[6..]), "text of the secret as the key, whsec_ left out", "decodes to"),
        (bare.to_owned(), "without its form", "with v1, before"),
        (format!("v1={bare}"), "without its form", "instead of v1="),
        (format!("v1,{hex}"), "hexadecimal", "base64 of 32 bytes"),
        (format!("v1,{}", BASE64_URL_SAFE_NO_PAD.encode(&bytes)), "standard alphabet", "base64 of 32 bytes"),
        (format!("v1,{},{right}", BASE64_STANDARD.encode([0; 32])), "blanks between", "not by commas"),
        (sign(other, ID, AT, BODY.as_bytes()), "made by none of whsec_...9x8=", "another webhook"),
        (sign(SECRET, ID, AT, b"{}"), "made by none of whsec_...9x8=", "more than its spelling"),
        (format!("sha256,{bare}"), "Gemini does not use: sha256", "v1,BASE64"),
        (format!("v1a,{}", BASE64_STANDARD.encode([0; 64])), "v1a", "--jwks"),
        ("eyJh.eyJi.c2ln".to_owned(), "a token", "--jwks"),
    ] {
        let report = Case::signed(&signature, BODY).refused();
        let told = failed(&report);
        assert!(
            told.len() == 1 && told[0].0.contains(found) && told[0].1.contains(hint),
            "{found}: {report}"
        );
    }
}

#[test]
fn wrong_headers_are_named() {
    let right = sign(SECRET, ID, AT, BODY.as_bytes());
    let at = AT.to_string();
    let (millis, joined) = (format!("{at}000"), format!("{ID},{ID}"));
    for (headers, found, hint) in [
        (
            &[("svix-id", ID), ("svix-signature", "v1,x")][..],
            "webhook-signature is missing",
            "another sender",
        ),
        (&[("webhook-id", ID), ("webhook-timestamp", &at)], "webhook-signature is missing", "proxy"),
        (&[], "webhook-id, webhook-timestamp, webhook-signature is missing", "no headers at all"),
        (
            &[("webhook-id", &joined), ("webhook-timestamp", &at), ("webhook-signature", &right)],
            "webhook-id came more than once",
            "comma",
        ),
        (
            &[("webhook-id", "a~b"), ("webhook-timestamp", &at), ("webhook-signature", &right)],
            "a~b",
            "without `~`",
        ),
        (
            &[("webhook-id", ID), ("webhook-timestamp", &millis), ("webhook-signature", &right)],
            "no timestamp",
            "milliseconds",
        ),
        (
            &[
                ("webhook-id", ID),
                ("webhook-timestamp", "2026-05-28T20:26:40Z"),
                ("webhook-signature", &right),
            ],
            "no timestamp",
            "seconds since the epoch",
        ),
    ] {
        let report = Case::new(headers, BODY).refused();
        let told = failed(&report);
        assert!(told[0].0.contains(found) && told[0].1.contains(hint), "{found}: {report}");
    }
}

#[test]
fn a_stale_delivery_says_by_how_much_and_that_nothing_else_is_wrong() {
    let case = Case::signed(&sign(SECRET, ID, AT, BODY.as_bytes()), BODY);
    let late = (AT + 3 * 3600 + 60).to_string();
    let (verified, report) = case.check(&["--secret", SECRET, "--at", &late]);
    let told = failed(&report);
    assert_eq!((verified, &report["reason"], told.len()), (false, &json!("timestamp_too_old"), 1));
    assert!(told[0].0.contains("3 h 1 min") && told[0].0.contains("stale by 2 h 56 min"), "{report}");
    assert!(told[0].1.contains("WEBHOOK_TOLERANCE_SECONDS=10860"), "{report}");
    assert!(case.check(&["--secret", SECRET, "--at", &late, "--tolerance", "10860"]).0);
    assert!(case.check(&["--secret", SECRET, "--at", "2026-05-28T20:26:40Z"]).0);
    let (_, report) = case.check(&["--secret", SECRET, "--at", &(AT - 400).to_string()]);
    assert_eq!(report["reason"], "timestamp_too_new");
}

#[test]
fn a_capture_may_come_in_any_form() {
    let right = sign(SECRET, ID, AT, BODY.as_bytes());
    let (at, length) = (AT.to_string(), BODY.len());
    let head = format!("Webhook-Id: {ID}\r\nwebhook-timestamp: {at}\r\nWEBHOOK-SIGNATURE: {right}\r\n");
    let chunked = format!(
        "POST / HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{BODY}\r\n0\r\n\r\n"
    );
    let event = |body: &str, encoded: bool| {
        json!({
            "headers": {"webhook-id": ID, "webhook-timestamp": at, "webhook-signature": right},
            "requestContext": {"timeEpoch": AT * 1000 + 5},
            "body": body,
            "isBase64Encoded": encoded,
        })
        .to_string()
    };
    for (name, text) in [
        ("http", format!("POST / HTTP/1.1\r\n{head}content-length: {length}\r\n\r\n{BODY}")),
        ("edited", format!("POST / HTTP/1.1\r\n{head}content-length: {length}\r\n\r\n{BODY}\n")),
        ("unix", format!("{}\n{BODY}", head.replace('\r', ""))),
        ("chunked", chunked),
        ("lambda", event(BODY, false)),
        ("encoded", event(&BASE64_STANDARD.encode(BODY), true)),
    ] {
        let target = folder();
        let mut child = Command::new(GEMHOOK)
            .args(["verify", "-", "--json", "--secret", SECRET])
            .args(["--at", &at].iter().filter(|_| !["lambda", "encoded"].contains(&name)))
            .current_dir(target.path())
            .env(STATE_HOME, target.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(report(&output)["verified"], true, "{name}: {output:?}");
    }
    let wrong = Case::new(&[], event(&BASE64_STANDARD.encode(BODY), false));
    let report = report(&verify(wrong.folder.path(), &["body", "--json", "--secret", SECRET]));
    assert!(failed(&report)[0].0.contains("isBase64Encoded"), "{report}");
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    let target = folder();
    for (text, why) in
        [("hello", "it is no request"), ("{}", "neither the event"), (r#"{"webhook_id": "a"}"#, "no body")]
    {
        std::fs::write(target.path().join("file"), text).unwrap();
        let output = verify(target.path(), &["file", "--secret", SECRET]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why), "{said}");
    }
    std::fs::write(target.path().join("file"), "a: b\n\n").unwrap();
    let said = verify(target.path(), &["file"]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("nothing to verify with"), "{said:?}");
    for (arguments, code) in [(&["--headers", "-"][..], 2), (&["--headers", "-", "--body", "-"], 1), (&[], 2)]
    {
        assert_eq!(verify(target.path(), arguments).status.code(), Some(code), "{arguments:?}");
    }
}

/// What `gemhook trigger --print http` writes, in a file.
async fn printed(test: &TestMachine, arguments: &[&str]) -> TempDir {
    let target = folder();
    let local = test.tell(&test.machine.addresses);
    let mut command = Command::new(GEMHOOK);
    command.args(["trigger", "batch.succeeded", "--print", "http"]).args(arguments).arg(local);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    std::fs::write(target.path().join("request"), output.stdout).unwrap();
    target
}

async fn judged(test: &TestMachine, target: &TempDir, arguments: &[&str]) -> Value {
    let local = test.tell(&test.machine.addresses);
    let arguments: Vec<String> =
        ["--json", &local].iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
    let target = target.path().to_owned();
    let run = move || verify(&target, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    report(&tokio::task::spawn_blocking(run).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_forms_are_explained_with_the_keys_of_the_place() {
    let test = TestMachine::start().await;
    let at = test.machine.addresses.clone();
    for form in ["v1", "v1a", "jwt"] {
        let report = judged(&test, &printed(&test, &["--form", form]).await, &["request"]).await;
        assert_eq!((&report["verified"], &report["scheme"]), (&json!(true), &json!(form)), "{report}");
    }
    let soon = (now() + 3600).to_string();
    let token = printed(&test, &["--form", "jwt", "--audience", "https://example.com/"]).await;
    let report = judged(&test, &token, &["request", "--at", &soon, "--tolerance", "9999"]).await;
    let told = failed(&report);
    assert!(told.iter().any(|(found, _)| found.contains("meant for https://example.com/")), "{report}");
    assert!(told.iter().any(|(found, _)| found.contains("expired")), "{report}");
    assert_eq!(report["reason"], "wrong_audience");

    let old: Value = test.http.get(&at.jwks_url).send().await.unwrap().json().await.unwrap();
    let rotate = format!("{}/simulator/keys/rotate", at.gemini_url);
    test.http.post(rotate).send().await.unwrap().error_for_status().unwrap();
    for (form, reason, why) in
        [("jwt", "unknown_key", "is not in the set"), ("v1a", "no_matching_signature", "made by none of")]
    {
        let target = printed(&test, &["--form", form]).await;
        std::fs::write(target.path().join("jwks"), old.to_string()).unwrap();
        let report =
            judged(&test, &target, &["request", "--jwks", "jwks", "--audience", &at.webhook_url]).await;
        assert_eq!(report["reason"], reason, "{report}");
        assert!(failed(&report)[0].0.contains(why), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_token_is_explained_where_tokens_are_required() {
    let binding_key = Some(BindingKeyOption::Made);
    let test = TestMachine::with_options(folder(), |options| Options { binding_key, ..options }).await;
    let event = printed(&test, &["--form", "v1a", "--set", "user_metadata.group=nightly"]).await;
    let report = judged(&test, &event, &["request"]).await;
    assert_eq!((&report["verified"], &report["reason"]), (&json!(false), &json!("not_bound")));
    assert!(failed(&report)[0].1.contains("gemhook token"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_of_a_row_says_what_can_be_checked_and_what_not() {
    let test = TestMachine::with_options(folder(), |options| Options { record_first: 1, ..options }).await;
    for id in ["msg_first", "msg_second"] {
        test.delivery(id, BODY).send().await.unwrap().error_for_status().unwrap();
        test.ended(id).await;
    }
    let target = folder();
    let report = judged(&test, &target, &["--delivery", "msg_second"]).await;
    let step = |report: &Value, name: &str| {
        report["steps"].as_array().unwrap().iter().find(|step| step["step"] == name).cloned().unwrap()
    };
    assert_eq!(report["verified"], false);
    assert!(step(&report, "signature")["found"].as_str().unwrap().contains("not kept"), "{report}");
    for name in ["key", "body", "headers"] {
        assert_eq!(step(&report, name)["state"], "ok", "{name}: {report}");
    }
    let record = test.objects().await["first-deliveries/1.json"].clone();
    std::fs::write(target.path().join("record"), record).unwrap();
    let report = judged(&test, &target, &["record"]).await;
    assert!(
        step(&report, "headers")["found"].as_str().unwrap().contains("webhook-signature: v1,[44]"),
        "{report}"
    );
}
