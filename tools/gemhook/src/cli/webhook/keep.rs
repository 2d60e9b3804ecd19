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

    pub(super) async fn put(&self, secret: &Secret) -> Result<()> {
        let text = format!("{} {}", secret.expose(), self.known.expose());
        let put = self.client.put_secret_value().secret_id(&self.id).secret_string(text.trim());
        put.send()
            .await
            .map_err(|error| anyhow!("cannot write the secret {}: {}", self.id, explain(&error)))?;
        Ok(())
    }
}
