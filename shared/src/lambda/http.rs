//! HTTP proxy events, to and from the `http` crate's types: payloads 1.0 and 2.0, and function URLs.
//!
//! Read here rather than by a library because a whole event must not be lost for a member we never look at:
//! see `docs/decisions/0003-the-door-is-ours.md`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use tower::ServiceExt;

use super::event::Invocation;
use super::runtime::MAX_RESPONSE_BYTES;
use crate::problem::{Kind, Problem};
use crate::trace::{self, Trace};

/// What may not stand in a URI's path, and is not a percent sign (the path may be encoded already).
const NOT_IN_A_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`');

/// Lets `routes` answer an HTTP proxy event, and turns its response into the proxy's.
pub async fn answer(routes: axum::Router, event: HttpEvent, mut invocation: Invocation) -> Vec<u8> {
    invocation.caller = event.caller();
    let response = match event.into_request() {
        Ok(mut request) => {
            if invocation.correlation_id.is_none() {
                invocation.correlation_id = correlation_id(request.headers());
                invocation.note_correlation_id();
            }
            request.extensions_mut().insert(invocation);
            let Ok(response) = completed(routes).oneshot(request.map(axum::body::Body::from)).await;
            response
        }
        Err(problem) => problem.into_response(),
    };
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("our own responses are whole before they are answered").to_bytes();
    proxy_response(&Response::from_parts(parts, body))
}

/// A request's body, if it is no larger than `limit` bytes.
pub async fn read_body(body: axum::body::Body, limit: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Problem::new(Kind::PayloadTooLarge, format!("The body is larger than {limit} bytes.")))
        }
        Err(_) => Err(Problem::new(Kind::InvalidRequest, "The body was cut off.")),
    }
}

/// `routes`, with a problem for whatever is none of them, and each request within its caller's trace.
pub fn completed(routes: axum::Router) -> axum::Router {
    routes
        .fallback(async || Problem::new(Kind::NotFound, "There is no such route."))
        .method_not_allowed_fallback(async || {
            Problem::new(Kind::MethodNotAllowed, "This route takes POST only.")
        })
        .layer(middleware::from_fn(traced))
}

/// Lets a request belong to the trace that its caller names, else to that of the invocation.
async fn traced(request: axum::extract::Request, next: Next) -> axum::response::Response {
    let trace = Trace::from_headers(request.headers()).or_else(trace::current);
    trace::within(trace, next.run(request)).await
}

/// An HTTP request as API Gateway or a function URL wraps it.
///
/// Its members are looked at one by one: one that is not what it should be spoils itself, not the event.
#[derive(Debug)]
pub struct HttpEvent(Value);

impl HttpEvent {
    /// Takes an event for what it is if it is one: payload 1.0 names the method at the top, payload 2.0 in its
    /// request context.
    pub(super) fn read(event: Value) -> Result<Self, Value> {
        let is_http = event["requestContext"].is_object()
            && (!event["httpMethod"].is_null() || !event["requestContext"]["http"]["method"].is_null());
        if is_http { Ok(Self(event)) } else { Err(event) }
    }

    /// Who API Gateway says is calling.
    fn caller(&self) -> Option<String> {
        let found = |pointer| self.0.pointer(pointer)?.as_str();
        let jwt = found("/requestContext/authorizer/jwt/claims/sub")
            .or_else(|| found("/requestContext/authorizer/claims/sub"));
        let iam = found("/requestContext/authorizer/iam/userArn")
            .or_else(|| found("/requestContext/identity/userArn"));
        let api_key = found("/requestContext/identity/apiKeyId");
        jwt.map(|sub| format!("jwt:{sub}"))
            .or_else(|| iam.map(|arn| format!("iam:{arn}")))
            .or_else(|| api_key.map(|id| format!("api-key:{id}")))
    }

    fn into_request(self) -> Result<Request<Bytes>, Problem> {
        let method = self.0.pointer("/requestContext/http/method").unwrap_or(&self.0["httpMethod"]);
        let method = method.as_str().and_then(|method| method.parse::<Method>().ok());
        let path = utf8_percent_encode(&self.own_path(), NOT_IN_A_PATH).to_string();
        let mut request = Request::builder()
            .method(method.ok_or_else(|| refused("The event names no HTTP method."))?)
            .uri(path)
            .body(self.body()?)
            .map_err(|_| refused("The path is not valid."))?;
        *request.headers_mut() = self.headers()?;
        Ok(request)
    }

    fn body(&self) -> Result<Bytes, Problem> {
        let body = match &self.0["body"] {
            Value::Null => "",
            Value::String(body) => body,
            _ => return Err(refused("The event's body is not a string.")),
        };
        if self.0["isBase64Encoded"] != true {
            return Ok(Bytes::copy_from_slice(body.as_bytes()));
        }
        let decoded =
            BASE64.decode(body).map_err(|_| refused("The event says its body is base64, and it is not."));
        decoded.map(Bytes::from)
    }

    /// The part of the path that is ours: a stage (payload 2.0) or a custom domain's base path may stand
    /// before it. The route's own template says how many segments at the end count.
    fn own_path(&self) -> String {
        let path = self.0["rawPath"].as_str().or_else(|| self.0["path"].as_str()).unwrap_or("/");
        let route =
            self.0["routeKey"].as_str().and_then(|key| key.split_once(' ')).map(|(_, template)| template);
        let template = route.or_else(|| self.0["resource"].as_str());
        if let Some(template) = template.filter(|template| !template.contains('+')) {
            let count = template.trim_matches('/').split('/').count();
            let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            return format!("/{}", segments[segments.len().saturating_sub(count)..].join("/"));
        }
        let stage = self.0.pointer("/requestContext/stage").and_then(Value::as_str);
        stage
            .filter(|_| self.0["rawPath"].is_string())
            .and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage))
            .filter(|rest| rest.starts_with('/'))
            .unwrap_or(path)
            .to_owned()
    }

    /// A header that is no header (control characters in its value) is refused: what it was meant to say,
    /// a signature or a key, would be guesswork.
    fn headers(&self) -> Result<HeaderMap, Problem> {
        let several = self.0["multiValueHeaders"].as_object().filter(|headers| !headers.is_empty());
        let named = several.or_else(|| self.0["headers"].as_object()).into_iter().flatten();
        let pairs = named.flat_map(|(name, value)| match value {
            Value::Array(values) => values.iter().map(|value| (name, value)).collect(),
            value => vec![(name, value)],
        });
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let (Ok(name), Some(value)) = (HeaderName::try_from(name), value.as_str()) else { continue };
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| refused(format!("The header {name} has control characters.")))?;
            headers.append(name, value);
        }
        Ok(headers)
    }
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::InvalidRequest, detail)
}

/// Genesys Cloud's correlation id, where a web services data action sends it along.
fn correlation_id(headers: &HeaderMap) -> Option<String> {
    headers.get("inin-correlation-id")?.to_str().ok().map(str::to_owned)
}

/// The same JSON serves both payload versions and function URLs. The body travels as text where that is
/// exact, else as base64.
fn proxy_response(response: &Response<Bytes>) -> Vec<u8> {
    let text =
        std::str::from_utf8(response.body()).ok().map(|text| serialise(response, Cow::Borrowed(text), false));
    if let Some(text) = text.filter(|text| text.len() <= MAX_RESPONSE_BYTES) {
        return text;
    }
    let base64 = serialise(response, Cow::Owned(BASE64.encode(response.body())), true);
    if base64.len() <= MAX_RESPONSE_BYTES {
        return base64;
    }
    let problem = Problem::new(Kind::AnswerTooLarge, "The answer does not fit into a Lambda response.");
    let body = Bytes::from(problem.document().to_string());
    let (parts, _) = problem.into_response().into_parts();
    let response = Response::from_parts(parts, body.clone());
    serialise(&response, String::from_utf8_lossy(&body), false)
}

fn serialise(response: &Response<Bytes>, body: Cow<'_, str>, is_base64_encoded: bool) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ProxyResponse<'a> {
        status_code: u16,
        headers: BTreeMap<&'a str, &'a str>,
        body: Cow<'a, str>,
        is_base64_encoded: bool,
    }
    let headers = response.headers().iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let status_code = response.status().as_u16();
    serde_json::to_vec(&ProxyResponse { status_code, headers, body, is_base64_encoded })
        .expect("strings and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(json: &Value) -> HttpEvent {
        HttpEvent::read(json.clone()).unwrap()
    }

    fn path(json: &Value) -> String {
        event(json).into_request().unwrap().uri().path().to_owned()
    }

    #[test]
    fn stages_and_base_paths_are_left_behind() {
        let v2 = |path: &str, route: &str, stage: &str| json!({"rawPath": path, "routeKey": route, "requestContext": {"stage": stage, "http": {"method": "POST"}}});
        assert_eq!(
            path(&v2("/prod/webhooks/genesys", "POST /webhooks/genesys", "prod")),
            "/webhooks/genesys"
        );
        assert_eq!(path(&v2("/prod/webhooks/genesys", "$default", "prod")), "/webhooks/genesys");
        assert_eq!(path(&v2("/production/x", "$default", "prod")), "/production/x");
        assert_eq!(path(&v2("/webhooks/genesys", "$default", "$default")), "/webhooks/genesys");
        let v1 = json!({"path": "/base/data-actions/a/invocations", "httpMethod": "POST",
            "resource": "/data-actions/{dataActionId}/invocations", "requestContext": {"stage": "prod"}});
        assert_eq!(path(&v1), "/data-actions/a/invocations");
        let proxy = json!({"path": "/webhooks/genesys", "httpMethod": "POST", "resource": "/{proxy+}",
            "requestContext": {"stage": "prod"}});
        assert_eq!(path(&proxy), "/webhooks/genesys");
    }

    #[test]
    fn odd_paths_do_not_end_the_process() {
        for odd in ["/data-actions/a b/invocations", "/ü", "/\u{0}", "//", "", "/%zz", "/a?b#c"] {
            let json = json!({"path": odd, "httpMethod": "POST", "requestContext": {}});
            let _ = event(&json).into_request();
        }
    }

    #[test]
    fn a_header_with_control_characters_is_refused_and_one_in_another_script_is_kept() {
        let with = |value: &str| json!({"path": "/", "httpMethod": "POST", "headers": {"X-Odd": value}, "requestContext": {}});
        assert!(event(&with("a\nb")).into_request().is_err());
        assert!(event(&with("naïve")).into_request().is_ok());
    }

    #[test]
    fn an_event_with_odd_members_is_still_http_and_refused_where_it_matters() {
        let odd = |member: &str, value: Value| {
            let mut json =
                json!({"path": "/", "httpMethod": "POST", "requestContext": {"stage": {}, "authorizer": 1}});
            json[member] = value;
            event(&json).into_request().is_ok()
        };
        assert!(odd("multiValueHeaders", json!({"x": null})));
        assert!(odd("isBase64Encoded", json!("yes")));
        assert!(odd("resource", json!([])));
        assert!(!odd("body", json!({"an": "object"})));
        assert!(!odd("httpMethod", json!(7)));
    }

    #[test]
    fn a_body_that_claims_to_be_base64_and_is_not_is_refused() {
        let json = json!({"path": "/", "httpMethod": "POST", "body": "%%%", "isBase64Encoded": true, "requestContext": {}});
        assert!(event(&json).into_request().is_err());
    }

    #[test]
    fn callers_are_named_by_token_then_role_then_key() {
        let caller =
            |context: Value| event(&json!({"httpMethod": "POST", "requestContext": context})).caller();
        assert_eq!(
            caller(json!({"authorizer": {"jwt": {"claims": {"sub": "u1"}}}})).as_deref(),
            Some("jwt:u1")
        );
        assert_eq!(
            caller(json!({"authorizer": {"iam": {"userArn": "arn:x"}}})).as_deref(),
            Some("iam:arn:x")
        );
        assert_eq!(caller(json!({"identity": {"userArn": "arn:y"}})).as_deref(), Some("iam:arn:y"));
        assert_eq!(caller(json!({"identity": {"apiKeyId": "k"}})).as_deref(), Some("api-key:k"));
        assert_eq!(
            caller(json!({"authorizer": {"lambda": {"any": 1}}, "identity": {"userArn": null}})),
            None
        );
    }

    #[test]
    fn bodies_travel_as_text_where_that_is_exact_and_else_as_base64() {
        let body = |bytes: &'static [u8]| {
            let json: Value =
                serde_json::from_slice(&proxy_response(&Response::new(Bytes::from_static(bytes)))).unwrap();
            (json["body"].as_str().unwrap().to_owned(), json["isBase64Encoded"].as_bool().unwrap())
        };
        assert_eq!(body(b"\xef\xbb\xbf{}"), ("\u{feff}{}".to_owned(), false));
        assert_eq!(body(b"\xff\x00"), ("/wA=".to_owned(), true));
        assert_eq!(body(b""), (String::new(), false));
    }

    #[test]
    fn an_answer_that_does_not_fit_is_a_problem_and_not_a_broken_response() {
        let huge = Response::new(Bytes::from(vec![b'\n'; 6 * 1024 * 1024]));
        let json: Value = serde_json::from_slice(&proxy_response(&huge)).unwrap();
        assert_eq!(json["statusCode"], 502);
    }
}
