//! HTTP proxy events, to and from the `http` crate's types: payloads 1.0 and 2.0, and function URLs.
//!
//! Read here rather than by a library because a whole event must not be lost for a member we never look at:
//! see `docs/decisions/0003-the-door-is-ours.md`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt;

use super::event::Invocation;
use super::runtime::MAX_RESPONSE_BYTES;
use crate::problem::{Kind, Problem};

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
            }
            request.extensions_mut().insert(invocation);
            let Ok(response) = with_fallbacks(routes).oneshot(request.map(axum::body::Body::from)).await;
            response
        }
        Err(problem) => problem.into_response(),
    };
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("our own responses are whole before they are answered").to_bytes();
    proxy_response(&Response::from_parts(parts, body))
}

/// Bytes as base64, for JSON.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
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

/// `routes`, with a problem for whatever is none of them.
pub fn with_fallbacks(routes: axum::Router) -> axum::Router {
    routes
        .fallback(async || Problem::new(Kind::NotFound, "There is no such route."))
        .method_not_allowed_fallback(async || {
            Problem::new(Kind::MethodNotAllowed, "This route takes POST only.")
        })
}

/// An HTTP request as API Gateway or a function URL wraps it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpEvent {
    http_method: Option<String>,
    raw_path: Option<String>,
    path: Option<String>,
    resource: Option<String>,
    route_key: Option<String>,
    headers: Option<BTreeMap<String, Value>>,
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    request_context: RequestContext,
}

#[derive(Debug, Deserialize)]
struct RequestContext {
    stage: Option<String>,
    http: Option<HttpDescription>,
    authorizer: Option<Value>,
    identity: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct HttpDescription {
    method: Option<String>,
}

impl HttpEvent {
    pub(super) fn read(payload: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(payload)
    }

    /// Who API Gateway says is calling.
    fn caller(&self) -> Option<String> {
        let authorizer = |pointer| self.request_context.authorizer.as_ref()?.pointer(pointer)?.as_str();
        let identity = |name| self.request_context.identity.as_ref()?.get(name)?.as_str();
        let jwt = authorizer("/jwt/claims/sub").or_else(|| authorizer("/claims/sub"));
        let iam = authorizer("/iam/userArn").or_else(|| identity("userArn"));
        let api_key = identity("apiKeyId");
        jwt.map(|sub| format!("jwt:{sub}"))
            .or_else(|| iam.map(|arn| format!("iam:{arn}")))
            .or_else(|| api_key.map(|id| format!("api-key:{id}")))
    }

    fn into_request(self) -> Result<Request<Bytes>, Problem> {
        let refused = |detail: &str| Problem::new(Kind::InvalidRequest, detail);
        let method = self.request_context.http.as_ref().and_then(|http| http.method.as_ref());
        let method = method.or(self.http_method.as_ref()).and_then(|method| method.parse::<Method>().ok());
        let path = utf8_percent_encode(&self.own_path(), NOT_IN_A_PATH).to_string();
        let headers = self.headers()?;
        let body = self.body.unwrap_or_default();
        let body = if self.is_base64_encoded.unwrap_or_default() {
            BASE64.decode(body).map_err(|_| refused("The event says its body is base64, and it is not."))?
        } else {
            body.into_bytes()
        };
        let mut request = Request::builder()
            .method(method.ok_or_else(|| refused("The event names no HTTP method."))?)
            .uri(path)
            .body(Bytes::from(body))
            .map_err(|_| refused("The path is not valid."))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The part of the path that is ours: a stage (payload 2.0) or a custom domain's base path may stand
    /// before it. The route's own template says how many segments at the end count.
    fn own_path(&self) -> String {
        let path = self.raw_path.as_deref().or(self.path.as_deref()).unwrap_or("/");
        let template =
            self.route_key.as_deref().and_then(|key| key.split_once(' ')).map(|(_, template)| template);
        if let Some(template) =
            template.or(self.resource.as_deref()).filter(|template| !template.contains('+'))
        {
            let count = template.trim_matches('/').split('/').count();
            let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            return format!("/{}", segments[segments.len().saturating_sub(count)..].join("/"));
        }
        let stage = self.request_context.stage.as_deref().filter(|_| self.raw_path.is_some());
        stage
            .and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage))
            .filter(|rest| rest.starts_with('/'))
            .unwrap_or(path)
            .to_owned()
    }

    /// A header that is no header (control characters in its value) is refused: what it was meant to say,
    /// a signature or a key, would be guesswork.
    fn headers(&self) -> Result<HeaderMap, Problem> {
        let several = self.multi_value_headers.iter().flatten();
        let several =
            several.flat_map(|(name, values)| values.iter().map(move |value| (name, value.as_str())));
        let single = self.headers.iter().flatten().filter_map(|(name, value)| Some((name, value.as_str()?)));
        let mut headers = HeaderMap::new();
        let mut add = |(name, value): (&String, &str)| {
            let refused = |_| {
                Problem::new(Kind::InvalidRequest, format!("The header {name:?} has control characters."))
            };
            let Ok(name) = HeaderName::try_from(name) else { return Ok(()) };
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(refused)?);
            Ok(())
        };
        if self.multi_value_headers.as_ref().is_some_and(|headers| !headers.is_empty()) {
            several.into_iter().try_for_each(&mut add)?;
        } else {
            single.into_iter().try_for_each(&mut add)?;
        }
        Ok(headers)
    }
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
        HttpEvent::read(json.to_string().as_bytes()).unwrap()
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
