//! The way of an event: the address, the secret, and a signed probe that goes in and comes out recorded.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tokio::time::{Instant, sleep};

use super::finding::Finding;
use crate::cli::{
    target::Target,
    trigger::{event, signed::Signed},
};
use gemhook::{
    aws::explain,
    clock::{Clock, SystemClock},
    ledger::schema::attr,
    secrets::{PLACEHOLDER, Secret, SecretSource},
    webhook::SigningSecrets,
};

/// No job is behind it, nothing is archived and no alarm counts it.
pub(super) const PROBE: &str = "gemhook.probe";

const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Longer than the stream takes, shorter than a sweep.
const RECORDED_WITHIN: Duration = Duration::from_secs(60);

fn http() -> anyhow::Result<reqwest::Client> {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    Ok(http.timeout(ANSWERS_WITHIN).build()?)
}

pub(super) async fn url(target: &Target) -> Result<Finding, Finding> {
    let url = target.need("WEBHOOK_URL")?;
    match http()?.get(url).send().await {
        Ok(answer) if answer.status().is_success() => Ok(Finding::ok(format!("{url} answers"))),
        Ok(answer) => Finding::fail(
            format!("{url} answers GET with {}", answer.status().as_u16()),
            match answer.status().as_u16() {
                403 => "the URL must be public (AuthType NONE), with both permissions",
                _ => "see the receiver's log: it names what its environment lacks",
            },
        ),
        Err(error) => Finding::fail(
            format!("{url}: {}", explain(&error)),
            "is the stack deployed, or gemhook dev running?",
        ),
    }
}

/// The signing secrets as they are stored.
pub(super) async fn text(target: &Target) -> Result<Secret, Finding> {
    let id = match target.source("WEBHOOK_SECRET", "WEBHOOK_SECRET_ID")? {
        SecretSource::Given(secret) => return Ok(secret),
        SecretSource::Stored(id) => id,
    };
    match target.secrets.get_secret_value().secret_id(&id).send().await {
        Ok(read) => Ok(Secret::new(read.secret_string().unwrap_or_default().trim())),
        Err(error) => Finding::fail(
            format!("{id} cannot be read: {}", explain(&error)),
            "secretsmanager:GetSecretValue is needed to look; the receiver's role has it by the template",
        ),
    }
}

pub(super) async fn secret(target: &Target) -> Result<Finding, Finding> {
    let text = text(target).await?;
    let create = match &target.stack {
        Some(stack) => format!("gemhook webhook create --stack {}", stack.name),
        None => "gemhook webhook create, which stores it".to_owned(),
    };
    if text.expose() == PLACEHOLDER {
        return Finding::fail("it is not set: the receiver answers 503", create);
    }
    match SigningSecrets::for_place(text.expose(), target.local) {
        Ok(_) => Ok(Finding::ok(match text.expose().split_ascii_whitespace().count() {
            1 => "one signing secret".to_owned(),
            several => format!("{several} signing secrets; those no longer used can be taken out"),
        })),
        Err(why) => Finding::fail(format!("it {why}"), create),
    }
}

pub(super) async fn probe(target: &Target) -> Result<Finding, Finding> {
    let (url, table) = (target.need("WEBHOOK_URL")?, target.need("DELIVERIES_TABLE")?);
    let secrets = SigningSecrets::parse(text(target).await?.expose())
        .map_err(|_| Finding::skipped("without a signing secret nothing can be signed"))?;
    let now = SystemClock.now().div_euclid(1000);
    let body =
        event::sample(PROBE, now, &[]).map_err(|error| Finding::failure(error.to_string(), "report it"))?;
    let id = format!("gemhook-probe-{}", uuid::Uuid::new_v4());
    let signature = secrets.sign(&id, now, &body);
    let signed = Signed::new(signature, id, now, body);
    let to = url
        .parse()
        .map_err(|_| Finding::failure(format!("{url} is no address"), "see the stack's outputs"))?;
    let started = Instant::now();
    match signed.post(&http()?, to).await {
        Ok(answer) if answer.status().is_success() => {}
        Ok(answer) => {
            return Finding::fail(
                format!("a rightly signed event was answered {}", answer.status().as_u16()),
                match answer.status().as_u16() {
                    401 => {
                        "the receiver knows another secret, or its clock is wrong: its log has the reason \
                            (a new secret is read within five minutes)"
                    }
                    403 => "the URL must be public (AuthType NONE), with both permissions",
                    _ => "the receiver's log has the reason",
                },
            );
        }
        Err(error) => return Finding::fail(explain(&error), "is the address right?"),
    }
    loop {
        match state(target, table, &signed.id).await?.as_str() {
            "done/recorded" => break,
            "" => {
                return Finding::fail(
                    format!("it was accepted, but is not in {table}"),
                    "does the receiver write to another table than the stack's?",
                );
            }
            state if started.elapsed() > RECORDED_WITHIN => {
                return Finding::fail(
                    format!("it was accepted, but is still {state} after {} s", RECORDED_WITHIN.as_secs()),
                    "the stream did not bring it to the archiver: see its mapping and the archiver's log",
                );
            }
            _ => sleep(Duration::from_millis(200)).await,
        }
    }
    remove(target, table, &signed.id).await;
    Ok(Finding::ok(format!("went in and came out recorded, in {:.1} s", started.elapsed().as_secs_f64())))
}

/// `state/outcome` of a row; empty where there is none.
async fn state(target: &Target, table: &str, id: &str) -> Result<String, Finding> {
    let key = AttributeValue::S(id.to_owned());
    let get = target.dynamodb.get_item().table_name(table).key(attr::WEBHOOK_ID, key).consistent_read(true);
    let read = get.send().await;
    let read =
        read.map_err(|error| Finding::failure(explain(&error), "dynamodb:GetItem is needed to look"))?;
    let Some(row) = read.item else { return Ok(String::new()) };
    let text = |name: &str| row.get(name).and_then(|value| value.as_s().ok()).map_or("-", String::as_str);
    Ok(format!("{}/{}", text(attr::STATE), text(attr::OUTCOME)))
}

/// A probe that has ended is of no use. One that cannot be deleted goes by its TTL.
async fn remove(target: &Target, table: &str, id: &str) {
    let delete = target
        .dynamodb
        .delete_item()
        .table_name(table)
        .key(attr::WEBHOOK_ID, AttributeValue::S(id.to_owned()))
        .condition_expression("#state = :done AND #type = :probe")
        .expression_attribute_names("#state", attr::STATE)
        .expression_attribute_names("#type", attr::EVENT_TYPE)
        .expression_attribute_values(":done", AttributeValue::S("done".to_owned()))
        .expression_attribute_values(":probe", AttributeValue::S(PROBE.to_owned()));
    if let Err(error) = delete.send().await {
        tracing::debug!(error = explain(&error), "the probe's row stays");
    }
}
