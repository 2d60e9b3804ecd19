//! The environment, read once into typed settings: [`ReceiverSettings`] and [`ArchiverSettings`].
//!
//! All faults are reported together in one [`ConfigError`], so that a function that does not start names everything
//! that is wrong. No value of a secret is shown. The README's table "Settings" has each variable with its default.

use std::{fmt, net::IpAddr, str::FromStr};

use reqwest::Url;

pub use crate::environment::{Lookup, environment};
use crate::{
    on_job_ended::{self, OnJobEnded},
    secrets::{Secret, SecretSource},
    webhook::{SigningSecrets, Tolerance, binding::BindingKey},
};

/// Where Google's API is.
pub const GEMINI_BASE_URL: &str = "https://generativelanguage.googleapis.com";

/// The largest value of `RECORD_FIRST`.
pub const MAX_RECORDED: u32 = 100;

/// Where Google publishes the public keys of its webhooks (Gemini API guide, "Webhooks").
pub const JWKS_URL: &str = "https://generativelanguage.googleapis.com/.well-known/jwks.json";

/// What the receiver needs.
#[derive(Clone, Debug)]
pub struct ReceiverSettings {
    pub deliveries_table: String,
    /// The signing secrets of static webhooks (`v1`). Required unless dynamic webhooks are on.
    pub signing: Option<SecretSource>,
    /// For dynamic webhooks, which are off unless they are switched on.
    pub dynamic: Option<DynamicSettings>,
    /// The key of binding tokens. None: no token is required.
    pub binding: Option<SecretSource>,
    pub tolerance: Tolerance,
    /// A longer body is answered 413.
    pub max_body_bytes: usize,
    /// Whether rows keep the headers of their deliveries, for the archiver to record the first ones.
    pub record_headers: bool,
    /// Whether the tables are on this machine, the only place where a development secret counts.
    pub local: bool,
}

/// What the archiver needs.
#[derive(Clone, Debug)]
pub struct ArchiverSettings {
    pub deliveries_table: String,
    pub jobs_table: String,
    /// The bucket for results.
    pub bucket: String,
    /// The Gemini API key that jobs are read with.
    pub api_key: SecretSource,
    pub gemini_base_url: Url,
    /// The longest answer about one job, inline results included.
    pub max_inline_bytes: u64,
    /// The key of binding tokens. None: each job that our API key can read counts as ours.
    pub binding: Option<SecretSource>,
    /// The EventBridge bus for announcements. None: nothing is announced.
    pub event_bus: Option<String>,
    /// Your own function for each job that has ended. It comes from the code, not from the environment.
    pub on_job_ended: Option<OnJobEnded>,
    /// Whether batches are listed on schedule.
    pub reconcile_batches: ReconcileBatches,
    /// Whether a webhook that Gemini switched off is switched on again, and which one is ours.
    pub reenable_webhook: bool,
    pub webhook_url: Option<String>,
    /// How many of the first deliveries are kept as they came.
    pub record_first: u32,
    /// How long a job of ours that the API does not know is looked for. None: the default of 48 hours.
    pub missing_job_hours: Option<u32>,
}

/// Whether ended batches are listed on schedule and entered where their event never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileBatches {
    /// Where a static webhook of the key's project has our address: it makes the project's jobs ours.
    Auto,
    Always,
    Never,
}

/// Where Google's public keys are, and whom a token must be meant for.
#[derive(Clone, Debug)]
pub struct DynamicSettings {
    pub jwks_url: Url,
    pub audience: Option<String>,
}

/// Everything that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings are not usable: {}", self.problems.join("; "))
    }
}

impl std::error::Error for ConfigError {}

impl ReceiverSettings {
    /// Reads all settings. The error has every fault.
    pub fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        let mut read = Reader { lookup, problems: Vec::new() };
        let local = read.tables_are_local();
        let dynamic = read.dynamic();
        let settings = Self {
            deliveries_table: read.required("DELIVERIES_TABLE"),
            signing: match dynamic {
                None => Some(read.secret("WEBHOOK_SECRET", "WEBHOOK_SECRET_ID")),
                Some(_) => read.maybe_secret("WEBHOOK_SECRET", "WEBHOOK_SECRET_ID"),
            },
            dynamic,
            binding: read.binding(),
            tolerance: Tolerance {
                past_seconds: read.number("WEBHOOK_TOLERANCE_SECONDS", 300, 1..=29 * 86_400),
                future_seconds: read.number("WEBHOOK_FUTURE_TOLERANCE_SECONDS", 300, 1..=86_400),
            },
            max_body_bytes: read.number("MAX_BODY_BYTES", 64 * 1024, 1..=256 * 1024),
            record_headers: read.record_first() > 0,
            local,
        };
        if let Some(SecretSource::Given(secret)) = &settings.signing
            && !secret.expose().is_empty()
            && let Err(why) = parse_signing(secret, local)
        {
            read.problems.push(format!("WEBHOOK_SECRET {why}"));
        }
        read.finish(settings)
    }
}

