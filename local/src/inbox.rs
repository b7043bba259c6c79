//! A subscriber on this machine: takes the notices that are sent to it, checks who signed them, and shows them.
//!
//! It can be told to refuse, to fall silent and to go down, which is what subscribers do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::secret::SecretString;
use shared::webhook::signature;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Error;

/// A running subscriber. It stops when this is dropped.
#[derive(Debug)]
pub struct Inbox {
    address: SocketAddr,
    desk: Desk,
    server: tokio::sync::Mutex<JoinSet<()>>,
}

/// One notice that arrived, whatever was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// `webhook-id`, if it came with one.
    pub id: Option<String>,
    /// `webhook-timestamp`: when it was sent, in Unix seconds.
    pub sent_at: Option<i64>,
    /// All headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// What it says.
    pub body: String,
    /// Whether the secret that this subscriber knows signed it, within the last five minutes.
    pub is_verified: bool,
    /// Whether one with this id was here before.
    pub is_repeated: bool,
}

/// How notices are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manner {
    Answer { status: StatusCode, retry_after: Option<String> },
    Hang,
}

impl Inbox {
    /// Opens on a free port of the loopback address. The secret is what notices should be signed with; the clock
    /// says whether their signatures are still good.
    pub async fn start(secret: &str, clock: Clock) -> Result<Self, Error> {
        let desk = Desk {
            secrets: Arc::new([SecretString::from(secret)]),
            clock,
            state: Arc::new(Mutex::new(Pile { received: Vec::new(), manner: accepting() })),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let inbox = Self { address, desk, server: tokio::sync::Mutex::default() };
        inbox.serve(listener).await;
        Ok(inbox)
    }

    /// Where notices are taken (POST) and shown (GET, as JSON).
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What arrived, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.desk.pile().received.clone()
    }

    /// From now on answers this. It begins with 200.
    pub fn answer_with(&self, status: StatusCode) {
        self.desk.pile().manner = Manner::Answer { status, retry_after: None };
    }

    /// From now on answers this, and asks to be left alone for as long as `retry_after` says.
    pub fn answer_with_retry_after(&self, status: StatusCode, retry_after: &str) {
        self.desk.pile().manner = Manner::Answer { status, retry_after: Some(retry_after.to_owned()) };
    }

    /// From now on takes notices and never answers.
    pub fn hang(&self) {
        self.desk.pile().manner = Manner::Hang;
    }

    /// Closes the port: from the return on, connections are refused.
    pub async fn go_down(&self) {
        self.server.lock().await.shutdown().await;
    }

    /// Opens the same port again, after [`go_down`](Self::go_down).
    pub async fn come_back(&self) -> Result<(), Error> {
        let listener = TcpListener::bind(self.address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => Error::PortTaken { port: self.address.port() },
            _ => Error::Network(error),
        })?;
        self.serve(listener).await;
        Ok(())
    }

    async fn serve(&self, listener: TcpListener) {
        let routes = Router::new().route("/", get(show).post(take)).with_state(self.desk.clone());
        self.server.lock().await.spawn(async move {
            // Accepting goes on through errors; it is ended from outside.
            let _ = axum::serve(listener, routes).await;
        });
    }
}

/// What the routes share with their [`Inbox`].
#[derive(Clone, Debug)]
struct Desk {
    secrets: Arc<[SecretString; 1]>,
    clock: Clock,
    state: Arc<Mutex<Pile>>,
}

#[derive(Debug)]
struct Pile {
    received: Vec<Received>,
    manner: Manner,
}

impl Desk {
    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a notice and says how to answer it.
    fn keep(&self, headers: &HeaderMap, body: &[u8]) -> Manner {
        let is_verified = signature::is_signed(headers, body, &*self.secrets, self.clock.now());
        let id = text(headers, signature::ID);
        let mut pile = self.pile();
        let is_repeated = id.is_some() && pile.received.iter().any(|earlier| earlier.id == id);
        pile.received.push(Received {
            id,
            sent_at: text(headers, signature::TIMESTAMP).and_then(|seconds| seconds.parse().ok()),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_string(), lossy(value.as_bytes())))
                .collect(),
            body: lossy(body),
            is_verified,
            is_repeated,
        });
        pile.manner.clone()
    }
}

