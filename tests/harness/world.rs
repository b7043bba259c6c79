//! One test's world: an engine, the fault layer before it, the simulator, the gateway, and a clock.
//!
//! A test that leaves a call the simulator does not know, or a scripted fault that never struck, fails when its
//! world is dropped: what nobody looked at is not known to be right.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
pub use local::hub_signature;
use local::{Clock, Engine, Gateway, ManualClock, TABLE_NAME};
use serde_json::Value;
use simulator::{Simulator, Surface};

use crate::store::FaultyStore;
use crate::trail;

/// The secret that deliveries are signed with.
pub const WEBHOOK_SECRET: &str = "the-secret-of-this-test";

/// How long a wait may take before the test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything a test needs, running.
pub struct World {
    /// The database behind the fault layer.
    pub engine: Engine,
    /// The fault layer; counts requests.
    pub store: FaultyStore,
    /// In the place of Genesys Cloud; counts effects.
    pub genesys: Simulator,
    /// The functions' routes.
    pub gateway: Gateway,
    /// The functions' clock.
    pub clock: ManualClock,
    http: reqwest::Client,
}

/// What came back over HTTP.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as it was sent.
    pub body: Bytes,
}

impl World {
    /// A world with the settings most tests want.
    pub async fn start(surface: Surface) -> Self {
        Self::with(surface, &[]).await
    }

    /// A world with these environment variables set, or replaced.
    pub async fn with(surface: Surface, variables: &[(&str, &str)]) -> Self {
        let engine = Engine::start(None).await.expect("an engine in memory starts");
        let store = FaultyStore::in_front_of(&engine.url()).await.expect("loopback has a free port");
        let genesys = Simulator::start(surface).await.expect("loopback has a free port");
        let clock = ManualClock::starting_at("2026-11-22T12:00:00Z".parse().expect("a timestamp"));
        let gateway = gateway(&genesys, &store, clock.clock(), variables).await;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client for loopback can be made");
        Self { engine, store, genesys, gateway, clock, http }
    }

    /// A second, cold set of functions on the same store: another instance, with nothing in its memory.
    pub async fn another_instance(&self, variables: &[(&str, &str)]) -> Gateway {
        gateway(&self.genesys, &self.store, self.clock.clock(), variables).await
    }

    /// A second, cold set of functions whose clock is `ahead` of this one's.
    pub async fn another_instance_ahead(&self, ahead: Duration, variables: &[(&str, &str)]) -> Gateway {
        let clock = ManualClock::starting_at(self.clock.clock().now());
        clock.advance(ahead.try_into().expect("a test's clocks are not that far apart"));
        gateway(&self.genesys, &self.store, clock.clock(), variables).await
    }

