//! Problems: refusals shown to a caller, as RFC 9457 documents or as Lambda function errors.
//!
//! A problem says what happened in the caller's terms. It never carries an inner error's text, a secret or an
//! upstream token; those belong in the log. Another slug is another [`Kind`], and nothing else.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// How long a caller is asked to wait when nobody knows better.
pub const USUAL_PATIENCE: Duration = Duration::from_secs(5);

/// A refusal, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    idempotency_key: Option<String>,
    upstream_code: Option<String>,
    retry_after: Duration,
}

/// What kind of refusal it is: slug, status, title and whether a repeat of the same request can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Malformed JSON, a missing or wrong field, a bad idempotency key.
    InvalidRequest,
    /// No or a wrong signature or token.
    Unauthenticated,
    /// No such route.
    NotFound,
    /// The route exists, with another method.
    MethodNotAllowed,
    /// The queue or user does not exist.
    DestinationNotFound,
    /// The conversation does not exist.
    ConversationNotFound,
    /// The conversation is in a transfer, or nobody is connected who could be transferred.
    ConversationConflict,
    /// The destination is closed, or nobody can answer there.
    DestinationUnavailable,
    /// Genesys Cloud refused the transfer for another reason.
    TransferRefused,
    /// The API surface cannot do what was asked.
    Unsupported,
    /// The same key is being worked on now.
    InProgress,
    /// The call may have happened and is not sent again: told to the caller whose call it was.
    OutcomeUnknown,
    /// The same, told to somebody who repeats the key later.
    OutcomeStillUnknown,
    /// The body is larger than `MAX_BODY_BYTES`.
    PayloadTooLarge,
    /// The upstream's answer cannot be returned.
    AnswerTooLarge,
    /// The same key with a different request.
    KeyReused,
    /// Genesys Cloud refused our credentials or permissions, or redirected us.
    UpstreamRejected,
    /// Genesys Cloud asked for patience for longer than the attempts or the deadline lasted.
    UpstreamRateLimited,
    /// Genesys Cloud could not be reached, and the key is free.
    UpstreamUnavailable,
    /// DynamoDB could not be reached or throttled, and nothing was done.
    StoreUnavailable,
    /// Something is wrong with us: a record nobody can read, a bug.
    InternalError,
}

impl Problem {
    /// A problem of this kind. `detail` is one sentence for the caller.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            idempotency_key: None,
            upstream_code: None,
            retry_after: Duration::from_secs(1),
        }
    }

    /// Names the idempotency key that the request ran under.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.to_owned());
        self
    }

    /// Names Genesys Cloud's own code for it.
    #[must_use]
    pub fn with_upstream_code(mut self, code: &str) -> Self {
        self.upstream_code = Some(code.to_owned());
        self
    }

    /// How long the caller should wait; rounded up to whole seconds, at least one. Shown only for kinds that a
    /// wait can help.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// Asks for the usual patience, or less if what stands in the way is gone sooner.
    #[must_use]
    pub fn retry_after_at_most(self, wait: Duration) -> Self {
        self.retry_after(wait.min(USUAL_PATIENCE))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The RFC 9457 document.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut document = json!({
            "type": format!("urn:patchbay:problem:{}", self.kind.slug()),
            "title": self.kind.title(),
            "status": self.kind.status().as_u16(),
            "detail": self.detail,
            "retryable": self.kind.is_retryable(),
        });
        if let Some(key) = &self.idempotency_key {
            document["idempotencyKey"] = json!(key);
        }
        if let Some(code) = &self.upstream_code {
            document["upstreamCode"] = json!(code);
        }
        document
    }
}

