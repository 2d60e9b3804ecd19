//! Where a command works: on a running `gemhook dev`, or on a deployed stack that the environment names.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use aws_config::SdkConfig;

use crate::{
    aws,
    clock::{SharedClock, SystemClock},
    config::{ArchiverSettings, environment},
    dev::{ADDRESSES, Addresses, stores::plain_config},
    gemini::Gemini,
    ledger::Ledger,
    secrets::{Secret, SecretStore},
};

const DEFAULT_FOLDER: &str = ".gemhook";
const NAMES: [&str; 3] = ["DELIVERIES_TABLE", "JOBS_TABLE", "BUCKET"];

#[derive(clap::Args, Clone, Debug)]
pub struct PlaceArgs {
    /// Works on a running `gemhook dev`, by its data folder; without it, on the stack that DELIVERIES_TABLE,
    /// JOBS_TABLE and BUCKET name, or else on `.gemhook`
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DEFAULT_FOLDER,
        global = true
    )]
    local: Option<PathBuf>,
}

/// Looks a setting of the functions up.
type Settings = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The tables and the bucket, and the means to reach them.
pub struct Place {
    pub ledger: Ledger,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub streams: aws_sdk_dynamodbstreams::Client,
    pub s3: aws_sdk_s3::Client,
    pub deliveries_table: String,
    pub clock: SharedClock,
    secrets: aws_sdk_secretsmanager::Client,
    lookup: Settings,
}

impl PlaceArgs {
    pub async fn open(&self) -> Result<Place> {
        if let Some(folder) = &self.local {
            return local(folder).await;
        }
        let set = NAMES.into_iter().filter(|name| environment(name).is_some_and(|value| !value.is_empty()));
        match set.count() {
            3 => {
                let sdk = aws::config(aws::archiver_timeouts()).await;
                let s3 = aws_sdk_s3::Client::new(&sdk);
                Place::new(&sdk, aws_sdk_dynamodbstreams::Client::new(&sdk), s3, Box::new(environment))
            }
            0 => local(Path::new(DEFAULT_FOLDER)).await,
            _ => bail!("set all of {}, or none of them for a running gemhook dev", NAMES.join(", ")),
        }
    }
}

async fn local(folder: &Path) -> Result<Place> {
    let path = folder.join(ADDRESSES);
    let text = fs::read(&path).with_context(|| {
        format!(
            "no running gemhook dev in {}: start one, name its folder with --local=DIR, or set {} for a stack",
            folder.display(),
            NAMES.join(", ")
        )
    })?;
    let at: Addresses =
        serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
    answers(&at.dynamodb_url).await.with_context(|| {
        format!(
            "{} names {}, but nothing answers there: is gemhook dev running?",
            path.display(),
            at.dynamodb_url
        )
    })?;
    let config = |url: &str| {
        plain_config(
            url,
            (&at.aws_access_key_id, &at.aws_secret_access_key),
            &at.aws_region,
            aws::archiver_timeouts(),
        )
    };
    let sdk = config(&at.dynamodb_url);
    let s3 = aws_sdk_s3::config::Builder::from(&config(&at.s3_url)).force_path_style(true).build();
    let streams = aws_sdk_dynamodbstreams::Client::new(&sdk);
    Place::new(&sdk, streams, aws_sdk_s3::Client::from_conf(s3), Box::new(move |name| at.setting(name)))
}

async fn answers(url: &str) -> Result<()> {
    let address = url.strip_prefix("http://").context("it is no address of this machine")?;
    let connect = tokio::net::TcpStream::connect(address);
    tokio::time::timeout(Duration::from_secs(2), connect).await??;
    Ok(())
}

impl Place {
    fn new(
        sdk: &SdkConfig,
        streams: aws_sdk_dynamodbstreams::Client,
        s3: aws_sdk_s3::Client,
        lookup: Settings,
    ) -> Result<Self> {
        let name = |name: &str| lookup(name).with_context(|| format!("{name} is not set"));
        let clock: SharedClock = Arc::new(SystemClock);
        let dynamodb = aws_sdk_dynamodb::Client::new(sdk);
        let (deliveries_table, jobs) = (name("DELIVERIES_TABLE")?, name("JOBS_TABLE")?);
        let ledger = Ledger::new(dynamodb.clone(), &deliveries_table, jobs, Arc::clone(&clock), false);
        let secrets = aws_sdk_secretsmanager::Client::new(sdk);
        Ok(Self { ledger, dynamodb, streams, s3, deliveries_table, clock, secrets, lookup })
    }

    /// The archiver's own settings and its way to the Gemini API.
    pub fn gemini(&self) -> Result<(ArchiverSettings, Gemini)> {
        let settings = ArchiverSettings::read(&*self.lookup)?;
        let key =
            SecretStore::new(settings.api_key.clone(), self.secrets.clone(), |text| Ok(Secret::new(text)));
        let gemini = Gemini::new(settings.gemini_base_url.clone(), key, settings.max_inline_bytes)
            .map_err(|error| anyhow!(error))?;
        Ok((settings, gemini))
    }
}
