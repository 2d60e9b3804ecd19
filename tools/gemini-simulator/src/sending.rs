//! One attempt to send an event, and what faults make of it.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::{Body, Client, Url, header};
use tokio::net::TcpStream;

use super::{
    delivery::Delivery,
    explain,
    faults::{FaultKind, Faults, Seconds},
    signing::SigningSecrets,
};

/// The base64 of a secret that no receiver has.
const ROTATED_OUT: &str = "YSBzZWNyZXQgdGhhdCB3YXMgcm90YXRlZCBvdXQ=";

/// One attempt to deliver one copy of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub webhook_id: String,
    pub event_type: String,
    pub uri: String,
    /// Counted from one.
    pub attempt: u32,
    /// Counted from one.
    pub copy: u32,
    /// The status of the answer, or why there was none.
    pub answer: Result<u16, String>,
}

impl Sent {
    pub fn accepted(&self) -> bool {
        self.answer.as_ref().is_ok_and(|status| (200..300).contains(status))
    }
}

/// What faults make of one attempt. Without any, it is a delivery as it should be.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    /// Sent at once.
    pub copies: u32,
    /// How old the timestamp is.
    pub age: Duration,
    /// The timestamp and the signature are those of the first attempt.
    pub not_restamped: bool,
    /// An entry by another secret comes before the right one.
    pub two_signatures: bool,
    /// The longest wait for an answer.
    patience: Option<Duration>,
    /// Between the halves of the body.
    pause: Option<Duration>,
    /// The connection is opened for this long, and nothing is sent.
    silence: Option<Duration>,
}

impl Conduct {
    pub fn of(faults: &Faults, event_type: &str) -> Self {
        let wait =
            |of: fn(&FaultKind) -> Option<Seconds>| faults.strike(event_type, of).map(|Seconds(wait)| wait);
        let is =
            |wanted: FaultKind| faults.strike(event_type, |kind| (*kind == wanted).then_some(())).is_some();
        let copies = |kind: &FaultKind| match kind {
            FaultKind::Duplicated { copies } => Some(*copies),
            _ => None,
        };
        Self {
            copies: faults.strike(event_type, copies).unwrap_or(1),
            age: wait(|kind| if let FaultKind::Stale { age } = kind { Some(*age) } else { None })
                .unwrap_or_default(),
            not_restamped: is(FaultKind::NotRestamped {}),
            two_signatures: is(FaultKind::TwoSignatures {}),
            patience: wait(|kind| if let FaultKind::Impatient { wait } = kind { Some(*wait) } else { None }),
            pause: wait(|kind| if let FaultKind::Trickled { wait } = kind { Some(*wait) } else { None }),
            silence: wait(|kind| if let FaultKind::Silent { wait } = kind { Some(*wait) } else { None }),
        }
    }

    /// The header `webhook-signature`, `right` being the entries that the receiver can verify.
    pub fn signature(&self, right: String, delivery: &Delivery, timestamp: i64) -> String {
        let old = SigningSecrets::parse(ROTATED_OUT).ok().filter(|_| self.two_signatures);
        match old {
            Some(old) => {
                format!("{} {right}", old.sign(&delivery.webhook_id, timestamp, delivery.body.as_bytes()))
            }
            None => right,
        }
    }
}

/// A delivery, signed, and the place that it goes to.
pub(super) struct Sending<'a> {
    pub delivery: &'a Delivery,
    pub uri: &'a str,
    pub timestamp: i64,
    pub signature: &'a str,
    pub conduct: &'a Conduct,
}

impl Sending<'_> {
    /// Sends one copy. The status of the answer, or why there was none, is in the result.
    pub async fn send(&self, client: &Client, copy: u32) -> Sent {
        let answer = match self.conduct.silence {
            Some(time) => self.say_nothing(time).await,
            None => self.post(client).await,
        };
        let Delivery { webhook_id, event_type, attempts, .. } = self.delivery;
        let sent = Sent {
            webhook_id: webhook_id.clone(),
            event_type: event_type.clone(),
            uri: self.uri.to_owned(),
            attempt: *attempts,
            copy,
            answer,
        };
        tracing::debug!(?sent, "an event was sent");
        sent
    }

    async fn post(&self, client: &Client) -> Result<u16, String> {
        let body = self.delivery.body.clone();
        let mut request = client
            .post(self.uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &self.delivery.webhook_id)
            .header("webhook-timestamp", self.timestamp)
            .header("webhook-signature", self.signature);
        request = match self.conduct.pause {
            Some(pause) => request.header(header::CONTENT_LENGTH, body.len()).body(in_halves(body, pause)),
            None => request.body(body),
        };
        if let Some(patience) = self.conduct.patience {
            request = request.timeout(patience);
        }
        request.send().await.map(|answer| answer.status().as_u16()).map_err(|error| explain(&error))
    }

    async fn say_nothing(&self, time: Duration) -> Result<u16, String> {
        let url: Url = self.uri.parse().map_err(|error| format!("{error}"))?;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        let connection = TcpStream::connect((host, port)).await.map_err(|error| explain(&error))?;
        tokio::time::sleep(time).await;
        drop(connection);
        Err("nothing was sent, by a fault".to_owned())
    }
}

fn in_halves(body: String, pause: Duration) -> Body {
    let mut first = Bytes::from(body);
    let second = first.split_off(first.len() / 2);
    let late = stream::once(async move {
        tokio::time::sleep(pause).await;
        Ok::<_, io::Error>(second)
    });
    Body::wrap_stream(stream::once(async { Ok(first) }).chain(late))
}
