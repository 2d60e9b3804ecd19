//! The five ports of the local machine, taken before anything else is begun.

use anyhow::{Context, Result};
use tokio::net::TcpListener;

/// The first of six ports in a row: the machine's five, and the page's.
pub const DEFAULT_PORT: u16 = 8787;

/// Sockets that are bound, but that nobody serves yet.
pub struct Ports {
    pub webhook: TcpListener,
    pub gemini: TcpListener,
    pub dynamodb: TcpListener,
    pub s3: TcpListener,
    pub events: TcpListener,
}

impl Ports {
    /// Five ports from `first` on, or any five free ones where it is 0. Loopback only.
    pub async fn take(first: u16) -> Result<Self> {
        Ok(Self {
            webhook: bind(first, 0).await?,
            gemini: bind(first, 1).await?,
            dynamodb: bind(first, 2).await?,
            s3: bind(first, 3).await?,
            events: bind(first, 4).await?,
        })
    }
}

/// The port behind those of the machine, for the page.
pub async fn page_port(first: u16) -> Result<TcpListener> {
    bind(first, 5).await
}

async fn bind(first: u16, target: u16) -> Result<TcpListener> {
    let port = if first == 0 { 0 } else { first.saturating_add(target) };
    TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
        format!("cannot listen on port {port}; choose another set with --port, or --port 0 for free ones")
    })
}

pub(super) fn url(listener: &TcpListener) -> Result<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}
