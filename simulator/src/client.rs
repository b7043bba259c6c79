//! A client for this crate's own tests: nothing but requests, so that a test says what it sends.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::{Simulator, Surface};

/// A simulator and somebody who calls it.
pub(crate) struct Client {
    pub(crate) simulator: Simulator,
    http: reqwest::Client,
    token: String,
}

impl Client {
    /// Of a new simulator, with a good token.
    pub(crate) async fn start(surface: Surface) -> Self {
        let simulator = Simulator::start(surface).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        let mut client = Self { simulator, http, token: String::new() };
        client.renew().await;
        client
    }

    pub(crate) async fn renew(&mut self) {
        let answer: Value = self.token_request().send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().clone_into(&mut self.token);
    }

    pub(crate) fn token_request(&self) -> RequestBuilder {
        let (id, secret) = self.simulator.credentials();
        self.token_request_as(&id, &secret)
    }

    pub(crate) fn token_request_as(&self, id: &str, secret: &str) -> RequestBuilder {
        let credentials = STANDARD.encode(format!("{id}:{secret}"));
        self.http
            .post(format!("{}/oauth/token", self.simulator.url()))
            .header(AUTHORIZATION, format!("Basic {credentials}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials")
    }

    /// A request with the token and as JSON, to any path.
    pub(crate) fn post(&self, path: &str, body: &str) -> RequestBuilder {
        let request = self.anonymous(path).header(CONTENT_TYPE, "application/json");
        request.bearer_auth(&self.token).body(body.to_owned())
    }

    /// A GET with the token, of any path.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request("GET", path).bearer_auth(&self.token)
    }

    /// A POST with nothing but its path.
    pub(crate) fn anonymous(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.simulator.url())).timeout(Duration::from_secs(30))
    }

    /// Any other method.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{}{path}", self.simulator.url()))
    }

    /// Executes a data action the surface's way.
    pub(crate) fn execute(&self, action: &str, input: &str) -> RequestBuilder {
        match self.simulator.surface() {
            Surface::Platform => self.post(&format!("/api/v2/integrations/actions/{action}/execute"), input),
            Surface::Guide => self.post(&format!("/api/v2/integrations/dataactions/{action}/execute"), input),
        }
    }
}

/// The status and the JSON of an answer.
pub(crate) async fn read(answer: Response) -> (StatusCode, Value) {
    (answer.status(), answer.json().await.unwrap())
}

/// The status of the answer to a request and its JSON.
pub(crate) async fn ask(request: RequestBuilder) -> (StatusCode, Value) {
    read(request.send().await.unwrap()).await
}
