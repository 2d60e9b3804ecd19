//! How long a row waits, for what, and until when: the waits that the API asks for within bounds, the limit of each class of error, the
//! end of an invocation, and a store that does not take what is written.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use gemhook::worker::RetryPolicy;
use serde_json::{Value, json};

use crate::{
    rig::{HOUR, MINUTE, Make, Rig, event},
    scripted::Answer,
    support::{Row, TestMachine, end, number, text},
};

const JOB: &str = "batches/b1";
const DAY: i64 = 24 * HOUR;

fn succeeded() -> Answer {
    Answer::json(json!({"name": JOB, "done": true, "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
        "response": {"responsesFile": "files/batch-b1"}}))
}

fn ended_event() -> Value {
    event("batch.succeeded", JOB)
}

fn on(rig: Rig, answer: Answer) -> Rig {
    rig.api.says(JOB, [answer]);
    rig.api.says("files/batch-b1:download", [Answer::bytes("{\"key\":\"a\",\"response\":{}}\n")]);
    rig
}

async fn rig(answer: Answer) -> Rig {
    on(Rig::start().await, answer)
}

fn wait(rig: &Rig, row: &Row) -> i64 {
    assert_eq!((text(row, "state"), text(row, "error_kind")), ("waiting", "transient"), "{row:?}");
    number(row, "due_at") - rig.now()
}

fn asks_for(delay: &str) -> Answer {
    Answer::json(json!({"error": {"code": 429, "message": "slow down", "details": [{"retryDelay": delay}]}}))
        .status(429)
}