    /// The settings that reach this world, for a compiled binary; those of `variables` replace them.
    #[must_use]
    pub fn variables(&self, variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut all = settings(&self.genesys, variables);
        all.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), self.store.url());
        all.into_iter().collect()
    }

    /// Lets time pass for the functions; nobody waits.
    pub fn let_pass(&self, time: Duration) {
        self.clock.advance(time.try_into().expect("a test lets less than an aeon pass"));
    }

    /// Invokes a data action over HTTP.
    pub async fn invoke(&self, action: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
        self.invoke_at(&self.gateway, action, headers, body).await
    }

    /// Invokes a data action of another instance over HTTP.
    pub async fn invoke_at(
        &self,
        gateway: &Gateway,
        action: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let url = format!("{}/data-actions/{action}/invocations", gateway.url());
        self.post(&url, headers, body).await
    }

    /// Asks for a transfer over HTTP.
    pub async fn transfer(&self, headers: &[(&str, &str)], body: &Value) -> Response {
        self.transfer_at(&self.gateway, headers, body).await
    }

    /// Asks another instance for a transfer over HTTP.
    pub async fn transfer_at(&self, gateway: &Gateway, headers: &[(&str, &str)], body: &Value) -> Response {
        self.post(&format!("{}/transfers", gateway.url()), headers, body.to_string()).await
    }

    /// Orders retention over HTTP, as on one machine.
    pub async fn retention(&self, order: &Value) -> Response {
        self.retention_at(&self.gateway, order).await
    }

    /// Orders retention of another instance.
    pub async fn retention_at(&self, gateway: &Gateway, order: &Value) -> Response {
        self.post(&format!("{}/retention", gateway.url()), &[], order.to_string()).await
    }

    /// Delivers a webhook, signed as Genesys Cloud signs.
    pub async fn deliver(&self, body: impl Into<Bytes>) -> Response {
        let body = body.into();
        let signature = hub_signature(WEBHOOK_SECRET, &body);
        self.deliver_with(&[("x-hub-signature-256", &signature)], body).await
    }

    /// Delivers a webhook with these headers.
    pub async fn deliver_with(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
        let url = format!("{}/webhooks/genesys", self.gateway.url());
        self.post(&url, headers, body).await
    }

    /// Lets `call` get stuck in a stall that was scripted at Genesys Cloud, and lets go of it after `meanwhile`.
    pub async fn while_stalled<T>(
        &self,
        call: impl Future<Output = Response>,
        meanwhile: impl Future<Output = T>,
    ) -> (Response, T) {
        let both = async {
            tokio::join!(call, async {
                self.genesys.wait_for_stalled(1).await;
                let result = meanwhile.await;
                self.genesys.release_stalled();
                result
            })
        };
        tokio::time::timeout(PATIENCE, both).await.expect("a stall strikes, and its request ends")
    }

    /// Posts anything anywhere.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
        let mut request = self.http.post(url).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("the gateway answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Response { status, headers, body: response.bytes().await.expect("the gateway's answers are whole") }
    }

    /// The items in the table whose sort key begins so (`claim`, `answer#`, `event`, `quarantine`), in
    /// DynamoDB's JSON.
    #[must_use]
    pub fn items(&self, sort_key: &str) -> Vec<Value> {
        let items = self.engine.items().expect("the engine is there");
        items
            .into_iter()
            .filter(|item| item["sk"]["S"].as_str().is_some_and(|sk| sk.starts_with(sort_key)))
            .collect()
    }

    /// The entries of a trail, after checking that it is as it was written.
    #[must_use]
    pub fn trail(&self, name: &str) -> Vec<Value> {
        trail::verified(&self.items(""), name).unwrap_or_else(|fault| panic!("the trail {name}: {fault}"))
    }

    /// The names of all trails.
    #[must_use]
    pub fn trails(&self) -> Vec<String> {
        trail::names(&self.items(""))
    }

    /// Changes the one item with this sort key behind everybody's back.
    pub fn meddle(&self, sort_key: &str, change: impl FnOnce(&mut Value)) {
        let mut items = self.items(sort_key);
        assert_eq!(items.len(), 1, "one item with the sort key {sort_key}: {items:?}");
        change(&mut items[0]);
        self.engine.put(&items[0]).expect("the item is still one");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let anomalies = self.genesys.anomalies();
        assert!(anomalies.is_empty(), "calls that are not in the API: {anomalies:?}");
        let faults = self.store.faults_left();
        assert!(faults.is_empty(), "faults of the store that never struck: {faults:?}");
        let faults = self.genesys.faults_left();
        assert!(faults.is_empty(), "faults of Genesys Cloud that never struck: {faults:?}");
    }
}

impl Response {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The slug of the problem that this is, after checking that the document is a whole one.
    #[must_use]
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status, "{self:?}");
        for member in ["title", "detail"] {
            assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {self:?}");
        }
        assert!(document["retryable"].is_boolean(), "{self:?}");
        assert_eq!(document["retryable"] == true, self.header("retry-after").is_some(), "{self:?}");
        let kind = document["type"].as_str().and_then(|kind| kind.strip_prefix("urn:patchbay:problem:"));
        kind.unwrap_or_else(|| panic!("no type: {self:?}")).to_owned()
    }

    /// Whether it says that it was given before.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

async fn gateway(
    genesys: &Simulator,
    store: &FaultyStore,
    clock: Clock,
    variables: &[(&str, &str)],
) -> Gateway {
    let variables: Vec<_> = settings(genesys, variables).into_iter().collect();
    Gateway::start(&variables, &store.url(), clock, 0).await.expect("the functions start")
}

fn settings(genesys: &Simulator, variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let (client_id, client_secret) = genesys.credentials();
    let (url, surface) = (genesys.url(), genesys.surface().to_string());
    let usual = [
        ("TABLE_NAME", TABLE_NAME),
        ("WEBHOOK_SECRETS", WEBHOOK_SECRET),
        ("GENESYS_API", &surface),
        ("GENESYS_API_URL", &url),
        ("GENESYS_LOGIN_URL", &url),
        ("GENESYS_CLIENT_ID", &client_id),
        ("GENESYS_CLIENT_SECRET", &client_secret),
        ("RETRY_BASE_MS", "1"),
        ("RETENTION_POLL_BASE_MS", "1"),
    ];
    let all = usual.iter().chain(variables);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
