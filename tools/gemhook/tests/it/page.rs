//! The page of `gemhook dev`, over HTTP: what it shows, and to whom.

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    command_line::{Dev, GEMHOOK},
    support::{folder, now, sign},
};

const HOSTILE: &str = r#"{"type":"<script>alert(1)</script>","data":{"id":"<img src=x onerror=alert(1)>"}}"#;

struct Page {
    dev: Dev,
    http: Client,
    folder: tempfile::TempDir,
}

impl Page {
    fn start() -> Self {
        let folder = folder();
        let dev = Dev::start(folder.path(), &["--finish-after", "0.1"]);
        Self { dev, http: Client::new(), folder }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.dev.address("page_url")))
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        answer.json().await.unwrap()
    }

    async fn post_event(&self, id: &str, body: &str) {
        let (dev, at) = (&self.dev, now());
        let signature = sign(dev.address("webhook_secret"), id, at, body.as_bytes());
        let request = self.http.post(dev.address("webhook_url")).header("webhook-id", id);
        let request = request.header("webhook-timestamp", at).header("webhook-signature", signature);
        assert_eq!(request.body(body.to_owned()).send().await.unwrap().status(), 200);
    }

    /// What the delivery went through, once that has ended.
    async fn ended(&self, id: &str) -> Value {
        loop {
            let told = self.json(&format!("api/deliveries/{id}")).await;
            let last = told["changes"].as_array().unwrap().last().cloned().unwrap_or_default();
            if last["change"]["state"] == "done" {
                return told;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_appears_live_and_its_story_and_its_job_can_be_read() {
    let page = Page::start();
    assert_eq!(page.json("api/deliveries").await, json!([]));
    let mut live = page.get("api/changes").await;
    assert_eq!(live.headers()["content-type"], "text/event-stream");

    let local = format!("--local={}", page.folder.path().display());
    let mut trigger = std::process::Command::new(GEMHOOK);
    trigger
        .args(["trigger", "--job", "batch", "--id", "msg_live", "--json", &local])
        .env_remove("WEBHOOK_SECRET");
    let output = tokio::task::spawn_blocking(move || trigger.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut seen = String::new();
    while !seen.contains("\"done\"") {
        seen.push_str(&String::from_utf8_lossy(&live.chunk().await.unwrap().unwrap()));
    }
    assert!(seen.contains("event: change") && seen.contains("msg_live"), "{seen}");

    let story = page.ended("msg_live").await;
    let states: Vec<&str> = story["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seen| seen["change"]["state"].as_str().unwrap())
        .collect();
    assert_eq!((states.first(), states.last()), (Some(&"received"), Some(&"done")), "{states:?}");
    assert_eq!((&story["row"]["outcome"], &story["row"]["scheme"]), (&json!("archived"), &json!("v1")));
    let job = story["job"]["job_id"].as_str().unwrap();
    assert!(story["row"]["body"].as_str().unwrap().contains(job));

    let list = page.json("api/deliveries").await;
    assert_eq!((&list[0]["webhook_id"], list[0].get("body")), (&json!("msg_live"), None));
    let jobs = page.json("api/jobs").await;
    assert_eq!((jobs.as_array().unwrap().len(), &jobs[0]["job_id"]), (1, &json!(job)));
    // As a browser writes it, with %2F.
    let row = page.json(&format!("api/jobs/{}", job.replace('/', "%2F"))).await;
    assert_eq!(row["summary"]["requests"], 3);
    for missing in ["api/deliveries/msg_none", "api/jobs/batches%2Fnone", "nothing"] {
        assert_eq!(page.get(missing).await.status(), 404, "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_this_machines_own_browser_is_let_in() {
    let page = Page::start();
    let url = page.dev.address("page_url").trim_end_matches('/').to_owned();
    let port = url.rsplit(':').next().unwrap().to_owned();
    let status = async |request: RequestBuilder| request.send().await.unwrap().status();
    for path in ["", "page.js", "page.css", "api/deliveries", "api/jobs", "nothing"] {
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
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let own = page.request(method, "api/deliveries").header("origin", &url);
        assert_eq!(status(own).await, StatusCode::METHOD_NOT_ALLOWED);
    }
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
    let script = page.get("page.js").await.text().await.unwrap();
    assert!(script.contains("textContent"));
    for word in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ] {
        assert!(!script.contains(word), "{word}");
    }
    let html = page.get("").await.text().await.unwrap();
    assert!(
        !html.contains("<script>") && !html.contains(" on") && !html.contains("style="),
        "all is in files"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_does_not_keep_the_machine_from_stopping() {
    let mut page = Page::start();
    let mut live = page.get("api/changes").await;
    page.post_event("msg_1", r#"{"type":"ping"}"#).await;
    assert!(live.chunk().await.unwrap().is_some());
    page.dev.signal("INT");
    assert_eq!(page.dev.child.wait().unwrap().code(), Some(0));
}
