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
use axum::routing::post;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::surface::{Operation, Surface};
use crate::world::{Anomaly, SeenRequest, World};
use crate::{control, data_actions, faults, oauth, published};

const TOKEN: &str = "/oauth/token";
const PLATFORM_EXECUTE: &str = "/api/v2/integrations/actions/{id}/execute";
const GUIDE_EXECUTE: &str = "/api/v2/integrations/dataactions/{id}/execute";
const GUIDE_INVOKE: &str = "/api/v2/dataactions/actions/{id}/invoke";

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
        Surface::Platform => Router::new().route(PLATFORM_EXECUTE, post(data_actions::execute)),
        Surface::Guide => Router::new()
            .route(GUIDE_EXECUTE, post(data_actions::execute))
            .route(GUIDE_INVOKE, post(data_actions::invoke)),
    }
}

fn operation(request: &Parts) -> Option<Operation> {
    if request.method != Method::POST {
        return None;
    }
    match request.extensions.get::<MatchedPath>()?.as_str() {
        TOKEN => Some(Operation::Token),
        PLATFORM_EXECUTE | GUIDE_EXECUTE | GUIDE_INVOKE => Some(Operation::ExecuteDataAction),
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
