//! The fault layer: a reverse proxy between the functions and the `DynamoDB` engine.
//!
//! It speaks HTTP/1.1 on both sides, counts what arrives by operation, and does to the next matching
//! request whatever a test has scripted. A request that was read whole and is meant to be applied goes on
//! to the engine even when its client leaves meanwhile, as it would at AWS.
//!
//! While the store is down nothing is read and nothing is counted. `wait_for` counts what the engine
//! answered, well or badly; it starts at zero again with `reset_counts`.

mod access;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// None: applied, and answered. Stands for a request that comes before the one that is meant.
    Pass,
    /// Not applied; the connection is closed without an answer.
    Refuse,
    /// Not applied; 400 `ThrottlingException`.
    Throttle,
    /// Not applied; 500 `InternalServerError`.
    InternalError,
    /// Not applied; 400 `TransactionConflictException`, or for a transaction a
    /// `TransactionCanceledException` which names a conflict for each of its items.
    Conflict,
    /// Applied; the answer is thrown away and the connection closed.
    ApplyThenDrop,
    /// Applied; the answer is held until `release_stalled`, or until the client leaves.
    ApplyThenStall,
    /// Not applied, ever; held until `release_stalled` closes the connection, or until the client leaves.
    Stall,
    /// Applied; answered with 200 and a body that is no JSON.
    Garble,
}

/// A running proxy. Clones share it; it ends with the last of them.
#[derive(Clone)]
pub struct FaultyStore {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: Arc<JoinSet<()>>,
}

