//! Where a command works: a deployed stack by its outputs, what the functions' variables name, or a local machine.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use aws_config::SdkConfig;
use reqwest::Url;

use super::{
    local::Local,
    stack::{self, Stack},
};
use crate::dev::{Addresses, stores::plain_config};
use gemhook::{
    aws,
    clock::{SharedClock, SystemClock},
    config::{GEMINI_BASE_URL, base_url, environment, is_loopback},
    gemini::Gemini,
    ledger::Ledger,
    secrets::{Secret, SecretSource, SecretStore},
};

#[derive(clap::Args)]
pub struct TargetArgs {
    /// A deployed stack [default: what DELIVERIES_TABLE, JOBS_TABLE and BUCKET name, else the running
    /// `gemhook dev`]
    #[arg(long, value_name = "NAME", conflicts_with = "local", global = true)]
    stack: Option<String>,
    #[command(flatten)]
    local: Local,
}

/// Settings by the functions' own names where they have one, and clients for what they name.
pub struct Target {
    pub name: String,
    /// Whether everything is on this machine, so that there is no account to ask.
    pub local: bool,
    /// Only where the place is a running `gemhook dev`.
    pub dev: Option<Addresses>,
    pub stack: Option<Stack>,
    pub sdk: SdkConfig,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub streams: aws_sdk_dynamodbstreams::Client,
    pub s3: aws_sdk_s3::Client,
    pub secrets: aws_sdk_secretsmanager::Client,
    pub clock: SharedClock,
    settings: HashMap<&'static str, String>,
}

/// Nothing that commands ask for carries results inline, but for a job that is looked at.
const MAX_ANSWER_BYTES: u64 = 1 << 30;

/// What says which place it is.
const READ: [&str; 17] = [
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
    "DYNAMIC_WEBHOOKS",
    "JWKS_URL",
    "JWT_AUDIENCE",
    "BINDING_KEY",
    "BINDING_KEY_SECRET_ID",
    "WEBHOOK_TOLERANCE_SECONDS",
];

impl TargetArgs {
    /// Whether somebody said where, rather than leaving it to be found.
    pub fn is_named(&self) -> bool {
        self.stack.is_some() || self.local.is_named()
    }

    /// The place that was named, if one was.
    pub async fn named(&self) -> Result<Option<Target>> {
        match self.is_named() {
            true => self.open().await.map(Some),
            false => Ok(None),
        }
    }

    /// The place that was named, else a `gemhook dev` that runs, else none. One in an unrelated folder counts only where
    /// the command `needs` a place, so that several of them are no error for a command that is complete without.
    pub async fn named_or_dev(&self, needs: bool) -> Result<Option<Target>> {
        if self.is_named() {
            return self.open().await.map(Some);
        }
        let found = if needs { self.local.or_running()? } else { Local::nearby()? };
        match found {
            Some(at) => Target::of_dev(at).await.map(Some),
            None => Ok(None),
        }
    }

    pub async fn open(&self) -> Result<Target> {
        if let Some(stack) = &self.stack {
            return Target::of_stack(stack).await;
        }
        let at = match self.local.named()? {
            Some(at) => Some(at),
            None if environment("DELIVERIES_TABLE").is_some() => None,
            None => self.local.or_running()?,
        };
        match at {
            Some(at) => Target::of_dev(at).await,
            None => Target::of_environment().await,
        }
    }
}

impl Target {
    async fn of_stack(name: &str) -> Result<Self> {
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
        for (setting, parameter) in [
            ("DYNAMIC_WEBHOOKS", "DynamicWebhooks"),
            ("JWKS_URL", "JwksUrl"),
            ("JWT_AUDIENCE", "JwtAudience"),
            ("BINDING_KEY_SECRET_ID", "BindingKeySecretArn"),
            ("WEBHOOK_TOLERANCE_SECONDS", "ToleranceSeconds"),
        ] {
            let value = stack.parameter(parameter).filter(|value| !value.is_empty());
            settings.extend(value.map(|value| (setting, value.to_owned())));
        }
        let base =
            environment("GEMINI_BASE_URL").or_else(|| stack.parameter("GeminiBaseUrl").map(str::to_owned));
        settings.extend(base.map(|url| ("GEMINI_BASE_URL", url)));
        let mut target = Self::new(format!("the stack {name}"), settings, sdk.clone(), &sdk, &sdk);
        target.stack = Some(stack);
        Ok(target)
    }

