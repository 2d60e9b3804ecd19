//! What only an account can answer: who asks, what the stack says, and how Lambda is set up.

use serde_json::Value;

use super::finding::Finding;
use crate::cli::{stack::NEEDED, target::Target};
use gemhook::aws::explain;

const LOCAL: &str = "this machine has no account to ask";
const REDEPLOY: &str = "deploy the template of this version again: `sam build && sam deploy`";

/// The limit of a new account. A reservation of a part of it is refused.
const SMALL_LIMIT: i32 = 10;

pub(super) async fn credentials(target: &Target) -> Result<Finding, Finding> {
    if target.local {
        return Ok(Finding::skipped(LOCAL));
    }
    match aws_sdk_sts::Client::new(&target.sdk).get_caller_identity().send().await {
        Ok(who) => Ok(Finding::ok(who.arn.unwrap_or_default())),
        Err(error) => Finding::fail(
            explain(&error),
            "set AWS_PROFILE or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
        ),
    }
}

pub(super) async fn stack(target: &Target) -> Result<Finding, Finding> {
    let Some(stack) = &target.stack else { return Ok(Finding::skipped("no --stack was named")) };
    let missing: Vec<&str> = NEEDED.into_iter().filter(|output| stack.get(output).is_none()).collect();
    if !missing.is_empty() {
        return Finding::fail(format!("it has no output {}", missing.join(", ")), REDEPLOY);
    }
    if stack.status.ends_with("_COMPLETE") && !stack.status.contains("DELETE") {
        return Ok(Finding::ok(format!("{}, all {} outputs are there", stack.status, NEEDED.len())));
    }
    Ok(Finding::warning(
        format!("it is {}", stack.status),
        "wait until CloudFormation is done, or see its events",
    ))
}

/// A public URL needs two statements: one for the URL, one for the function by way of the URL.
pub(super) async fn permissions(target: &Target) -> Result<Finding, Finding> {
    let Some(function) = function(target, "RECEIVER_FUNCTION")? else { return Ok(Finding::skipped(LOCAL)) };
    let told = lambda(target).get_policy().function_name(function).send().await;
    let policy = match told {
        Ok(told) => told.policy.unwrap_or_default(),
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
        {
            return Finding::fail("nobody may call the function URL", REDEPLOY);
        }
        Err(error) => return Finding::fail(explain(&error), "lambda:GetPolicy is needed to look"),
    };
    let policy: Value = serde_json::from_str(&policy).unwrap_or_default();
    let statements = policy.get("Statement").and_then(Value::as_array).cloned().unwrap_or_default();
    let public: Vec<&Value> = statements.iter().filter(|statement| is_public(statement)).collect();
    let allowed = |action: &str| {
        public
            .iter()
            .copied()
            .find(|statement| statement.get("Action").and_then(Value::as_str) == Some(action))
    };
    if allowed("lambda:InvokeFunctionUrl").is_none() {
        return Finding::fail("nothing allows everybody lambda:InvokeFunctionUrl", REDEPLOY);
    }
    let Some(invoke) = allowed("lambda:InvokeFunction") else {
        return Finding::fail(
            "nothing allows lambda:InvokeFunction by way of the URL: it answers 403",
            REDEPLOY,
        );
    };
    if !invoke.get("Condition").is_some_and(|only| only.to_string().contains("InvokedViaFunctionUrl")) {
        return Ok(Finding::warning(
            "everybody may invoke the function, not only by way of its URL",
            REDEPLOY,
        ));
    }
    Ok(Finding::ok("everybody may call the URL, and the function by way of it alone"))
}

fn is_public(statement: &Value) -> bool {
    let principal = statement.get("Principal");
    let everybody = principal.and_then(|who| who.as_str().or_else(|| who.get("AWS")?.as_str())) == Some("*");
    everybody && statement.get("Effect").and_then(Value::as_str) == Some("Allow")
}

pub(super) async fn concurrency(target: &Target) -> Result<Finding, Finding> {
    if target.local {
        return Ok(Finding::skipped(LOCAL));
    }
    let told = match lambda(target).get_account_settings().send().await {
        Ok(told) => told.account_limit,
        Err(error) => return Finding::fail(explain(&error), "lambda:GetAccountSettings is needed to look"),
    };
    let limit = told.as_ref().map_or(0, |limit| limit.concurrent_executions);
    let free = told.and_then(|limit| limit.unreserved_concurrent_executions).unwrap_or(limit);
    if limit <= SMALL_LIMIT {
        return Ok(Finding::warning(
            format!("{limit} executions at once in this account, as in a new one"),
            "ask for more in Service Quotas (Lambda, concurrent executions); until then reserve none",
        ));
    }
    Ok(Finding::ok(format!("{limit} executions at once in this account, {free} of them not reserved")))
}

pub(super) async fn mapping(target: &Target) -> Result<Finding, Finding> {
    let Some(function) = function(target, "ARCHIVER_FUNCTION")? else {
        return Ok(Finding::skipped("the local machine reads the stream itself"));
    };
    let table = format!(":table/{}/stream/", target.need("DELIVERIES_TABLE")?);
    let told = lambda(target).list_event_source_mappings().function_name(function).send().await;
    let told = match told {
        Ok(told) => told.event_source_mappings.unwrap_or_default(),
        Err(error) => {
            return Finding::fail(explain(&error), "lambda:ListEventSourceMappings is needed to look");
        }
    };
    let ours = told.iter().find(|mapping| mapping.event_source_arn().is_some_and(|arn| arn.contains(&table)));
    let Some(mapping) = ours else {
        return Finding::fail("the table's stream does not invoke the archiver", REDEPLOY);
    };
    let (uuid, state) = (mapping.uuid().unwrap_or_default(), mapping.state().unwrap_or_default());
    let last = mapping.last_processing_result().unwrap_or_default();
    match state {
        "Enabled" if last.starts_with("PROBLEM") => Ok(Finding::warning(
            format!("enabled, but the last record failed: {last}"),
            "see the archiver's log; the sweep takes up what the stream has dropped",
        )),
        "Enabled" => Ok(Finding::ok("enabled")),
        "Creating" | "Enabling" | "Updating" => {
            Ok(Finding::warning(format!("it is {state}"), "look again in a minute"))
        }
        state => Finding::fail(
            format!("it is {state}; only the sweep brings deliveries to their end"),
            format!("aws lambda update-event-source-mapping --enabled --uuid {uuid}"),
        ),
    }
}

fn lambda(target: &Target) -> aws_sdk_lambda::Client {
    aws_sdk_lambda::Client::new(&target.sdk)
}

/// None where there is no account.
fn function<'a>(target: &'a Target, setting: &str) -> Result<Option<&'a str>, Finding> {
    if target.local { Ok(None) } else { Ok(Some(target.need(setting)?)) }
}
