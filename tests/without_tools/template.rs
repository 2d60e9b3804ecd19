//! The template says what the code does: permissions, settings, tables, metrics, and a runbook for each alarm.
#![cfg(test)]

mod yaml;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use gemhook::{
    announce,
    config::{ArchiverSettings, ReceiverSettings},
    ledger::schema::{self, Index, Table},
    metrics,
    permissions::{self, On, Permission},
    secrets::PLACEHOLDER,
};
use serde_json::{Value, json};

/// Settings that the template must not give: secrets in plain text, and endpoints of the local machine.
const NEVER_SET: [&str; 5] =
    ["WEBHOOK_SECRET", "GEMINI_API_KEY", "BINDING_KEY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"];

fn file(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn template() -> Value {
    yaml::read(&file("template.yaml"))
}

fn resource(template: &Value, name: &str) -> Value {
    let resource = template["Resources"][name].clone();
    assert!(resource.is_object(), "the template has no {name}");
    resource
}

/// A value of the template in one notation, whichever form of a reference it was written in.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let (function, argument) = fields.iter().next().expect("a reference");
            let argument = text(argument);
            if function == "Fn::Sub" { argument } else { format!("${{{argument}}}") }
        }
        other => panic!("{other} is no text"),
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// Where the template keeps what a permission is on.
fn place(on: On, function: &str) -> String {
    match on {
        On::Deliveries => "${DeliveriesTable.Arn}".into(),
        On::DueIndex => format!("${{DeliveriesTable.Arn}}/index/{}", schema::DUE.name),
        On::DeliveriesStream => "${DeliveriesTable.StreamArn}".into(),
        On::DeliveriesStreams => "${DeliveriesTable.Arn}/stream/*".into(),
        On::Jobs => "${JobsTable.Arn}".into(),
        On::WatchedIndex => format!("${{JobsTable.Arn}}/index/{}", schema::WATCHED.name),
        On::Results => "${ResultsBucket.Arn}/*".into(),
        On::ResultsBucket => "${ResultsBucket.Arn}".into(),
        On::SigningSecret => "${SigningSecret}".into(),
        On::BindingKeySecret => "${BindingKeySecretArn}".into(),
        On::ApiKeySecret => "${ApiKeySecret}".into(),
        On::EventBus => {
            "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBus}".into()
        }
        On::OwnLogs => format!("${{{function}LogGroup.Arn}}"),
    }
}

fn granted(template: &Value, role: &str) -> BTreeSet<(String, String)> {
    let role = resource(template, role);
    assert_eq!(role["Properties"]["ManagedPolicyArns"], Value::Null, "a managed policy is on everything");
    let mut granted = BTreeSet::new();
    for policy in list(&role["Properties"]["Policies"]) {
        for statement in list(&policy["PolicyDocument"]["Statement"]) {
            let statement = match &statement["Fn::If"] {
                Value::Null => statement,
                choice => {
                    assert_eq!(choice[2], json!({"Ref": "AWS::NoValue"}), "a statement instead of another");
                    choice[1].clone()
                }
            };
            assert_eq!(statement["Effect"], "Allow", "{statement}");
            for refused in ["NotAction", "NotResource", "Principal"] {
                assert_eq!(statement[refused], Value::Null, "{refused} in {statement}");
            }
            for action in list(&statement["Action"]) {
                for resource in list(&statement["Resource"]) {
                    granted.insert((text(&action), text(&resource)));
                }
            }
        }
    }
    granted
}

#[test]
fn each_role_allows_what_its_code_calls_and_no_more() {
    let template = template();
    let functions = [("Receiver", permissions::RECEIVER), ("Archiver", permissions::ARCHIVER)];
    for (function, needed) in functions {
        let needed: BTreeSet<_> = needed
            .iter()
            .map(|Permission(action, on, _)| ((*action).to_owned(), place(*on, function)))
            .collect();
        let granted = granted(&template, &format!("{function}Role"));
        let wider: Vec<_> = granted.difference(&needed).collect();
        let narrower: Vec<_> = needed.difference(&granted).collect();
        assert!(wider.is_empty(), "{function}: the template allows what no code calls: {wider:?}");
        assert!(narrower.is_empty(), "{function}: the template does not allow {narrower:?}");
        let properties = resource(&template, &format!("{function}Function"))["Properties"].clone();
        assert_eq!(text(&properties["Role"]), format!("${{{function}Role.Arn}}"));
        assert_eq!(properties["Policies"], Value::Null, "policies belong into the role");
    }
}

#[test]
fn the_public_function_can_put_into_one_table_and_read_one_secret() {
    let template = template();
    let granted = granted(&template, "ReceiverRole");
    let actions: Vec<_> = granted
        .iter()
        .map(|(action, _)| action.as_str())
        .filter(|action| !action.starts_with("logs:"))
        .collect();
    let secret = "secretsmanager:GetSecretValue";
    assert_eq!(
        actions,
        ["dynamodb:PutItem", secret, secret],
        "its own secret, and the binding key's if there is one"
    );
    assert!(granted.iter().all(|(_, on)| !on.contains('*')), "{granted:?}");
}

