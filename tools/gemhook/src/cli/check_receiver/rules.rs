//! The rules of Standard Webhooks that can be seen from outside, and the deliveries that show whether they are kept.

use anyhow::{Result, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::cli::trigger::{
    event,
    signed::{Signed, Signer, fresh_id},
};
use gemhook::webhook::SigningSecrets;

/// Older than any receiver should take: the specification's libraries allow five minutes.
const OLD_SECONDS: i64 = 900;
/// Which nobody has.
const UNKNOWN_EVENT: &str = "gemhook.check.unknown";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Accepted,
    Refused,
    /// All of them accepted, the later ones as the first one.
    SameAnswer,
}

pub(super) struct Rule {
    pub name: &'static str,
    /// What happens where it is broken.
    pub why: &'static str,
    pub wanted: Wanted,
    pub probes: Vec<Probe>,
}

/// One delivery, and what is special about it.
pub(super) struct Probe {
    pub what: &'static str,
    pub event: Signed,
}

/// Makes deliveries that are right, and then wrong in one way.
pub(super) struct Maker {
    right: Signer,
    wrong: Signer,
    now: i64,
    body: Vec<u8>,
}

impl Maker {
    pub(super) fn new(right: Signer, event_type: &str, now: i64) -> Result<Self> {
        let job = format!("data.id=batches/gemhook-check-{}", uuid::Uuid::new_v4().simple());
        let job = job.parse().map_err(|why| anyhow!("{why}"))?;
        let body = event::sample(event_type, now, &[job])?;
        let strangers =
            format!("whsec_{}", BASE64_STANDARD.encode(uuid::Uuid::new_v4().simple().to_string()));
        let wrong = SigningSecrets::parse(&strangers).map_err(|why| anyhow!("a secret {why}"))?;
        Ok(Self { right, wrong: Signer::Secrets(wrong), now, body })
    }

    fn signed(&self, signer: &Signer, timestamp: i64, body: &[u8]) -> Result<Signed> {
        let id = fresh_id();
        Ok(Signed::new(signer.sign(&id, timestamp, body)?, id, timestamp, body.to_vec()))
    }

    fn right(&self) -> Result<Signed> {
        self.signed(&self.right, self.now, &self.body)
    }

    /// A right one, in which a header is another text.
    fn with(&self, header: &str, text: impl Fn(&str) -> String) -> Result<Signed> {
        let mut event = self.right()?;
        for (name, value) in &mut event.headers {
            if *name == header {
                *value = text(value);
            }
        }
        Ok(event)
    }

    fn without(&self, header: &str) -> Result<Signed> {
        let mut event = self.right()?;
        event.headers.retain(|(name, _)| *name != header);
        Ok(event)
    }

    /// The same event in another spelling: whoever reads it and writes it again has other bytes.
    fn odd_spelling(&self) -> Vec<u8> {
        let rest = String::from_utf8_lossy(&self.body);
        let rest = rest.strip_prefix('{').unwrap_or_default();
        format!("{{\r\n\t\"spelling\" : \"\\u00e9 é \\/\", \"number\": 1.0e2 , {rest} \n").into_bytes()
    }