async fn take(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    match desk.keep(&headers, &body) {
        Manner::Answer { status, retry_after: None } => status.into_response(),
        Manner::Answer { status, retry_after: Some(wait) } => {
            (status, [(header::RETRY_AFTER, wait)]).into_response()
        }
        Manner::Hang => std::future::pending().await,
    }
}

async fn show(State(desk): State<Desk>) -> Response {
    let received: Vec<Value> = desk.pile().received.iter().map(shown).collect();
    ([(header::CONTENT_TYPE, "application/json")], Value::from(received).to_string()).into_response()
}

fn shown(received: &Received) -> Value {
    let body = serde_json::from_str(&received.body).unwrap_or_else(|_| Value::from(received.body.as_str()));
    json!({
        "id": received.id,
        "sentAt": received.sent_at,
        "verified": received.is_verified,
        "repeated": received.is_repeated,
        "headers": received.headers,
        "body": body,
    })
}

fn accepting() -> Manner {
    Manner::Answer { status: StatusCode::OK, retry_after: None }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| lossy(value.as_bytes()))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::webhook::outbound::{self, Delivery, Failure, Outbound, Sent};
    use shared::webhook::signature::SigningSecret;
    use tokio::time::Instant;

    use super::*;

    const SECRET: &str = "a-secret-for-this-machine-only";

    fn signing_with(secret: &str) -> Outbound {
        let signing_secrets = vec![SigningSecret::read(secret).unwrap()];
        Outbound::new(outbound::Settings { signing_secrets, allow_private: true }).unwrap()
    }

    async fn send(outbound: &Outbound, inbox: &Inbox, id: &str, patience: Duration) -> Sent {
        let body = br#"{"status":"completed"}"#;
        let delivery = Delivery { id, url: &inbox.url(), headers: &[], body };
        outbound.send(delivery, Clock::system().now(), Instant::now() + patience).await
    }

    #[tokio::test]
    async fn it_tells_who_signed_what_and_what_was_here_before() {
        let inbox = Inbox::start(SECRET, Clock::system()).await.unwrap();
        for (secret, id) in [(SECRET, "notice_1"), (SECRET, "notice_1"), ("another", "notice_2")] {
            let sent = send(&signing_with(secret), &inbox, id, Duration::from_secs(5)).await;
            assert_eq!(sent, Sent::Delivered { status: 200 });
        }
        let received = inbox.received();
        let seen: Vec<_> =
            received.iter().map(|it| (it.id.as_deref(), it.is_verified, it.is_repeated)).collect();
        let (first, second) = (Some("notice_1"), Some("notice_2"));
        assert_eq!(seen, [(first, true, false), (first, true, true), (second, false, false)]);
        assert_eq!(received[0].body, r#"{"status":"completed"}"#);
        assert!(received[0].sent_at.is_some());

        let shown = reqwest::Client::builder().no_proxy().build().unwrap().get(inbox.url()).send().await;
        let shown: Value = shown.unwrap().json().await.unwrap();
        assert_eq!(shown[1]["repeated"], true);
        assert_eq!(shown[2]["body"]["status"], "completed");
    }

    #[tokio::test]
    async fn it_refuses_falls_silent_goes_down_and_recovers() {
        let inbox = Inbox::start(SECRET, Clock::system()).await.unwrap();
        let outbound = signing_with(SECRET);
        let patience = Duration::from_secs(5);
        inbox.answer_with_retry_after(StatusCode::SERVICE_UNAVAILABLE, "7");
        let busy = Failure::Answered { status: 503, retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(send(&outbound, &inbox, "notice_1", patience).await, Sent::Failed(busy));
        inbox.answer_with(StatusCode::GONE);
        assert_eq!(send(&outbound, &inbox, "notice_1", patience).await, Sent::Gone);
        inbox.hang();
        let sent = send(&outbound, &inbox, "notice_1", Duration::from_millis(200)).await;
        assert_eq!(sent, Sent::Failed(Failure::TimedOut));
        assert_eq!(inbox.received().len(), 3);
        inbox.go_down().await;
        let sent = send(&outbound, &inbox, "notice_1", patience).await;
        assert!(matches!(sent, Sent::Failed(Failure::Unreachable(_))), "{sent:?}");
        inbox.come_back().await.unwrap();
        inbox.answer_with(StatusCode::OK);
        assert_eq!(send(&outbound, &inbox, "notice_1", patience).await, Sent::Delivered { status: 200 });
        assert_eq!(inbox.received().len(), 4);
    }
}
