//! Tokens by client credentials, the way both surfaces accept: the credentials in a Basic header, nothing but
//! the grant type in the form.
//!
//! An error here has `OAuth`'s form, not the API's. Of permissions nothing is simulated but the client's role, which
//! may do everything until an operation is forbidden to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;

use crate::api::Refusal;
use crate::faults::under_fault;
use crate::surface::Operation;
use crate::world::World;

/// `POST /oauth/token`.
pub(crate) async fn token(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    check_form(&uri, &headers, &body)?;
    let (id, secret) = basic_credentials(&headers)?;
    world.state().oauth.check(&id, &secret)?;
    world.state().oauth.permits(Operation::Token)?;

    let issue = async {
        let token = world.uuid();
        let expires_in = world.state().oauth.issue(&token);
        Json(json!({ "access_token": token, "token_type": "bearer", "expires_in": expires_in }))
            .into_response()
    };
    Ok(under_fault(&world, Operation::Token, None, issue).await)
}

/// The bearer token of a request for this operation, if it is good now and the role of its client permits that.
pub(crate) fn authorized(
    world: &World,
    headers: &HeaderMap,
    operation: Operation,
) -> Result<String, Refusal> {
    let token = bearer(world, headers)?;
    world.state().oauth.permits(operation)?;
    Ok(token)
}

/// The bearer token of an API request, if it is good now.
pub(crate) fn bearer(world: &World, headers: &HeaderMap) -> Result<String, Refusal> {
    let unauthorized = |code, message| Refusal::new(StatusCode::UNAUTHORIZED, code, message);
    let Some(token) = credentials_of(headers, "bearer") else {
        return Err(unauthorized("authentication.required", "no bearer token in the Authorization header"));
    };
    if !world.state().oauth.is_good(token) {
        return Err(unauthorized("bad.credentials", "the bearer token is unknown or has expired"));
    }
    Ok(token.to_owned())
}

fn check_form(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    let breach = |what: &str| Err(Refusal::breach(StatusCode::BAD_REQUEST, what).code("invalid_request"));
    if uri.query().is_some() {
        return breach("a token request has no query");
    }
    if !has_content_type(headers, "application/x-www-form-urlencoded") {
        return breach(
            "a token request is a form: its content type must be application/x-www-form-urlencoded",
        );
    }
    let fields: Vec<&[u8]> = body.split(|byte| *byte == b'&').collect();
    if fields.iter().any(|field| field.starts_with(b"client_id=") || field.starts_with(b"client_secret=")) {
        return breach("the credentials belong into a Basic Authorization header, not into the form");
    }
    match fields.as_slice() {
        [b"grant_type=client_credentials"] => Ok(()),
        _ => breach("the form of a token request is grant_type=client_credentials and nothing else"),
    }
}

fn basic_credentials(headers: &HeaderMap) -> Result<(String, String), Refusal> {
    let read = || {
        let pair = STANDARD.decode(credentials_of(headers, "basic")?).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (id, secret) = pair.split_once(':')?;
        Some((id.to_owned(), secret.to_owned()))
    };
    read().ok_or_else(|| {
        Refusal::breach(StatusCode::UNAUTHORIZED, "no readable Basic credentials in the Authorization header")
    })
}

/// What follows the name of an authentication scheme, which is written in any case.
fn credentials_of<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (name, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

/// Whether the content type is this one, with any parameters.
pub(crate) fn has_content_type(headers: &HeaderMap, expected: &str) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected)
}

/// The one client there is, and the tokens it was given.
pub(crate) struct Oauth {
    id: String,
    secret: String,
    lifetime: Duration,
    /// Each token with its birth and its life, until it is forgotten.
    tokens: HashMap<String, (Instant, Duration)>,
    forbidden: HashSet<Operation>,
}

impl Default for Oauth {
    fn default() -> Self {
        Self {
            id: "simulated-client".to_owned(),
            secret: "simulated-secret".to_owned(),
            lifetime: Duration::from_hours(24),
            tokens: HashMap::new(),
            forbidden: HashSet::new(),
        }
    }
}

impl Oauth {
    pub(crate) fn credentials(&self) -> (String, String) {
        (self.id.clone(), self.secret.clone())
    }

    pub(crate) fn set_credentials(&mut self, id: &str, secret: &str) {
        id.clone_into(&mut self.id);
        secret.clone_into(&mut self.secret);
    }

    pub(crate) fn set_lifetime(&mut self, seconds: u64) {
        self.lifetime = Duration::from_secs(seconds);
    }

    pub(crate) fn forget(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    pub(crate) fn forget_all(&mut self) {
        self.tokens.clear();
    }

    pub(crate) fn forbid(&mut self, operation: Operation) {
        self.forbidden.insert(operation);
    }

    pub(crate) fn permit(&mut self, operation: Operation) {
        self.forbidden.remove(&operation);
    }

    fn permits(&self, operation: Operation) -> Result<(), Refusal> {
        if self.forbidden.contains(&operation) {
            let message = format!("simulated: the role of this client lacks the permission to {operation}");
            // A token endpoint has no such code, and says in its own words that the client may not.
            let code =
                if operation == Operation::Token { "unauthorized_client" } else { "missing.permissions" };
            return Err(Refusal::new(StatusCode::FORBIDDEN, code, message));
        }
        Ok(())
    }

    fn check(&self, id: &str, secret: &str) -> Result<(), Refusal> {
        if id != self.id {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid_client", "no such client"));
        }
        if secret != self.secret {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "invalid_client", "wrong secret"));
        }
        Ok(())
    }

    /// Makes this a good token; returns its life in seconds.
    fn issue(&mut self, token: &str) -> u64 {
        self.tokens.insert(token.to_owned(), (Instant::now(), self.lifetime));
        self.lifetime.as_secs()
    }

    fn is_good(&self, token: &str) -> bool {
        self.tokens.get(token).is_some_and(|(birth, life)| birth.elapsed() < *life)
    }
}

#[cfg(test)]
mod tests;
