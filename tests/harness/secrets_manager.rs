//! A stand-in for AWS Secrets Manager: secrets by name, and a count of how often they were read.
//!
//! It speaks the one operation that the functions use. Everything else it passes on to the store behind it,
//! so that one endpoint can serve an SDK that has only one, as the gateway's does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json, Response};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::store::end_to_end;

/// A running stand-in. It ends when this is dropped.
#[derive(Debug)]
pub struct SecretsManager {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

impl SecretsManager {
    /// Listens on a free port of the loopback address, in front of the store at `store_url`.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn in_front_of(store_url: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build();
        let shared = Arc::new(Shared {
            http: http.expect("a client without TLS can be built"),
            store_url: store_url.to_owned(),
            kept: Mutex::default(),
        });
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&shared));
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

    /// Keeps this text under this name from now on.
    pub fn set(&self, id: &str, text: impl Into<String>) {
        self.shared.kept().secrets.insert(id.to_owned(), text.into());
    }

    /// How often a secret was asked for.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.shared.kept().reads
    }
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    store_url: String,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    secrets: BTreeMap<String, String>,
    reads: usize,
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while it holds the secrets")
    }

    fn read(&self, request: &Value) -> Response {
        let mut kept = self.kept();
        kept.reads += 1;
        let id = request["SecretId"].as_str().unwrap_or_default();
        let Some(text) = kept.secrets.get(id) else {
            let message = "Secrets Manager can't find the specified secret.";
            let body = json!({"__type": "ResourceNotFoundException", "Message": message});
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        };
        Json(json!({
            "ARN": id,
            "Name": id,
            "VersionId": "a1b2c3d4-5678-90ab-cdef-example11111",
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": 1_767_225_600,
            "SecretString": text,
        }))
        .into_response()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if target == Some("secretsmanager.GetSecretValue") {
        return shared.read(&serde_json::from_slice(&body).unwrap_or_default());
    }
    let request = shared.http.post(&shared.store_url).headers(end_to_end(head.headers)).body(body);
    let Ok(response) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.unwrap_or_default();
    (status, end_to_end(headers), Body::from(body)).into_response()
}
