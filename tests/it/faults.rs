//! Faults between a row and its end, by their numbers in the fault matrix: what breaks on the way changes when a job
//! is archived, never what is archived, and never how often.
//!
//! 36, 41, 44 to 46 are in `transfer`, 50 in `reconcile`, 31 in `trigger` and `template`, 52 in `command_line`. 32 to 34,
//! 36 and 41 are in the schedules, too (`tools/gemhook/tests/schedules`).
//! Of 43, what a job does that cannot be read is in `absence`.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use serde_json::{Value, json};

use crate::{
    rig::{HOUR, MINUTE, Make, Rig, event, noise},
    scripted::Answer,
    support::{TestMachine, end, number, text},
};

const JOB: &str = "batches/b1";
const FILE: &str = "files/batch-b1:download";
const KEY: &str = "batches/b1/responses.jsonl";
const LINE: &str = "{\"key\":\"a\",\"response\":{}}\n";

fn operation(state: &str, more: Value) -> Answer {
    let mut operation = json!({"name": JOB, "metadata": {"state": state}});
    operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Answer::json(operation)
}

fn succeeded() -> Answer {
    operation("BATCH_STATE_SUCCEEDED", json!({"done": true, "response": {"responsesFile": "files/batch-b1"}}))
}

fn ended_event() -> Value {
    event("batch.succeeded", JOB)
}

async fn rig() -> Rig {
    on(Rig::start().await)
}

fn on(rig: Rig) -> Rig {
    rig.api.says(JOB, [succeeded()]);
    rig.api.says(FILE, [Answer::bytes(LINE)]);
    rig
}

/// What an S3 answers once, in front of the real one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FaultKind {
    /// The real one does it, and its answer is an error.
    AnswerLost,
    Conflict,
}

/// In front of the S3: a mishap befalls the first request of this method whose query holds this text.
struct Front {
    behind: String,
    mishap: Mutex<Option<(FaultKind, &'static str, &'static str)>>,
}

