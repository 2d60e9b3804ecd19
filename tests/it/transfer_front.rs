//! In front of the embedded S3: it remembers what it was asked, and a test can have it slow, or spoil what passes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_s3::error::ProvideErrorMetadata;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, request::Parts},
    response::Response,
};

use crate::{
    rig::{Make, Rig},
    support::TestMachine,
};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Pass,
    /// It is passed on after so long.
    Slow(Duration),
    /// A bit of its body is flipped. Whoever does that on the way signs the request anew, so that nothing but the
    /// checksum that the sender stated can tell.
    Flip,
    /// It is answered with 403.
    Refuse,
}

/// A request that S3 has answered with success.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The number of the part that it uploads.
    pub fn part(&self) -> Option<i32> {
        if self.method == "PUT" { parameter(&self.query, "partNumber")?.parse().ok() } else { None }
    }
}

type Judge = Box<dyn Fn(&str, &str) -> Act + Send + Sync>;

pub struct Front {
    behind: String,
    s3: aws_sdk_s3::Client,
    bucket: String,
    judge: Judge,
    seen: Mutex<Vec<Seen>>,
}

impl Front {
    /// A rig whose archiver reaches its S3 through a front. `judge` is handed method and query.
    pub async fn rig(
        make: Make,
        judge: impl Fn(&str, &str) -> Act + Send + Sync + 'static,
    ) -> (Rig, Arc<Self>) {
        let test = TestMachine::start().await;
        let front = Arc::new(Self {
            behind: test.machine.addresses.s3_url.clone(),
            s3: test.machine.stores.s3(gemhook::aws::archiver_timeouts()),
            bucket: test.machine.addresses.bucket.clone(),
            judge: Box::new(judge),
            seen: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&front));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let rig = Rig::make(test, "rig", Make { s3_url: Some(url), ..make }).await;
        (rig, front)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The numbers of the parts that were uploaded, in ascending order: one that was sent twice is there twice.
    pub fn parts(&self) -> Vec<i32> {
        let mut parts: Vec<i32> = self.seen().iter().filter_map(Seen::part).collect();
        parts.sort_unstable();
        parts
    }

    async fn spoiled(&self, parts: &Parts, body: Bytes) -> Response {
        let mut body = body.to_vec();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let query = parts.uri.query().unwrap_or_default();
        let key = parts.uri.path().splitn(3, '/').nth(2).unwrap().to_owned();
        let (sum, body) = (header("x-amz-checksum-sha256"), body.into());
        let sent = match parameter(query, "partNumber") {
            Some(number) => {
                let put = self.s3.upload_part().bucket(&self.bucket).key(key).body(body);
                let put = put.part_number(number.parse().unwrap()).set_checksum_sha256(sum);
                let put = put.set_upload_id(parameter(query, "uploadId")).send().await;
                put.map(|put| put.e_tag).map_err(|error| error.code().map(str::to_owned))
            }
            None => {
                let put = self.s3.put_object().bucket(&self.bucket).key(key).body(body);
                let put = put.set_checksum_sha256(sum).set_if_none_match(header("if-none-match"));
                let put = put.metadata("gemhook-job", header("x-amz-meta-gemhook-job").unwrap());
                let put = put.send().await;
                put.map(|put| put.e_tag).map_err(|error| error.code().map(str::to_owned))
            }
        };
        match sent {
            Ok(etag) => Response::builder().header("etag", etag.unwrap()).body(Body::empty()).unwrap(),
            Err(code) => {
                let text = format!("<Error><Code>{}</Code></Error>", code.unwrap_or_default());
                Response::builder().status(400).body(Body::from(text)).unwrap()
            }
        }
    }
}

async fn pass(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let act = (front.judge)(parts.method.as_str(), &query);
    let body = to_bytes(body, usize::MAX).await.unwrap();
    match act {
        Act::Pass => {}
        Act::Slow(pause) => tokio::time::sleep(pause).await,
        Act::Flip => return front.spoiled(&parts, body).await,
        Act::Refuse => {
            let text = "<Error><Code>AccessDenied</Code></Error>";
            return Response::builder().status(403).body(Body::from(text)).unwrap();
        }
    }
    let url = format!("{}{}", front.behind, parts.uri);
    let sent = reqwest::Client::new().request(parts.method.clone(), url).headers(parts.headers.clone());
    let sent = sent.body(body.clone()).send().await.unwrap();
    if sent.status().is_success() {
        let method = parts.method.to_string();
        front.seen.lock().unwrap().push(Seen { method, query, headers: parts.headers, body });
    }
    let mut response = Response::builder().status(sent.status());
    *response.headers_mut().unwrap() = sent.headers().clone();
    response.body(Body::from(sent.bytes().await.unwrap())).unwrap()
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}
