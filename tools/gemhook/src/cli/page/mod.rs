//! The page: what arrives, the story of each delivery, the jobs and their outputs, and buttons that repeat things.
//!
//! `gemhook dev` serves it for its own machine, `gemhook page` for a deployed stack. It only listens on loopback, [`guard`]
//! lets nobody in but a browser that was pointed at it, and only [`actions`] change anything.

mod actions;
mod assets;
mod command;
mod guard;
mod history;
mod lists;
mod outputs;
mod simulator;
mod stories;

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::broadcast};

pub use self::command::{Args, HELP, run};
use self::{guard::Guard, history::History, lists::Lists};
use super::target::Target;
use crate::dev::{Announced, Change};
use gemhook::gemini::catalogue::SUBSCRIBABLE_EVENTS;

/// What the page is about.
struct Page {
    target: Arc<Target>,
    history: Arc<History>,
    lists: Lists,
    /// What a request that changes something must bring. A page that only reads has none.
    token: Option<String>,
}

type Shared = State<Arc<Page>>;

/// Where the page learns of changes while it is served.
pub enum News {
    /// The machine in this process says them.
    Machine { changes: broadcast::Receiver<Change>, announced: broadcast::Receiver<Announced> },
    /// The stream of the Deliveries table has them. Nobody can read an event bus after the fact.
    Table,
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

    /// Serves until dropped. Without `writes` nothing can be changed by it.
    pub async fn run(self, target: Target, news: News, writes: bool) -> Result<()> {
        let target = Arc::new(target);
        let history = match news {
            News::Machine { changes, announced } => History::of_machine(changes, announced),
            News::Table => History::of_table(Arc::clone(&target)),
        };
        let port = self.listener.local_addr()?.port();
        let token = writes.then(|| uuid::Uuid::new_v4().simple().to_string());
        let guard = Guard::new(port, token.clone());
        let page = Page { lists: Lists::new(target.dev.is_some()), target, history, token };
        axum::serve(self.listener, router(Arc::new(page), guard)).await.context("the page's server stopped")
    }
}

fn router(page: Arc<Page>, guard: Guard) -> Router {
    let changing = Router::new()
        .route("/api/jobs", post(actions::create_job))
        .route("/api/deliveries", post(actions::trigger))
        .route("/api/deliveries/{id}/replay", post(actions::replay))
        .route("/api/deliveries/{id}/redrive", post(actions::redrive))
        .route("/api/simulator/faults", put(simulator::set_faults))
        .route("/api/simulator/clock", put(simulator::move_clock))
        .route("/api/simulator/deliveries", put(simulator::set_deliveries));
    Router::new()
        .merge(assets::router())
        .route("/api/place", get(place))
        .route("/api/changes", get(history::live))
        .route("/api/deliveries", get(lists::deliveries))
        .route("/api/deliveries/{id}", get(stories::delivery))
        .route("/api/deliveries/{id}/verification", get(stories::verification))
        .route("/api/jobs", get(lists::jobs))
        .route("/api/jobs/{*id}", get(stories::job))
        .route("/api/announcements", get(lists::announcements))
        .route("/api/output", get(outputs::object))
        .route("/api/preview", get(outputs::preview))
        .route("/api/simulator", get(simulator::show))
        .merge(changing)
        .with_state(page)
        .layer(from_fn_with_state(Arc::new(guard), guard::admit))
}

/// What the page shows and may do. Only the page's own script can read this, and so the token.
async fn place(State(page): Shared) -> Json<Value> {
    let local = page.target.dev.is_some();
    Json(json!({
        "name": page.target.name,
        "stack": page.target.stack.as_ref().map(|stack| &stack.name),
        "local": local,
        "writes": page.token.is_some(),
        "token": page.token,
        "event_types": SUBSCRIBABLE_EVENTS,
    }))
}

/// Why a request was not answered, as JSON for the script.
struct Problem(StatusCode, String);

impl Problem {
    fn missing(what: &str) -> Self {
        Self(StatusCode::NOT_FOUND, what.to_owned())
    }

    /// What was asked for cannot be done.
    fn refused(error: &anyhow::Error) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}"))
    }
}

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(StatusCode::BAD_GATEWAY, format!("{:#}", error.into()))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}
