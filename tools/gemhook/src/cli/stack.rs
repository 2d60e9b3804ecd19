//! A deployed stack, as CloudFormation's outputs tell of it. The template is held to these names.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use aws_config::SdkConfig;

use gemhook::aws::explain;

pub const WEBHOOK_URL: &str = "ReceiverUrl";
pub const DELIVERIES_TABLE: &str = "DeliveriesTableName";
pub const JOBS_TABLE: &str = "JobsTableName";
pub const BUCKET: &str = "ResultsBucketName";
pub const WEBHOOK_SECRET: &str = "SigningSecretArn";
pub const GEMINI_API_KEY: &str = "ApiKeySecretArn";
pub const RECEIVER: &str = "ReceiverFunctionName";
pub const ARCHIVER: &str = "ArchiverFunctionName";

/// All that the commands read.
pub const NEEDED: [&str; 8] =
    [WEBHOOK_URL, DELIVERIES_TABLE, JOBS_TABLE, BUCKET, WEBHOOK_SECRET, GEMINI_API_KEY, RECEIVER, ARCHIVER];

pub struct Stack {
    pub name: String,
    pub status: String,
    outputs: HashMap<String, String>,
    parameters: HashMap<String, String>,
}

impl Stack {
    pub async fn read(sdk: &SdkConfig, name: &str) -> Result<Self> {
        let told = aws_sdk_cloudformation::Client::new(sdk).describe_stacks().stack_name(name).send().await;
        let told = told.map_err(|error| anyhow!("cannot read the stack {name}: {}", explain(&error)))?;
        let stack = told.stacks().first().with_context(|| format!("there is no stack {name}"))?;
        let outputs = stack.outputs().iter().filter_map(|output| {
            Some((output.output_key.clone()?, output.output_value.clone().filter(|value| !value.is_empty())?))
        });
        let parameters = stack.parameters().iter().filter_map(|parameter| {
            Some((parameter.parameter_key.clone()?, parameter.parameter_value.clone()?))
        });
        Ok(Self {
            name: name.to_owned(),
            status: stack.stack_status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
            outputs: outputs.collect(),
            parameters: parameters.collect(),
        })
    }

    pub fn get(&self, output: &str) -> Option<&str> {
        self.outputs.get(output).map(String::as_str)
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}
