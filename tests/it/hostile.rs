//! Requests made to confuse: over a bare socket as anybody may send them, and as events that Lambda could hand on.
//! Each is answered from the table of answers, and one refusal looks like another.

use std::{collections::BTreeMap, sync::Arc};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    endpoint::request,
    signing::sign_text,
    support::{TestMachine, now, sign},
};

const BODY: &[u8] = br#"{"type":"ping"}"#;
const NAMES: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// A rightful delivery's three headers, in the order of the names.
fn good(secret: &str, id: &str) -> [Vec<u8>; 3] {
    let at = now();
    [id.into(), at.to_string().into(), sign(secret, id, at, BODY).into()]
}

/// The status and everything that came over the wire, but for the date.
async fn raw(url: &str, headers: &[(&str, Vec<u8>)]) -> (u16, String) {
    let url: reqwest::Url = url.parse().unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    let mut stream = TcpStream::connect((host, port)).await.unwrap();
    let mut text =
        format!("POST {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", url.path()).into_bytes();
    text.extend_from_slice(format!("content-length: {}\r\n", BODY.len()).as_bytes());
    for (name, value) in headers {
        text.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    text.extend_from_slice(&[b"\r\n", BODY].concat());
    stream.write_all(&text).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let told = answer.lines().filter(|line| !line.starts_with("date: "));
    (status, told.collect::<Vec<_>>().join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_header_with_each_defect_is_refused_alike_on_the_wire() {
    let test = TestMachine::start().await;
    let (url, secret) = (&test.machine.addresses.webhook_url, &test.machine.addresses.webhook_secret);
    let mut seen = BTreeMap::<u16, String>::new();
    let signed = good(secret, "msg_a");
    for (at, name) in NAMES.into_iter().enumerate() {
        let value = signed[at].clone();
        let twice = |between: &[u8]| [&value, between, &value].concat();
        let defects: [(&str, Vec<Vec<u8>>); 12] = [
            ("missing", vec![]),
            ("empty", vec![vec![]]),
            ("blank", vec![b"   \t".to_vec()]),
            ("twice", vec![value.clone(), value.clone()]),
            ("twice, one of them empty", vec![value.clone(), vec![]]),
            ("joined by a comma", vec![twice(b",")]),
            ("joined by a comma and a blank", vec![twice(b", ")]),
            ("quoted", vec![[b"\"", &value[..], b"\""].concat()]),
            ("beyond ASCII", vec![[&value, "é".as_bytes()].concat()]),
            ("no letters at all", vec![vec![0xff, 0xfe]]),
            ("8 KB", vec![vec![b'1'; 8192]]),
            ("8 KB behind the right one", vec![[&value[..], b" ", &[b'a'; 8192]].concat()]),
        ];
        for (what, values) in defects {
            let mut headers: Vec<(&str, Vec<u8>)> = NAMES.into_iter().zip(signed.clone()).collect();
            headers.remove(at);
            headers.extend(values.into_iter().map(|value| (name, value)));
            let (status, told) = raw(url, &headers).await;
            // Nonsense beside it takes nothing from an entry that is right: the list is there for rotations.
            let right = ["8 KB behind the right one", "joined by a comma and a blank"].contains(&what);
            if name == "webhook-signature" && right {
                assert_eq!(status, 200, "{what}");
                continue;
            }
            assert!(matches!(status, 400 | 401), "{name} {what}: {status}");
            assert_eq!(seen.entry(status).or_insert_with(|| told.clone()), &told, "{name} {what}");
        }
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    let [bad, refused] = seen.values().collect::<Vec<_>>().try_into().unwrap();
    let after = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert_eq!(after(bad), after(refused), "but for the status line they are the same too");
    assert_eq!(test.deliveries().await.len(), 1, "only what was signed is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_headers_may_be_written_in_any_letters_but_only_once() {
    let test = TestMachine::start().await;
    let (url, secret) = (&test.machine.addresses.webhook_url, &test.machine.addresses.webhook_secret);
    let [id, at, signature] = good(secret, "msg_case");
    let mut headers = vec![("Webhook-Id", id), ("WEBHOOK-TIMESTAMP", at), ("wEbHoOk-SiGnAtUrE", signature)];
    assert_eq!(raw(url, &headers).await.0, 200);
    headers.push(("webhook-ID", b"msg_other".to_vec()));
    assert_eq!(raw(url, &headers).await.0, 400);
}

async fn status(test: &TestMachine, event: &Value) -> u64 {
    let event = LambdaEvent::new(event.clone(), Context::default());
    let answer = Arc::clone(&test.machine.receiver()).invoke(event).await;
    u64::try_from(answer.unwrap().status_code).unwrap()
}

/// The event of a rightful delivery, the timestamp's text signed as it stands.
fn event(test: &TestMachine, id: &str, at: &str, body: &str) -> Value {
    let signature = sign_text(&test.machine.addresses.webhook_secret, id, at, body.as_bytes());
    request(json!({"webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature}), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_no_server_would_send_are_refused_all_the_same() {
    let test = TestMachine::start().await;
    let at = now().to_string();
    for (place, name) in NAMES.into_iter().enumerate() {
        let whole = event(&test, "msg_a", &at, "{}");
        let value = whole["headers"][name].as_str().unwrap().to_owned();
        let again = value.clone();
        let odd = [
            json!(null),
            json!(1),
            json!(true),
            json!([value, value]),
            json!({"value": value}),
            json!(format!("{value}\0")),
            json!(format!("{value}\r\nx-admin: 1")),
            json!(format!("\n{value}")),
            json!(format!("{value}\u{7f}")),
            json!(format!("{value}\u{1b}[31m")),
            json!(format!("{value}\u{202e}")),
            json!(format!("{value}\u{feff}")),
            json!(format!("{value},{again}")),
            json!("\u{1f4a9}".repeat(2000)),
            json!("%0d%0a"),
            json!("${jndi:ldap://127.0.0.1:9/a}"),
            json!("' OR 1=1 --"),
        ];
        for value in odd {
            let mut changed = whole.clone();
            changed["headers"][name] = value.clone();
            let status = status(&test, &changed).await;
            assert!(matches!(status, 400 | 401), "{name} {value}: {status}");
            // The id and the time are refused for their form before anything is compared.
            assert!(status == 400 || place == 2 || name == "webhook-id", "{name} {value}: {status}");
        }
        let mut changed = whole.clone();
        changed["headers"][name.to_uppercase()] = json!("1");
        assert_eq!(status(&test, &changed).await, 400, "{name} in two spellings");
    }
    assert!(test.deliveries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_is_digits_of_our_time() {
    let test = TestMachine::start().await;
    let at = i64::try_from(now()).unwrap();
    for (text, expected) in [
        (at.to_string(), 200),
        (format!("00{at}"), 200),
        (format!(" {at} "), 200),
        ((at - 290).to_string(), 200),
        ((at + 290).to_string(), 200),
        ((at - 310).to_string(), 401),
        ((at + 310).to_string(), 401),
        ((at * 1000).to_string(), 400),
        ("0".to_owned(), 401),
        ("1".to_owned(), 401),
        ("999999999999".to_owned(), 401),
        (i64::MAX.to_string(), 400),
        (i64::MIN.to_string(), 400),
        ("9".repeat(8192), 400),
        (format!("+{at}"), 400),
        (format!("-{at}"), 400),
        ("-0".to_owned(), 400),
        (format!("{at}.0"), 400),
        (format!("{at}e0"), 400),
        (format!("{at}\u{660}"), 400),
        (format!("{at}_0"), 400),
        (format!("{at} {at}"), 400),
        (format!("0x{at:x}"), 400),
        ("NaN".to_owned(), 400),
        ("now".to_owned(), 400),
        ("2026-05-28T20:26:30Z".to_owned(), 400),
    ] {
        assert_eq!(status(&test, &event(&test, "msg_a", &text, "{}")).await, expected, "{text:.40}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_bytes_however_they_are_wrapped() {
    let test = TestMachine::start().await;
    let at = now().to_string();
    let json = r#"{"type":"ping","a":"\u00e9?>"}"#;
    let whole = |id: &str| event(&test, id, &at, json);
    let wrapped = |id: &str, body: Value, encoded: Value| {
        let mut event = whole(id);
        (event["body"], event["isBase64Encoded"]) = (body, encoded);
        event
    };
    let base64 = BASE64_STANDARD.encode(json);
    for (what, event, expected) in [
        ("plain", wrapped("msg_1", json!(json), json!(false)), 200),
        ("base64", wrapped("msg_2", json!(base64), json!(true)), 200),
        ("without the flag", wrapped("msg_3", json!(json), json!(null)), 200),
        ("base64 without the flag", wrapped("msg_4", json!(base64), json!(false)), 401),
        ("plain with the flag", wrapped("msg_5", json!(json), json!(true)), 400),
        ("the flag as a text", wrapped("msg_6", json!(base64), json!("true")), 401),
        ("for addresses", wrapped("msg_7", json!(BASE64_URL_SAFE.encode([0xfb; 30])), json!(true)), 400),
        ("lines", wrapped("msg_8", json!(format!("{}\n{}", &base64[..8], &base64[8..])), json!(true)), 400),
        ("unpadded", wrapped("msg_9", json!("e30"), json!(true)), 400),
        ("twice", wrapped("msg_10", json!(BASE64_STANDARD.encode(&base64)), json!(true)), 401),
        ("none", wrapped("msg_11", json!(null), json!(true)), 401),
        ("a number", wrapped("msg_12", json!(5), json!(false)), 400),
        ("an object", wrapped("msg_13", json!({"type": "ping"}), json!(false)), 400),
        ("a byte order mark", wrapped("msg_14", json!(format!("\u{feff}{json}")), json!(false)), 401),
        ("other line ends", wrapped("msg_15", json!(format!("{json}\r\n")), json!(false)), 401),
    ] {
        assert_eq!(status(&test, &event).await, expected, "{what}");
    }
    for (length, expected) in [
        (0, 200),
        (1, 200),
        (65_535, 200),
        (65_536, 200),
        (65_537, 413),
        (262_144, 413),
        (6 * 1024 * 1024, 413),
    ] {
        let event = event(&test, &format!("msg_of_{length}"), &at, &"[".repeat(length));
        assert_eq!(status(&test, &event).await, expected, "{length} bytes");
    }
}