async fn pass(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let mishap = front
        .mishap
        .lock()
        .unwrap()
        .take_if(|(_, method, part)| parts.method == *method && query.contains(*part))
        .map(|(mishap, ..)| mishap);
    let fault = |status: u16, code: &str| {
        let text = format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>");
        Response::builder().status(status).body(Body::from(text)).unwrap()
    };
    if mishap == Some(FaultKind::Conflict) {
        return fault(409, "ConditionalRequestConflict");
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let url = format!("{}{}", front.behind, parts.uri);
    let sent = reqwest::Client::new().request(parts.method, url).headers(parts.headers).body(body);
    let sent = sent.send().await.unwrap();
    if mishap == Some(FaultKind::AnswerLost) {
        assert!(sent.status().is_success());
        return fault(500, "InternalError");
    }
    let mut response = Response::builder().status(sent.status());
    *response.headers_mut().unwrap() = sent.headers().clone();
    response.body(Body::from(sent.bytes().await.unwrap())).unwrap()
}

async fn behind(mishap: FaultKind, method: &'static str, query: &'static str) -> Rig {
    let test = TestMachine::start().await;
    let mishap = Mutex::new(Some((mishap, method, query)));
    let front = Arc::new(Front { behind: test.machine.addresses.s3_url.clone(), mishap });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state(front);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    on(Rig::make(test, "rig", Make { s3_url: Some(url), ..Make::default() }).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_30_a_record_that_comes_again_changes_nothing() {
    let rig = rig().await;
    let row = rig.take("msg_1", &ended_event()).await;
    assert_eq!(end(&row), "done/archived");
    let (job, asked) = (rig.job(JOB).await, rig.api.asked().len());
    assert_eq!(rig.work("msg_1").await, row);
    assert_eq!((rig.job(JOB).await, rig.api.asked().len()), (job, asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_32_one_of_ten_records_fails_and_nine_are_archived() {
    let rig = Rig::start().await;
    let mut records = Vec::new();
    for number in 0..10 {
        let (id, job) = (format!("msg_{number}"), format!("batches/b{number}"));
        let file = if number == 4 { "gs://not/ours".to_owned() } else { format!("files/batch-b{number}") };
        let answer = json!({"name": job, "metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "response": {"responsesFile": file}});
        rig.api.says(&job, [Answer::json(answer)]);
        rig.api.says(&format!("files/batch-b{number}:download"), [Answer::bytes(LINE)]);
        rig.deliver(&id, &event("batch.succeeded", &job)).await;
        records.push(json!({"eventID": id, "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1", "dynamodb": {"ApproximateCreationDateTime": 1, "Keys": {"webhook_id": {"S": id}},
            "SequenceNumber": "1", "SizeBytes": 100, "StreamViewType": "NEW_IMAGE"}}));
    }
    let answer = rig.invoke(json!({"Records": records}), 15 * MINUTE).await;
    assert_eq!(answer, json!({"records": 10}));
    for number in 0..10 {
        let row = rig.row(&format!("msg_{number}")).await;
        let expected = if number == 4 { "failed/" } else { "done/archived" };
        assert_eq!(end(&row), expected, "{number}");
    }
    assert_eq!(rig.test.objects().await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_35_a_row_that_kills_its_workers_fails_and_can_be_redriven() {
    let rig = rig().await;
    rig.deliver("msg_1", &ended_event()).await;
    let ledger = rig.ledger();
    for _ in 0..6 {
        let _ = ledger.lease("msg_1", rig.now() + MINUTE).await.unwrap();
        rig.later(2 * MINUTE);
    }
    let row = rig.work("msg_1").await;
    assert_eq!((end(&row).as_str(), number(&row, "crashes")), ("failed/", 5));
    assert!(text(&row, "last_error").contains("5 workers died on it"));
    let _ = ledger.redrive("msg_1").await.unwrap();
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_37_an_object_whose_answer_was_lost_is_found_and_committed() {
    let rig = behind(FaultKind::AnswerLost, "PUT", "").await;
    let row = rig.take("msg_1", &ended_event()).await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 1));
    rig.outputs(&rig.job(JOB).await.unwrap()).await;

    // The same of the last step of an object in parts.
    let rig = behind(FaultKind::AnswerLost, "POST", "uploadId=").await;
    let content = noise(20_000_000);
    rig.api.says(FILE, [Answer::bytes(content.clone())]);
    let row = rig.take("msg_1", &ended_event()).await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 1));
    assert!(rig.outputs(&rig.job(JOB).await.unwrap()).await[KEY] == content);
    assert_eq!(rig.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_38_a_conditional_write_in_anothers_way_is_tried_again() {
    for (method, query, content) in [("PUT", "", LINE.into()), ("POST", "uploadId=", noise(20_000_000))] {
        let rig = behind(FaultKind::Conflict, method, query).await;
        rig.api.says(FILE, [Answer::bytes(content.clone())]);
        let row = rig.take_to_the_end("msg_1", &ended_event()).await;
        assert_eq!(end(&row), "done/archived");
        assert!(rig.outputs(&rig.job(JOB).await.unwrap()).await[KEY] == content);
        assert_eq!(rig.open_uploads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_39_an_object_of_somebody_elses_is_a_conflict_and_stays() {
    for (owner, content, why) in [
        ("batches/other", LINE, "it is not this job's"),
        (JOB, "shorter", "its length is not what the source states"),
    ] {
        let rig = rig().await;
        rig.put(KEY, owner, content).await;
        let row = rig.take("msg_1", &ended_event()).await;
        assert_eq!(text(&row, "state"), "failed");
        assert!(
            text(&row, "last_error").starts_with("conflict: object")
                && text(&row, "last_error").ends_with(why)
        );
        assert_eq!(rig.test.objects().await[KEY], content.as_bytes());
        assert_eq!(rig.job(JOB).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_40_what_an_attempt_left_complete_is_committed_by_the_next() {
    let rig = rig().await;
    rig.deliver("msg_1", &ended_event()).await;
    let _ = rig.ledger().lease("msg_1", rig.now() + MINUTE).await.unwrap();
    // That worker dies after its object, which the source would not give again byte for byte.
    rig.put(KEY, JOB, format!("{LINE}{LINE}")).await;
    rig.later(2 * MINUTE);
    let row = rig.work("msg_1").await;
    assert_eq!((end(&row).as_str(), number(&row, "attempt")), ("done/archived", 2));
    let job = rig.job(JOB).await.unwrap();
    rig.outputs(&job).await;
    assert_eq!((&job["summary"]["requests"], rig.api.asked_for(FILE).len()), (&json!(2), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_42_load_and_outages_are_waited_out_as_long_as_asked() {
    let quota = json!([{"error": {"code": 429, "message": "slow down", "details": [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure"},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "29.500000001s"},
    ]}}]);
    for (answer, asked_to_wait, why) in [
        (Answer::json(quota).status(429), Some(29_500), "Gemini answered 429: slow down"),
        (Answer::fault(429, "later").with("retry-after", "7"), Some(7_000), "Gemini answered 429: later"),
        (Answer::bytes("<html>").status(500), None, "Gemini answered 500"),
        (Answer::fault(503, "overloaded"), None, "Gemini answered 503: overloaded"),
        (Answer::fault(504, "deadline"), None, "Gemini answered 504: deadline"),
        (Answer::fault(408, "timeout"), None, "Gemini answered 408: timeout"),
        (Answer::bytes("{\"name\": \"batches/b1\"}").cut_after(3), None, "read the job"),
    ] {
        let rig = rig().await;
        rig.api.says(JOB, [answer, succeeded()]);
        let row = rig.take("msg_1", &ended_event()).await;
        assert_eq!(text(&row, "state"), "waiting", "{why}");
        assert!(text(&row, "last_error").contains(why), "{row:?}");
        let wait = number(&row, "due_at") - rig.now();
        assert!(asked_to_wait.map_or((0..=MINUTE).contains(&wait), |asked| asked == wait), "{why}: {wait}");
        rig.later(wait);
        assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_42_a_succeeded_job_that_is_unreadable_for_two_days_is_archived_on_the_third() {
    let rig = rig().await;
    rig.api.says(JOB, [Answer::fault(503, "inline results too large")]);
    let mut row = rig.take("msg_1", &ended_event()).await;
    let begun = rig.now();
    while rig.now() < begun + 48 * HOUR {
        assert_eq!(text(&row, "state"), "waiting");
        let wait = number(&row, "due_at") - rig.now();
        assert!(wait <= HOUR, "{wait}");
        rig.later(wait);
        row = rig.work("msg_1").await;
    }
    rig.api.says(JOB, [succeeded()]);
    rig.later(HOUR);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_42_what_does_not_pass_in_72_hours_fails_with_its_reason_and_can_be_redriven() {
    for (job, file, why) in [
        (Answer::fault(503, "overloaded"), None, "read the batch: Gemini answered 503: overloaded"),
        (operation("BATCH_STATE_SUCCEEDED", json!({"done": true})), None, "its output is not there yet"),
        (succeeded(), Some(Answer::fault(500, "x")), "download the output: Gemini answered 500: x"),
        (operation("BATCH_STATE_RUNNING", json!({})), None, "the job is BATCH_STATE_RUNNING"),
    ] {
        let rig = rig().await;
        rig.api.says(JOB, [job]);
        rig.api.says(FILE, file);
        let begun = rig.now();
        let row = rig.take_to_the_end("msg_1", &ended_event()).await;
        assert_eq!(text(&row, "state"), "failed", "{why}");
        assert!(text(&row, "last_error").contains(why), "{row:?}");
        let took = rig.now() - begun;
        assert!((72 * HOUR..=73 * HOUR).contains(&took), "{why}: {} h", took / HOUR);
        assert_eq!((rig.job(JOB).await, rig.test.objects().await.len()), (None, 0));

        let rig = on(rig);
        let _ = rig.ledger().redrive("msg_1").await.unwrap();
        assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_43_a_revoked_key_is_not_taken_for_a_deleted_job() {
    let rig = rig().await;
    for (status, message) in
        [(403, "forbidden"), (401, "unauthenticated"), (400, "API key not valid. Please pass one.")]
    {
        rig.api.says(JOB, [Answer::fault(status, message)]);
        rig.api.says("batches", [Answer::fault(status, message)]);
        let id = format!("msg_{status}");
        let mut row = rig.take(&id, &ended_event()).await;
        for _ in 0..3 {
            assert_eq!(text(&row, "state"), "waiting", "{status}");
            rig.later(number(&row, "due_at") - rig.now());
            row = rig.work(&id).await;
        }
        assert!(text(&row, "last_error").starts_with("the API key was rejected"), "{row:?}");
        assert_eq!(number(&row, "due_at"), rig.now() + 15 * MINUTE, "{status}");
    }
    let rig = on(rig);
    rig.api.says("batches", [Answer::json(json!({"operations": []}))]);
    rig.later(HOUR);
    assert_eq!(end(&rig.work("msg_401").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_43_an_expired_file_ends_gone_after_a_second_look() {
    for status in [404, 410] {
        let rig = on(Rig::start().await);
        rig.api.says(FILE, [Answer::fault(status, "expired")]);
        let begun = rig.now();
        let row = rig.take_to_the_end("msg_1", &ended_event()).await;
        assert_eq!(end(&row), "done/gone", "{status}");
        let took = rig.now() - begun;
        assert!((48 * HOUR..=51 * HOUR).contains(&took), "the API keeps files for 48 h: {took}");
        let job = rig.job(JOB).await.unwrap();
        assert_eq!(job["state"], "BATCH_STATE_SUCCEEDED");
        assert!(job["error"]["message"].as_str().unwrap().contains("expired"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_43_before_a_job_is_gone_the_bucket_is_looked_up() {
    let rig = rig().await;
    rig.api.says(FILE, [Answer::fault(404, "expired")]);
    rig.deliver("msg_1", &ended_event()).await;
    rig.later(48 * HOUR);
    let row = rig.work("msg_1").await;
    assert_eq!(text(&row, "error_kind"), "output_missing");
    rig.put(KEY, JOB, LINE).await;
    rig.later(30_000);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_47_an_end_that_the_api_does_not_show_yet_is_waited_for() {
    let rig = rig().await;
    rig.api.says(JOB, [operation("BATCH_STATE_RUNNING", json!({})), succeeded()]);
    let row = rig.take("msg_1", &ended_event()).await;
    assert_eq!(text(&row, "last_error"), "the event says that it ended, but the job is BATCH_STATE_RUNNING");
    rig.later(MINUTE);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");

    // Another end than the event's: the API's word counts, and both are kept.
    let rig = Rig::start().await;
    rig.api.says(JOB, [operation("BATCH_STATE_CANCELLED", json!({"done": true}))]);
    let row = rig.take("msg_1", &ended_event()).await;
    assert_eq!((end(&row).as_str(), text(&row, "event_type")), ("done/ended", "batch.succeeded"));
    assert_eq!(rig.job(JOB).await.unwrap()["state"], "BATCH_STATE_CANCELLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_48_without_a_stream_the_sweep_brings_every_row_to_its_end() {
    let rig = rig().await;
    rig.deliver("msg_1", &ended_event()).await;
    let sweep = || rig.invoke(json!({"schedule": "sweep"}), 15 * MINUTE);
    sweep().await;
    assert_eq!(text(&rig.row("msg_1").await, "state"), "received", "the stream has its time");
    rig.later(26 * HOUR);
    sweep().await;
    let row = rig.row("msg_1").await;
    assert_eq!(end(&row), "done/archived");
    sweep().await;
    assert_eq!(rig.row("msg_1").await, row);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_49_a_row_that_expired_early_is_new_again_and_its_job_is_not() {
    let rig = rig().await;
    rig.take("msg_1", &ended_event()).await;
    let job = rig.job(JOB).await;
    rig.forget("msg_1").await;
    rig.deliver("msg_1", &ended_event()).await;
    // DynamoDB remembers the transaction of a row's first attempt for ten minutes, and a row lives longer than that.
    let _ = rig.ledger().lease("msg_1", rig.now() + MINUTE).await.unwrap();
    rig.later(2 * MINUTE);
    assert_eq!(end(&rig.work("msg_1").await), "done/repeated");
    assert_eq!((rig.job(JOB).await, rig.test.objects().await.len()), (job, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_51_a_redrive_that_is_repeated_comes_to_the_same() {
    let rig = rig().await;
    rig.put(KEY, "batches/other", "x").await;
    assert_eq!(end(&rig.take("msg_1", &ended_event()).await), "failed/");
    for _ in 0..3 {
        let _ = rig.ledger().redrive("msg_1").await.unwrap();
    }
    let row = rig.row("msg_1").await;
    assert_eq!((text(&row, "state"), number(&row, "attempt")), ("received", 1));
    assert_eq!(end(&rig.work("msg_1").await), "failed/", "the conflict is still there");
}
