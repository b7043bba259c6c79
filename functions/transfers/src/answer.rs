//! How a run is shown to its caller.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use shared::idempotency::Answer;
use shared::problem::{Kind, Problem};

use crate::request::Request;
use crate::run::{Run, Stored};

/// Over HTTP: what became of the transfer, or a problem.
pub(crate) fn http(request: &Request, run: Run) -> Response {
    match given(request, run) {
        Ok(given) => given.into_http(request),
        Err(problem) => problem.into_response(),
    }
}

/// To a direct invocation: the same, as one JSON object; a problem becomes a function error.
pub(crate) fn direct(request: &Request, run: Run) -> Result<Vec<u8>, Problem> {
    given(request, run)?.into_direct(request)
}

/// An answer, to be given.
struct Given {
    answer: Answer,
    replayed: bool,
    stored: Stored,
}

fn given(request: &Request, run: Run) -> Result<Given, Problem> {
    let problem = match run {
        Run::Performed { answer, stored } => return Ok(Given { answer, replayed: false, stored }),
        Run::Replayed(answer) => return Ok(Given { answer, replayed: true, stored: Stored::Yes }),
        Run::InFlight(lease_left) => Problem::new(Kind::InProgress, "The same transfer is being worked on.")
            .retry_after_at_most(lease_left),
        Run::KeyReused => {
            Problem::new(Kind::KeyReused, "This idempotency key was used for another transfer.")
        }
        Run::OutcomeUnknown => Problem::new(
            Kind::OutcomeUnknown,
            "The transfer may or may not have happened: no answer came, and the conversation does not show it yet. It \
             will not be sent again; a repeat looks again.",
        ),
        Run::OutcomeStillUnknown => Problem::new(
            Kind::OutcomeStillUnknown,
            "An earlier attempt may or may not have transferred the call, and the conversation does not show it. It will \
             not be sent again; to transfer the call all the same, use another idempotency key.",
        ),
        Run::Refused(problem) => problem,
        Run::NotPerformed(reason) => reason.problem(),
        Run::StoreUnavailable => {
            Problem::new(Kind::StoreUnavailable, "The store could not be used. Nothing was done; try again.")
        }
        Run::Unreadable => Problem::new(
            Kind::InternalError,
            "What is on record for this idempotency key or conversation cannot be read. Nothing was done.",
        ),
    };
    Err(problem.with_key(request.key.as_str()))
}

impl Given {
    fn into_http(self, request: &Request) -> Response {
        let mut response = Response::new(Body::from(self.answer.body));
        *response.status_mut() =
            StatusCode::from_u16(self.answer.status).expect("only 2xx are answers, now and on record");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let key = HeaderValue::from_str(request.key.as_str()).expect("a key is visible ASCII");
        headers.insert(HeaderName::from_static("idempotency-key"), key);
        if self.replayed {
            let name = HeaderName::from_static("idempotent-replayed");
            headers.insert(name, HeaderValue::from_static("true"));
        }
        if self.stored == Stored::No {
            let name = HeaderName::from_static("idempotency-stored");
            headers.insert(name, HeaderValue::from_static("false"));
        }
        response
    }

    /// What HTTP says in headers, said in members.
    fn into_direct(self, request: &Request) -> Result<Vec<u8>, Problem> {
        let unreadable = |_| Problem::new(Kind::InternalError, "The answer on record cannot be read.");
        let mut body: Value = serde_json::from_slice(&self.answer.body).map_err(unreadable)?;
        body["idempotencyKey"] = json!(request.key.as_str());
        body["replayed"] = json!(self.replayed);
        if self.stored == Stored::No {
            body["stored"] = json!(false);
        }
        Ok(body.to_string().into_bytes())
    }
}