impl FaultyStore {
    /// Listens on a free port of the loopback address, in front of the engine at `engine_url`.
    pub async fn in_front_of(engine_url: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let engine = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(std::io::Error::other)?;
        let shared = Arc::new(Shared {
            engine,
            engine_url: engine_url.trim_end_matches('/').to_owned(),
            script: Mutex::default(),
            counted: Notify::new(),
            released: Notify::new(),
            down: watch::Sender::new(false),
        });

        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _server: Arc::new(server) })
    }

    /// Where the functions find their store.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that arrived since the start or the last reset, by operation.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.shared.script().arrived.clone()
    }

    /// Requests that arrived since the start or the last reset.
    #[must_use]
    pub fn total(&self) -> usize {
        self.shared.script().arrived.values().sum()
    }

    /// What the requests so far did, and to what: the permission IAM asks for, with what the item's partition key begins with
    /// (`claim#`), or the index (`index/due`).
    #[must_use]
    pub fn accesses(&self) -> BTreeSet<(String, String)> {
        self.shared.script().accesses.clone()
    }

    /// Counts from zero again, for `wait_for` as well. Scripted faults stay.
    pub fn reset_counts(&self) {
        let mut script = self.shared.script();
        script.arrived.clear();
        script.answered.clear();
        script.accesses.clear();
    }

    /// Scripts a fault for the next request of an operation (`"*"`: of any), after those scripted before.
    pub fn fault(&self, operation: &str, fault: StoreFault) {
        self.fault_times(operation, fault, 1);
    }

    /// Scripts the same fault for several requests.
    pub fn fault_times(&self, operation: &str, fault: StoreFault, times: usize) {
        let faults = std::iter::repeat_n((operation.to_owned(), fault), times);
        self.shared.script().faults.extend(faults);
    }

    /// Faults that no request has met yet, in order, with their operation.
    #[must_use]
    pub fn faults_left(&self) -> Vec<(String, StoreFault)> {
        self.shared.script().faults.iter().cloned().collect()
    }

    /// Forgets the faults that no request has met yet. What is held stays held.
    pub fn clear_faults(&self) {
        self.shared.script().faults.clear();
    }

    /// Closes every connection, and each new one at once, until `up`.
    pub fn down(&self) {
        self.shared.set_down(true);
    }

    /// Ends `down`.
    pub fn up(&self) {
        self.shared.set_down(false);
    }

    /// Lets go of all that is held: `Stall` then closes the connection, `ApplyThenStall` answers.
    pub fn release_stalled(&self) {
        self.shared.released.notify_waiters();
    }

    /// Resolves once the engine has answered `n` requests of an operation (`"*"`: of any).
    ///
    /// # Panics
    ///
    /// After a minute, with the counts.
    pub async fn wait_for(&self, operation: &str, n: usize) {
        self.wait_until("answered", operation, n, |script| &script.answered).await;
    }

    /// Resolves once `n` requests of an operation (`"*"`: of any) have arrived, whatever becomes of them.
    ///
    /// # Panics
    ///
    /// After a minute, with the counts.
    pub async fn wait_for_arrivals(&self, operation: &str, n: usize) {
        self.wait_until("arrived", operation, n, |script| &script.arrived).await;
    }

    async fn wait_until(
        &self,
        what: &str,
        operation: &str,
        n: usize,
        counts: fn(&Script) -> &BTreeMap<String, usize>,
    ) {
        let enough = async {
            loop {
                let counted = self.shared.counted.notified();
                if count(counts(&self.shared.script()), operation) >= n {
                    return;
                }
                counted.await;
            }
        };
        if tokio::time::timeout(PATIENCE, enough).await.is_err() {
            let counts = counts(&self.shared.script()).clone();
            panic!("waited for {n} {operation} to have {what}; so far: {counts:?}");
        }
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// How long a wait may take before the test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the operation of a request is called that names none.
const NO_OPERATION: &str = "(none)";

struct Shared {
    engine: reqwest::Client,
    engine_url: String,
    script: Mutex<Script>,
    /// Rings whenever a count rises.
    counted: Notify,
    released: Notify,
    down: watch::Sender<bool>,
}

#[derive(Default)]
struct Script {
    arrived: BTreeMap<String, usize>,
    answered: BTreeMap<String, usize>,
    accesses: BTreeSet<(String, String)>,
    faults: VecDeque<(String, StoreFault)>,
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("nothing panics while it holds the script")
    }

    fn set_down(&self, down: bool) {
        self.down.send_if_modified(|was| std::mem::replace(was, down) != down);
    }

    /// Counts a request that arrived, and says what is to happen to it.
    fn arrive(&self, operation: &str) -> Option<StoreFault> {
        let mut script = self.script();
        *script.arrived.entry(operation.to_owned()).or_default() += 1;
        let matching =
            script.faults.iter().position(|(scripted, _)| scripted == "*" || scripted == operation);
        let fault = matching.and_then(|position| script.faults.remove(position)).map(|(_, fault)| fault);
        drop(script);

        self.counted.notify_waiters();
        fault
    }

    fn accessed(&self, accesses: Vec<(String, String)>) {
        self.script().accesses.extend(accesses);
    }

    fn answered(&self, operation: &str) {
        *self.script().answered.entry(operation.to_owned()).or_default() += 1;
        self.counted.notify_waiters();
    }
}