/// The names that a function asks its environment for, whatever the answers are.
fn asked(read: impl Fn(&dyn Fn(&str) -> Option<String>)) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    for answer in [None, Some("1"), Some("true"), Some("https://example.com")] {
        read(&|name| {
            names.borrow_mut().insert(name.to_owned());
            answer.map(str::to_owned)
        });
    }
    names.into_inner()
}

#[test]
fn every_setting_that_is_read_is_set_and_no_other() {
    let template = template();
    let functions = [
        ("ReceiverFunction", asked(|lookup| drop(ReceiverSettings::read(lookup)))),
        ("ArchiverFunction", asked(|lookup| drop(ArchiverSettings::read(lookup)))),
    ];
    for (function, asked) in functions {
        let variables = resource(&template, function)["Properties"]["Environment"]["Variables"].clone();
        let set: BTreeSet<String> = variables.as_object().expect("variables").keys().cloned().collect();
        let wanted: BTreeSet<String> =
            asked.into_iter().filter(|name| !NEVER_SET.contains(&name.as_str())).collect();
        let unset: Vec<_> = wanted.difference(&set).collect();
        let unread: Vec<_> = set.difference(&wanted).collect();
        assert!(unset.is_empty(), "{function}: the code reads and the template does not set {unset:?}");
        assert!(unread.is_empty(), "{function}: the template sets and no code reads {unread:?}");
    }
}

/// A table's shape as the template has to say it.
fn shape(table: &Table) -> Value {
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let mut types = BTreeMap::from([(table.key, "S")]);
    let mut indexes = Value::Null;
    if let Some(Index { name, hash, range, includes }) = &table.index {
        types.extend([(*hash, "S"), (*range, "N")]);
        indexes = json!([{
            "IndexName": name,
            "KeySchema": [key(hash, "HASH"), key(range, "RANGE")],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": includes},
        }]);
    }
    json!({
        "keys": [key(table.key, "HASH")],
        "types": types,
        "indexes": indexes,
        "ttl": table.ttl.map(|name| json!({"AttributeName": name, "Enabled": true})),
        "stream": table.stream.then(|| json!({"StreamViewType": "NEW_IMAGE"})),
    })
}

#[test]
fn the_tables_are_those_of_the_schema() {
    let template = template();
    for (name, table) in [("DeliveriesTable", &schema::DELIVERIES), ("JobsTable", &schema::JOBS)] {
        let resource = resource(&template, name);
        let told = &resource["Properties"];
        let types: BTreeMap<String, Value> = list(&told["AttributeDefinitions"])
            .iter()
            .map(|attribute| (text(&attribute["AttributeName"]), attribute["AttributeType"].clone()))
            .collect();
        let told = json!({
            "keys": told["KeySchema"],
            "types": types,
            "indexes": told["GlobalSecondaryIndexes"],
            "ttl": told["TimeToLiveSpecification"],
            "stream": told["StreamSpecification"],
        });
        assert_eq!(told, shape(table), "{name}");
    }
}

