//! To whom the page answers, and that nothing of an event becomes HTML.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::page::Page;

const HOSTILE: &str = r#"{"type":"<script>alert(1)</script>","data":{"id":"<img src=x onerror=alert(1)>"}}"#;

/// The page's own scripts.
const SCRIPTS: [&str; 10] = [
    "page.js",
    "api.js",
    "text.js",
    "dom.js",
    "lists.js",
    "delivery.js",
    "job.js",
    "outputs.js",
    "simulator.js",
    "dialogs.js",
];

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_this_machines_own_browser_is_let_in() {
    let page = Page::start();
    let url = page.dev.address("page_url").trim_end_matches('/').to_owned();
    let port = url.rsplit(':').next().unwrap().to_owned();
    for path in
        ["", "page.js", "page.css", "api/place", "api/deliveries", "api/jobs", "api/output", "nothing"]
    {
        let get = || page.request(Method::GET, path);
        for host in ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1.evil.example", "localhost:1"]
        {
            assert_eq!(
                status(get().header("host", host)).await,
                StatusCode::MISDIRECTED_REQUEST,
                "{path} {host}"
            );
        }
        for origin in ["https://evil.example", "null", "http://127.0.0.1", "http://localhost:1", ""] {
            assert_eq!(
                status(get().header("origin", origin)).await,
                StatusCode::FORBIDDEN,
                "{path} {origin}"
            );
        }
        let cross =
            status(get().header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "no-cors")).await;
        assert_eq!(cross, StatusCode::FORBIDDEN, "{path}");
        let post = page.request(Method::POST, path).header("origin", "https://evil.example");
        assert_eq!(status(post).await, StatusCode::FORBIDDEN, "{path}");
    }
    let raw = raw_status(&port, &format!("GET http://evil.example/ HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"));
    assert_eq!(raw, 421, "an address in the request line");
    let raw =
        raw_status(&port, &format!("GET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nhost: evil.example\r\n"));
    assert!(raw == 421 || raw == 400, "two hosts: {raw}");

    let get = || page.request(Method::GET, "api/deliveries");
    assert_eq!(status(get().header("origin", &url)).await, 200);
    assert_eq!(status(get().header("host", format!("localhost:{port}"))).await, 200);
    assert_eq!(status(get().header("sec-fetch-site", "same-origin")).await, 200);
    // A link on another page may lead here, and to nothing else.
    for (path, wanted) in [("", 200), ("api/deliveries", 403)] {
        let link = page.request(Method::GET, path).header("sec-fetch-site", "cross-site");
        assert_eq!(status(link.header("sec-fetch-mode", "navigate")).await.as_u16(), wanted, "{path}");
    }
    let framed = page.request(Method::GET, "").header("sec-fetch-site", "cross-site");
    let framed = framed.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "iframe");
    assert_eq!(status(framed).await, StatusCode::FORBIDDEN);
    // The names of this machine are two sites to a browser.
    let other = get().header("origin", format!("http://localhost:{port}"));
    assert_eq!(status(other).await, StatusCode::FORBIDDEN);
}

/// The status of an answer to a request that no client would send.
fn raw_status(port: &str, head: &str) -> u16 {
    use std::io::{Read, Write};
    let mut connection = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    connection.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_event_can_become_html() {
    let page = Page::start();
    page.post_event("msg_hostile", HOSTILE).await;
    let told = page.ended("msg_hostile").await;
    assert_eq!((&told["row"]["body"], &told["row"]["outcome"]), (&json!(HOSTILE), &json!("recorded")));

    for (path, kind) in [
        ("", "text/html"),
        ("page.js", "text/javascript"),
        ("page.css", "text/css"),
        ("api/deliveries", "application/json"),
    ] {
        let answer = page.get(path).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(kind), "{path}");
        let policy = header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        let text = answer.text().await.unwrap();
        assert!(kind == "application/json" || !text.contains("alert(1)"), "{path} holds what came");
    }
    // What would make HTML of a text, or run it.
    for name in SCRIPTS {
        let script = page.get(name).await.text().await.unwrap();
        assert!(script.len() > 500, "{name}");
        makes_no_html(name, &script);
    }
    let html = page.get("").await.text().await.unwrap();
    let handler =
        |rest: &str| rest.trim_start_matches(|char: char| char.is_ascii_lowercase()).starts_with('=');
    assert!(!html.split(" on").skip(1).any(handler), "no handler is in the markup");
    assert!(!html.contains("<script>") && !html.contains("style="), "all is in files");
}

