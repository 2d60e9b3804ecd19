//! What all AWS clients here share: how they are configured, how long a call may take, and how an error is put in
//! words.

use std::{error::Error, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
    retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::environment::{Lookup, environment};

/// For connections and secrets at the start of a function. Lambda gives a start 10 s.
pub const PREPARE: Duration = Duration::from_secs(2);

/// The roots that sign AWS's endpoints: Amazon's four, and Starfield's, by which older programs know them.
/// Source: Amazon Trust Services' repository.
const AWS_ROOTS: &str = include_str!("aws_roots.pem");

/// A person's configuration: environment, profiles, single sign-on, as the SDK looks for them.
pub async fn config(timeouts: TimeoutConfig) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await
}

/// A function's configuration: the SDK's own variables and nothing else.
///
/// Lambda puts region and credentials into the environment, so no profile, metadata service or sign-on is looked for
/// at a cold start. All clients share one HTTP client, so the roots are read once.
pub fn function_config(timeouts: TimeoutConfig) -> SdkConfig {
    let is_on = |name: &str| environment(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let region = environment("AWS_REGION").or_else(|| environment("AWS_DEFAULT_REGION"));
    let credentials = EnvironmentVariableCredentialsProvider::new();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region.map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(
            aws_smithy_http_client::Builder::new()
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .tls_context(tls_context(&environment))
                .build_https(),
        )
        .service_config(Variables)
        .use_fips(is_on("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"))
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts)
        // Each attempt has its own limit already, and a watch over every body costs more than it saves.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(environment("AWS_ENDPOINT_URL"));
    config.build()
}

/// Looks for a service's own setting, such as `AWS_ENDPOINT_URL_DYNAMODB`, in the environment.
#[derive(Debug)]
struct Variables;

impl LoadServiceConfig for Variables {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace([' ', '-'], "_");
        environment(&format!("{}_{service}", key.env())).or_else(|| environment(key.env()))
    }
}

fn tls_context(lookup: Lookup) -> TlsContext {
    let roots = if only_aws_is_called(lookup) {
        TrustStore::empty().with_pem_certificate(AWS_ROOTS)
    } else {
        TrustStore::default()
    };
    TlsContext::builder().with_trust_store(roots).build().unwrap_or_default()
}

/// Whether every endpoint is one that Amazon's roots sign. Not so where the environment names an endpoint or roots of
/// its own, nor in the partitions whose endpoints have other authorities: there the machine's roots count.
fn only_aws_is_called(lookup: Lookup) -> bool {
    let region = lookup("AWS_REGION").or_else(|| lookup("AWS_DEFAULT_REGION")).unwrap_or_default();
    let names = ["SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_ENDPOINT_URL"];
    let services = ["DYNAMODB", "SECRETS_MANAGER", "S3", "EVENTBRIDGE"];
    let elsewhere = names.iter().any(|name| lookup(name).is_some())
        || services.iter().any(|service| lookup(&format!("AWS_ENDPOINT_URL_{service}")).is_some())
        || ["cn-", "us-iso", "eu-iso", "eusc-"].iter().any(|prefix| region.starts_with(prefix));
    !elsewhere
}

/// Short enough that a call which hangs fails within the 4 s that the receiver has for a delivery, so that the 503
/// names the call.
pub fn receiver_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(800))
        .operation_attempt_timeout(Duration::from_millis(1200))
        .operation_timeout(Duration::from_millis(3000))
        .build()
}

/// A part of 8 MiB may take its time; a call that hangs may not.
pub fn archiver_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(60))
        .operation_timeout(Duration::from_secs(180))
        .build()
}

/// For the tables: a write at the end of an invocation must be done, or known not to be, before Lambda ends it.
pub fn ledger_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(Duration::from_millis(2500))
        .operation_timeout(Duration::from_secs(6))
        .build()
}

/// The whole chain of an error in one line: the SDK's outermost text is only "service error".
pub fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_roots_count_only_where_nothing_but_aws_is_called() {
        let given = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert!(only_aws_is_called(&given(&[("AWS_REGION", "eu-central-1")])));
        assert!(only_aws_is_called(&given(&[("AWS_REGION", "us-gov-west-1")])));
        for elsewhere in [
            &[("AWS_REGION", "cn-north-1")][..],
            &[("AWS_REGION", "us-iso-east-1")],
            &[("AWS_REGION", "eu-central-1"), ("SSL_CERT_FILE", "/ca.pem")],
            &[("AWS_REGION", "eu-central-1"), ("AWS_ENDPOINT_URL", "https://localhost")],
            &[("AWS_REGION", "eu-central-1"), ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://localhost")],
        ] {
            assert!(!only_aws_is_called(&given(elsewhere)), "{elsewhere:?}");
        }
    }

    #[test]
    fn the_roots_are_the_five_that_sign_awss_endpoints() {
        let names: Vec<&str> = AWS_ROOTS.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        let starfield = "Starfield Services Root Certificate Authority - G2";
        let amazon = ["Amazon Root CA 1", "Amazon Root CA 2", "Amazon Root CA 3", "Amazon Root CA 4"];
        assert_eq!(names, [&amazon[..], &[starfield]].concat());
        // Making the client reads them; one that cannot be read would stop the function here.
        aws_smithy_http_client::Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls_context(&|_| None))
            .build();
    }
}
