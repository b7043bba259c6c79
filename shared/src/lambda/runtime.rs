//! The loop between a function and the [Lambda Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
//!
//! AWS's client does the talking. The loop is ours because AWS's ends the process on a client context that is
//! not shaped like the Mobile SDK's, and Genesys Cloud's is not: see `docs/decisions/0003-the-door-is-ours.md`.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{BoxError, PooledClient, build_request};
use serde_json::json;
use tracing::Instrument;

use super::event::{Event, Invocation};
use crate::clock::Clock;
use crate::config::{self, Reader, Variables, text};
use crate::problem::{Kind, Problem};
use crate::trace::{self, Trace};

/// The largest response that Lambda carries synchronously (6 MB, as the Runtime API counts it).
pub const MAX_RESPONSE_BYTES: usize = 6_291_556;

/// A function error: what a caller that invokes us directly gets to see of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    error_type: String,
    message: String,
}

impl Failure {
    /// A failure of this kind.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { error_type: kind.error_type(), message: message.into() }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::new(problem.kind(), problem.detail())
    }
}

pub(super) struct Runtime {
    client: PooledClient,
    clock: Clock,
}

impl Runtime {
    pub(super) fn connect(variables: &Variables, clock: Clock) -> Result<Self, config::Error> {
        let mut reader = Reader::new(variables);
        let endpoint = reader.required("AWS_LAMBDA_RUNTIME_API", endpoint);
        if !reader.has("AWS_LAMBDA_RUNTIME_API") {
            reader.fault("this binary", "is started by AWS Lambda; on one machine, use `patchbay`");
        }
        let endpoint = reader.finish(endpoint)?;
        Ok(Self { client: PooledClient::builder().with_endpoint(endpoint).build(), clock })
    }

    /// Answers events until the Runtime API goes away.
    pub(super) async fn run(
        self,
        handle: impl AsyncFn(Event, Invocation) -> Result<Vec<u8>, Failure>,
    ) -> ExitCode {
        loop {
            if let Err(error) = self.answer_next(&handle).await {
                tracing::error!(message = "the Lambda Runtime API cannot be used", error = %error);
                return ExitCode::FAILURE;
            }
        }
    }

    /// Tells Lambda why the function cannot start.
    pub(super) async fn report_failed_start(&self, message: &str) {
        let body = json!({"errorType": "Runtime.StartFailed", "errorMessage": message});
        let headers = [("lambda-runtime-function-error-type", "Runtime.StartFailed")];
        if let Err(error) = self.post("init/error", &headers, body.to_string().into_bytes()).await {
            tracing::warn!(message = "Lambda did not take the report of a failed start", error = %error);
        }
    }

    async fn answer_next(
        &self,
        handle: &impl AsyncFn(Event, Invocation) -> Result<Vec<u8>, Failure>,
    ) -> Result<(), BoxError> {
        let next = build_request().method(Method::GET).uri("/2018-06-01/runtime/invocation/next");
        let (parts, payload) = self.call(next.body(Body::empty())?).await?.into_parts();
        let request_id =
            header(&parts.headers, "lambda-runtime-aws-request-id").ok_or("no request id")?.to_owned();
        let invocation = Invocation::from_lambda(
            request_id.clone(),
            header(&parts.headers, "lambda-runtime-deadline-ms").and_then(|millis| millis.parse().ok()),
            self.clock.now(),
            header(&parts.headers, "lambda-runtime-client-context"),
        );
        let of_lambda = || Trace::from_x_ray(header(&parts.headers, "lambda-runtime-trace-id")?);
        let trace = invocation.trace.or_else(of_lambda);
        let work = async {
            // Made within the trace, so that its lines bear the trace's id too.
            let span = tracing::info_span!(
                "invocation",
                aws.request_id = request_id,
                genesys.caller_correlation_id = tracing::field::Empty,
            );
            span.in_scope(|| invocation.note_correlation_id());
            handle(Event::read(payload), invocation).instrument(span).await
        };
        let outcome = AssertUnwindSafe(trace::within(trace, work)).catch_unwind().await;
        // Echoed so that Lambda can refuse the answer to an invocation it has given up on.
        let invocation_id = header(&parts.headers, "lambda-runtime-invocation-id");
        self.answer(&request_id, invocation_id, outcome.unwrap_or_else(|_| Err(panicked()))).await
    }

    async fn answer(
        &self,
        request_id: &str,
        invocation_id: Option<&str>,
        outcome: Result<Vec<u8>, Failure>,
    ) -> Result<(), BoxError> {
        let outcome = outcome.and_then(|response| {
            let too_large =
                || Failure::new(Kind::AnswerTooLarge, "The answer does not fit into a Lambda response.");
            if response.len() > MAX_RESPONSE_BYTES { Err(too_large()) } else { Ok(response) }
        });
        let mut headers: Vec<(&str, &str)> = Vec::new();
        headers.extend(invocation_id.map(|id| ("lambda-runtime-invocation-id", id)));
        match outcome {
            Ok(response) => self.post(&format!("invocation/{request_id}/response"), &headers, response).await,
            Err(Failure { error_type, message }) => {
                let body = json!({"errorType": error_type, "errorMessage": message, "stackTrace": []});
                headers.push(("lambda-runtime-function-error-type", &error_type));
                let path = format!("invocation/{request_id}/error");
                self.post(&path, &headers, body.to_string().into_bytes()).await
            }
        }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<(), BoxError> {
        let mut request = build_request()
            .method(Method::POST)
            .uri(format!("/2018-06-01/runtime/{path}"))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.call(request.body(Body::from(body))?).await.map(drop)
    }

    /// One exchange with the Runtime API, its answer read to the end. A refusal of `next` is an error; one of
    /// an answer (an invocation that has timed out) is logged, and the loop goes on.
    async fn call(&self, request: Request<Body>) -> Result<Response<Bytes>, BoxError> {
        let is_next = request.method() == Method::GET;
        let (parts, body) = self.client.call(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        if !parts.status.is_success() {
            if is_next {
                return Err(format!("the next invocation was refused with {}", parts.status).into());
            }
            tracing::error!(message = "Lambda did not take an answer", status = parts.status.as_u16());
        }
        Ok(Response::from_parts(parts, body))
    }
}

fn endpoint(value: &str) -> Result<Uri, String> {
    let url = text(value)?;
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    let uri: Uri = url.parse().map_err(|_| format!("must be a host and port, not {value:?}"))?;
    uri.authority().is_some().then_some(uri).ok_or_else(|| format!("must be a host and port, not {value:?}"))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // Lambda passes a client context on as the caller wrote it: UTF-8, which `to_str` would refuse.
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok().filter(|value| !value.is_empty())
}

fn panicked() -> Failure {
    Failure::new(Kind::InternalError, "Something is wrong on our side; the log says what.")
}
