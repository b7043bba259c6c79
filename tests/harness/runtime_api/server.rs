//! The Runtime API itself: the routes, and the one invocation that is in hand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::{Answer, Deadline, Invocation};

/// What one process and its Runtime API say to each other.
#[derive(Debug)]
pub(super) struct Api {
    function: String,
    started: Instant,
    state: watch::Sender<()>,
    dialogue: Mutex<Dialogue>,
}

impl Api {
    pub(super) fn new(function: &str, started: Instant) -> Self {
        Self {
            function: function.to_owned(),
            started,
            state: watch::Sender::new(()),
            dialogue: Mutex::default(),
        }
    }

    /// The receiver gets the answer; nothing, when the binary gives the invocation up.
    pub(super) fn enqueue(&self, invocation: Invocation) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let mut dialogue = self.dialogue();
        if !dialogue.ended {
            dialogue.waiting.push_back((invocation, reply));
        }
        drop(dialogue);
        self.state.send_replace(());
        answer
    }

    /// The process is gone: nobody answers any more.
    pub(super) fn end(&self) {
        let mut dialogue = self.dialogue();
        dialogue.ended = true;
        dialogue.in_hand = None;
        dialogue.waiting.clear();
        drop(dialogue);
        self.state.send_replace(());
    }

    pub(super) fn init_error(&self) -> Option<Value> {
        self.dialogue().init_error.clone()
    }

    pub(super) fn first_poll_after(&self) -> Option<Duration> {
        self.dialogue().first_poll
    }

    /// Resolves at the first poll, or without one when the process has ended.
    pub(super) async fn polled(&self) -> Option<Duration> {
        let mut state = self.state.subscribe();
        loop {
            let (first_poll, ended) = {
                let dialogue = self.dialogue();
                (dialogue.first_poll, dialogue.ended)
            };
            if first_poll.is_some() || ended {
                return first_poll;
            }
            state.changed().await.expect("the sender is ours");
        }
    }

    /// The binary is ready for more: whatever it still had in hand, it will not answer.
    fn poll(&self) {
        let mut dialogue = self.dialogue();
        dialogue.in_hand = None;
        dialogue.first_poll.get_or_insert_with(|| self.started.elapsed());
        drop(dialogue);
        self.state.send_replace(());
    }

    fn hand_over(&self) -> Option<Response> {
        let mut dialogue = self.dialogue();
        let (invocation, reply) = dialogue.waiting.pop_front()?;
        let id = invocation.request_id.clone().unwrap_or_else(fresh_id);
        let response = self.present(&id, invocation);
        dialogue.in_hand = Some((id, reply));
        Some(response)
    }

    fn present(&self, id: &str, invocation: Invocation) -> Response {
        let mut response = Response::new(Body::from(invocation.payload));
        let headers = response.headers_mut();
        let mut set = |name: &'static str, value: &str| {
            let value =
                HeaderValue::from_bytes(value.as_bytes()).expect("the test chose a value a header can hold");
            headers.insert(name, value);
        };
        set("content-type", "application/json");
        set("lambda-runtime-aws-request-id", id);
        set("lambda-runtime-invoked-function-arn", &function_arn(&self.function));
        if let Some(trace) = invocation.trace {
            set("lambda-runtime-trace-id", &trace);
        }
        match invocation.deadline {
            Deadline::In(left) => {
                set("lambda-runtime-deadline-ms", &(since_1970() + left).as_millis().to_string());
            }
            Deadline::At(ms) => set("lambda-runtime-deadline-ms", &ms.to_string()),
            Deadline::Missing => {}
        }
        if let Some(raw) = invocation.client_context {
            set("lambda-runtime-client-context", &raw);
        }
        response
    }

    /// Takes the invocation out of the binary's hand, if that is the one it means.
    fn settle(&self, id: &str, answer: Answer) -> Settled {
        let mut dialogue = self.dialogue();
        if dialogue.in_hand.as_ref().is_none_or(|(in_hand, _)| in_hand != id) {
            return Settled::NotInHand;
        }
        if let Some((_, reply)) = dialogue.in_hand.take() {
            // Whoever asked may have stopped listening.
            let _ = reply.send(answer);
        }
        Settled::Answered
    }

    fn dialogue(&self) -> MutexGuard<'_, Dialogue> {
        self.dialogue.lock().expect("nothing panics while it holds the dialogue")
    }
}

#[derive(Debug, Default)]
struct Dialogue {
    waiting: VecDeque<(Invocation, oneshot::Sender<Answer>)>,
    in_hand: Option<(String, oneshot::Sender<Answer>)>,
    first_poll: Option<Duration>,
    init_error: Option<Value>,
    ended: bool,
}

enum Settled {
    Answered,
    NotInHand,
}

/// The largest answer of a synchronous invocation: 6 MB and a hundred bytes.
const LARGEST_ANSWER: usize = 6_291_556;

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

pub(super) async fn serve(listener: TcpListener, api: Arc<Api>) {
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::disable())
        .with_state(api);
    axum::serve(listener, routes).await.expect("axum serves until it is dropped");
}

/// What AWS sets for every function, as far as a binary could look at it.
pub(super) fn environment(function: &str, api: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_LAMBDA_RUNTIME_API", api.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{function}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0123456789abcdef".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "no-secret-at-all".to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
        ("LAMBDA_TASK_ROOT", "/var/task".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned()),
    ]
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    let mut state = api.state.subscribe();
    api.poll();
    loop {
        if let Some(invocation) = api.hand_over() {
            return invocation;
        }
        state.changed().await.expect("the sender is in the state that this handler holds");
    }
}

async fn response(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> Response {
    if body.len() <= LARGEST_ANSWER {
        return acknowledge(&api.settle(&id, Answer::Success(body)));
    }
    let error_type = "Function.ResponseSizeTooLarge";
    let body = json!({
        "errorType": error_type,
        "errorMessage":
            format!("Response payload size exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes)."),
    });
    match api.settle(&id, Answer::Error { error_type_header: Some(error_type.to_owned()), body }) {
        Settled::NotInHand => acknowledge(&Settled::NotInHand),
        Settled::Answered => {
            let message = format!("Exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes).");
            refuse(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
        }
    }
}

async fn error(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let error_type = headers.get("lambda-runtime-function-error-type");
    let error_type_header = error_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    acknowledge(&api.settle(&id, Answer::Error { error_type_header, body: json_or_text(&body) }))
}

async fn init_error(State(api): State<Arc<Api>>, body: Bytes) -> Response {
    api.dialogue().init_error = Some(json_or_text(&body));
    acknowledge(&Settled::Answered)
}

fn acknowledge(settled: &Settled) -> Response {
    match settled {
        Settled::Answered => (StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response(),
        Settled::NotInHand => refuse(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
    }
}

fn refuse(status: StatusCode, error_type: &str, message: &str) -> Response {
    (status, Json(json!({ "errorType": error_type, "errorMessage": message }))).into_response()
}

/// AWS passes on what is no JSON too; a test then sees it as a string.
fn json_or_text(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body)))
}

fn function_arn(function: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}")
}

/// Looks like AWS's, and is another one each time.
fn fresh_id() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    format!("8476a536-e9f4-11e8-9739-{:012x}", LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process is told the time by its machine, and so is its deadline"
)]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("this machine's clock is past 1970")
}
