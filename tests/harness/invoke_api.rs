//! A stand-in for Lambda's Invoke API: one deployed function, whose work a local gateway does.
//!
//! It speaks synchronous invocations alone. What the gateway refuses comes back as the function error that the function
//! would end with; and it can be told to answer for itself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A running stand-in. It ends when this is dropped.
#[derive(Debug)]
pub struct InvokeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

/// One invocation that arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Invoked {
    /// The function's name or ARN, as it was asked for.
    pub function: String,
    /// `X-Amz-Invocation-Type`, if it came with one.
    pub invocation_type: Option<String>,
    /// Whether somebody signed it.
    pub is_signed: bool,
    /// The payload.
    pub payload: String,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    /// The route that does the function's work.
    route: String,
    name: String,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    invoked: Vec<Invoked>,
    /// What every invocation is answered with, in the place of the function's answer.
    reply: Option<Reply>,
}

#[derive(Clone, Debug)]
enum Reply {
    Answer(Value),
    FunctionError(Value),
    Refusal { status: StatusCode, kind: &'static str },
}

impl InvokeApi {
    /// Listens on a free port of the loopback address. The function of this name does what this route does.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn start(name: &str, route: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build();
        let shared = Arc::new(Shared {
            http: http.expect("a client without TLS can be built"),
            route: route.to_owned(),
            name: name.to_owned(),
            book: Mutex::default(),
        });
        let routes = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, routes).await.expect("axum serves until it is dropped");
        });
        Self { address, shared, _server: server }
    }

    /// An endpoint for an AWS SDK.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What arrived, in order.
    #[must_use]
    pub fn invoked(&self) -> Vec<Invoked> {
        self.shared.book().invoked.clone()
    }

    /// From now on the function answers this.
    pub fn answer_with(&self, answer: Value) {
        self.shared.book().reply = Some(Reply::Answer(answer));
    }

    /// From now on the function fails with this, as one that exits or times out does.
    pub fn fail_with(&self, error: Value) {
        self.shared.book().reply = Some(Reply::FunctionError(error));
    }

    /// From now on Lambda itself refuses, with an error of this kind.
    pub fn refuse_with(&self, status: StatusCode, kind: &'static str) {
        self.shared.book().reply = Some(Reply::Refusal { status, kind });
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics while it holds the book")
    }
}

async fn invoke(
    State(shared): State<Arc<Shared>>,
    Path(function): Path<String>,
    headers: HeaderMap,
    payload: Bytes,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let is_known = function.rsplit(':').next() == Some(&shared.name);
    let reply = {
        let mut book = shared.book();
        book.invoked.push(Invoked {
            function,
            invocation_type: text("x-amz-invocation-type"),
            is_signed: text("authorization").is_some_and(|it| it.starts_with("AWS4-HMAC-SHA256 ")),
            payload: String::from_utf8_lossy(&payload).into_owned(),
        });
        book.reply.clone()
    };
    match reply {
        Some(Reply::Answer(answer)) => Json(answer).into_response(),
        Some(Reply::FunctionError(error)) => function_error(&error),
        Some(Reply::Refusal { status, kind }) => refusal(status, kind, "It is meant to refuse."),
        None if is_known => shared.work(payload).await,
        None => refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", "Function not found."),
    }
}

fn function_error(error: &Value) -> Response {
    ([("x-amz-function-error", "Unhandled")], Json(error)).into_response()
}

fn refusal(status: StatusCode, kind: &'static str, message: &str) -> Response {
    let body = json!({"Type": "User", "Message": message});
    (status, [("x-amzn-errortype", kind)], Json(body)).into_response()
}

impl Shared {
    async fn work(&self, payload: Bytes) -> Response {
        let Ok(answer) = self.http.post(&self.route).body(payload).send().await else {
            return StatusCode::BAD_GATEWAY.into_response();
        };
        let is_done = answer.status().is_success();
        let body: Value = answer.json().await.unwrap_or_default();
        if is_done {
            return Json(body).into_response();
        }
        function_error(&json!({"errorType": error_type(&body["type"]), "errorMessage": body["detail"]}))
    }
}

/// `urn:patchbay:problem:in-progress` as `InProgress`.
fn error_type(kind: &Value) -> String {
    let slug = kind.as_str().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default();
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    slug.split('-').filter(|word| !word.is_empty()).map(capital).collect()
}
