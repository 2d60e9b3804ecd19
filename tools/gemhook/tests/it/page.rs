//! The page of `gemhook dev`, over HTTP: what it shows.

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::{
    command_line::{Dev, GEMHOOK},
    support::{folder, now, sign},
};

pub struct Page {
    pub dev: Dev,
    http: Client,
    pub folder: tempfile::TempDir,
}

impl Page {
    pub fn start() -> Self {
        let folder = folder();
        let dev = Dev::start(folder.path(), &["--finish-after", "0.1"]);
        Self { dev, http: Client::new(), folder }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.dev.address("page_url")))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        answer.json().await.unwrap()
    }

    /// A request that changes something, as the page's script sends it.
    pub async fn change(&self, method: Method, path: &str, body: Value) -> Response {
        let token = self.json("api/place").await["token"].as_str().unwrap_or_default().to_owned();
        let origin = self.dev.address("page_url").trim_end_matches('/');
        let request = self.request(method, path).header("origin", origin).header("x-gemhook-token", token);
        request.json(&body).send().await.unwrap()
    }

    /// What came of it, where it was done.
    pub async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.change(method, path, body).await;
        let status = answer.status();
        let told = answer.json().await.unwrap();
        assert_eq!(status, 200, "{path}: {told}");
        told
    }

    pub async fn post_event(&self, id: &str, body: &str) {
        let (dev, at) = (&self.dev, now());
        let signature = sign(dev.address("webhook_secret"), id, at, body.as_bytes());
        let request = self.http.post(dev.address("webhook_url")).header("webhook-id", id);
        let request = request.header("webhook-timestamp", at).header("webhook-signature", signature);
        assert_eq!(request.body(body.to_owned()).send().await.unwrap().status(), 200);
    }

    /// A job's name, once it has ended.
    pub async fn job(&self, name: &str) -> String {
        let path = format!("api/jobs/{}", name.replace('/', "%2F"));
        loop {
            let answer = self.get(&path).await;
            if answer.status() == 200 && answer.json::<Value>().await.unwrap()["row"]["ended_at"].is_number()
            {
                return name.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// What the delivery went through, once that has ended.
    pub async fn ended(&self, id: &str) -> Value {
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
    assert_eq!(
        (&row["row"]["summary"]["requests"], &row["announced"][0]["detail"]["job"]),
        (&json!(3), &json!(job))
    );
    assert_eq!(story["announced"][0]["detail"]["webhook_id"], "msg_live");
    let announced = page.json("api/announcements").await;
    assert_eq!(
        (&announced[0]["detail"]["outcome"], announced.as_array().unwrap().len()),
        (&json!("archived"), 1)
    );
    for missing in ["api/deliveries/msg_none", "api/jobs/batches%2Fnone", "nothing"] {
        assert_eq!(page.get(missing).await.status(), 404, "{missing}");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_story_says_how_it_was_verified_and_the_secrets_stay_out_of_it() {
    let page = Page::start();
    page.post_event("msg_1", r#"{"type":"orchard.ripened"}"#).await;
    page.ended("msg_1").await;
    let report = page.json("api/deliveries/msg_1/verification").await;
    let state = |name: &str| {
        let steps = report["steps"].as_array().unwrap();
        steps.iter().find(|step| step["step"] == name).unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(["signature", "key", "body"].map(state), ["unchecked", "ok", "ok"], "{report}");
    let secret = page.dev.address("webhook_secret").trim_start_matches("whsec_").to_owned();
    for path in ["api/deliveries/msg_1", "api/deliveries/msg_1/verification", "api/place", "api/simulator"] {
        let told = page.get(path).await.text().await.unwrap();
        assert!(!told.contains(&secret), "{path}");
    }
    assert_eq!(page.get("api/deliveries/msg_none/verification").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_is_previewed_and_comes_in_parts_and_under_a_type_that_runs_nothing() {
    let page = Page::start();
    let made = page.done(Method::POST, "api/jobs", json!({"kind": "video"})).await;
    let video = page.job(made["job"].as_str().unwrap()).await;
    let output = |at: u32| format!("job={}&at={at}", video.replace('/', "%2F"));
    let answer = page.request(Method::GET, &format!("api/output?{}", output(0)));
    let answer = answer.header("range", "bytes=100-149").send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (206, &"video/mp4".parse().unwrap())
    );
    assert_eq!(answer.headers()["content-range"], "bytes 100-149/65536");
    let part = answer.bytes().await.unwrap();
    let whole = page.get(&format!("api/output?{}", output(0))).await;
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["accept-ranges"]),
        (200, &"bytes".parse().unwrap())
    );
    let whole = whole.bytes().await.unwrap();
    assert_eq!((whole.len(), &whole[100..150]), (65_536, &part[..]));
    let beyond = page.request(Method::GET, &format!("api/output?{}", output(0)));
    assert_eq!(beyond.header("range", "bytes=70000-").send().await.unwrap().status(), 416);

    let json = page.get(&format!("api/output?{}", output(1))).await;
    let header = |name: &str| json.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-disposition"), "inline; filename=\"operation.json\"");
    let policy = header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.ends_with("sandbox"), "{policy}");

    assert_eq!(page.json(&format!("api/preview?{}", output(0))).await, json!({"show": "video"}));
    let preview = page.json(&format!("api/preview?{}", output(1))).await;
    assert_eq!((&preview["show"], &preview["cut"]), (&json!("lines"), &json!(false)));
    assert!(preview["lines"][0].as_str().unwrap().contains("generatedSamples"), "{preview}");
    assert_eq!(page.get(&format!("api/output?{}", output(2))).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_output_is_previewed_by_its_first_lines() {
    let page = Page::start();
    let requests: Vec<Value> = (0..25)
        .map(|at| {
            let text = if at == 0 { format!("long {}", "x".repeat(3000)) } else { "short".to_owned() };
            json!({"request": {"contents": [{"parts": [{"text": text}]}]}, "metadata": {"key": format!("k{at}")}})
        })
        .collect();
    let batch =
        json!({"batch": {"displayName": "long", "inputConfig": {"requests": {"requests": requests}}}});
    let url = format!("{}/v1beta/models/m:batchGenerateContent", page.dev.address("gemini_url"));
    let made: Value = Client::new()
        .post(url)
        .header("x-goog-api-key", "k")
        .json(&batch)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let job = page.job(made["name"].as_str().unwrap()).await;
    let preview = page.json(&format!("api/preview?job={}&at=0", job.replace('/', "%2F"))).await;
    let lines = preview["lines"].as_array().unwrap();
    assert_eq!((lines.len(), &preview["cut"]), (20, &json!(true)));
    assert_eq!(lines[0].as_str().unwrap().chars().count(), 2000);
}