    async fn of_environment() -> Result<Self> {
        let set = |name| Some((name, environment(name).filter(|value| !value.trim().is_empty())?));
        let settings: HashMap<_, _> = READ.into_iter().filter_map(set).collect();
        if !settings.contains_key("DELIVERIES_TABLE") {
            bail!(
                "nothing to work on: name a stack with --stack NAME, set the functions' variables, or start \
                 `gemhook dev`"
            );
        }
        let sdk = aws::config(aws::archiver_timeouts()).await;
        let mut target = Self::new("the environment".to_owned(), settings, sdk.clone(), &sdk, &sdk);
        let endpoint = environment("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| environment("AWS_ENDPOINT_URL"));
        target.local = endpoint.and_then(|url| Url::parse(&url).ok()).is_some_and(|url| is_loopback(&url));
        Ok(target)
    }

    /// Of a `gemhook dev` that runs.
    pub(super) async fn of_dev(at: Addresses) -> Result<Self> {
        answers(&at.dynamodb_url).await.with_context(|| {
            format!(
                "{0} names {1}, but nothing answers there: start it again with `gemhook dev --data {0}`",
                at.data_dir.display(),
                at.dynamodb_url
            )
        })?;
        let settings = READ.into_iter().filter_map(|name| Some((name, at.setting(name)?))).collect();
        let credentials = (at.aws_access_key_id.as_str(), at.aws_secret_access_key.as_str());
        let config = |url: &str| plain_config(url, credentials, &at.aws_region, aws::archiver_timeouts());
        // The other services are never asked here.
        let tables = config(&at.dynamodb_url);
        let mut target =
            Self::new("gemhook dev".to_owned(), settings, tables.clone(), &tables, &config(&at.s3_url));
        target.local = true;
        target.dev = Some(at);
        Ok(target)
    }

    fn new(
        name: String,
        settings: HashMap<&'static str, String>,
        sdk: SdkConfig,
        tables: &SdkConfig,
        s3: &SdkConfig,
    ) -> Self {
        Self {
            name,
            local: false,
            dev: None,
            stack: None,
            dynamodb: aws_sdk_dynamodb::Client::new(tables),
            streams: aws_sdk_dynamodbstreams::Client::new(tables),
            s3: aws_sdk_s3::Client::new(s3),
            secrets: aws_sdk_secretsmanager::Client::new(&sdk),
            clock: Arc::new(SystemClock),
            sdk,
            settings,
        }
    }

    pub fn get(&self, setting: &str) -> Option<&str> {
        self.settings.get(setting).map(String::as_str)
    }

    pub fn need(&self, setting: &str) -> Result<&str> {
        self.get(setting).with_context(|| match &self.stack {
            Some(stack) => format!(
                "the stack {} has no output for {setting}: deploy the template of this version again with \
                 `sam build && sam deploy`",
                stack.name
            ),
            None => format!("{setting} is not set"),
        })
    }

    /// A secret by itself or by its id, whichever of the two is set.
    pub fn source(&self, value: &str, id: &str) -> Result<SecretSource> {
        match self.get(value) {
            Some(text) => Ok(SecretSource::Given(Secret::new(text))),
            None => self.need(id).map(|id| SecretSource::Stored(id.to_owned())),
        }
    }

    /// The text of such a secret, read now. An error where it was never set.
    pub async fn secret(&self, value: &str, id: &str) -> Result<Secret> {
        let store =
            SecretStore::new(self.source(value, id)?, self.secrets.clone(), |text| Ok(Secret::new(text)));
        Ok(store.get().await?.as_ref().clone())
    }

    /// The key of the Gemini API.
    pub async fn gemini_key(&self) -> Result<Secret> {
        self.secret("GEMINI_API_KEY", "GEMINI_API_KEY_SECRET_ID").await
    }

    /// The two tables. What is ended here by hand was announced before, or never will be.
    pub fn ledger(&self) -> Result<Ledger> {
        let (deliveries, jobs) = (self.need("DELIVERIES_TABLE")?, self.need("JOBS_TABLE")?);
        Ok(Ledger::new(self.dynamodb.clone(), deliveries, jobs, Arc::clone(&self.clock), false))
    }

    pub fn gemini_url(&self) -> Result<Url> {
        let url = self.get("GEMINI_BASE_URL").unwrap_or(GEMINI_BASE_URL);
        base_url(url).map_err(|why| anyhow!("GEMINI_BASE_URL {why}, not {url:?}"))
    }

    /// The archiver's way to the Gemini API.
    pub fn gemini(&self) -> Result<Gemini> {
        let key = self.source("GEMINI_API_KEY", "GEMINI_API_KEY_SECRET_ID")?;
        let key = SecretStore::new(key, self.secrets.clone(), |text| Ok(Secret::new(text)));
        Ok(Gemini::new(self.gemini_url()?, key, MAX_ANSWER_BYTES)?)
    }
}

async fn answers(url: &str) -> Result<()> {
    let address = url.strip_prefix("http://").context("it is no address of this machine")?;
    let connect = tokio::net::TcpStream::connect(address);
    tokio::time::timeout(Duration::from_secs(2), connect).await??;
    Ok(())
}
