//! How a run is shown to its caller.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::idempotency::Answer;
use shared::problem::{Kind, Problem};

use crate::request::Request;
use crate::run::{Run, Stored};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const IDEMPOTENCY_STORED: HeaderName = HeaderName::from_static("idempotency-stored");

/// Over HTTP: the upstream's status, body and content type, or a problem.
pub(crate) fn http(request: &Request, run: Run) -> Response {
    match given(request, run) {
        Ok(given) => given.into_http(request),
        Err(problem) => problem.into_response(),
    }
}

/// To a direct invocation: one JSON object, or a problem that becomes a function error.
pub(crate) fn direct(request: &Request, run: Run) -> Result<Vec<u8>, Problem> {
    given(request, run).map(|given| given.into_direct(request))
}

/// An answer of the upstream's, to be given.
struct Given {
    answer: Answer,
    replayed: bool,
    stored: Stored,
}

fn given(request: &Request, run: Run) -> Result<Given, Problem> {
    let refused = |kind, detail: &str| Err(Problem::new(kind, detail).with_key(request.key.as_str()));
    match run {
        Run::Performed { answer, stored } => Ok(Given { answer, replayed: false, stored }),
        Run::Replayed(answer) => Ok(Given { answer, replayed: true, stored: Stored::Yes }),
        Run::TooLarge | Run::StillTooLarge => refused(
            Kind::AnswerTooLarge,
            "The action ran, and its answer is too large to be returned. It will not be run again.",
        ),
        Run::InFlight(lease_left) => refused(Kind::InProgress, "The same request is being worked on.")
            .map_err(|problem: Problem| problem.retry_after_at_most(lease_left)),
        Run::KeyReused => refused(Kind::KeyReused, "This idempotency key was used for another request."),
        Run::OutcomeUnknown => refused(
            Kind::OutcomeUnknown,
            "The action may or may not have run: its answer never came. It will not be sent again.",
        ),
        Run::OutcomeStillUnknown => refused(
            Kind::OutcomeStillUnknown,
            "An earlier call with this key may or may not have run. It will not be sent again.",
        ),
        Run::NotPerformed(reason) => Err(reason.problem().with_key(request.key.as_str())),
        Run::StoreUnavailable => {
            refused(Kind::StoreUnavailable, "The store could not be used. Nothing was done; try again.")
        }
        Run::Unreadable => refused(
            Kind::InternalError,
            "What is on record for this idempotency key cannot be read. Nothing was done.",
        ),
    }
}

impl Given {
    fn into_http(self, request: &Request) -> Response {
        let mut response = Response::new(Body::from(self.answer.body));
        *response.status_mut() = StatusCode::from_u16(self.answer.status)
            .expect("only 2xx and 4xx are answers, now and on record");
        let headers = response.headers_mut();
        if let Some(content_type) = self.answer.content_type.and_then(|it| HeaderValue::from_str(&it).ok()) {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        let key = HeaderValue::from_str(request.key.as_str()).expect("a key is visible ASCII");
        headers.insert(IDEMPOTENCY_KEY, key);
        if self.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        if self.stored == Stored::No {
            headers.insert(IDEMPOTENCY_STORED, HeaderValue::from_static("false"));
        }
        response
    }

    fn into_direct(self, request: &Request) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Direct<'a> {
            status_code: u16,
            content_type: Option<&'a str>,
            body: Box<RawValue>,
            #[serde(skip_serializing_if = "is_false")]
            is_base64_encoded: bool,
            idempotency_key: &'a str,
            replayed: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            stored: Option<bool>,
        }
        let (body, is_base64_encoded) = embedded(&self.answer);
        let direct = Direct {
            status_code: self.answer.status,
            content_type: self.answer.content_type.as_deref(),
            body,
            is_base64_encoded,
            idempotency_key: request.key.as_str(),
            replayed: self.replayed,
            stored: (self.stored == Stored::No).then_some(false),
        };
        serde_json::to_vec(&direct).expect("strings, numbers and JSON always serialise")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The body as a JSON value: JSON as it is, other text as a string, and anything else as base64.
fn embedded(answer: &Answer) -> (Box<RawValue>, bool) {
    let string = |text: &str| serde_json::value::to_raw_value(text).expect("a string always serialises");
    let Ok(text) = std::str::from_utf8(&answer.body) else {
        return (string(&BASE64.encode(&answer.body)), true);
    };
    let is_json = answer.content_type.as_deref().is_none_or(names_json);
    let json = if is_json { RawValue::from_string(text.trim().to_owned()).ok() } else { None };
    (json.unwrap_or_else(|| string(text)), false)
}

fn names_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json") || essence == "text/json"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(content_type: Option<&str>, body: &'static [u8]) -> (String, bool) {
        let answer = Answer { status: 200, content_type: content_type.map(str::to_owned), body: body.into() };
        let (value, is_base64) = embedded(&answer);
        (value.get().to_owned(), is_base64)
    }

    #[test]
    fn a_body_is_json_where_it_is_json_and_else_a_string() {
        assert_eq!(
            body(Some("application/json;charset=utf-8"), b"{\"n\":1.0}"),
            ("{\"n\":1.0}".to_owned(), false)
        );
        assert_eq!(body(Some("application/problem+json"), b"0"), ("0".to_owned(), false));
        assert_eq!(body(None, b"false"), ("false".to_owned(), false));
        assert_eq!(body(None, b""), ("\"\"".to_owned(), false));
        assert_eq!(body(Some("application/json"), b"oops"), ("\"oops\"".to_owned(), false));
        assert_eq!(body(Some("text/plain"), b"1"), ("\"1\"".to_owned(), false));
        assert_eq!(body(Some("image/png"), b"\xff"), ("\"/w==\"".to_owned(), true));
    }
}
