//! The SDK's own clients, configured for the local stores: plain HTTP, so nothing loads certificates.

use aws_config::{BehaviorVersion, Region, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};

use super::Stores;

impl Stores {
    pub fn dynamodb(&self, timeouts: TimeoutConfig) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk_config(&self.dynamodb_url, timeouts))
    }

    pub fn streams(&self, timeouts: TimeoutConfig) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.sdk_config(&self.dynamodb_url, timeouts))
    }

    pub fn s3(&self, timeouts: TimeoutConfig) -> aws_sdk_s3::Client {
        let config = self.sdk_config(&self.s3_url, timeouts);
        let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// The bus is not one of the stores, but is reached with the same keys.
    pub fn eventbridge(&self, url: &str, timeouts: TimeoutConfig) -> aws_sdk_eventbridge::Client {
        aws_sdk_eventbridge::Client::new(&self.sdk_config(url, timeouts))
    }

    fn sdk_config(&self, endpoint: &str, timeouts: TimeoutConfig) -> SdkConfig {
        let keys = (self.access_key_id.as_str(), self.secret_access_key.as_str());
        plain_config(endpoint, keys, &self.region, timeouts)
            .into_builder()
            .http_client(self.http.clone())
            .build()
    }
}

/// How a client reaches a store of this kind, also from another process.
pub fn plain_config(
    endpoint: &str,
    (access_key_id, secret_access_key): (&str, &str),
    region: &str,
    timeouts: TimeoutConfig,
) -> SdkConfig {
    let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "gemhook local stores");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .timeout_config(timeouts)
        .build()
}
