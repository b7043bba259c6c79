//! The door every API request goes through, and what is behind it on each surface.
//!
//! At the door a request is recorded, held against the published shapes, and its answer is dressed: a correlation
//! id, the rate-limit headers, and the surface's own form of an error. What no correct client would have sent becomes
//! an anomaly here, whoever noticed it. The control panel has no door.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::surface::{Operation, Surface};
use crate::transfers::{Party, TransferKind};
use crate::world::{Anomaly, SeenRequest, World};
use crate::{
    control, conversations, data_actions, directory, faults, oauth, published, retention, transfers,
};

const TOKEN: &str = "/oauth/token";
const PLATFORM_EXECUTE: &str = "/api/v2/integrations/actions/{id}/execute";
const GUIDE_EXECUTE: &str = "/api/v2/integrations/dataactions/{id}/execute";
const GUIDE_INVOKE: &str = "/api/v2/dataactions/actions/{id}/invoke";

const PLATFORM_CALL: &str = "/api/v2/conversations/calls/{id}";
const GUIDE_CONVERSATIONS: &str = "/api/v2/conversations";
const QUEUE: &str = "/api/v2/routing/queues/{id}";
const USER: &str = "/api/v2/users/{id}";
const PRESENCE: &str = "/api/v2/users/{id}/presences/purecloud";
const ROUTING_STATUS: &str = "/api/v2/users/{id}/routingstatus";

const REPLACE_AGENT: &str = "/api/v2/conversations/{id}/participants/{participant}/replace/agent";
const REPLACE_QUEUE: &str = "/api/v2/conversations/{id}/participants/{participant}/replace/queue";
const TRANSFER: &str = "/api/v2/conversations/{id}/participants/{participant}/transfer";
const CONSULT_AGENT: &str = "/api/v2/conversations/calls/{id}/participants/{participant}/consult/agent";
const CONSULT_QUEUE: &str = "/api/v2/conversations/calls/{id}/participants/{participant}/consult/queue";
const VOICE_CONSULT: &str = "/api/v2/conversations/calls/{id}/participants/{participant}/voice/consult";
const GUIDE_EVENTS: &str = "/api/v2/interactions/events/conversations";

const PLATFORM_POLICIES: &str = "/api/v2/recording/mediaretentionpolicies";
const PLATFORM_POLICY: &str = "/api/v2/recording/mediaretentionpolicies/{id}";
const RETENTION_SETTINGS: &str = "/api/v2/analytics/dataretention/settings";
const GUIDE_POLICIES: &str = "/api/v2/datamanagement/retention/policies";
const GUIDE_JOB: &str = "/api/v2/datamanagement/jobs/{id}";

/// Requests a minute and token, as documented; announced, never enforced.
const REQUESTS_A_MINUTE: u64 = 300;

/// Everything that is answered: one surface, and the control panel.
pub(crate) fn router(world: &Arc<World>) -> Router {
    surface(world.surface)
        .route(TOKEN, post(oauth::token))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(middleware::from_fn_with_state(Arc::clone(world), door))
        .layer(DefaultBodyLimit::disable())
        .nest("/_simulator", control::panel())
        .with_state(Arc::clone(world))
}

fn surface(surface: Surface) -> Router<Arc<World>> {
    match surface {
        Surface::Platform => Router::new()
            .route(PLATFORM_EXECUTE, post(data_actions::execute))
            .route(PLATFORM_CALL, get(conversations::one))
            .route(QUEUE, get(directory::queue))
            .route(USER, get(directory::user))
            .route(PRESENCE, get(directory::presence))
            .route(ROUTING_STATUS, get(directory::routing_status))
            .route(REPLACE_AGENT, transfers::routed(TransferKind::Blind, Party::User))
            .route(REPLACE_QUEUE, transfers::routed(TransferKind::Blind, Party::Queue))
            .route(TRANSFER, transfers::routed(TransferKind::Blind, Party::Address))
            .route(CONSULT_AGENT, transfers::routed(TransferKind::Consult, Party::User))
            .route(CONSULT_QUEUE, transfers::routed(TransferKind::Consult, Party::Queue))
            .route(VOICE_CONSULT, transfers::routed(TransferKind::Consult, Party::Address))
            .route(PLATFORM_POLICIES, get(retention::list).post(retention::create_on_platform))
            .route(PLATFORM_POLICY, retention::one_on_platform())
            .route(RETENTION_SETTINGS, get(retention::settings)),
        Surface::Guide => Router::new()
            .route(GUIDE_EXECUTE, post(data_actions::execute))
            .route(GUIDE_INVOKE, post(data_actions::invoke))
            .route(GUIDE_CONVERSATIONS, get(conversations::all))
            .route(QUEUE, get(directory::queue))
            .route(GUIDE_EVENTS, post(transfers::post_on_guide))
            .route(GUIDE_POLICIES, get(retention::list).post(retention::create_on_guide))
            .route(GUIDE_JOB, get(retention::job)),
    }
}

