//! The keys that dynamic webhooks are signed with, as Google has its own: made once for each folder, told as a JSON Web
//! Key Set, and rotated on request. An old key signs nothing any more and stays in the set for a day, so that what it
//! signed before can still be verified. The private halves lie in a file that only its owner can read.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::{Context, anyhow};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    error::Unspecified,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents},
    signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    locked_for_reading, locked_for_writing, now,
    settings::DynamicForm,
    store::{blocking, finish},
};
use crate::clock::{Millis, millis};

/// How long a key stays in the set that signs no more.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// For how long a token counts.
const TOKEN_SECONDS: i64 = 300;

const ISSUER: &str = "https://generativelanguage.googleapis.com";

/// What a signature is about, but for the body.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub id: &'a str,
    /// Seconds since the epoch.
    pub timestamp: i64,
    /// Whom a token is meant for: the address it is sent to.
    pub audience: &'a str,
}

pub struct IssuerKeys {
    path: PathBuf,
    /// Newest first; the first of its kind signs.
    keys: RwLock<Arc<Vec<Key>>>,
    rotating: Mutex<()>,
}

struct Key {
    kept: Kept,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// A key in the file. Without `Debug`: it is secret.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    id: String,
    kind: Kind,
    /// PKCS #8 in base64.
    private: String,
    retired: Option<Millis>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Ed25519,
    Rsa,
}

impl IssuerKeys {
    /// Reads the keys in a file, or makes the first ones.
    pub(super) async fn open(path: PathBuf) -> anyhow::Result<Self> {
        blocking(move || {
            if path.exists() {
                return Self::read(&path);
            }
            let keys = fresh()?;
            write(&path, &keys)?;
            Ok(Self::new(path, keys))
        })
        .await
    }

    /// The keys of a simulator that somebody else runs.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let kept: Vec<Kept> = serde_json::from_slice(&text)
            .map_err(|_| anyhow!("{} holds no keys; delete it to have new ones made", path.display()))?;
        let keys = kept.into_iter().map(Key::load).collect::<anyhow::Result<_>>();
        Ok(Self::new(path.to_owned(), keys.with_context(|| format!("cannot use {}", path.display()))?))
    }

    fn new(path: PathBuf, keys: Vec<Key>) -> Self {
        Self { path, keys: RwLock::new(Arc::new(keys)), rotating: Mutex::default() }
    }

    fn current(&self) -> Arc<Vec<Key>> {
        Arc::clone(&locked_for_reading(&self.keys))
    }

    /// The public halves, newest first.
    pub fn public(&self) -> Value {
        let last = now().saturating_sub(millis(KEPT));
        let keys = self.current();
        let told = keys.iter().filter(|key| key.kept.retired.is_none_or(|retired| retired > last));
        json!({"keys": told.map(Key::public).collect::<Vec<_>>()})
    }

    /// Makes new keys the ones that sign.
    pub(super) async fn rotate(&self) -> anyhow::Result<()> {
        let _alone = self.rotating.lock().await;
        let (path, old, at) = (self.path.clone(), self.current(), now());
        let keys = blocking(move || {
            let mut keys = fresh()?;
            let last = at.saturating_sub(millis(KEPT));
            for key in old.iter().filter(|key| key.kept.retired.is_none_or(|retired| retired > last)) {
                let retired = Some(key.kept.retired.unwrap_or(at));
                keys.push(Key::load(Kept { retired, ..key.kept.clone() })?);
            }
            write(&path, &keys)?;
            Ok(keys)
        })
        .await?;
        *locked_for_writing(&self.keys) = Arc::new(keys);
        Ok(())
    }

    /// The value of the signature header.
    pub fn sign(&self, form: DynamicForm, subject: Subject, body: &[u8]) -> anyhow::Result<String> {
        let keys = self.current();
        let mut pairs = keys.iter().map(|key| (&key.kept.id, &key.pair));
        let signature = match form {
            DynamicForm::V1a => pairs.find_map(|(_, pair)| match pair {
                Pair::Ed25519(pair) => Some(Ok(v1a(pair, subject, body))),
                Pair::Rsa(_) => None,
            }),
            DynamicForm::Jwt => pairs.find_map(|(id, pair)| match pair {
                Pair::Rsa(pair) => Some(token(pair, id, subject)),
                Pair::Ed25519(_) => None,
            }),
        };
        signature.context("there is no key for this form")?.map_err(|_| anyhow!("the key does not sign"))
    }
}

impl Key {
    fn load(kept: Kept) -> anyhow::Result<Self> {
        let der = BASE64_STANDARD.decode(&kept.private).context("a key is no base64")?;
        let pair = match kept.kind {
            Kind::Ed25519 => Ed25519KeyPair::from_pkcs8(&der).map(Pair::Ed25519),
            Kind::Rsa => RsaKeyPair::from_pkcs8(&der).map(Pair::Rsa),
        };
        Ok(Self { kept, pair: pair.map_err(|_| anyhow!("a key is none"))? })
    }

    fn new(kind: Kind, pair: Pair, der: &[u8]) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self { kept: Kept { id, kind, private: BASE64_STANDARD.encode(der), retired: None }, pair }
    }

    fn public(&self) -> Value {
        let id = &self.kept.id;
        let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Ed25519(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id,
                "x": encoded(pair.public_key().as_ref()),
            }),
            Pair::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({
                    "kty": "RSA", "alg": "RS256", "use": "sig", "kid": id, "n": encoded(&n), "e": encoded(&e),
                })
            }
        }
    }
}

/// One key of each kind.
fn fresh() -> anyhow::Result<Vec<Key>> {
    let made = || {
        let ed25519 = Ed25519KeyPair::generate()?;
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let der: (Pkcs8V1Der, Pkcs8V1Der) = (ed25519.as_der()?, rsa.as_der()?);
        Ok::<_, Unspecified>(vec![
            Key::new(Kind::Ed25519, Pair::Ed25519(ed25519), der.0.as_ref()),
            Key::new(Kind::Rsa, Pair::Rsa(rsa), der.1.as_ref()),
        ])
    };
    made().map_err(|_| anyhow!("no keys could be made"))
}

/// A temporary file is its owner's alone, and keeps that when it gets its name.
fn write(path: &Path, keys: &[Key]) -> anyhow::Result<()> {
    let folder = path.parent().context("the keys have no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut file, &keys.iter().map(|key| &key.kept).collect::<Vec<_>>())?;
    finish(file, path)
}

fn v1a(pair: &Ed25519KeyPair, subject: Subject, body: &[u8]) -> String {
    let signed = [format!("{}.{}.", subject.id, subject.timestamp).as_bytes(), body].concat();
    format!("v1a,{}", BASE64_STANDARD.encode(pair.sign(&signed)))
}

/// The claims are not documented. The delivery's id is one of them, so that no two tokens are the same.
fn token(pair: &RsaKeyPair, key_id: &str, subject: Subject) -> Result<String, Unspecified> {
    let header = json!({"alg": "RS256", "kid": key_id, "typ": "JWT"}).to_string();
    let claims = json!({
        "iss": ISSUER,
        "aud": subject.audience,
        "iat": subject.timestamp,
        "exp": subject.timestamp.saturating_add(TOKEN_SECONDS),
        "jti": subject.id,
    });
    let signed = [header, claims.to_string()].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}