fn count(counts: &BTreeMap<String, usize>, operation: &str) -> usize {
    if operation == "*" { counts.values().sum() } else { counts.get(operation).copied().unwrap_or(0) }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that is gone before it was accepted is no concern of ours.
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let mut down = shared.down.subscribe();
                if !*down.borrow_and_update() {
                    connections.spawn(converse(stream, down, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until either side ends it or the store goes down.
async fn converse(stream: TcpStream, mut down: watch::Receiver<bool>, shared: Arc<Shared>) {
    let answer = service_fn(|request| answer(request, Arc::clone(&shared)));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    tokio::select! {
        biased;
        _ = down.changed() => {}
        // The error, if any, is the cut that a test asked for, or a client that left.
        _ = connection => {}
    }
}

/// hyper closes the connection, without a word, when its service returns an error.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl std::error::Error for Cut {}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Cut> {
    if *shared.down.borrow() {
        return Err(Cut);
    }
    // Before the request is counted, so that a test which saw it arrive can release it.
    let released = shared.released.notified();
    let operation = operation_of(request.headers());
    let fault = shared.arrive(&operation);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    shared.accessed(access::of(&operation, &body));

    let forward = || forward(Arc::clone(&shared), operation.clone(), head, body.clone());
    match fault {
        None | Some(StoreFault::Pass) => forward().await,
        Some(StoreFault::Refuse) => Err(Cut),
        Some(StoreFault::Throttle) => {
            let message = "Rate of requests exceeds the allowed throughput.";
            Ok(error(StatusCode::BAD_REQUEST, &refusal("ThrottlingException", message)))
        }
        Some(StoreFault::InternalError) => {
            let body = refusal("InternalServerError", "Internal server error");
            Ok(error(StatusCode::INTERNAL_SERVER_ERROR, &body))
        }
        Some(StoreFault::Conflict) => Ok(error(StatusCode::BAD_REQUEST, &conflict(&body))),
        Some(StoreFault::ApplyThenDrop) => {
            forward().await?;
            Err(Cut)
        }
        Some(StoreFault::ApplyThenStall) => {
            let answer = forward().await?;
            released.await;
            Ok(answer)
        }
        Some(StoreFault::Stall) => {
            released.await;
            Err(Cut)
        }
        Some(StoreFault::Garble) => {
            forward().await?;
            Ok(dynamodb_json(StatusCode::OK, Bytes::from_static(br#"{"Attributes":{"pk":{"S":"#)))
        }
    }
}

/// The part of `X-Amz-Target: DynamoDB_20120810.UpdateItem` after the dot.
fn operation_of(headers: &HeaderMap) -> String {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit_once('.')).map(|(_, operation)| operation);
    operation.unwrap_or(NO_OPERATION).to_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "what was read whole is applied, whether or not its client waits"
)]
async fn forward(
    shared: Arc<Shared>,
    operation: String,
    head: http::request::Parts,
    body: Bytes,
) -> Result<Response<Full<Bytes>>, Cut> {
    let exchange = tokio::spawn(async move {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", shared.engine_url);
        // `Host` goes along as it came: the signature covers it.
        let request = shared.engine.request(head.method, url).headers(end_to_end(head.headers)).body(body);
        let response = request.send().await.map_err(|_| Cut)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|_| Cut)?;
        shared.answered(&operation);

        let mut answer = Response::new(Full::new(body));
        *answer.status_mut() = status;
        *answer.headers_mut() = end_to_end(headers);
        Ok(answer)
    });
    exchange.await.map_err(|_| Cut)?
}

/// Drops what belongs to one connection only (RFC 9110, section 7.6.1), and the length: the body tells it.
pub(crate) fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let always =
        ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];
    for name in named.iter().map(String::as_str).chain(always).chain(["content-length"]) {
        headers.remove(name);
    }
    headers
}

fn conflict(request: &[u8]) -> Value {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let ongoing = "Transaction is ongoing for the item";
    let Some(items) = request["TransactItems"].as_array() else {
        return refusal("TransactionConflictException", ongoing);
    };
    let codes = vec!["TransactionConflict"; items.len()].join(", ");
    let reason = json!({ "Code": "TransactionConflict", "Message": ongoing });
    json!({
        "__type": exception("TransactionCanceledException"),
        "CancellationReasons": vec![reason; items.len()],
        "Message": format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
        ),
    })
}

fn refusal(name: &str, message: &str) -> Value {
    json!({ "__type": exception(name), "message": message })
}

fn exception(name: &str) -> String {
    format!("com.amazonaws.dynamodb.v20120810#{name}")
}

fn error(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    dynamodb_json(status, Bytes::from(body.to_string()))
}

fn dynamodb_json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    headers.insert("x-amzn-requestid", HeaderValue::from_static("STORE0FAULT0INJECTED0BY0THE0TEST0HARNESS"));
    answer
}