impl ArchiverSettings {
    /// Reads all settings. The error has every fault.
    pub fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        let mut read = Reader { lookup, problems: Vec::new() };
        let settings = Self {
            deliveries_table: read.required("DELIVERIES_TABLE"),
            jobs_table: read.required("JOBS_TABLE"),
            bucket: read.required("BUCKET"),
            api_key: read.secret("GEMINI_API_KEY", "GEMINI_API_KEY_SECRET_ID"),
            gemini_base_url: read.base_url("GEMINI_BASE_URL", GEMINI_BASE_URL),
            max_inline_bytes: read.number("MAX_INLINE_BYTES", 400 * 1024 * 1024, 1..=8 * 1024 * 1024 * 1024),
            binding: read.binding(),
            on_job_ended: on_job_ended::hook(),
            event_bus: Some(read.get("EVENT_BUS").unwrap_or_else(|| "default".to_owned()))
                .filter(|bus| bus != "none"),
            reconcile_batches: read.reconcile_batches(),
            reenable_webhook: read.switch("REENABLE_WEBHOOK"),
            webhook_url: read.get("WEBHOOK_URL"),
            record_first: read.record_first(),
            missing_job_hours: read.missing_job_hours(),
        };
        read.finish(settings)
    }
}

/// Checks a secret that is given in the environment. The template's placeholder is not a fault: the function starts,
/// and deliveries are answered 503 until the secret is set.
fn parse_signing(secret: &Secret, local: bool) -> Result<(), String> {
    if secret.expose().trim() == crate::secrets::PLACEHOLDER {
        return Ok(());
    }
    SigningSecrets::for_place(secret.expose(), local).map(|_| ())
}

/// Reads variables and collects the faults. After a fault it goes on with a stand-in value, which nobody gets to use:
/// [`Reader::finish`] then returns the faults.
struct Reader<'a> {
    lookup: Lookup<'a>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn finish<T>(self, settings: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(settings) } else { Err(ConfigError { problems: self.problems }) }
    }

    /// The value without blanks around it. An empty one counts as not set: the template passes empty parameters on.
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn required(&mut self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is not set"));
            String::new()
        })
    }

    fn number<T>(&mut self, name: &str, default: T, range: std::ops::RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let Some(text) = self.get(name) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                self.problems
                    .push(format!("{name} must be a whole number from {least} to {most}, not {text:?}"));
                default
            }
        }
    }

    fn record_first(&mut self) -> u32 {
        self.number("RECORD_FIRST", 0, 0..=MAX_RECORDED)
    }

    /// At most six days: a row as a whole is given up after seven.
    fn missing_job_hours(&mut self) -> Option<u32> {
        self.get("MISSING_JOB_HOURS")?;
        Some(self.number("MISSING_JOB_HOURS", 48, 1..=144))
    }

    fn reconcile_batches(&mut self) -> ReconcileBatches {
        let name = "RECONCILE_BATCHES";
        match self.get(name).as_deref() {
            None | Some("auto") => ReconcileBatches::Auto,
            Some("true") => ReconcileBatches::Always,
            Some("false") => ReconcileBatches::Never,
            Some(text) => {
                self.problems.push(format!("{name} must be auto, true or false, not {text:?}"));
                ReconcileBatches::Never
            }
        }
    }

    /// Off unless it is switched on.
    fn switch(&mut self, name: &str) -> bool {
        match self.get(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(text) => {
                self.problems.push(format!("{name} must be true or false, not {text:?}"));
                false
            }
        }
    }

    /// A secret is given as it is or by the id of a stored one: one of the two.
    fn secret(&mut self, value: &str, id: &str) -> SecretSource {
        self.maybe_secret(value, id).unwrap_or_else(|| {
            self.problems.push(format!("{value} and {id}: one of them must be set"));
            SecretSource::Given(Secret::new(""))
        })
    }

    /// The same, where neither need be set.
    fn maybe_secret(&mut self, value: &str, id: &str) -> Option<SecretSource> {
        match (self.get(value), self.get(id)) {
            (None, None) => None,
            (Some(secret), None) => Some(SecretSource::Given(Secret::new(secret))),
            (None, Some(id)) => Some(SecretSource::Stored(id)),
            (Some(_), Some(_)) => {
                self.problems.push(format!("{value} and {id}: only one of them may be set"));
                Some(SecretSource::Given(Secret::new("")))
            }
        }
    }

    /// A binding key that is given here is checked at the start. A stored one is checked when it is first read.
    fn binding(&mut self) -> Option<SecretSource> {
        let binding = self.maybe_secret("BINDING_KEY", "BINDING_KEY_SECRET_ID");
        if let Some(SecretSource::Given(key)) = &binding
            && !key.expose().is_empty()
            && let Err(why) = BindingKey::parse(key.expose())
        {
            self.problems.push(format!("BINDING_KEY {why}"));
        }
        binding
    }

    /// None where dynamic webhooks are off. Their other variables are checked all the same.
    fn dynamic(&mut self) -> Option<DynamicSettings> {
        let on = self.switch("DYNAMIC_WEBHOOKS");
        let url = self.get("JWKS_URL").unwrap_or_else(|| JWKS_URL.to_owned());
        let audience = self.get("JWT_AUDIENCE");
        match safe_url(&url) {
            Ok(jwks_url) => on.then_some(DynamicSettings { jwks_url, audience }),
            Err(why) => {
                self.problems.push(format!("JWKS_URL {why}, not {url:?}"));
                None
            }
        }
    }

    fn base_url(&mut self, name: &str, default: &'static str) -> Url {
        let text = self.get(name).unwrap_or_else(|| default.to_owned());
        match base_url(&text) {
            Ok(url) => url,
            Err(why) => {
                self.problems.push(format!("{name} {why}, not {text:?}"));
                Url::from_str(default).unwrap_or_else(|_| unreachable!("the default is a URL"))
            }
        }
    }

    /// Whether the SDK's own variables send DynamoDB's calls to this machine.
    fn tables_are_local(&self) -> bool {
        self.get("AWS_ENDPOINT_URL_DYNAMODB")
            .or_else(|| self.get("AWS_ENDPOINT_URL"))
            .and_then(|url| Url::from_str(&url).ok())
            .is_some_and(|url| is_loopback(&url))
    }
}

