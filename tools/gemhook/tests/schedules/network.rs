//! The network between the functions and the stores. It is an HTTP client under the real AWS SDK, and the way to the
//! Gemini API. No call goes through before the test says so, and the test says what befalls it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use gemhook::gemini::Transport;
use reqwest::{Request, Response};
use tokio::sync::{Notify, oneshot};

use crate::{
    asked::{Answer, Asked, text_answer},
    gemini::{Broken, Gemini},
    leases::Leases,
    stores::{DELIVERIES, Stores},
};

/// What befalls one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It fails before it is sent.
    NotSent,
    /// It is carried out, and its answer is lost.
    AnswerLost,
    /// Its sender gives up, and it is carried out later.
    Late,
    Throttled,
    /// Another transaction or another conditional write is at work on the same key.
    Conflict,
    ServerError,
    /// It is refused, and the SDK does not try it again.
    Denied,
    /// It is carried out, and the answer cannot be read.
    Garbage,
    /// A page of the index from before, the n-th that there was.
    OlderPage(usize),
}

tokio::task_local! {
    /// Who makes a call, for the trace.
    pub static CALLER: String;
}

/// The caller where one sends parts of an object, which are tasks of their own.
pub const PART_OF_ONE: &str = "a part of one";

pub fn caller() -> String {
    CALLER.try_with(Clone::clone).unwrap_or_else(|_| PART_OF_ONE.to_owned())
}

/// Whose writes DynamoDB answers with an error.
#[derive(Default)]
pub enum Refused {
    #[default]
    None,
    All,
    Rows(BTreeSet<String>),
}

/// A call that waits for leave to go through.
pub struct Waiting {
    pub caller: String,
    pub call: String,
    go: oneshot::Sender<Fault>,
}

impl Waiting {
    /// Returns whether its caller still wanted it.
    pub fn go(self, fault: Fault) -> bool {
        self.go.send(fault).is_ok()
    }
}

pub struct Network {
    pub stores: Stores,
    pub gemini: Gemini,
    pub leases: Leases,
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    waiting: Mutex<Vec<Waiting>>,
    late: Mutex<Vec<Asked>>,
    refused: Mutex<Refused>,
    /// A process has come to its end in the middle of a call.
    pub killed: Notify,
    /// How many calls of each caller have come here, its end counted as one.
    arrivals: Mutex<BTreeMap<String, usize>>,
    arrived: Notify,
    /// Whether calls wait for leave. If not, each only gives way to others, before it and after it.
    gated: Mutex<bool>,
}