impl Kind {
    /// The end of the problem's type URN.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::Unauthenticated => "unauthenticated",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::DestinationNotFound => "destination-not-found",
            Self::ConversationNotFound => "conversation-not-found",
            Self::ConversationConflict => "conversation-conflict",
            Self::DestinationUnavailable => "destination-unavailable",
            Self::TransferRefused => "transfer-refused",
            Self::Unsupported => "unsupported",
            Self::InProgress => "in-progress",
            Self::OutcomeUnknown | Self::OutcomeStillUnknown => "outcome-unknown",
            Self::PayloadTooLarge => "payload-too-large",
            Self::AnswerTooLarge => "answer-too-large",
            Self::KeyReused => "key-reused",
            Self::UpstreamRejected => "upstream-rejected",
            Self::UpstreamRateLimited => "upstream-rate-limited",
            Self::UpstreamUnavailable => "upstream-unavailable",
            Self::StoreUnavailable => "store-unavailable",
            Self::InternalError => "internal-error",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::DestinationNotFound | Self::ConversationNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::InProgress
            | Self::OutcomeStillUnknown
            | Self::ConversationConflict
            | Self::DestinationUnavailable => StatusCode::CONFLICT,
            Self::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::KeyReused | Self::TransferRefused | Self::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
            Self::AnswerTooLarge | Self::UpstreamRejected | Self::UpstreamUnavailable => {
                StatusCode::BAD_GATEWAY
            }
            Self::UpstreamRateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request, sent again after a while, may succeed.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::InProgress
            | Self::UpstreamRateLimited
            | Self::UpstreamUnavailable
            | Self::StoreUnavailable => true,
            Self::InvalidRequest
            | Self::Unauthenticated
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::DestinationNotFound
            | Self::ConversationNotFound
            | Self::ConversationConflict
            | Self::DestinationUnavailable
            | Self::TransferRefused
            | Self::Unsupported
            | Self::OutcomeUnknown
            | Self::OutcomeStillUnknown
            | Self::PayloadTooLarge
            | Self::AnswerTooLarge
            | Self::KeyReused
            | Self::UpstreamRejected
            | Self::InternalError => false,
        }
    }

    /// The slug in `PascalCase`: a function error's `errorType`, for `Retry` and `Catch` in Step Functions.
    #[must_use]
    pub fn error_type(self) -> String {
        self.slug().split('-').map(capitalised).collect()
    }

    fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not valid",
            Self::Unauthenticated => "The request is not authenticated",
            Self::NotFound => "There is nothing here",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::DestinationNotFound => "The destination does not exist",
            Self::ConversationNotFound => "The conversation does not exist",
            Self::ConversationConflict => "The conversation cannot be transferred now",
            Self::DestinationUnavailable => "Nobody can answer at the destination",
            Self::TransferRefused => "Genesys Cloud refused the transfer",
            Self::Unsupported => "The API surface cannot do this",
            Self::InProgress => "The same request is being worked on",
            Self::OutcomeUnknown | Self::OutcomeStillUnknown => "The outcome is unknown",
            Self::PayloadTooLarge => "The request is too large",
            Self::AnswerTooLarge => "The answer is too large to be returned",
            Self::KeyReused => "The idempotency key belongs to another request",
            Self::UpstreamRejected => "Genesys Cloud refused us",
            Self::UpstreamRateLimited => "Genesys Cloud asks for patience",
            Self::UpstreamUnavailable => "Genesys Cloud is not available",
            Self::StoreUnavailable => "The store is not available",
            Self::InternalError => "Something is wrong on our side",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.document().to_string().into());
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind.is_retryable() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(self.retry_after)));
        }
        if self.kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Rounded up, and at least one: a caller told to wait for zero seconds does not wait.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_type_its_status_and_its_key() {
        let problem = Problem::new(Kind::KeyReused, "Another request used this key.").with_key("k-1");
        assert_eq!(
            problem.document(),
            json!({
                "type": "urn:patchbay:problem:key-reused",
                "title": "The idempotency key belongs to another request",
                "status": 422,
                "detail": "Another request used this key.",
                "retryable": false,
                "idempotencyKey": "k-1",
            })
        );
        assert_eq!(Kind::KeyReused.error_type(), "KeyReused");
        assert_eq!(Kind::UpstreamRateLimited.error_type(), "UpstreamRateLimited");
    }

    #[test]
    fn waiting_times_are_whole_seconds_and_accompany_only_what_a_wait_can_help() {
        let wait = |kind, wait| {
            let response = Problem::new(kind, "").retry_after(wait).into_response();
            response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(wait(Kind::InProgress, Duration::from_millis(1200)).as_deref(), Some("2"));
        assert_eq!(wait(Kind::StoreUnavailable, Duration::ZERO).as_deref(), Some("1"));
        assert_eq!(wait(Kind::OutcomeUnknown, Duration::from_secs(5)), None);
    }
}
