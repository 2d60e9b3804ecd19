//! A function of your own: called with each job that has ended, at least once, and nothing ends without it.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use gemhook::on_job_ended::Ended;
use serde_json::{Value, json};

use crate::{
    rig::{Make, Rig, event},
    scripted::Answer,
    support::{TestMachine, end, number, text},
};

const JOB: &str = "batches/b1";

/// What the function under test was called with. Only the one test below has it called.
static CALLS: Mutex<Vec<Value>> = Mutex::new(Vec::new());
static FAILS: AtomicBool = AtomicBool::new(true);

async fn write_down(ended: Ended) -> Result<(), String> {
    CALLS.lock().unwrap().push(ended.detail);
    if FAILS.load(Ordering::SeqCst) { Err("the database is down".to_owned()) } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_your_own_is_called_until_it_succeeds_and_then_the_delivery_is_done() {
    let make = Make {
        // Without a bus, so that the function alone keeps the row open.
        settings: vec![("EVENT_BUS", "none".to_owned())],
        on_job_ended: Some(|ended| Box::pin(write_down(ended))),
        ..Make::default()
    };
    let rig = Rig::make(TestMachine::start().await, "own", make).await;
    let finished = json!({"name": JOB, "done": true, "metadata": {"state": "BATCH_STATE_SUCCEEDED",
        "webhookConfig": {"userMetadata": {"order": "7"}}}, "response": {"responsesFile": "files/batch-b1"}});
    rig.api.says(JOB, [Answer::json(finished)]);
    rig.api.says("files/batch-b1:download", [Answer::bytes("{\"key\":\"a\",\"response\":{}}\n")]);

    let row = rig.take("msg_1", &event("batch.succeeded", JOB)).await;
    assert_eq!((text(&row, "state"), text(&row, "outcome")), ("waiting", "archived"), "{row:?}");
    assert_eq!(text(&row, "last_error"), "on_job_ended: the database is down");
    assert!(number(&row, "due_at") > rig.now());

    FAILS.store(false, Ordering::SeqCst);
    rig.later(number(&row, "due_at") - rig.now());
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");

    let calls = CALLS.lock().unwrap().clone();
    let [first, second] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(first, second, "the same end, under the same id");
    assert_eq!((&first["job"], &first["outcome"]), (&json!(JOB), &json!("archived")));
    assert_eq!(first["user_metadata"], json!({"order": "7"}));
    let stored = &rig.job(JOB).await.unwrap()["outputs"][0]["key"];
    assert_eq!(&first["outputs"][0]["key"], stored);

    // Another delivery of the same job does not call it again.
    assert_eq!(end(&rig.take("msg_2", &event("batch.succeeded", JOB)).await), "done/repeated");
    assert_eq!(CALLS.lock().unwrap().len(), 2);
}
