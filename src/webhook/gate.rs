//! The gate: fetches what a delivery has to be checked against, as little and as seldom as can be, and decides.

use super::{
    Event, KeySet, KeySource, Refusal, SigningSecrets, Tolerance, Trust, Unverified, Verified, Verifier,
    binding::BindingKey,
};
use crate::secrets::SecretStore;

/// The trust anchors of an endpoint. What is not there cannot be trusted; nothing switches checking off.
pub struct Gate {
    pub secrets: Option<SecretStore<SigningSecrets>>,
    pub keys: Option<KeySource>,
    pub audience: Option<String>,
    pub binding: Option<SecretStore<BindingKey>>,
    pub tolerance: Tolerance,
}

/// A delivery that may become a row.
pub struct Admitted {
    pub delivery: Verified,
    pub event: Event,
}

/// Why a delivery may not.
pub enum Denied {
    Refused(Refusal),
    /// Our own trouble, in words for the log: the sender should try again.
    NotNow(String),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Gate {
    /// `now` is in seconds since the epoch.
    pub async fn admit(&self, delivery: &Unverified, now: i64) -> Result<Admitted, Denied> {
        let verified = match self.by_secret(delivery, now).await? {
            Ok(verified) => verified,
            Err(refusal) => self.by_public_key(delivery, now, refusal).await?,
        };
        let event = Event::parse(verified.body());
        self.check_binding(&verified, &event).await?;
        Ok(Admitted { delivery: verified, event })
    }

    /// The inner refusal is of this form only: another one may still prove the delivery.
    async fn by_secret(&self, delivery: &Unverified, now: i64) -> Result<Result<Verified, Refusal>, Denied> {
        let verifier = Verifier { secrets: None, keys: None, audience: None, tolerance: self.tolerance };
        let Some(store) = &self.secrets else { return inner(verifier.verify(delivery, now)) };
        let secrets = store.get().await.map_err(|error| Denied::NotNow(error.to_string()))?;
        let verdict = inner(Verifier { secrets: Some(&secrets), ..verifier }.verify(delivery, now))?;
        if verdict != Err(Refusal::NoMatchingSignature) {
            return Ok(verdict);
        }
        match store.renewed(&secrets).await {
            Some(secrets) => inner(Verifier { secrets: Some(&secrets), ..verifier }.verify(delivery, now)),
            None => Ok(verdict),
        }
    }

    async fn by_public_key(
        &self,
        delivery: &Unverified,
        now: i64,
        refusal: Refusal,
    ) -> Result<Verified, Denied> {
        let Some(source) = &self.keys else { return Err(refusal.into()) };
        let by = |keys: &KeySet| {
            let verifier = Verifier {
                secrets: None,
                keys: Some(keys),
                audience: self.audience.as_deref(),
                tolerance: self.tolerance,
            };
            verifier.verify(delivery, now)
        };
        // What no key could mend asks for none.
        match by(&KeySet::default()) {
            Err(Refusal::NoSupportedSignature) => return Err(refusal.into()),
            Err(refusal) if !delivery.may_be_by_a_new_key(refusal) => return Err(refusal.into()),
            _ => {}
        }
        let known = source.generation();
        let owed = |error: super::KeysOwed| Denied::NotNow(error.to_string());
        let keys = source.current().await.map_err(owed)?;
        match by(&keys) {
            Err(refusal) if delivery.may_be_by_a_new_key(refusal) => {
                let keys = source.newer_than(known).await.map_err(owed)?;
                Ok(by(&keys)?)
            }
            verdict => Ok(verdict?),
        }
    }

    /// Where an event of Google's carries metadata, they must carry a token of ours. Where it carries none, the job
    /// itself is asked later.
    async fn check_binding(&self, delivery: &Verified, event: &Event) -> Result<(), Denied> {
        let (Some(store), Some(metadata)) = (&self.binding, &event.user_metadata) else { return Ok(()) };
        if delivery.scheme().trust() == Trust::Project {
            return Ok(());
        }
        let key = store.get().await.map_err(|error| Denied::NotNow(error.to_string()))?;
        if key.binds(metadata) { Ok(()) } else { Err(Refusal::NotBound.into()) }
    }
}

/// Faults that no other form could mend end the matter.
fn inner(verdict: Result<Verified, Refusal>) -> Result<Result<Verified, Refusal>, Denied> {
    match verdict {
        Err(refusal @ (Refusal::BadTimestamp | Refusal::TimestampTooOld | Refusal::TimestampTooNew)) => {
            Err(refusal.into())
        }
        verdict => Ok(verdict),
    }
}
