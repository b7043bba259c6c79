//! A stand-in for Amazon EventBridge on this machine: takes events as `PutEvents` does, keeps them, and shows them.
//!
//! It can be told to refuse single entries, to throttle and to go down.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Error;

/// What a request may hold, as EventBridge counts.
const MAX_BYTES: usize = 1024 * 1024;

/// How many entries a request may have.
const MAX_ENTRIES: usize = 10;

/// A running bus. It stops when this is dropped.
#[derive(Debug)]
pub struct Bus {
    address: SocketAddr,
    state: Arc<Mutex<Book>>,
    server: tokio::sync::Mutex<JoinSet<()>>,
}

/// An event that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Which request it came with, from 1.
    pub request: usize,
    /// `EventBusName`.
    pub bus: String,
    /// `Source`.
    pub source: String,
    /// `DetailType`.
    pub detail_type: String,
    /// `Detail`, as it came.
    pub detail: String,
    /// `Time`, in Unix seconds.
    pub time: Option<f64>,
    /// `TraceHeader`.
    pub trace_header: Option<String>,
}

#[derive(Debug, Default)]
struct Book {
    requests: usize,
    published: Vec<Published>,
    refused_ids: BTreeSet<String>,
    is_throttling: bool,
}

impl Bus {
    /// Opens on a free port of the loopback address.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let bus = Self { address, state: Arc::default(), server: tokio::sync::Mutex::default() };
        bus.serve(listener).await;
        Ok(bus)
    }

    /// An endpoint for any AWS SDK.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was taken, in order.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.book().published.clone()
    }

    /// How many requests came, whatever was answered.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.book().requests
    }

    /// From now on refuses entries whose detail has one of these as its `event_id`, and no others.
    pub fn refuse(&self, event_ids: &[&str]) {
        self.book().refused_ids = event_ids.iter().map(|id| (*id).to_owned()).collect();
    }

    /// From now on refuses every request for coming too fast, or no longer does.
    pub fn throttle(&self, is_throttling: bool) {
        self.book().is_throttling = is_throttling;
    }

    /// Closes the port: from the return on, connections are refused.
    pub async fn go_down(&self) {
        self.server.lock().await.shutdown().await;
    }

    /// Opens the same port again, after [`go_down`](Self::go_down).
    pub async fn come_back(&self) -> Result<(), Error> {
        let listener = TcpListener::bind(self.address).await?;
        self.serve(listener).await;
        Ok(())
    }

    async fn serve(&self, listener: TcpListener) {
        let routes = Router::new()
            .route("/", post(take))
            .layer(DefaultBodyLimit::max(8 * MAX_BYTES))
            .with_state(Arc::clone(&self.state));
        self.server.lock().await.spawn(async move {
            // Accepting goes on through errors; it is ended from outside.
            let _ = axum::serve(listener, routes).await;
        });
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.state)
    }
}

fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(book): State<Arc<Mutex<Book>>>, headers: HeaderMap, body: Bytes) -> Response {
    if headers.get("x-amz-target").is_none_or(|target| target != "AWSEvents.PutEvents") {
        return refused("UnknownOperationException", "This stand-in knows PutEvents only.");
    }
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(entries) = request["Entries"].as_array() else {
        return refused("ValidationException", "Entries are missing.");
    };
    let mut book = locked(&book);
    book.requests += 1;
    if book.is_throttling {
        return refused("ThrottlingException", "Rate exceeded");
    }
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        return refused("ValidationException", "A request has one to ten entries.");
    }
    if entries.iter().map(bytes_of).sum::<usize>() > MAX_BYTES {
        let message = "Total size of the entries in the request is over the limit.";
        return refused("ValidationException", message);
    }
    let results: Vec<Value> = entries.iter().map(|entry| book.keep(entry)).collect();
    let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
    answer(StatusCode::OK, &json!({"FailedEntryCount": failed, "Entries": results}))
}

impl Book {
    /// Keeps an entry and says its id, or why it is not kept.
    fn keep(&mut self, entry: &Value) -> Value {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let detail: Value = serde_json::from_str(&text("Detail")).unwrap_or_default();
        if !detail.is_object() {
            return json!({"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."});
        }
        let detail_type = text("DetailType");
        if detail_type.is_empty() || detail_type.chars().count() > 128 || text("Source").is_empty() {
            return json!({"ErrorCode": "InvalidArgument", "ErrorMessage": "DetailType or Source is not valid."});
        }
        if detail["event_id"].as_str().is_some_and(|id| self.refused_ids.contains(id)) {
            return json!({"ErrorCode": "InternalFailure", "ErrorMessage": "It is meant to fail."});
        }
        self.published.push(Published {
            request: self.requests,
            bus: text("EventBusName"),
            source: text("Source"),
            detail_type,
            detail: text("Detail"),
            time: entry["Time"].as_f64(),
            trace_header: entry["TraceHeader"].as_str().map(str::to_owned),
        });
        json!({"EventId": format!("event-{}", self.published.len())})
    }
}

fn bytes_of(entry: &Value) -> usize {
    let texts = ["Source", "DetailType", "Detail"].map(|name| entry[name].as_str().map_or(0, str::len));
    texts.iter().sum::<usize>() + if entry["Time"].is_null() { 0 } else { 14 }
}

fn refused(name: &str, message: &str) -> Response {
    answer(StatusCode::BAD_REQUEST, &json!({"__type": name, "message": message}))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body.to_string()).into_response()
}