    fn another_body(&self) -> Vec<u8> {
        let rest = self.body.strip_prefix(b"{").unwrap_or_default();
        [&br#"{"forged":true,"#[..], rest].concat()
    }
}

pub(super) fn rules(make: &Maker) -> Result<Vec<Rule>> {
    let probe = |what: &'static str, event: Signed| Probe { what, event };
    let mut changed_body = make.right()?;
    changed_body.body = make.another_body();
    let stale = make.now - OLD_SECONDS;
    let same = make.right()?;
    let unknown = serde_json::to_vec(&json!({"type": UNKNOWN_EVENT, "version": "v1", "data": {}}))?;
    let wrong_entry = make.wrong.sign("msg_other", make.now, &make.body)?;

    Ok(vec![
        Rule {
            name: "right signature",
            why: "a delivery that is in order is refused, so the sender repeats it and gives up in the end",
            wanted: Wanted::Accepted,
            probes: vec![probe("a right delivery", make.right()?)],
        },
        Rule {
            name: "raw body",
            why: "the signature is of the bytes as they came; a body that was read and written again has others",
            wanted: Wanted::Accepted,
            probes: vec![probe(
                "an odd spelling of the JSON",
                make.signed(&make.right, make.now, &make.odd_spelling())?,
            )],
        },
        Rule {
            name: "several signatures",
            why: "while a secret is rotated the header has an entry for each secret, and one that matches is enough",
            wanted: Wanted::Accepted,
            probes: vec![
                probe(
                    "a wrong entry before the right one",
                    make.with("webhook-signature", |right| format!("{wrong_entry} {right}"))?,
                ),
                probe(
                    "an entry of an unknown version before it",
                    make.with("webhook-signature", |right| format!("v9,c29tZXRoaW5nIG5ldw== {right}"))?,
                ),
            ],
        },
        Rule {
            name: "unknown event",
            why: "a new type of event is no fault of the sender, which repeats what is not answered with 2xx",
            wanted: Wanted::Accepted,
            probes: vec![probe("an event of an unknown type", make.signed(&make.right, make.now, &unknown)?)],
        },
        Rule {
            name: "duplicate",
            why: "a sender repeats a delivery whose answer was lost; another answer has it go on for a day",
            wanted: Wanted::SameAnswer,
            probes: vec![probe("a delivery", same.clone()), probe("the same once more", same)],
        },
        Rule {
            name: "wrong signature",
            why: "anybody can send events",
            wanted: Wanted::Refused,
            probes: vec![
                probe("one signed with another secret", make.signed(&make.wrong, make.now, &make.body)?),
                probe("an empty entry", make.with("webhook-signature", |_| "v1,".to_owned())?),
                probe(
                    "the beginning of the right signature",
                    make.with("webhook-signature", |right| right.chars().take(12).collect())?,
                ),
                probe(
                    "the right one under an unknown version",
                    make.with("webhook-signature", |right| right.replace("v1,", "v9,"))?,
                ),
            ],
        },
        Rule {
            name: "changed body",
            why: "whoever sees a delivery can send another body with its signature",
            wanted: Wanted::Refused,
            probes: vec![probe("a body with a field more", changed_body)],
        },
        Rule {
            name: "changed id",
            why: "whoever sees a delivery can have it processed again under another id",
            wanted: Wanted::Refused,
            probes: vec![probe("another webhook-id", make.with("webhook-id", |_| fresh_id())?)],
        },
        Rule {
            name: "changed time",
            why: "whoever sees a delivery can send it again at any time",
            wanted: Wanted::Refused,
            probes: vec![probe(
                "another webhook-timestamp",
                make.with("webhook-timestamp", |_| (make.now - 1).to_string())?,
            )],
        },
        Rule {
            name: "old timestamp",
            why: "whoever has kept a delivery can send it again when its id has long been forgotten",
            wanted: Wanted::Refused,
            probes: vec![probe("one signed 15 minutes ago", make.signed(&make.right, stale, &make.body)?)],
        },
        Rule {
            name: "future timestamp",
            why: "a delivery of the future stays good for longer than the receiver remembers its id",
            wanted: Wanted::Refused,
            probes: vec![probe(
                "one signed 15 minutes from now",
                make.signed(&make.right, make.now + OLD_SECONDS, &make.body)?,
            )],
        },
        Rule {
            name: "missing headers",
            why: "without all three headers nothing is proved",
            wanted: Wanted::Refused,
            probes: vec![
                probe("one without webhook-signature", make.without("webhook-signature")?),
                probe("one without webhook-timestamp", make.without("webhook-timestamp")?),
                probe("one without webhook-id", make.without("webhook-id")?),
                probe(
                    "one with an empty webhook-signature",
                    make.with("webhook-signature", |_| String::new())?,
                ),
            ],
        },
    ])
}
