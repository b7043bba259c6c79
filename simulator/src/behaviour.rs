//! What something that was declared answers, and when.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::Value;

/// What an action answers when it is executed, or a conversation when it is transferred, and after how long.
#[derive(Debug, Clone)]
pub struct Behaviour {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    output: Output,
    delay: Duration,
}

#[derive(Debug, Clone)]
enum Output {
    Fixed(Bytes),
    Echo,
}

impl Behaviour {
    /// 200 with this JSON.
    #[must_use]
    pub fn json(value: impl Into<Value>) -> Self {
        Self::status(200, "application/json", value.into().to_string())
    }

    /// 200 with `{"echo": <the input, as it was written>, "execution": <which run of the action this was, from 1>}`.
    #[must_use]
    pub fn echo() -> Self {
        Self { output: Output::Echo, ..Self::status(200, "application/json", "") }
    }

    /// This status, content type (`None` for no such header) and body. A run that ends with 400 or more performs
    /// nothing.
    #[must_use]
    pub fn status<'a>(status: u16, content_type: impl Into<Option<&'a str>>, body: impl AsRef<[u8]>) -> Self {
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| !status.is_informational())
            .expect("the status of an answer is one of 200 to 999: the caller wrote it down");
        let content_type = content_type.into().map(|content_type| {
            HeaderValue::from_str(content_type)
                .expect("a content type is visible ASCII: the caller wrote it down")
        });
        let output = Output::Fixed(Bytes::copy_from_slice(body.as_ref()));
        Self { status, content_type, output, delay: Duration::ZERO }
    }

    /// The same, but the answer takes this long. Its effect does not.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Whether something happens at all.
    pub(crate) fn performs(&self) -> bool {
        self.status.as_u16() < 400
    }

    pub(crate) fn delay(&self) -> Duration {
        self.delay
    }

    pub(crate) fn answer(&self, input: &str, execution: usize) -> Answer {
        let body = match &self.output {
            Output::Fixed(body) => body.clone(),
            Output::Echo => format!(r#"{{"echo":{input},"execution":{execution}}}"#).into(),
        };
        Answer { status: self.status, content_type: self.content_type.clone(), body }
    }
}

/// What a behaviour, or the usual course of things, answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl Answer {
    /// Of nothing but a status.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, content_type: None, body: Bytes::new() }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        let content_type = Some(HeaderValue::from_static("application/json"));
        Self { status, content_type, body: body.to_string().into() }
    }

    /// Whether it is the kind of failure that a key stays bound to.
    pub(crate) fn is_failure(&self) -> bool {
        self.status.is_server_error()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        if let Some(content_type) = self.content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response
    }
}

/// The time that the behaviour was declared to take. No delay is none at all: a timer would round it up to a millisecond.
pub(crate) async fn keep_back(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
