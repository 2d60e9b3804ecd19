//! The page of the local machine: what arrives, the story of a delivery, and the jobs. It shows and changes nothing.

mod data;
mod guard;
mod history;

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{
    Router,
    http::header,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::broadcast};

use self::{guard::Guard, history::History};
use super::target::Target;
use crate::dev::Change;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the page is about.
struct Page {
    target: Target,
    history: Arc<History>,
}

/// The page behind a socket of this machine.
pub struct Served {
    pub url: String,
    listener: TcpListener,
}

impl Served {
    pub fn new(listener: TcpListener) -> Result<Self> {
        Ok(Self { url: format!("http://{}/", listener.local_addr()?), listener })
    }

    /// Serves until dropped.
    pub async fn run(self, target: Target, changes: broadcast::Receiver<Change>) -> Result<()> {
        let history = History::follow(changes);
        let port = self.listener.local_addr()?.port();
        let router = router(Arc::new(Page { target, history }), port);
        axum::serve(self.listener, router).await.context("the page's server stopped")
    }
}

fn router(page: Arc<Page>, port: u16) -> Router {
    Router::new()
        .route("/", get(|| file("text/html; charset=utf-8", HTML)))
        .route("/page.css", get(|| file("text/css; charset=utf-8", STYLE)))
        .route("/page.js", get(|| file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/api/deliveries", get(data::deliveries))
        .route("/api/deliveries/{id}", get(data::delivery))
        .route("/api/jobs", get(data::jobs))
        .route("/api/jobs/{*id}", get(data::job))
        .route("/api/changes", get(data::changes))
        .with_state(page)
        .layer(from_fn_with_state(Arc::new(Guard::new(port)), guard::admit))
}

async fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