#[test]
fn what_holds_data_is_kept_encrypted_and_recoverable() {
    let template = template();
    for name in ["DeliveriesTable", "JobsTable", "ResultsBucket"] {
        let resource = resource(&template, name);
        assert_eq!(resource["DeletionPolicy"], "Retain", "{name}");
        assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{name}");
        let told = &resource["Properties"];
        assert_eq!(told["TableName"], Value::Null, "CloudFormation names {name}");
        assert_eq!(told["BucketName"], Value::Null, "CloudFormation names {name}");
        if name.ends_with("Table") {
            assert_eq!(told["BillingMode"], "PAY_PER_REQUEST", "{name}");
            assert_eq!(told["SSESpecification"]["SSEEnabled"], true, "{name}");
            let recovery = &told["PointInTimeRecoverySpecification"];
            assert_eq!(recovery["PointInTimeRecoveryEnabled"], true, "{name}");
        }
    }
    let bucket = resource(&template, "ResultsBucket")["Properties"].clone();
    let access = bucket["PublicAccessBlockConfiguration"].as_object().expect("public access is blocked");
    assert_eq!(access.len(), 4);
    assert!(access.values().all(|blocked| *blocked == true), "{access:?}");
    assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled");
    let torn = &bucket["LifecycleConfiguration"]["Rules"][0];
    assert_eq!(torn["Status"], "Enabled");
    assert_eq!(torn["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 1);
    let policy = resource(&template, "ResultsBucketPolicy")["Properties"]["PolicyDocument"].clone();
    let only_tls = &policy["Statement"][0];
    assert_eq!((&only_tls["Effect"], &only_tls["Action"]), (&json!("Deny"), &json!("s3:*")));
    assert_eq!(only_tls["Condition"], json!({"Bool": {"aws:SecureTransport": "false"}}));
    for name in ["SigningSecret", "ApiKeySecret"] {
        assert_eq!(resource(&template, name)["Properties"]["SecretString"], PLACEHOLDER, "{name}");
    }
}

#[test]
fn the_stream_and_the_schedules_invoke_the_archiver_as_it_expects() {
    let template = template();
    let events = resource(&template, "ArchiverFunction")["Properties"]["Events"].clone();
    let stream = &events["Deliveries"]["Properties"];
    let pattern = stream["FilterCriteria"]["Filters"][0]["Pattern"].as_str().expect("a filter");
    let filter: Value = serde_json::from_str(pattern).expect("a filter in JSON");
    let state = json!({schema::attr::STATE: {"S": ["received"]}});
    assert_eq!(filter, json!({"dynamodb": {"NewImage": state}}));
    assert_eq!(text(&stream["Stream"]), "${DeliveriesTable.StreamArn}");
    for (name, value) in [("BatchSize", 1), ("MaximumRetryAttempts", 1), ("MaximumRecordAgeInSeconds", 3600)]
    {
        assert_eq!(stream[name], value, "{name}");
    }
    let types = &stream["FunctionResponseTypes"];
    assert_eq!(*types, Value::Null, "no answer of the archiver is about a part of its records");
    for (name, input) in [("Sweep", "sweep"), ("Reconcile", "reconcile")] {
        let told = events[name]["Properties"]["Input"].as_str().expect("an input");
        assert_eq!(serde_json::from_str::<Value>(told).expect("JSON"), json!({"schedule": input}));
    }
    let url = &resource(&template, "ReceiverFunction")["Properties"]["FunctionUrlConfig"]["AuthType"];
    assert_eq!(url, "NONE", "SAM makes the permissions of a public URL only where this is said literally");
}

#[test]
fn the_example_consumer_hears_of_what_the_archiver_announces() {
    let template = template();
    let pattern =
        resource(&template, "ConsumerFunction")["Properties"]["Events"]["Ended"]["Properties"]["Pattern"]
            .clone();
    assert_eq!(pattern["source"], json!([announce::SOURCE]));
    assert_eq!(pattern["detail-type"], json!([announce::DETAIL_TYPE]));
    let group = json!({schema::attr::USER_METADATA: {"job_group": [{"Ref": "ExampleJobGroup"}]}});
    assert_eq!(pattern["detail"], group);
}

fn alarms(template: &Value) -> BTreeMap<String, Value> {
    let resources = template["Resources"].as_object().expect("resources");
    let alarms = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm");
    alarms.map(|(name, alarm)| (name.clone(), alarm["Properties"].clone())).collect()
}

#[test]
fn every_alarm_has_a_metric_that_is_written_and_an_entry_in_the_runbook() {
    let runbook = file("docs/operations.md");
    let alarms = alarms(&template());
    assert_eq!(alarms.len(), 15);
    for (name, alarm) in &alarms {
        let title = text(&alarm["AlarmName"]).replace("${AWS::StackName}-", "");
        let description = text(&alarm["AlarmDescription"]);
        assert!(runbook.contains(&format!("\n## {title}\n")), "the runbook has no heading {title:?}");
        assert!(
            description.ends_with(&format!("Runbook: docs/operations.md, \"{title}\".")),
            "{description}"
        );
        let metric = text(&alarm["MetricName"]);
        let ours = alarm["Namespace"] == metrics::NAMESPACE;
        assert!(!ours || metrics::ALL.contains(&metric.as_str()), "{name}: nothing writes {metric}");
        assert_eq!(alarm["Dimensions"][0]["Name"], metrics::DIMENSION, "{name}");
        let missing = if metric == metrics::SWEPT { "breaching" } else { "notBreaching" };
        assert_eq!(alarm["TreatMissingData"], missing, "{name}");
    }
    let headings = runbook.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(headings, alarms.len(), "the runbook has headings without an alarm");
}

#[test]
fn the_dashboard_shows_every_metric_and_no_unknown_one() {
    let body = text(&resource(&template(), "Dashboard")["Properties"]["DashboardBody"]);
    let body: Value = serde_json::from_str(&body).expect("the dashboard is JSON");
    let shown: BTreeSet<String> = list(&body["widgets"])
        .iter()
        .flat_map(|widget| list(&widget["properties"]["metrics"]))
        .filter(|metric| metric[0] == metrics::NAMESPACE)
        .map(|metric| text(&metric[1]))
        .collect();
    let mut all: BTreeSet<String> = metrics::ALL.iter().map(|name| (*name).to_owned()).collect();
    all.remove(metrics::WEBHOOK_DISABLED);
    assert_eq!(shown, all);
}
