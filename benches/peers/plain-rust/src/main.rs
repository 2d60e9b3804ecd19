//! What an afternoon of plain Rust gives: the usual crates with their defaults, one conditional write.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use lambda_http::{Body, Error, Request, Response, run, service_fn, tracing};
use standardwebhooks::Webhook;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let (dynamodb, table) = (Client::new(&config), std::env::var("DELIVERIES_TABLE")?);
    let webhook = Webhook::new(&std::env::var("WEBHOOK_SECRET")?)?;
    run(service_fn(|request| receive(&dynamodb, &table, &webhook, request))).await
}

async fn receive(
    dynamodb: &Client,
    table: &str,
    webhook: &Webhook,
    request: Request,
) -> Result<Response<Body>, Error> {
    let body = request.body().as_ref();
    if let Err(error) = webhook.verify(body, request.headers()) {
        tracing::warn!(%error, "refused");
        return Ok(Response::builder().status(401).body("refused".into())?);
    }
    let id = request.headers()["webhook-id"].to_str()?;
    let put = dynamodb
        .put_item()
        .table_name(table)
        .item("webhook_id", AttributeValue::S(id.to_owned()))
        .item("body", AttributeValue::S(String::from_utf8_lossy(body).into_owned()))
        .condition_expression("attribute_not_exists(webhook_id)")
        .send()
        .await;
    match put {
        Ok(_) => tracing::info!(id, "stored"),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
            tracing::info!(id, "duplicate");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Response::builder().status(200).body("accepted".into())?)
}
