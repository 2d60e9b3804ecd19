//! Where a signing secret is kept: in Secrets Manager, in front of those that are there already.

use anyhow::{Result, anyhow};
use aws_sdk_secretsmanager::Client;

use gemhook::{
    aws::{self, explain},
    secrets::{PLACEHOLDER, Secret},
    webhook::SigningSecrets,
};

pub(super) struct Keeper {
    client: Client,
    id: String,
    /// What it holds already, newest first.
    known: Secret,
}

impl Keeper {
    /// Reads first, so that nothing is created whose secret could not be kept.
    pub(super) async fn open(id: &str) -> Result<Self> {
        let client = Client::new(&aws::config(aws::archiver_timeouts()).await);
        let read = client.get_secret_value().secret_id(id).send().await;
        let known = match read {
            Ok(read) => read.secret_string().unwrap_or_default().trim().to_owned(),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                return Err(anyhow!("there is no secret {id}, or it has no value"));
            }
            Err(error) => return Err(anyhow!("cannot read the secret {id}: {}", explain(&error))),
        };
        let known = if known == PLACEHOLDER { String::new() } else { known };
        if !known.is_empty() {
            SigningSecrets::parse(&known)
                .map_err(|why| anyhow!("the secret {id} {why}; it is left as it is"))?;
        }
        Ok(Self { client, id: id.to_owned(), known: Secret::new(known) })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Those that it holds already, newest first.
    pub(super) fn words(&self) -> Vec<&str> {
        self.known.expose().split_ascii_whitespace().collect()
    }

    /// Writes what is there once more: the proof that another value can be written.
    pub(super) async fn prove(&self) -> Result<()> {
        let known = self.known.expose();
        self.write(if known.is_empty() { PLACEHOLDER } else { known }).await
    }

    /// In front of those that are there.
    pub(super) async fn put(&self, secret: &Secret) -> Result<()> {
        self.write(format!("{} {}", secret.expose(), self.known.expose()).trim()).await
    }

    /// Only these, whatever was there.
    pub(super) async fn keep_only(&self, words: &[&str]) -> Result<()> {
        self.write(&words.join(" ")).await
    }

    async fn write(&self, text: &str) -> Result<()> {
        let put = self.client.put_secret_value().secret_id(&self.id).secret_string(text);
        put.send()
            .await
            .map_err(|error| anyhow!("cannot write the secret {}: {}", self.id, explain(&error)))?;
        Ok(())
    }
}
