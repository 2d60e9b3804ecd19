//! A recorded delivery that is sent once more: the same body, signed now.

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Url;
use serde_json::{Value, json};

use super::{
    render::field,
    sender::{Answer, Sender, by_place, by_secret},
    target::Target,
    trigger::signed::{Signed, Signer, fresh_id},
};
use gemhook::{
    clock::{Clock, SystemClock},
    ledger::schema::attr,
};
use gemini_simulator::DynamicForm;

/// As much of a row as is sent, or shown beside the answer.
pub struct Recorded {
    pub webhook_id: String,
    pub event_type: String,
    pub job: String,
    scheme: String,
    body: Vec<u8>,
}

impl Recorded {
    /// Of a row as `as_json` makes it.
    pub fn read(row: &Value) -> Result<Self> {
        let text = |name| field(row, name).to_owned();
        let webhook_id = text(attr::WEBHOOK_ID);
        let body = match (row.get(attr::BODY), row.get("body_base64")) {
            (Some(Value::String(body)), _) => Some(body.clone().into_bytes()),
            (_, Some(Value::String(body))) => BASE64_STANDARD.decode(body).ok(),
            _ => None,
        };
        let body = body.with_context(|| format!("{webhook_id} was recorded without its body"))?;
        let job = if row.get(attr::JOB_ID).is_some() { attr::JOB_ID } else { attr::JOB_HINT };
        Ok(Self {
            event_type: text(attr::EVENT_TYPE),
            job: text(job),
            scheme: text(attr::SCHEME),
            webhook_id,
            body,
        })
    }

    /// The id under which it came, where the row's key holds it: what stands behind a `~` there is the receiver's own, and
    /// the row of a token has the token's digest for a key.
    pub fn sent_id(&self) -> Option<&str> {
        let key = self.webhook_id.as_str();
        match self.scheme.as_str() {
            "jwt" => None,
            "v1a" => key.strip_prefix("v1a~").and_then(|key| key.split('~').next()),
            _ => key.split('~').next(),
        }
    }

    /// Whether somebody sent it. What `gemhook reconcile` has entered came from nobody.
    pub fn was_sent(&self) -> bool {
        self.scheme != "job"
    }

    /// Whether Google's keys signed it, so that the receiver trusted it less than what the secret signs.
    pub fn is_dynamic(&self) -> bool {
        self.form().is_some()
    }

    fn form(&self) -> Option<DynamicForm> {
        match self.scheme.as_str() {
            "v1a" => Some(DynamicForm::V1a),
            "jwt" => Some(DynamicForm::Jwt),
            _ => None,
        }
    }
}

pub struct Resender {
    pub sender: Sender,
    secrets: Signer,
    /// Where a local machine plays Google's part, by form.
    issuers: Vec<(DynamicForm, Signer)>,
}

impl Resender {
    pub async fn open(to: Option<Url>, secret: Option<String>, target: &Target) -> Result<Self> {
        let keeps_form = secret.is_none();
        Self::new(to, by_secret(secret, Some(target)).await?, target, keeps_form)
    }

    /// Signs with the place's own secret, whatever WEBHOOK_SECRET is.
    pub async fn of_place(to: Option<Url>, target: &Target) -> Result<Self> {
        Self::new(to, by_place(target).await?, target, true)
    }

    fn new(to: Option<Url>, secrets: Signer, target: &Target, keeps_form: bool) -> Result<Self> {
        let sender = Sender::open(to, Some(target))?;
        let mut issuers = Vec::new();
        if let (Some(at), true) = (&target.dev, keeps_form) {
            for form in [DynamicForm::V1a, DynamicForm::Jwt] {
                issuers.push((form, Signer::issuer(&at.issuer_keys, form, sender.to.as_str())?));
            }
        }
        Ok(Self { secrets, sender, issuers })
    }

    /// Whether it goes out in the form in which it came.
    pub fn keeps_form_of(&self, recorded: &Recorded) -> bool {
        !recorded.is_dynamic() || !self.issuers.is_empty()
    }

    /// Under the id with which it came, where that is known, or under a new one.
    pub async fn replay(&self, recorded: &Recorded, new_id: bool) -> Result<Answer> {
        let known = recorded.sent_id().filter(|_| !new_id);
        self.send(recorded, known.map_or_else(fresh_id, str::to_owned)).await
    }

    pub async fn send(&self, recorded: &Recorded, id: String) -> Result<Answer> {
        let own = self.issuers.iter().find(|(form, _)| Some(*form) == recorded.form());
        let signer = own.map_or(&self.secrets, |(_, issuer)| issuer);
        let now = SystemClock.now().div_euclid(1000);
        let signature = signer.sign(&id, now, &recorded.body)?;
        Ok(self.sender.send(&Signed::new(signature, id, now, recorded.body.clone())).await)
    }
}

/// A delivery and its answer, for people.
pub fn line(recorded: &Recorded, answer: &Answer) -> String {
    let Recorded { webhook_id, event_type, job, .. } = recorded;
    let sent =
        if answer.webhook_id == *webhook_id { String::new() } else { format!(" as {}", answer.webhook_id) };
    format!("{event_type:<26} {job}  {webhook_id}{sent}  {answer}")
}

/// A delivery and its answer, for `--json`.
pub fn as_json(recorded: &Recorded, answer: &Answer) -> Result<Value> {
    let mut shown = json!({
        "replays": recorded.webhook_id,
        "event_type": recorded.event_type,
        "job": recorded.job,
    });
    if let (Some(shown), Value::Object(answer)) = (shown.as_object_mut(), serde_json::to_value(answer)?) {
        shown.extend(answer);
    }
    Ok(shown)
}
