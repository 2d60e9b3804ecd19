//! A job that cannot be read is not gone for that: it is looked for, the key is looked at, and an end can be undone.

use gemhook::{
    job::JobKind,
    ledger::{Fence, NewDelivery},
    webhook::binding::BindingKey,
};
use serde_json::{Value, json};

use crate::{
    rig::{HOUR, MINUTE, Make, Rig, event},
    scripted::Answer,
    support::{Row, TestMachine, end, number, text},
};

const JOB: &str = "batches/b1";
const FILE: &str = "files/batch-b1:download";
const DAY: i64 = 24 * HOUR;

fn succeeded() -> Answer {
    Answer::json(json!({"name": JOB, "done": true, "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
        "response": {"responsesFile": "files/batch-b1"}}))
}

fn ended_event() -> Value {
    event("batch.succeeded", JOB)
}

/// An API that answers this about the job, and has its output.
async fn rig_that_says(answer: Answer, settings: &[(&'static str, &str)]) -> Rig {
    let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let make = Make { settings, ..Make::default() };
    let rig = Rig::make(TestMachine::start().await, "rig", make).await;
    rig.api.says(JOB, [answer]);
    rig.api.says(FILE, [Answer::bytes("{\"key\":\"a\",\"response\":{}}\n")]);
    rig
}

fn webhooks(rig: &Rig, uri: &str) {
    rig.api
        .says("webhooks", [Answer::json(json!({"webhooks": [{"id": "w", "uri": uri, "state": "enabled"}]}))]);
}

/// Puts a row that only Google's signature would have brought.
async fn put_of_strangers(rig: &Rig) -> String {
    let row = NewDelivery::of_job(JOB, JobKind::Batch, None, "r", rig.now()).only_if_bound();
    rig.ledger().enter(row).await.unwrap();
    format!("job~{JOB}")
}

/// Works a row whenever it is due, for so long.
async fn work_for(rig: &Rig, id: &str, time: i64) -> Row {
    let until = rig.now() + time;
    let mut row = rig.work(id).await;
    while text(&row, "state") == "waiting" && number(&row, "due_at") <= until {
        rig.later((number(&row, "due_at") - rig.now()).max(0));
        row = rig.work(id).await;
    }
    row
}

fn case(name: &str, file: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name).join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_unknown_for_two_days_is_archived_when_it_shows() {
    for (status, kind) in [(404, "batch.succeeded"), (410, "batch.failed")] {
        let rig = rig_that_says(Answer::fault(status, "no"), &[]).await;
        rig.deliver("msg_1", &event(kind, JOB)).await;
        let row = work_for(&rig, "msg_1", 46 * HOUR).await;
        assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "not_found"), "{status}");
        assert!((30_000..=6 * HOUR).contains(&(number(&row, "due_at") - rig.now())), "{row:?}");
        rig.api.says(JOB, [succeeded()]);
        rig.later(6 * HOUR);
        assert_eq!(end(&rig.work("msg_1").await), "done/archived", "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_ours_that_stays_unknown_ends_gone_after_the_hours_that_are_set() {
    for (settings, hours) in [(&[][..], 48), (&[("MISSING_JOB_HOURS", "2")][..], 2)] {
        let rig = rig_that_says(Answer::fault(404, "no such batch"), settings).await;
        let begun = rig.now();
        let row = rig.take_to_the_end("msg_1", &ended_event()).await;
        assert_eq!(end(&row), "done/gone");
        let took = rig.now() - begun;
        assert!((hours * HOUR - MINUTE..=hours * HOUR + MINUTE).contains(&took), "{hours} h: {took}");
        assert!(rig.api.asked_for(JOB).len() < 30, "{}", rig.api.asked_for(JOB).len());
        let job = rig.job(JOB).await.unwrap();
        assert!(job["error"]["message"].as_str().unwrap().contains("no such batch"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gone_end_is_undone_by_a_redrive_and_announced_under_another_id() {
    let rig = rig_that_says(Answer::fault(404, "no"), &[("MISSING_JOB_HOURS", "1")]).await;
    let mut events = rig.test.machine.announced();
    assert_eq!(end(&rig.take_to_the_end("msg_1", &ended_event()).await), "done/gone");
    let gone = events.try_recv().unwrap().detail;
    rig.api.says(JOB, [succeeded()]);
    rig.later(MINUTE);
    assert_eq!(rig.ledger().redrive("msg_1").await.unwrap(), Fence::Held);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    let archived = events.try_recv().unwrap().detail;
    assert_eq!((&gone["outcome"], &archived["outcome"]), (&json!("gone"), &json!("archived")));
    assert_ne!(gone["id"], archived["id"], "who drops what it has seen already would drop the result");
    assert_eq!((&archived["replaces"], archived.get("error")), (&json!("msg_1"), None));
    rig.outputs(&rig.job(JOB).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_job_is_looked_for_a_few_times_and_ends_foreign() {
    let rig = rig_that_says(Answer::fault(404, "no"), &[]).await;
    let id = put_of_strangers(&rig).await;
    let begun = rig.now();
    let row = work_for(&rig, &id, 7 * DAY).await;
    assert_eq!(end(&row), "done/foreign");
    let took = rig.now() - begun;
    assert!((DAY - MINUTE..=DAY + MINUTE).contains(&took), "{took}");
    assert!(rig.api.asked().len() <= 8, "a stranger makes us ask: {:?}", rig.api.asked());
    assert_eq!(rig.job(JOB).await, None);

    rig.api.says(JOB, [succeeded()]);
    assert_eq!(rig.ledger().redrive(&id).await.unwrap(), Fence::Held);
    assert_eq!(end(&rig.work(&id).await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_job_that_is_rejected_is_looked_for_a_few_times_and_is_never_foreign() {
    let rig = rig_that_says(Answer::fault(403, "permission"), &[]).await;
    let id = put_of_strangers(&rig).await;
    let row = work_for(&rig, &id, 8 * DAY).await;
    assert_eq!(end(&row), "failed/");
    assert!(rig.api.asked_for(JOB).len() <= 13, "{}", rig.api.asked_for(JOB).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_job_is_ours_whoever_reported_it() {
    let rig = rig_that_says(Answer::fault(404, "no"), &[]).await;
    let id = put_of_strangers(&rig).await;
    let _ = rig.ledger().watch(JOB, rig.now() + 7 * DAY).await.unwrap();
    rig.work(&id).await;
    for checked in ["batches", "webhooks"] {
        assert!(rig.api.asked_for(checked).is_empty(), "the first look asks for {checked}");
    }
    assert_eq!(end(&work_for(&rig, &id, 7 * DAY).await), "done/gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_by_its_name_or_as_its_event_spells_it() {
    for followed in [JOB, "b1"] {
        let rig = rig_that_says(Answer::fault(404, "no"), &[("MISSING_JOB_HOURS", "1")]).await;
        rig.deliver("msg_1", &event("batch.succeeded", "b1")).await;
        rig.signed_by_google("msg_1").await;
        let _ = rig.ledger().watch(followed, rig.now() + DAY).await.unwrap();
        assert_eq!(end(&work_for(&rig, "msg_1", 2 * HOUR).await), "done/gone", "{followed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_of_another_project_does_not_find_is_not_gone() {
    let rig = rig_that_says(Answer::fault(404, "no"), &[]).await;
    webhooks(&rig, "https://another.example/");
    let row = rig.take("msg_1", &ended_event()).await;
    assert_eq!(
        (text(&row, "state"), text(&row, "error_kind")),
        ("waiting", "unauthorized"),
        "at the first look"
    );
    let why = text(&row, "last_error");
    assert!(why.starts_with("the key's project has no webhook at our URL"), "{why}");
    for _ in 0..5 {
        rig.later(DAY);
        let row = rig.work("msg_1").await;
        assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "unauthorized"));
        assert_eq!(number(&row, "due_at"), rig.now() + 15 * MINUTE);
    }
    // The right key finds it.
    webhooks(&rig, rig.test.machine.addresses.webhook_url.trim_end_matches('/'));
    rig.api.says(JOB, [succeeded()]);
    rig.later(15 * MINUTE);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_key_proves_that_a_job_is_gone() {
    let rig = rig_that_says(Answer::fault(404, "no"), &[]).await;
    webhooks(&rig, &rig.test.machine.addresses.webhook_url);
    assert_eq!(end(&rig.take_to_the_end("msg_1", &ended_event()).await), "done/gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_job_that_the_key_of_another_project_does_not_find_is_not_gone() {
    let rig = rig_that_says(Answer::fault(404, "no"), &[]).await;
    webhooks(&rig, "https://another.example/");
    let id = put_of_strangers(&rig).await;
    let _ = rig.ledger().watch(JOB, rig.now() + 7 * DAY).await.unwrap();
    let row = work_for(&rig, &id, 5 * DAY).await;
    assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "unauthorized"), "{row:?}");
}

/// A stack with dynamic webhooks only: no webhook of the project has our address, and none need have it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_ours_by_its_token_ends_gone_where_no_webhook_is_registered() {
    const BINDING: &str = "correct horse battery";
    let rig = rig_that_says(Answer::fault(404, "no"), &[("BINDING_KEY", BINDING)]).await;
    webhooks(&rig, "https://another.example/");
    let mut event = ended_event();
    event["user_metadata"] = json!({"gemhook_token": BindingKey::parse(BINDING).unwrap().mint()});
    rig.deliver("msg_1", &event).await;
    rig.signed_by_google("msg_1").await;
    assert_eq!(end(&work_for(&rig, "msg_1", 5 * DAY).await), "done/gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_stops_working_proves_nothing_at_the_last_look() {
    let rig = rig_that_says(Answer::fault(404, "no"), &[("MISSING_JOB_HOURS", "1")]).await;
    rig.api.says("batches", [Answer::fault(401, "revoked")]);
    rig.deliver("msg_1", &ended_event()).await;
    let row = work_for(&rig, "msg_1", 2 * HOUR).await;
    assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "unauthorized"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_deleted_batch_what_an_earlier_attempt_stored_is_kept() {
    let (lines, answer) =
        (("responses.jsonl", "{\"key\":\"a\",\"response\":{}}\n"), ("answer.json", "{\"na"));
    for (stored, outcome) in
        [(&[lines][..], "archived"), (&[lines, answer], "archived"), (&[answer], "ended")]
    {
        let rig = rig_that_says(Answer::fault(404, "no"), &[("MISSING_JOB_HOURS", "1")]).await;
        for (file, content) in stored {
            rig.put(&format!("{JOB}/{file}"), JOB, *content).await;
        }
        let row = rig.take_to_the_end("msg_1", &ended_event()).await;
        assert_eq!(end(&row), format!("done/{outcome}"), "{stored:?}");
        let job = rig.job(JOB).await.unwrap();
        rig.outputs(&job).await;
        assert_eq!(job["outputs"].as_array().unwrap().len(), stored.len(), "{stored:?}");
        assert_eq!(job["summary"]["requests"] == 1, outcome == "archived", "{stored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_not_gone_while_the_bucket_does_not_answer() {
    let settings = vec![("MISSING_JOB_HOURS", "1".to_owned())];
    // Nobody listens there.
    let make = Make { settings, s3_url: Some("http://127.0.0.1:9".to_owned()), ..Make::default() };
    let rig = Rig::make(TestMachine::start().await, "rig", make).await;
    rig.api.says(JOB, [Answer::fault(404, "no")]);
    rig.deliver("msg_1", &ended_event()).await;
    let row = work_for(&rig, "msg_1", HOUR + MINUTE).await;
    assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "transient"), "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_03_a_request_that_is_rejected_waits_and_fails_but_is_never_gone() {
    let ended_event: Value = serde_json::from_slice(&case("03-get-answers-400", "event.json")).unwrap();
    let answer = Answer::bytes(case("03-get-answers-400", "gemini-answer.json"));
    for status in [400, 402, 403] {
        let rig = Rig::start().await;
        rig.api.says("interactions/v1_h03", [answer.clone().status(status)]);
        let mut row = rig.take("msg_1", &ended_event).await;
        for _ in 0..6 {
            assert_eq!((text(&row, "state"), text(&row, "error_kind")), ("waiting", "rejected"), "{status}");
            assert_eq!(number(&row, "due_at"), rig.now() + 15 * MINUTE);
            assert!(text(&row, "last_error").contains("The legacy schema of this API"), "{row:?}");
            rig.later(DAY);
            row = rig.work("msg_1").await;
        }
        rig.later(DAY);
        assert_eq!(end(&rig.work("msg_1").await), "failed/", "{status}");
        assert_eq!(rig.job("interactions/v1_h03").await, None);

        let interaction = json!({"id": "v1_h03", "status": "completed",
            "steps": [{"type": "model_output", "content": [{"type": "text", "text": "joke"}]}]});
        rig.api.says("interactions/v1_h03", [Answer::json(interaction)]);
        let _ = rig.ledger().redrive("msg_1").await.unwrap();
        assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_another_kind_does_not_reset_how_long_the_job_was_unknown() {
    // Half of the patience, then an outage, then the whole of it: a look that failed is no look.
    let rig = rig_that_says(Answer::fault(404, "no"), &[("MISSING_JOB_HOURS", "4")]).await;
    rig.deliver("msg_1", &ended_event()).await;
    work_for(&rig, "msg_1", 3 * HOUR).await;
    rig.api.says(JOB, [Answer::fault(503, "away")]);
    rig.later(2 * HOUR);
    assert_eq!(text(&rig.work("msg_1").await, "error_kind"), "transient");
    rig.api.says(JOB, [Answer::fault(404, "no")]);
    rig.later(2 * HOUR);
    let row = rig.work("msg_1").await;
    assert_eq!((text(&row, "error_kind"), number(&row, "error_since")), ("not_found", rig.now()));
    assert_eq!(end(&work_for(&rig, "msg_1", DAY).await), "done/gone");
}
