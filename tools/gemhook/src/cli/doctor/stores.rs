//! The tables and the bucket.

use aws_sdk_dynamodb::types::{StreamViewType, TimeToLiveStatus};

use super::finding::Finding;
use crate::cli::target::Target;
use gemhook::{
    aws::explain,
    ledger::schema::{self, Table},
};

pub(super) async fn deliveries(target: &Target) -> Result<Finding, Finding> {
    table(target, target.need("DELIVERIES_TABLE")?, &schema::DELIVERIES).await
}

pub(super) async fn jobs(target: &Target) -> Result<Finding, Finding> {
    table(target, target.need("JOBS_TABLE")?, &schema::JOBS).await
}

/// Held to the same definition from which the local machine makes its tables.
async fn table(target: &Target, name: &str, wanted: &Table) -> Result<Finding, Finding> {
    let told = target.dynamodb.describe_table().table_name(name).send().await;
    let told = match told {
        Ok(told) => told.table,
        Err(error) => {
            return Finding::fail(
                format!("{name}: {}", explain(&error)),
                "is the stack deployed, and in this region?",
            );
        }
    };
    let told =
        told.ok_or_else(|| Finding::failure(format!("{name} is not there"), "deploy the stack again"))?;
    let key = told.key_schema().first().map(|key| key.attribute_name());
    if key != Some(wanted.key) {
        return Finding::fail(
            format!("{name} has another key than {}", wanted.key),
            "is this the right table?",
        );
    }
    let view = told.stream_specification().and_then(|stream| stream.stream_view_type());
    if wanted.stream && view != Some(&StreamViewType::NewImage) {
        return Finding::fail(
            format!("{name} has no stream of new images, so nothing is archived before the sweep"),
            format!(
                "aws dynamodb update-table --table-name {name} --stream-specification \
                 StreamEnabled=true,StreamViewType=NEW_IMAGE, then deploy again for its mapping"
            ),
        );
    }
    let index = wanted.index.as_ref().map(|index| index.name);
    let has_index =
        |name| told.global_secondary_indexes().iter().any(|there| there.index_name() == Some(name));
    if let Some(missing) = index.filter(|name| !has_index(name)) {
        return Finding::fail(
            format!("{name} has no index {missing}: no sweep works"),
            "deploy the stack again",
        );
    }
    let Some(attribute) = wanted.ttl else { return Ok(Finding::ok(name)) };
    let told = target.dynamodb.describe_time_to_live().table_name(name).send().await;
    let told = match told {
        Ok(told) => told.time_to_live_description,
        Err(error) => return Finding::fail(explain(&error), "dynamodb:DescribeTimeToLive is needed to look"),
    };
    let on = told.is_some_and(|ttl| {
        ttl.attribute_name() == Some(attribute)
            && matches!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
    });
    if !on {
        return Finding::fail(
            format!("{name} has no TTL on {attribute}: it grows for ever"),
            format!(
                "aws dynamodb update-time-to-live --table-name {name} --time-to-live-specification \
                 Enabled=true,AttributeName={attribute}"
            ),
        );
    }
    Ok(Finding::ok(format!("{name}, with its stream and its TTL")))
}

pub(super) async fn bucket(target: &Target) -> Result<Finding, Finding> {
    let name = target.need("BUCKET")?;
    if let Err(error) = target.s3.head_bucket().bucket(name).send().await {
        return Finding::fail(
            format!("{name}: {}", explain(&error)),
            "is the stack deployed, and in this region?",
        );
    }
    if target.local {
        return Ok(Finding::ok(format!("{name}; whether it is private, only an account can tell")));
    }
    let fix = format!(
        "aws s3api put-public-access-block --bucket {name} --public-access-block-configuration \
         BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
    );
    let told = match target.s3.get_public_access_block().bucket(name).send().await {
        Ok(told) => told.public_access_block_configuration,
        Err(error) if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 404) => None,
        Err(error) => {
            return Finding::fail(explain(&error), "s3:GetBucketPublicAccessBlock is needed to look");
        }
    };
    let private = told.is_some_and(|told| {
        [
            told.block_public_acls,
            told.ignore_public_acls,
            told.block_public_policy,
            told.restrict_public_buckets,
        ] == [Some(true); 4]
    });
    if private {
        Ok(Finding::ok(format!("{name}, private")))
    } else {
        Finding::fail(format!("{name} may become public"), fix)
    }
}