fn operation(request: &Parts) -> Option<Operation> {
    let path = request.extensions.get::<MatchedPath>()?.as_str();
    match (request.method.as_str(), path) {
        ("POST", TOKEN) => Some(Operation::Token),
        ("POST", PLATFORM_EXECUTE | GUIDE_EXECUTE | GUIDE_INVOKE) => Some(Operation::ExecuteDataAction),
        (
            "POST",
            REPLACE_AGENT | REPLACE_QUEUE | TRANSFER | CONSULT_AGENT | CONSULT_QUEUE | VOICE_CONSULT
            | GUIDE_EVENTS,
        ) => Some(Operation::Transfer),
        ("GET", PLATFORM_CALL | GUIDE_CONVERSATIONS) => Some(Operation::GetConversation),
        ("GET", QUEUE) => Some(Operation::GetQueue),
        ("GET", USER) => Some(Operation::GetUser),
        ("GET", PRESENCE) => Some(Operation::GetPresence),
        ("POST", PLATFORM_POLICIES | GUIDE_POLICIES) => Some(Operation::CreatePolicy),
        ("GET", PLATFORM_POLICIES | GUIDE_POLICIES) => Some(Operation::ListPolicies),
        ("GET", PLATFORM_POLICY) => Some(Operation::ReadPolicy),
        ("PUT" | "PATCH", PLATFORM_POLICY) => Some(Operation::UpdatePolicy),
        ("DELETE", PLATFORM_POLICY) => Some(Operation::DeletePolicy),
        ("GET", GUIDE_JOB) => Some(Operation::ReadJob),
        ("GET", RETENTION_SETTINGS) => Some(Operation::ReadRetentionSettings),
        _ => None,
    }
}

async fn unknown() -> Refusal {
    Refusal::breach(StatusCode::NOT_FOUND, "nothing is answered here on this surface")
}

async fn door(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        // The client left in the middle of its request: nobody reads what is answered.
        return Response::default();
    };
    let request = SeenRequest {
        operation: operation(&parts),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
        body: body.to_bytes(),
        when: world.now(),
    };
    world.saw(request.clone());

    // The token request is published too; `oauth` holds it to more than its shape.
    let is_published_api = world.surface == Surface::Platform && request.path != TOKEN;
    let shape = if is_published_api { published::check(&request) } else { Ok(()) };
    let response = match shape {
        Ok(()) => next.run(Request::from_parts(parts, Body::from(request.body.clone()))).await,
        Err(refusal) => refusal.into_response(),
    };
    faults::deliver(dress(&world, &request, response)).await
}

/// What every answer carries, and an error's body.
fn dress(world: &World, request: &SeenRequest, mut response: Response) -> Response {
    const CORRELATION_ID: HeaderName = HeaderName::from_static("inin-correlation-id");

    let correlation_id = world.uuid();
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        if refusal.is_breach {
            world.state().anomalies.push(Anomaly {
                what: refusal.message.clone(),
                method: request.method.clone(),
                path: request.path.clone(),
            });
        }
        let body = match request.path.as_str() {
            TOKEN => refusal.as_oauth_error(),
            _ => refusal.as_error_body(&correlation_id),
        };
        *response.body_mut() = Body::from(body.to_string());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else if response.status().is_success() && request.path != TOKEN {
        count_down(world, &mut response);
    }
    let correlation_id = HeaderValue::from_str(&correlation_id).expect("it is hexadecimal and hyphens");
    response.headers_mut().insert(CORRELATION_ID, correlation_id);
    response
}

/// How many requests this minute has seen, how many it may see, and the seconds left of it.
fn count_down(world: &World, response: &mut Response) {
    let (count, seconds_left) = world.this_minute();
    let headers = response.headers_mut();
    headers.insert("inin-ratelimit-count", HeaderValue::from(count));
    headers.insert("inin-ratelimit-allowed", HeaderValue::from(REQUESTS_A_MINUTE));
    headers.insert("inin-ratelimit-reset", HeaderValue::from(seconds_left));
}

/// An error of the API's own, not yet in the form of its surface: the door gives it a body.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    status: StatusCode,
    /// What is usual for the status, if none is given.
    code: Option<&'static str>,
    message: String,
    retry_after: Option<HeaderValue>,
    is_breach: bool,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: Some(code), message: message.into(), retry_after: None, is_breach: false }
    }

    /// What a fault answers with.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let message = format!("simulated: {status}");
        Self { status, code: None, message, retry_after: None, is_breach: false }
    }

    /// The answer to what no correct client would have sent; an anomaly with the same text goes with it.
    pub(crate) fn breach(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, code: None, message: what.into(), retry_after: None, is_breach: true }
    }

    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) fn retry_after(self, retry_after: Option<HeaderValue>) -> Self {
        Self { retry_after, ..self }
    }

    fn as_error_body(&self, correlation_id: &str) -> Value {
        let code = self.code.unwrap_or(match self.status.as_u16() {
            400 => "bad.request",
            401 => "bad.credentials",
            403 => "not.authorized",
            404 => "not.found",
            408 | 504 => "request.timeout",
            409 => "conflict",
            413 => "request.entity.too.large",
            415 => "unsupported.media.type",
            429 if self.retry_after.is_some() => "too.many.requests.retry.after",
            429 => "too.many.requests",
            503 => "service.unavailable",
            _ => "internal.server.error",
        });
        json!({
            "message": self.message,
            "code": code,
            "status": self.status.as_u16(),
            "messageParams": {},
            "contextId": correlation_id,
            "details": [],
            "errors": [],
        })
    }

    fn as_oauth_error(&self) -> Value {
        let error = self.code.unwrap_or(match self.status.as_u16() {
            401 | 403 => "invalid_client",
            429 | 503 => "temporarily_unavailable",
            500.. => "server_error",
            _ => "invalid_request",
        });
        json!({ "error": error, "description": self.message, "error_description": self.message })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(retry_after) = &self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, retry_after.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
