//! Jobs that always fail, worked by the archiver's own process: what the alarm `failed` watches is written for each.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::{
    lambda::Function,
    rig::{HOUR, MINUTE, Rig, event},
    scripted::Answer,
    support::{end, folder, now, text},
};

const LINE: &str = "{\"key\":\"a\",\"response\":{}}\n";

fn succeeds(rig: &Rig, job: &str) {
    let file = format!("files/{}", job.replace('/', "-"));
    rig.api.says(&format!("{file}:download"), [Answer::bytes(LINE)]);
    let response = json!({"responsesFile": file});
    rig.api.says(
        job,
        [Answer::json(json!({"name": job, "done": true, "response": response,
            "metadata": {"state": "BATCH_STATE_SUCCEEDED"}}))],
    );
}

/// The process goes by the clock of the machine, which is later than the rig's.
async fn set(rig: &Rig, id: &str, name: &str, value: AttributeValue) {
    let update = rig.test.dynamodb().update_item().table_name("rig-deliveries");
    let update = update.key("webhook_id", AttributeValue::S(id.to_owned()));
    let update = update.update_expression("SET #name = :value").expression_attribute_names("#name", name);
    update.expression_attribute_values(":value", value).send().await.unwrap();
}

fn time(time: i64) -> AttributeValue {
    AttributeValue::N(time.to_string())
}

async fn archiver(rig: &Rig, said: &std::path::Path) -> Function {
    let mut variables = rig.test.machine.addresses.environment();
    variables.extend([
        ("DELIVERIES_TABLE", "rig-deliveries".to_owned()),
        ("JOBS_TABLE", "rig-jobs".to_owned()),
        ("GEMINI_BASE_URL", rig.api.url.clone()),
    ]);
    let variables: Vec<(&str, String)> = variables.into_iter().collect();
    Function::start(env!("CARGO_BIN_EXE_archiver"), &variables, said).await
}

/// The metric that this alarm of the template watches.
fn metric_of(alarm: &str) -> String {
    let template = include_str!("../../template.yaml");
    let (_, alarm) = template.split_once(&format!("\n  {alarm}:\n")).unwrap();
    let line = alarm.lines().find(|line| line.trim_start().starts_with("MetricName:")).unwrap();
    line.trim_start().trim_start_matches("MetricName:").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_job_that_always_fails_counts_for_the_alarm_and_is_archived_by_a_redrive() {
    let rig = Rig::start().await;
    let ids = ["msg_good", "msg_500", "msg_killer", "msg_last"];
    let job = |id: &str| format!("batches/{id}");
    for id in ids {
        succeeds(&rig, &job(id));
        rig.deliver(id, &event("batch.succeeded", &job(id))).await;
    }
    // The killer has cost five workers, and the sixth has died by now.
    for _ in 0..6 {
        let _ = rig.ledger().lease("msg_killer", rig.now() + MINUTE).await.unwrap();
        rig.later(2 * MINUTE);
    }
    // The other one has met the same error for three days.
    let broken = Answer::fault(503, "always").with("retry-after", "3600");
    rig.api.says(&job("msg_500"), [broken]);
    let now = i64::try_from(now()).unwrap() * 1000;
    set(&rig, "msg_500", "error_kind", AttributeValue::S("transient".to_owned())).await;
    set(&rig, "msg_500", "error_since", time(now - 73 * HOUR)).await;
    for id in ids {
        set(&rig, id, "give_up_at", time(now + HOUR)).await;
    }

    let place = folder();
    let said = place.path().join("said");
    let function = archiver(&rig, &said).await;
    assert_eq!(function.invoke(records(&ids)).await, json!({"records": 4}));
    drop(function);
    for (id, expected, why) in [
        ("msg_good", "done/archived", ""),
        ("msg_500", "failed/", "read the batch: Gemini answered 503: always"),
        ("msg_killer", "failed/", "given up: 5 workers died on it"),
        ("msg_last", "done/archived", ""),
    ] {
        let row = rig.row(id).await;
        assert_eq!((end(&row).as_str(), text(&row, "last_error")), (expected, why), "{id}");
    }
    let said = std::fs::read_to_string(&said).unwrap();
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let metric = metric_of("FailedAlarm");
    let counted: Vec<&Value> = lines.iter().filter(|line| line.get(&metric).is_some()).collect();
    assert_eq!(counted.len(), 2, "{said}");
    for line in counted {
        assert_eq!((&line[&metric], &line["FunctionName"]), (&json!(1), &json!("function")));
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "gemhook");
        assert_eq!(directive["Metrics"][0]["Name"], metric.as_str());
    }

    succeeds(&rig, &job("msg_500"));
    for id in ["msg_500", "msg_killer"] {
        let _ = rig.ledger().redrive(id).await.unwrap();
        assert_eq!(end(&rig.work(id).await), "done/archived", "{id}");
    }
}

fn records(ids: &[&str]) -> Value {
    let record = |id: &&str| {
        json!({"eventID": id, "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1", "dynamodb": {"ApproximateCreationDateTime": 1,
            "Keys": {"webhook_id": {"S": id}}, "SequenceNumber": "1", "SizeBytes": 100,
            "StreamViewType": "NEW_IMAGE"}})
    };
    json!({"Records": ids.iter().map(record).collect::<Vec<_>>()})
}
