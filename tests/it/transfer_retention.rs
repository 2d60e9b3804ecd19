//! A file that the API does not hand out: when it is lost, and when it is only not available now.

use serde_json::json;

use crate::{
    rig::{HOUR, MINUTE, Rig, event},
    scripted::Answer,
    support::{end, number, text},
};

/// googleapis/python-genai#1759: a batch whose file has a name that the download refuses, for a while.
const JOB: &str = "batches/ncdlxnfztvvdy7lv52g4s7ge6l385vi46eyi18";
const FILE: &str = "files/batch-ncdlxnfztvvdy7lv52g4s7ge6l385vi46eyi18:download";
const LINE: &str = "{\"key\":\"a\",\"response\":{}}\n";

async fn rig() -> Rig {
    let rig = Rig::start().await;
    rig.api.says(
        JOB,
        [Answer::json(json!({"name": JOB, "done": true,
            "metadata": {"state": "BATCH_STATE_SUCCEEDED", "model": "models/m", "name": JOB},
            "response": {"responsesFile": "files/batch-ncdlxnfztvvdy7lv52g4s7ge6l385vi46eyi18"}}))],
    );
    rig
}

fn refused() -> Answer {
    Answer::fault(400, "* File ID (name) must be at most 40 characters")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_rejected_waits_and_is_archived_once_it_is_not() {
    for early in [refused(), Answer::fault(403, "billing is disabled")] {
        let rig = rig().await;
        rig.api.says(FILE, [early]);
        rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
        for _ in 0..4 {
            rig.later(2 * HOUR);
            let row = rig.work("msg_1").await;
            assert_eq!((text(&row, "state"), rig.job(JOB).await), ("waiting", None));
            assert!(text(&row, "last_error").starts_with("request rejected: download the output"), "{row:?}");
            assert_eq!(number(&row, "due_at"), rig.now() + 15 * MINUTE);
        }
        rig.api.says(FILE, [Answer::bytes(LINE)]);
        rig.later(15 * MINUTE);
        assert_eq!(end(&rig.work("msg_1").await), "done/archived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_never_taken_for_an_expired_file() {
    let rig = rig().await;
    rig.api.says(FILE, [refused()]);
    rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
    for _ in 0..4 {
        rig.later(20 * HOUR);
        let row = rig.work("msg_1").await;
        assert_ne!(text(&row, "state"), "done", "{row:?}");
        assert_eq!(rig.job(JOB).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_lost_only_after_its_retention_and_a_second_look() {
    for status in [403, 404, 410] {
        let rig = rig().await;
        rig.api.says(FILE, [Answer::fault(status, "no")]);
        rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
        // The job ended 10 s before its event came.
        for hours in [0, 1, 46] {
            rig.later(hours * HOUR);
            let row = rig.work("msg_1").await;
            assert_eq!((text(&row, "state"), rig.job(JOB).await), ("waiting", None), "{status}, {hours} h");
        }
        rig.later(HOUR);
        let row = rig.work("msg_1").await;
        assert_eq!(text(&row, "state"), "waiting", "{status}: {row:?}");
        rig.later(HOUR);
        assert_eq!(end(&rig.work("msg_1").await), "done/gone", "{status}");
        // Once before the file is given up, and after each answer that may be about the key.
        let probes = if status == 403 { 3 + 1 } else { 1 };
        assert_eq!(rig.api.asked_for("batches").len(), probes, "{status}: it was seen that the key works");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_missing_for_a_day_is_archived_when_it_comes() {
    let rig = rig().await;
    rig.api.says(FILE, [Answer::fault(404, "not found")]);
    rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
    for _ in 0..5 {
        rig.later(5 * HOUR);
        assert_eq!(text(&rig.work("msg_1").await, "state"), "waiting");
    }
    rig.api.says(FILE, [Answer::bytes(LINE)]);
    rig.later(HOUR);
    assert_eq!(end(&rig.work("msg_1").await), "done/archived");
}

/// A batch that was cancelled may have results, and may have none.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_did_not_succeed_has_ended_where_its_file_is_lost() {
    let rig = rig().await;
    rig.api.says(
        JOB,
        [Answer::json(json!({"name": JOB, "done": true,
            "metadata": {"state": "BATCH_STATE_CANCELLED", "model": "models/m", "displayName": "nightly"},
            "response": {"responsesFile": "files/batch-ncdlxnfztvvdy7lv52g4s7ge6l385vi46eyi18"}}))],
    );
    rig.api.says(FILE, [Answer::fault(404, "no")]);
    rig.deliver("msg_1", &event("batch.cancelled", JOB)).await;
    for hours in [48, 1] {
        rig.later(hours * HOUR);
        rig.work("msg_1").await;
    }
    assert_eq!(end(&rig.row("msg_1").await), "done/ended");
    let job = rig.job(JOB).await.unwrap();
    assert_eq!((job.get("error"), job["skipped"].as_array().unwrap().len()), (None, 1), "{job}");
    assert_eq!((&job["model"], &job["display_name"]), (&json!("models/m"), &json!("nightly")));
    assert_eq!(job["event_time"], 1_779_999_990_000_i64);
}

/// No webhook of the project has our address, and none need have it: the key has just read the job.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_job_that_google_signed_is_lost_without_a_registered_webhook() {
    let rig = rig().await;
    let elsewhere = json!({"webhooks": [{"id": "w", "uri": "https://another.example/", "state": "enabled"}]});
    rig.api.says("webhooks", [Answer::json(elsewhere)]);
    rig.api.says(FILE, [Answer::fault(404, "no")]);
    rig.deliver("msg_1", &event("batch.succeeded", JOB)).await;
    rig.signed_by_google("msg_1").await;
    for hours in [0, 47, 1, 1] {
        rig.later(hours * HOUR);
        rig.work("msg_1").await;
    }
    assert_eq!(end(&rig.row("msg_1").await), "done/gone");
}
