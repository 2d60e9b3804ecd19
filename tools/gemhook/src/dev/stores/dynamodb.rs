//! The embedded DynamoDB, and the tables, made through the SDK from the schema that the template is held to.
//!
//! [`create_tables`] knows nothing of the server behind the client, so it serves other DynamoDBs too.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::{
    Client,
    client::Waiters,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableDescription,
        TimeToLiveSpecification, TimeToLiveStatus,
    },
};
use tokio::{net::TcpListener, sync::watch};

use super::{GRACE, fired};
use gemhook::ledger::schema::{self, Index, Table};

pub struct TableNames {
    pub deliveries: String,
    pub jobs: String,
}

/// The file of the tables.
pub fn file(folder: &Path) -> PathBuf {
    folder.join("dynamodb.db")
}

pub fn database(folder: &Path) -> Result<dynoxide::Database> {
    let file = file(folder);
    let path = file.to_str().with_context(|| format!("{} is not a name in UTF-8", file.display()))?;
    dynoxide::Database::new(path).with_context(|| format!("cannot open the tables in {path}"))
}

pub async fn serve(listener: TcpListener, database: dynoxide::Database, shutdown: watch::Receiver<bool>) {
    let serving = dynoxide::server::serve_with_shutdown(listener, database, fired(shutdown.clone()));
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::error!(error, "the local DynamoDB failed");
        },
        () = async { fired(shutdown).await; tokio::time::sleep(GRACE).await } => {}
    }
}

/// Creates what is missing. A table of another shape is an error, never changed.
pub async fn create_tables(client: &Client, names: &TableNames) -> Result<()> {
    create_table(client, &names.deliveries, &schema::DELIVERIES).await?;
    create_table(client, &names.jobs, &schema::JOBS).await
}

async fn create_table(client: &Client, name: &str, table: &Table) -> Result<()> {
    let found = match client.describe_table().table_name(name).send().await {
        Ok(answer) => answer.table,
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
        {
            None
        }
        Err(error) => return Err(error).with_context(|| format!("cannot look for the table {name}")),
    };
    match found {
        Some(found) => check_shape(&found, table).with_context(|| format!("the table {name} differs"))?,
        None => {
            create(client, name, table).await.with_context(|| format!("cannot create the table {name}"))?
        }
    }
    client
        .wait_until_table_exists()
        .table_name(name)
        .wait(Duration::from_secs(60))
        .await
        .with_context(|| format!("the table {name} did not become active"))?;
    if let Some(attribute) = table.ttl {
        expire(client, name, attribute)
            .await
            .with_context(|| format!("cannot switch the TTL of the table {name} on"))?;
    }
    Ok(())
}

async fn create(client: &Client, name: &str, table: &Table) -> Result<()> {
    let mut request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(table.key, KeyType::Hash)?)
        .attribute_definitions(attribute(table.key, ScalarAttributeType::S)?);
    if let Some(index) = &table.index {
        if index.hash != table.key {
            request = request.attribute_definitions(attribute(index.hash, ScalarAttributeType::S)?);
        }
        request = request
            .attribute_definitions(attribute(index.range, ScalarAttributeType::N)?)
            .global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(index.name)
                    .key_schema(key(index.hash, KeyType::Hash)?)
                    .key_schema(key(index.range, KeyType::Range)?)
                    .projection(projection(index))
                    .build()?,
            );
    }
    if table.stream {
        let stream = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewImage)
            .build()?;
        request = request.stream_specification(stream);
    }
    request.send().await?;
    Ok(())
}

/// DynamoDB refuses to switch on a TTL that is on, so it is asked first.
async fn expire(client: &Client, name: &str, attribute: &str) -> Result<()> {
    let now = client.describe_time_to_live().table_name(name).send().await?;
    let on = now.time_to_live_description.is_some_and(|ttl| {
        ttl.attribute_name.as_deref() == Some(attribute)
            && matches!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
    });
    if !on {
        let specification =
            TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build()?;
        client
            .update_time_to_live()
            .table_name(name)
            .time_to_live_specification(specification)
            .send()
            .await?;
    }
    Ok(())
}

fn check_shape(found: &TableDescription, table: &Table) -> Result<()> {
    let wanted = [key(table.key, KeyType::Hash)?];
    if found.key_schema() != wanted {
        bail!("its key is {}, this version needs {}", keys(found.key_schema()), keys(&wanted));
    }
    let types = found.attribute_definitions();
    let mut needed = vec![attribute(table.key, ScalarAttributeType::S)?];
    match (found.global_secondary_indexes(), &table.index) {
        ([], None) => {}
        ([there], Some(index)) => {
            let wanted = [key(index.hash, KeyType::Hash)?, key(index.range, KeyType::Range)?];
            needed.push(attribute(index.hash, ScalarAttributeType::S)?);
            needed.push(attribute(index.range, ScalarAttributeType::N)?);
            if there.index_name() != Some(index.name)
                || there.key_schema() != wanted
                || there.projection() != Some(&projection(index))
            {
                bail!(
                    "its index is {:?} on {}, this version needs {:?} on {}, including {:?}",
                    there.index_name().unwrap_or_default(),
                    keys(there.key_schema()),
                    index.name,
                    keys(&wanted),
                    index.includes
                );
            }
        }
        (there, wanted) => {
            bail!("it has {} indexes, this version needs {}", there.len(), usize::from(wanted.is_some()))
        }
    }
    if let Some(missing) = needed.iter().find(|attribute| !types.contains(attribute)) {
        bail!("its {} is not of the type {}", missing.attribute_name, missing.attribute_type);
    }
    let view = found.stream_specification().and_then(|stream| stream.stream_view_type.as_ref());
    if view != table.stream.then_some(&StreamViewType::NewImage) {
        bail!("its stream is {view:?}, this version needs one of new images: {}", table.stream);
    }
    Ok(())
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement> {
    Ok(KeySchemaElement::builder().attribute_name(name).key_type(kind).build()?)
}

fn attribute(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition> {
    Ok(AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()?)
}

fn projection(index: &Index) -> Projection {
    if index.includes.is_empty() {
        return Projection::builder().projection_type(ProjectionType::KeysOnly).build();
    }
    Projection::builder()
        .projection_type(ProjectionType::Include)
        .set_non_key_attributes(Some(index.includes.iter().map(|name| (*name).into()).collect()))
        .build()
}

fn keys(schema: &[KeySchemaElement]) -> String {
    schema
        .iter()
        .map(|key| format!("{} ({})", key.attribute_name, key.key_type))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests;