/// An address over https, or over plain http on this machine.
pub fn safe_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::from_str(text).map_err(|_| "must be a URL")?;
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if safe { Ok(url) } else { Err("must begin with https:// (plain http only on this machine)") }
}

/// A server's address: https, or plain http on this machine, and no path of its own.
pub fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = safe_url(text)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || url.password().is_some() {
        return Err("must be a base without path, version or query");
    }
    Ok(url)
}

/// Whether the host is this machine: `localhost`, `127.0.0.0/8` or `::1`.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn lookup(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let map: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        move |name| map.get(name).cloned()
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let error = ReceiverSettings::read(&lookup(&[
            ("WEBHOOK_SECRET", "whsec_no!base64"),
            ("WEBHOOK_TOLERANCE_SECONDS", "5 minutes"),
            ("MAX_BODY_BYTES", "0"),
        ]))
        .unwrap_err();
        let text = error.to_string();
        for name in ["DELIVERIES_TABLE", "WEBHOOK_SECRET", "WEBHOOK_TOLERANCE_SECONDS", "MAX_BODY_BYTES"] {
            assert!(text.contains(name), "{name} is missing in: {text}");
        }
        assert!(!text.contains("no!base64"), "a secret is shown in: {text}");
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let settings =
            ReceiverSettings::read(&lookup(&[("DELIVERIES_TABLE", "d"), ("WEBHOOK_SECRET", SECRET)]))
                .unwrap();
        assert_eq!(settings.tolerance, Tolerance { past_seconds: 300, future_seconds: 300 });
        assert_eq!(settings.max_body_bytes, 65_536);
        assert!(!settings.local);
    }

    #[test]
    fn the_archiver_names_each_missing_setting() {
        let error =
            ArchiverSettings::read(&lookup(&[("GEMINI_BASE_URL", "http://example.com")])).unwrap_err();
        let text = error.to_string();
        for name in ["DELIVERIES_TABLE", "JOBS_TABLE", "BUCKET", "GEMINI_API_KEY", "GEMINI_BASE_URL"] {
            assert!(text.contains(name), "{name} is missing in: {text}");
        }
    }

    #[test]
    fn a_secret_given_twice_is_a_fault() {
        let error = ReceiverSettings::read(&lookup(&[
            ("DELIVERIES_TABLE", "d"),
            ("WEBHOOK_SECRET", SECRET),
            ("WEBHOOK_SECRET_ID", "id"),
        ]))
        .unwrap_err();
        assert_eq!(error.problems, ["WEBHOOK_SECRET and WEBHOOK_SECRET_ID: only one of them may be set"]);
    }

    #[test]
    fn a_development_secret_counts_only_beside_local_tables() {
        let dev = crate::webhook::SigningSecrets::development();
        let pairs = [("DELIVERIES_TABLE", "d"), ("WEBHOOK_SECRET", dev.expose())];
        let text = ReceiverSettings::read(&lookup(&pairs)).unwrap_err().to_string();
        assert!(text.contains("development secret"), "{text}");
        for endpoint in ["http://127.0.0.1:4000", "http://localhost:1", "http://[::1]:9"] {
            let pairs = [pairs[0], pairs[1], ("AWS_ENDPOINT_URL_DYNAMODB", endpoint)];
            assert!(ReceiverSettings::read(&lookup(&pairs)).unwrap().local);
        }
        let far = [pairs[0], pairs[1], ("AWS_ENDPOINT_URL_DYNAMODB", "https://127.0.0.1.example.com")];
        assert!(ReceiverSettings::read(&lookup(&far)).is_err());
    }
}
