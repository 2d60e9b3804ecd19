//! A function's process, and as much of Lambda as it asks: one event after another over the runtime API.

use std::{
    collections::VecDeque,
    fs::File,
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path as Named, State},
    http::{Response, StatusCode},
    routing::{get, post},
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::Notify};

use crate::support::now;

/// Far longer than anything takes, so that only a hang is noticed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Exchange {
    events: Mutex<VecDeque<Value>>,
    answers: Mutex<VecDeque<Value>>,
    asked: Notify,
    answered: Notify,
}

pub struct Function {
    child: Child,
    exchange: Arc<Exchange>,
}

impl Function {
    /// Starts the program with these variables and none of our own. All that it says goes to the file.
    pub async fn start(program: &str, variables: &[(&str, String)], said: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let exchange = Arc::new(Exchange::default());
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{what}", post(answered))
            .with_state(Arc::clone(&exchange));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let said = File::create(said).unwrap();
        let child = Command::new(program)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", "function"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
            ])
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Self { child, exchange }
    }

    /// What the function answers to an event, an error included.
    pub async fn invoke(&self, event: Value) -> Value {
        self.exchange.events.lock().unwrap().push_back(event);
        self.exchange.asked.notify_one();
        tokio::time::timeout(PATIENCE, self.exchange.answered.notified()).await.expect("no answer");
        self.exchange.answers.lock().unwrap().pop_front().unwrap()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn next(State(exchange): State<Arc<Exchange>>) -> Response<Body> {
    loop {
        let event = exchange.events.lock().unwrap().pop_front();
        if let Some(event) = event {
            return Response::builder()
                .header("lambda-runtime-aws-request-id", uuid())
                .header("lambda-runtime-deadline-ms", (now() + 900) * 1000)
                .header(
                    "lambda-runtime-invoked-function-arn",
                    "arn:aws:lambda:us-east-1:123456789012:function:f",
                )
                .body(Body::from(event.to_string()))
                .unwrap();
        }
        exchange.asked.notified().await;
    }
}

fn uuid() -> String {
    format!("{:032x}", fastrand::u128(..))
}

async fn answered(
    State(exchange): State<Arc<Exchange>>,
    Named((_, _)): Named<(String, String)>,
    body: Bytes,
) -> StatusCode {
    exchange.answers.lock().unwrap().push_back(serde_json::from_slice(&body).unwrap_or(Value::Null));
    exchange.answered.notify_one();
    StatusCode::ACCEPTED
}
