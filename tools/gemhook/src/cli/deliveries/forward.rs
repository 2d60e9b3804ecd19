//! `gemhook deliveries watch --forward-to`: each new delivery is handed to a program, and its answer is shown.

use std::sync::Arc;

use anyhow::{Context, Result};
use reqwest::Url;
use tokio::sync::mpsc;

use super::delivery;
use crate::cli::{
    render::{plain, print_json, print_line},
    resend::{Recorded, Resender, as_json, line},
    target::Target,
};

/// Takes ids at once, so that a slow program does not hold up the table's stream. One after the other goes out.
pub(super) struct Forwarder {
    pub(super) to: Url,
    queue: mpsc::UnboundedSender<String>,
}

impl Forwarder {
    pub(super) async fn start(
        target: &Arc<Target>,
        to: Url,
        secret: Option<String>,
        json: bool,
    ) -> Result<Self> {
        let resender = Resender::open(Some(to.clone()), secret, target).await?;
        let (queue, mut waiting) = mpsc::unbounded_channel::<String>();
        let target = Arc::clone(target);
        tokio::spawn(async move {
            while let Some(id) = waiting.recv().await {
                if let Err(error) = forward(&target, &resender, &id, json).await {
                    if error.is::<std::io::Error>() {
                        // Nobody reads what is printed. The next delivery finds the queue closed.
                        return;
                    }
                    eprintln!("not forwarded: {}: {}", plain(&id), plain(&format!("{error:#}")));
                }
            }
        });
        Ok(Self { to, queue })
    }

    pub(super) fn take(&self, id: String) -> Result<()> {
        self.queue.send(id).context("the forwarding has ended")
    }
}

async fn forward(target: &Target, resender: &Resender, id: &str, json: bool) -> Result<()> {
    let recorded = Recorded::read(&delivery(target, id).await?)?;
    if !recorded.was_sent() {
        return Ok(());
    }
    let sent = recorded.sent_id().unwrap_or(id).to_owned();
    let answer = resender.send(&recorded, sent).await?;
    if json {
        print_json(&as_json(&recorded, &answer)?)
    } else {
        print_line(&plain(&line(&recorded, &answer)))
    }
}
