//! Fetches the secrets and keys that a delivery is checked against, and decides: [`Verdict`].
//!
//! Only the anchors that the signature header names are asked. An anchor that is not available hides no other: the
//! delivery is accepted where any of them proves it. Whatever a stranger sends, a newer secret is read at most once
//! in 30 seconds and newer keys are fetched at most once a minute, by each instance.

use super::{
    binding::{self, BindingKey},
    headers::Unverified,
    jwks::KeySet,
    jwks_cache::JwksCache,
    jwt::{self, Token},
    rejection::Rejection,
    signing::SigningSecrets,
    v1, v1a,
    verifier::{Tolerance, Trust, Verified, Verifier},
};
use crate::secrets::SecretStore;

/// The trust anchors of an endpoint. What is not there cannot be trusted; nothing switches checking off.
pub struct Authenticator {
    pub secrets: Option<SecretStore<SigningSecrets>>,
    pub keys: Option<JwksCache>,
    pub audience: Option<String>,
    pub binding: Option<SecretStore<BindingKey>>,
    pub tolerance: Tolerance,
}

/// What a delivery is, or what one trust anchor says of it.
#[derive(Debug)]
pub enum Verdict {
    /// It may become a row.
    Authenticated(Box<Verified>),
    /// It may not, and sending it again changes nothing.
    Rejected(Rejection),
    /// The reason is on our side, in words for the log. The sender should try again.
    Unavailable(String),
}

impl From<Result<Verified, Rejection>> for Verdict {
    fn from(result: Result<Verified, Rejection>) -> Self {
        result.map_or_else(Self::Rejected, |verified| Self::Authenticated(Box::new(verified)))
    }
}

impl Verdict {
    /// The verdict of two anchors together: proved by one is proved, and rejected means that both were asked.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (proved @ Self::Authenticated(_), _) | (_, proved @ Self::Authenticated(_)) => proved,
            (unavailable @ Self::Unavailable(_), _) | (_, unavailable @ Self::Unavailable(_)) => unavailable,
            // The other anchor knows no such form, so the reason is this one's.
            (rejected, Self::Rejected(Rejection::NoSupportedSignature)) => rejected,
            (Self::Rejected(_), rejected) => rejected,
        }
    }

    /// Whether no other anchor can change it: the signature is proved, whatever its age.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Authenticated(_) | Self::Rejected(Rejection::TimestampTooOld | Rejection::TimestampTooNew)
        )
    }

    fn is_by_no_known_key(&self) -> bool {
        matches!(self, Self::Rejected(Rejection::NoMatchingSignature | Rejection::UnknownKey))
    }
}

impl Authenticator {
    /// Reads the secrets and public keys, so that the first delivery need not wait for them. What cannot be read is
    /// asked for again by the deliveries that need it.
    pub async fn prepare(&self) {
        let secrets = async {
            if let Some(secrets) = &self.secrets {
                let _ = secrets.get().await;
            }
        };
        let binding = async {
            if let Some(binding) = &self.binding {
                let _ = binding.get().await;
            }
        };
        let keys = async {
            if let Some(keys) = &self.keys {
                let _ = keys.current().await;
            }
        };
        tokio::join!(secrets, binding, keys);
    }

    /// The verdict on a delivery. `now` is in seconds since the epoch.
    pub async fn authenticate(&self, delivery: &Unverified, now: i64) -> Verdict {
        let timestamp = match delivery.timestamp() {
            Ok(timestamp) => timestamp,
            Err(rejection) => return Verdict::Rejected(rejection),
        };
        // Nothing newer is fetched for a delivery that is rejected for its age in any case.
        let may_refresh = self.tolerance.check(timestamp, now).is_ok();
        let verdict = match self.by_secret(delivery, now, may_refresh).await {
            verdict if verdict.is_final() => verdict,
            verdict => verdict.or(self.by_public_key(delivery, now, may_refresh).await),
        };
        match verdict {
            Verdict::Authenticated(verified) => self.check_binding(verified).await,
            verdict => verdict,
        }
    }

    /// By the signing secrets (`v1`). If none matches, a newer value of the secret is read once.
    async fn by_secret(&self, delivery: &Unverified, now: i64, may_refresh: bool) -> Verdict {
        let verify = |secrets: Option<&SigningSecrets>| {
            let verifier = Verifier { secrets, keys: None, audience: None, tolerance: self.tolerance };
            Verdict::from(verifier.verify(delivery, now))
        };
        let Some(store) = self.secrets.as_ref().filter(|_| v1::signatures(delivery.signature()).is_ok())
        else {
            return verify(None);
        };
        let secrets = match store.get().await {
            Ok(secrets) => secrets,
            Err(error) => return Verdict::Unavailable(error.to_string()),
        };
        let verdict = verify(Some(&secrets));
        if verdict.is_by_no_known_key()
            && may_refresh
            && let Some(secrets) = store.renewed(&secrets).await
        {
            return verify(Some(&secrets));
        }
        verdict
    }

    /// By Google's public keys (`v1a`, or a token). If no known key made the signature, newer keys are fetched once.
    async fn by_public_key(&self, delivery: &Unverified, now: i64, may_refresh: bool) -> Verdict {
        let Some(source) = &self.keys else { return Verdict::Rejected(Rejection::NoSupportedSignature) };
        if let Err(rejection) = self.check_public_key_form(delivery) {
            return Verdict::Rejected(rejection);
        }
        let verify = |keys: &KeySet| {
            let audience = self.audience.as_deref();
            let verifier = Verifier { secrets: None, keys: Some(keys), audience, tolerance: self.tolerance };
            Verdict::from(verifier.verify(delivery, now))
        };
        let known = source.generation();
        let verdict = match source.current().await {
            Ok(keys) => verify(&keys),
            Err(error) => return Verdict::Unavailable(error.to_string()),
        };
        // A token names its key: where that key is known, no other one made the signature.
        let by_a_newer_key = match &verdict {
            Verdict::Rejected(Rejection::NoMatchingSignature) => !jwt::is_token(delivery.signature()),
            verdict => verdict.is_by_no_known_key(),
        };
        if !by_a_newer_key || !may_refresh {
            return verdict;
        }
        match source.newer_than(known).await {
            Ok(keys) => verify(&keys),
            Err(error) => Verdict::Unavailable(error.to_string()),
        }
    }

    /// Rejects what no public key could have made, so that it causes no fetch of keys.
    fn check_public_key_form(&self, delivery: &Unverified) -> Result<(), Rejection> {
        let header = delivery.signature();
        if self.audience.is_some() && jwt::is_token(header) {
            return Token::parse(header).map(|_| ());
        }
        match (v1a::is_named(header), v1a::signatures(header).is_empty()) {
            (false, _) => Err(Rejection::NoSupportedSignature),
            (true, true) => Err(Rejection::NoMatchingSignature),
            (true, false) => Ok(()),
        }
    }

    /// If an event that Google signed has `user_metadata`, they must contain a token of ours. If it has none, the
    /// archiver looks for the token in the job itself.
    async fn check_binding(&self, delivery: Box<Verified>) -> Verdict {
        let (Some(store), Some(metadata)) = (&self.binding, &delivery.event().user_metadata) else {
            return Verdict::Authenticated(delivery);
        };
        if delivery.scheme().trust() == Trust::Project {
            return Verdict::Authenticated(delivery);
        }
        match binding::is_bound(store, &[metadata]).await {
            Ok(true) => Verdict::Authenticated(delivery),
            Ok(false) => Verdict::Rejected(Rejection::NotBound),
            Err(error) => Verdict::Unavailable(error.to_string()),
        }
    }
}