impl Network {
    /// `now` is the time in milliseconds, by the clock that the functions go by.
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            stores: Stores::new(),
            gemini: Gemini::default(),
            leases: Leases::default(),
            now: Box::new(now),
            waiting: Mutex::default(),
            late: Mutex::default(),
            refused: Mutex::default(),
            killed: Notify::new(),
            arrivals: Mutex::default(),
            arrived: Notify::new(),
            gated: Mutex::new(false),
        })
    }

    pub fn gate(&self, gated: bool) {
        *self.gated.lock().unwrap() = gated;
    }

    pub fn refuse_writes(&self, refused: Refused) {
        *self.refused.lock().unwrap() = refused;
    }

    /// The calls that wait, in an order that does not depend on threads. Those whose caller is gone are left out.
    pub fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.retain(|call| !call.go.is_closed());
        waiting.sort_by(|one, other| (&one.caller, &one.call).cmp(&(&other.caller, &other.call)));
        waiting
    }

    /// Carries out a request whose sender has given it up. False where there is none.
    pub fn deliver_late(&self, pick: usize) -> bool {
        let mut late = self.late.lock().unwrap();
        if late.is_empty() {
            return false;
        }
        let at = pick % late.len();
        let asked = late.remove(at);
        let _ = self.carry_out(&asked);
        true
    }

    /// A caller has come to its next call, or to its end.
    pub fn note(&self, caller: &str) {
        *self.arrivals.lock().unwrap().entry(caller.to_owned()).or_default() += 1;
        self.arrived.notify_one();
    }

    pub fn arrivals(&self, caller: &str) -> usize {
        self.arrivals.lock().unwrap().get(caller).copied().unwrap_or(0)
    }

    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub async fn leave(&self, call: String) -> Fault {
        if !*self.gated.lock().unwrap() {
            tokio::task::yield_now().await;
            return Fault::None;
        }
        let (go, gone) = oneshot::channel();
        let caller = caller();
        self.waiting.lock().unwrap().push(Waiting { caller: caller.clone(), call, go });
        self.note(&caller);
        let fault = gone.await.unwrap_or(Fault::NotSent);
        self.leases.befell(&caller, fault);
        fault
    }

    /// Has the stores do what is asked, and looks at what a write changes.
    fn carry_out(&self, asked: &Asked) -> Answer {
        if !asked.writes_rows() || !*self.gated.lock().unwrap() {
            return self.stores.answer(asked);
        }
        let before = self.stores.rows(DELIVERIES);
        let answer = self.stores.answer(asked);
        self.leases.written(&asked.caller, (self.now)(), &before, &self.stores.rows(DELIVERIES));
        answer
    }

    async fn call(&self, asked: Asked) -> Result<Answer, ConnectorError> {
        let mut fault = self.leave(asked.label()).await;
        let is_refused = match &*self.refused.lock().unwrap() {
            Refused::None => false,
            Refused::All => true,
            Refused::Rows(keys) => asked.key().is_some_and(|key| keys.contains(&key)),
        };
        if is_refused && asked.writes_rows() {
            fault = Fault::ServerError;
        }
        let lost = || ConnectorError::io("the connection broke".into());
        let answer = match fault {
            Fault::None => self.carry_out(&asked),
            Fault::NotSent => return Err(lost()),
            Fault::AnswerLost => {
                let _ = self.carry_out(&asked);
                return Err(lost());
            }
            Fault::Late => {
                self.late.lock().unwrap().push(asked);
                return Err(ConnectorError::timeout("no answer in time".into()));
            }
            Fault::OlderPage(pick) if asked.operation.ends_with(".Query") => {
                self.stores.older_page(&asked, pick)
            }
            Fault::OlderPage(_) => self.stores.answer(&asked),
            Fault::Garbage => {
                let _ = self.carry_out(&asked);
                text_answer(502, "<html>Bad Gateway")
            }
            Fault::Throttled => asked.refused(400, "ProvisionedThroughputExceededException", 503, "SlowDown"),
            Fault::Conflict => asked.conflict(),
            Fault::ServerError => asked.refused(500, "InternalServerError", 500, "InternalError"),
            Fault::Denied => asked.refused(400, "AccessDeniedException", 403, "AccessDenied"),
        };
        // An answer is on its way too: whoever waits for it may be gone before it comes.
        if fault == Fault::None {
            tokio::task::yield_now().await;
        }
        Ok(answer)
    }

    pub fn http_client(self: &Arc<Self>) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Connector(Arc::clone(self)));
        http_client_fn(move |_, _| connector.clone())
    }
}

struct Connector(Arc<Network>);

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (network, asked) = (Arc::clone(&self.0), Asked::of(request));
        HttpConnectorFuture::new(async move { network.call(asked).await })
    }
}

impl Transport for Network {
    fn send(
        &self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Response, reqwest::Error>> + Send + '_>> {
        Box::pin(async move {
            let path = request.url().path();
            let fault = self.leave(format!("gemini {path}")).await;
            if self.gemini.broken(path) == Some(Broken::Kills) {
                self.killed.notify_one();
                std::future::pending::<()>().await;
            }
            let answer = self.gemini.answer(&request, fault);
            tokio::task::yield_now().await;
            answer
        })
    }
}