fn makes_no_html(name: &str, script: &str) {
    for word in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ] {
        assert!(!script.contains(word), "{name}: {word}");
    }
}

/// What changes something, with a body that would be taken.
fn changes() -> [(Method, &'static str, Value); 7] {
    [
        (Method::POST, "api/jobs", json!({"kind": "batch"})),
        (Method::POST, "api/deliveries", json!({"event_type": "orchard.ripened"})),
        (Method::POST, "api/deliveries/msg_1/replay", json!({"new_id": true})),
        (Method::POST, "api/deliveries/msg_1/redrive", json!({})),
        (Method::PUT, "api/simulator/faults", json!([{"fault": "dropped"}])),
        (Method::PUT, "api/simulator/clock", json!({"forward": 3600})),
        (Method::PUT, "api/simulator/deliveries", json!({"retries": [], "copies": 7})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_something_takes_the_pages_origin_and_its_token() {
    let page = Page::start();
    page.post_event("msg_1", r#"{"type":"orchard.ripened"}"#).await;
    page.ended("msg_1").await;
    let url = page.dev.address("page_url").trim_end_matches('/').to_owned();
    let token = page.json("api/place").await["token"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 32);
    for (method, path, body) in changes() {
        let request = || page.request(method.clone(), path).json(&body);
        let signed = || request().header("x-gemhook-token", &token);
        for refused in [
            request(),
            signed(),
            request().header("origin", &url),
            signed().header("origin", "https://evil.example"),
            signed().header("origin", "null"),
            signed().header("origin", &url).header("origin", "https://evil.example"),
            signed().header("origin", &url).header("sec-fetch-site", "cross-site"),
            request().header("origin", &url).header("x-gemhook-token", "0".repeat(32)),
            request().header("origin", &url).header("x-gemhook-token", ""),
            signed().header("origin", &url).header("x-gemhook-token", &token),
        ] {
            assert_eq!(status(refused).await, StatusCode::FORBIDDEN, "{method} {path}");
        }
        let rebound = signed().header("origin", "http://evil.example").header("host", "evil.example");
        assert_eq!(status(rebound).await, StatusCode::MISDIRECTED_REQUEST, "{method} {path}");
        // As a form sends it, even with everything else in order.
        let form =
            page.request(method.clone(), path).header("origin", &url).header("x-gemhook-token", &token);
        let form = form.header("content-type", "text/plain").body(body.to_string());
        let is_read = !path.ends_with("redrive");
        assert_eq!(status(form).await == StatusCode::UNSUPPORTED_MEDIA_TYPE, is_read, "{method} {path}");
    }
    let simulator = page.json("api/simulator").await;
    assert_eq!((&simulator["faults"], &simulator["clock"]["forward"]), (&json!([]), &json!(0.0)));
    assert_eq!(simulator["deliveries"]["copies"], 1);
    assert_eq!(page.json("api/jobs").await, json!([]));
    assert_eq!(page.json("api/deliveries").await.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_page_has_another_token() {
    let (one, other) = (Page::start(), Page::start());
    let token = one.json("api/place").await["token"].as_str().unwrap().to_owned();
    let url = other.dev.address("page_url").trim_end_matches('/').to_owned();
    let request =
        other.request(Method::POST, "api/jobs").header("origin", url).header("x-gemhook-token", token);
    assert_eq!(status(request.json(&json!({"kind": "batch"}))).await, StatusCode::FORBIDDEN);
}