#[tokio::test(flavor = "multi_thread")]
async fn case_16_a_quota_of_a_day_that_asks_for_no_wait_is_left_alone_for_an_hour() {
    let case = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/16-quota-0s");
    let read = |file: &str| std::fs::read(case.join(file)).unwrap();
    let ended_event: Value = serde_json::from_slice(&read("event.json")).unwrap();
    let make = Make { retry_policy: RetryPolicy::default(), ..Make::default() };
    let rig = Rig::make(TestMachine::start().await, "rig", make).await;
    rig.api.says("batches/h16quota-0s", [Answer::bytes(read("gemini-answer.json")).status(429)]);
    rig.deliver("msg_1", &ended_event).await;
    let row = rig.work_until("msg_1", 40_000).await;
    assert_eq!(wait(&rig, &row), HOUR);
    assert_eq!(rig.api.asked_for("batches/h16quota-0s").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wait_is_shorter_than_a_second_or_longer_than_six_hours() {
    for (asked, shortest, longest) in
        [("0s", 1_000, 1_000), ("0.000000001s", 1_000, 1_000), ("86400s", 6 * HOUR, 6 * HOUR)]
    {
        let rig = rig(asks_for(asked)).await;
        let row = rig.take("msg_1", &ended_event()).await;
        assert!((shortest..=longest).contains(&wait(&rig, &row)), "{asked}: {}", wait(&rig, &row));
    }
    let rig = rig(Answer::fault(503, "later").with("retry-after", "0")).await;
    assert_eq!(wait(&rig, &rig.take("msg_1", &ended_event()).await), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lease_asks_at_most_ten_times() {
    let moment = Duration::from_millis(1);
    let retry_policy = RetryPolicy {
        first: moment,
        longest: moment,
        shortest: moment,
        asleep: Duration::MAX,
        ..RetryPolicy::default()
    };
    let rig = Rig::make(TestMachine::start().await, "rig", Make { retry_policy, ..Make::default() }).await;
    let rig = on(rig, asks_for("0s"));
    assert_eq!(text(&rig.take("msg_1", &ended_event()).await, "state"), "waiting");
    assert_eq!(rig.api.asked_for(JOB).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_outlasts_the_invocation_is_not_slept_in_it() {
    let make = Make { retry_policy: RetryPolicy::default(), ..Make::default() };
    let rig = on(Rig::make(TestMachine::start().await, "rig", make).await, asks_for("25s"));
    rig.deliver("msg_1", &ended_event()).await;
    let row = rig.work_until("msg_1", 30_000).await;
    assert_eq!(wait(&rig, &row), 25_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_days_of_a_refused_key_one_outage_fails_nothing() {
    let rig = rig(Answer::fault(401, "revoked")).await;
    rig.take("msg_1", &ended_event()).await;
    for answer in [Answer::fault(401, "revoked"), Answer::fault(503, "away")] {
        rig.api.says(JOB, [answer]);
        rig.later(2 * DAY);
        assert_eq!(text(&rig.work("msg_1").await, "state"), "waiting");
    }
    rig.api.says(JOB, [succeeded()]);
    rig.later(HOUR);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_retried_for_72_hours_from_its_first_attempt() {
    let rig = rig(Answer::fault(401, "revoked")).await;
    rig.take("msg_1", &ended_event()).await;
    rig.later(2 * DAY);
    rig.api.says(JOB, [Answer::fault(503, "away")]);
    let row = rig.work("msg_1").await;
    assert_eq!(number(&row, "error_since"), rig.now());
    rig.later(72 * HOUR - MINUTE);
    assert_eq!(text(&rig.work("msg_1").await, "state"), "waiting");
    rig.later(2 * HOUR);
    assert_eq!(end(&rig.work("msg_1").await), "failed/");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_answer_stalls_is_put_off_before_the_invocation_ends() {
    let rig = rig(Answer::bytes("{\"name\": \"batches/b1\"}").stalls_after(3)).await;
    rig.deliver("msg_1", &ended_event()).await;
    let row = rig.work_until("msg_1", 20_500).await;
    assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "deadline"));
    assert_eq!((number(&row, "due_at"), number(&row, "crashes")), (rig.now(), 0));
    rig.api.says(JOB, [succeeded()]);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_runs_out_of_time_for_72_hours_without_getting_on_fails() {
    let rig = rig(Answer::bytes("{\"name\": \"batches/b1\"}").stalls_after(3)).await;
    rig.deliver("msg_1", &ended_event()).await;
    for _ in 0..3 {
        let row = rig.work_until("msg_1", 20_200).await;
        assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "deadline"));
        rig.later(30 * HOUR);
    }
    let row = rig.work_until("msg_1", 20_200).await;
    assert_eq!((end(&row).as_str(), text(&row, "last_error")), ("failed/", "the invocation ran out of time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_time_to_put_it_off_a_row_is_not_begun() {
    let rig = rig(succeeded()).await;
    rig.deliver("msg_1", &ended_event()).await;
    let row = rig.work_until("msg_1", 19_000).await;
    assert_eq!((text(&row, "state"), number(&row, "attempt")), ("received", 0));
    assert!(rig.api.asked_for(JOB).is_empty());
}

/// In front of DynamoDB: operations of this name are answered with this error, as long as there is one.
struct Front {
    behind: String,
    refuses: Mutex<Option<(&'static str, &'static str)>>,
}

async fn pass(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target =
        parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let refused = front.refuses.lock().unwrap().filter(|(refused, _)| *refused == operation);
    if let Some((_, code)) = refused {
        let fault =
            json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "scripted"});
        let answer = Response::builder().status(400).header("content-type", "application/x-amz-json-1.0");
        return answer.body(Body::from(fault.to_string())).unwrap();
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let url = format!("{}{}", front.behind.trim_end_matches('/'), parts.uri);
    let sent = reqwest::Client::new().request(parts.method, url).headers(parts.headers).body(body);
    let sent = sent.send().await.unwrap();
    let mut response = Response::builder().status(sent.status());
    *response.headers_mut().unwrap() = sent.headers().clone();
    response.body(Body::from(sent.bytes().await.unwrap())).unwrap()
}

async fn behind(refuses: (&'static str, &'static str)) -> (Arc<Front>, Rig) {
    let test = TestMachine::start().await;
    let refuses = Mutex::new(Some(refuses));
    let front = Arc::new(Front { behind: test.machine.addresses.dynamodb_url.clone(), refuses });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state(Arc::clone(&front));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let make = Make { dynamodb_url: Some(url), ..Make::default() };
    (front, on(Rig::make(test, "rig", make).await, succeeded()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_store_refuses_waits_with_the_reason_and_is_no_crash() {
    for code in ["AccessDeniedException", "ThrottlingException"] {
        let (front, rig) = behind(("TransactWriteItems", code)).await;
        let row = rig.take("msg_1", &ended_event()).await;
        assert_eq!((text(&row, "state"), number(&row, "crashes")), ("waiting", 0), "{code}");
        assert!(text(&row, "last_error").contains(code.trim_end_matches("Exception")), "{row:?}");
        *front.refuses.lock().unwrap() = None;
        rig.later(HOUR);
        assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_can_never_hold_fails_at_once_with_its_reason_and_its_output_is_safe() {
    let (front, rig) = behind(("TransactWriteItems", "ValidationException")).await;
    let row = rig.take("msg_1", &ended_event()).await;
    assert_eq!((end(&row).as_str(), number(&row, "crashes")), ("failed/", 0));
    assert!(text(&row, "last_error").contains("ValidationException"), "{row:?}");
    assert_eq!(rig.test.objects().await.len(), 1);
    *front.refuses.lock().unwrap() = None;
    let _ = rig.ledger().redrive("msg_1").await.unwrap();
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_that_the_store_refuses_does_not_keep_the_others_of_its_batch_from_being_worked() {
    let rig = rig(succeeded()).await;
    rig.deliver("msg_2", &ended_event()).await;
    let record = |id: &str| {
        json!({"eventID": id, "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1", "dynamodb": {"ApproximateCreationDateTime": 1, "SequenceNumber": "1",
            "Keys": {"webhook_id": {"S": id}}, "SizeBytes": 100, "StreamViewType": "NEW_IMAGE"}})
    };
    // DynamoDB takes no key of more than 2048 bytes.
    let records = json!({"Records": [record(&"x".repeat(3000)), record("msg_2")]});
    let mut context = lambda_runtime::Context::default();
    context.deadline = u64::try_from(rig.now() + 15 * MINUTE).unwrap();
    let _ = rig.archiver().invoke(lambda_runtime::LambdaEvent::new(records, context)).await;
    assert_eq!(end(&rig.row("msg_2").await), "done/archived");
}
