//! What is looked at: a stack by its outputs, the environment of the functions, or a local machine.

use std::collections::HashMap;

use anyhow::{Result, bail};
use aws_config::SdkConfig;
use reqwest::Url;

use super::finding::Finding;
use crate::{
    aws,
    cli::stack::{self, Stack},
    config::{base_url, environment, is_loopback},
    dev::{Addresses, stores::plain_config},
    secrets::{Secret, SecretSource},
};

const GEMINI: &str = "https://generativelanguage.googleapis.com";

pub(super) struct Place {
    pub name: String,
    /// Whether everything is on this machine, so that there is no account to ask.
    pub local: bool,
    pub stack: Option<Stack>,
    pub gemini: Url,
    pub sdk: SdkConfig,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub s3: aws_sdk_s3::Client,
    pub secrets: aws_sdk_secretsmanager::Client,
    pub lambda: aws_sdk_lambda::Client,
    pub http: reqwest::Client,
    settings: HashMap<&'static str, String>,
}

/// What is read of the environment, by the functions' own names where they have one.
const READ: [&str; 11] = [
    "WEBHOOK_URL",
    "DELIVERIES_TABLE",
    "JOBS_TABLE",
    "BUCKET",
    "WEBHOOK_SECRET",
    "WEBHOOK_SECRET_ID",
    "GEMINI_API_KEY",
    "GEMINI_API_KEY_SECRET_ID",
    "GEMINI_BASE_URL",
    "RECEIVER_FUNCTION",
    "ARCHIVER_FUNCTION",
];

impl Place {
    pub(super) async fn of_stack(name: &str) -> Result<Self> {
        let sdk = aws::config(aws::archiver_timeouts()).await;
        let stack = Stack::read(&sdk, name).await?;
        let mut settings = HashMap::new();
        for (setting, output) in [
            ("WEBHOOK_URL", stack::WEBHOOK_URL),
            ("DELIVERIES_TABLE", stack::DELIVERIES_TABLE),
            ("JOBS_TABLE", stack::JOBS_TABLE),
            ("BUCKET", stack::BUCKET),
            ("WEBHOOK_SECRET_ID", stack::WEBHOOK_SECRET),
            ("GEMINI_API_KEY_SECRET_ID", stack::GEMINI_API_KEY),
            ("RECEIVER_FUNCTION", stack::RECEIVER),
            ("ARCHIVER_FUNCTION", stack::ARCHIVER),
        ] {
            settings.extend(stack.get(output).map(|value| (setting, value.to_owned())));
        }
        settings.extend(environment("GEMINI_BASE_URL").map(|url| ("GEMINI_BASE_URL", url)));
        let name = format!("the stack {name}");
        let mut place = Self::new(name, settings, sdk.clone(), sdk.clone(), sdk)?;
        place.stack = Some(stack);
        Ok(place)
    }

    pub(super) async fn of_environment() -> Result<Self> {
        let settings: HashMap<_, _> = READ
            .into_iter()
            .filter_map(|name| Some((name, environment(name).filter(|value| !value.trim().is_empty())?)))
            .collect();
        if !settings.contains_key("DELIVERIES_TABLE") {
            bail!("nothing to look at: name a --stack, set the functions' variables or start `gemhook dev`");
        }
        let sdk = aws::config(aws::archiver_timeouts()).await;
        let mut place = Self::new("the environment".to_owned(), settings, sdk.clone(), sdk.clone(), sdk)?;
        let endpoint = environment("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| environment("AWS_ENDPOINT_URL"));
        place.local = endpoint.and_then(|url| Url::parse(&url).ok()).is_some_and(|url| is_loopback(&url));
        Ok(place)
    }

    pub(super) fn of_dev(at: &Addresses) -> Result<Self> {
        let secret = ("WEBHOOK_SECRET", at.webhook_secret.clone());
        let settings = READ.into_iter().filter_map(|name| Some((name, at.setting(name)?)));
        let settings = settings.chain([secret]).collect();
        let (dynamodb, s3) = (local_sdk(at, &at.dynamodb_url), local_sdk(at, &at.s3_url));
        // The other services are never asked here.
        let mut place = Self::new("gemhook dev".to_owned(), settings, dynamodb.clone(), dynamodb, s3)?;
        place.local = true;
        Ok(place)
    }

    fn new(
        name: String,
        settings: HashMap<&'static str, String>,
        sdk: SdkConfig,
        dynamodb: SdkConfig,
        s3: SdkConfig,
    ) -> Result<Self> {
        let gemini = settings.get("GEMINI_BASE_URL").map_or(GEMINI, String::as_str);
        Ok(Self {
            name,
            local: false,
            stack: None,
            gemini: base_url(gemini).map_err(|why| anyhow::anyhow!("GEMINI_BASE_URL {why}"))?,
            dynamodb: aws_sdk_dynamodb::Client::new(&dynamodb),
            s3: aws_sdk_s3::Client::new(&s3),
            secrets: aws_sdk_secretsmanager::Client::new(&sdk),
            lambda: aws_sdk_lambda::Client::new(&sdk),
            http: plain_http()?,
            sdk,
            settings,
        })
    }

    /// A setting, or the finding that it is missing.
    pub(super) fn need(&self, setting: &str) -> Result<&str, Finding> {
        self.get(setting).ok_or_else(|| {
            let mend = match &self.stack {
                Some(_) => "deploy the template of this version: its outputs are read".to_owned(),
                None => format!("set {setting}"),
            };
            Finding::failure(format!("{setting} is not known"), mend)
        })
    }

    pub(super) fn get(&self, setting: &str) -> Option<&str> {
        self.settings.get(setting).map(String::as_str)
    }

    pub(super) fn source(&self, value: &str, id: &str) -> Result<SecretSource, Finding> {
        match self.get(value) {
            Some(text) => Ok(SecretSource::Given(Secret::new(text))),
            None => self.need(id).map(|id| SecretSource::Stored(id.to_owned())),
        }
    }
}

fn plain_http() -> Result<reqwest::Client> {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    Ok(http.timeout(std::time::Duration::from_secs(20)).build()?)
}

fn local_sdk(at: &Addresses, endpoint: &str) -> SdkConfig {
    let credentials = (at.aws_access_key_id.as_str(), at.aws_secret_access_key.as_str());
    plain_config(endpoint, credentials, &at.aws_region, aws::archiver_timeouts())
}
