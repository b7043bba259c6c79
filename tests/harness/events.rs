//! The events that AWS hands to a function, in the shapes it documents.
//!
//! A path may carry a query string. Header names are given in any case: payload 2.0 lowercases them and
//! joins what repeats, payload 1.0 keeps them. Headers that every gateway adds are there unless given.
//! An empty body is left out (2.0) or null (1.0). The dates are fixed; ids differ from call to call.
//!
//! Shapes: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>,
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// An API Gateway HTTP API's event (payload 2.0, stage `$default`); the body is base64 unless it is text.
#[must_use]
pub fn http_v2(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    payload_2(&HTTP_API, &Request::new(method, path, headers), &encoded_unless_text(body))
}

/// The same, its body always base64.
#[must_use]
pub fn http_v2_base64(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    payload_2(&HTTP_API, &Request::new(method, path, headers), &encoded(body))
}

/// A Lambda function URL's event (payload 2.0, no authentication), its body always base64.
#[must_use]
pub fn function_url(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    payload_2(&FUNCTION_URL, &Request::new(method, path, headers), &encoded(body))
}

/// An API Gateway REST API's event (stage `prod`) for a `resource` such as
/// `/data-actions/{dataActionId}/invocations`; the body is base64 unless it is text.
///
/// # Panics
///
/// When the path is none of the resource's.
#[must_use]
pub fn http_v1(method: &str, resource: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    let request = Request::new(method, path, headers);
    let all_headers = request.with_gateway_headers(&REST_API, str::to_owned);
    let query = request.query_pairs();
    let body = encoded_unless_text(body);
    json!({
        "resource": resource,
        "path": request.path,
        "httpMethod": method,
        "headers": last_of_each(&all_headers),
        "multiValueHeaders": all_of_each(&all_headers),
        "queryStringParameters": last_of_each(&query),
        "multiValueQueryStringParameters": all_of_each(&query),
        "pathParameters": path_parameters(resource, request.path),
        "stageVariables": null,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": REST_API.id,
            "deploymentId": "9o8i7u",
            "domainName": REST_API.domain(),
            "domainPrefix": REST_API.id,
            "extendedRequestId": "Ft3xJHXcIAMFQrw=",
            "httpMethod": method,
            "identity": {
                "accessKey": null,
                "accountId": null,
                "caller": null,
                "cognitoAuthenticationProvider": null,
                "cognitoAuthenticationType": null,
                "cognitoIdentityId": null,
                "cognitoIdentityPoolId": null,
                "principalOrgId": null,
                "sourceIp": SOURCE_IP,
                "user": null,
                "userAgent": request.user_agent(),
                "userArn": null
            },
            "path": format!("/prod{}", request.path),
            "protocol": "HTTP/1.1",
            "requestId": fresh_uuid(),
            "requestTime": TIME,
            "requestTimeEpoch": TIME_EPOCH_MS,
            "resourceId": "roq9wj",
            "resourcePath": resource,
            "stage": "prod"
        },
        "body": body.text,
        "isBase64Encoded": body.is_base64
    })
}

/// Names the caller as a JWT authorizer does (payload 2.0), or a Cognito authorizer (payload 1.0).
#[must_use]
pub fn with_caller_jwt(event: Value, sub: &str) -> Value {
    let claims = json!({
        "sub": sub,
        "iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Example",
        "aud": "1example23456789",
        "token_use": "id",
        "iat": "1767225600",
        "exp": "1767229200"
    });
    let authorizer = if is_payload_2(&event) {
        json!({ "jwt": { "claims": claims, "scopes": null } })
    } else {
        json!({ "claims": claims })
    };
    with(event, &["requestContext", "authorizer"], authorizer)
}

/// Names the caller as IAM does.
#[must_use]
pub fn with_caller_iam(event: Value, arn: &str) -> Value {
    if is_payload_2(&event) {
        let iam = json!({
            "accessKey": "AKIAIOSFODNN7EXAMPLE",
            "accountId": ACCOUNT,
            "callerId": "AIDACKCEVSQ6C2EXAMPLE",
            "cognitoIdentity": null,
            "principalOrgId": "o-exampleorgid",
            "userArn": arn,
            "userId": "AIDACKCEVSQ6C2EXAMPLE"
        });
        // At a function URL a known caller has an account; nobody in particular is `anonymous`.
        let event = with(event, &["requestContext", "accountId"], json!(ACCOUNT));
        return with(event, &["requestContext", "authorizer"], json!({ "iam": iam }));
    }
    let fields = [
        ("accessKey", "AKIAIOSFODNN7EXAMPLE"),
        ("accountId", ACCOUNT),
        ("caller", "AIDACKCEVSQ6C2EXAMPLE"),
        ("principalOrgId", "o-exampleorgid"),
        ("user", "AIDACKCEVSQ6C2EXAMPLE"),
        ("userArn", arn),
    ];
    fields
        .into_iter()
        .fold(event, |event, (name, value)| with(event, &["requestContext", "identity", name], json!(value)))
}

/// Names the caller by the id of an API key, which REST APIs (payload 1.0) alone have.
///
/// # Panics
///
/// When the event is one of payload 2.0.
#[must_use]
pub fn with_api_key(event: Value, id: &str) -> Value {
    assert!(!is_payload_2(&event), "only a REST API has API keys: {event}");
    let event = with(event, &["requestContext", "identity", "apiKeyId"], json!(id));
    with(event, &["requestContext", "identity", "apiKey"], json!("the-key-itself"))
}

/// A batch from a standard queue: `(message id, body)` each. The checksums are not real.
#[must_use]
pub fn sqs_batch(messages: &[(&str, &str)]) -> Value {
    let record = |(id, body): &(&str, &str)| {
        json!({
            "messageId": id,
            "receiptHandle": format!("AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a-{id}"),
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1767225600000",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1767225600010"
            },
            "messageAttributes": {},
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:requests"),
            "awsRegion": REGION
        })
    };
    json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() })
}

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";
const SOURCE_IP: &str = "203.0.113.7";
const USER_AGENT: &str = "curl/8.14.1";
const TIME: &str = "01/Jan/2026:00:00:00 +0000";
const TIME_EPOCH_MS: u64 = 1_767_225_600_000;

/// What stands before the function.
struct Gateway {
    id: &'static str,
    service: &'static str,
    account: &'static str,
}

const HTTP_API: Gateway =
    Gateway { id: "a1b2c3d4e5", service: "execute-api.us-east-1.amazonaws.com", account: ACCOUNT };
const REST_API: Gateway =
    Gateway { id: "gy415nuibc", service: "execute-api.us-east-1.amazonaws.com", account: ACCOUNT };
const FUNCTION_URL: Gateway = Gateway {
    id: "abcdefghijklmnopqrstuvwxyz012345",
    service: "lambda-url.us-east-1.on.aws",
    account: "anonymous",
};

impl Gateway {
    fn domain(&self) -> String {
        format!("{}.{}", self.id, self.service)
    }
}

struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: &'a [(&'a str, &'a str)],
}

impl<'a> Request<'a> {
    fn new(method: &'a str, path: &'a str, headers: &'a [(&'a str, &'a str)]) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self { method, path, query, headers }
    }

    /// The headers given, after those that every gateway adds.
    fn with_gateway_headers(&self, gateway: &Gateway, name: fn(&str) -> String) -> Vec<(String, String)> {
        let domain = gateway.domain();
        let added = [
            ("Accept", "*/*"),
            ("Host", domain.as_str()),
            ("User-Agent", USER_AGENT),
            ("X-Amzn-Trace-Id", "Root=1-67891233-abcdef012345678912345678"),
            ("X-Forwarded-For", SOURCE_IP),
            ("X-Forwarded-Port", "443"),
            ("X-Forwarded-Proto", "https"),
        ];
        added
            .into_iter()
            .filter(|(added, _)| self.header(added).is_none())
            .chain(self.headers.iter().copied())
            .map(|(header, value)| (name(header), value.to_owned()))
            .collect()
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn user_agent(&self) -> &'a str {
        self.header("user-agent").unwrap_or(USER_AGENT)
    }

    fn query_pairs(&self) -> Vec<(String, String)> {
        let url = reqwest::Url::parse(&format!("http://localhost/?{}", self.query));
        url.expect("any query string makes a URL").query_pairs().into_owned().collect()
    }
}

fn payload_2(gateway: &Gateway, request: &Request<'_>, body: &Body) -> Value {
    let (cookies, headers): (Vec<_>, Vec<_>) = request
        .with_gateway_headers(gateway, str::to_ascii_lowercase)
        .into_iter()
        .partition(|(name, _)| name == "cookie");
    let cookies: Vec<&str> = cookies.iter().flat_map(|(_, value)| value.split("; ")).collect();
    let query = request.query_pairs();

    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": joined(&headers),
        "requestContext": {
            "accountId": gateway.account,
            "apiId": gateway.id,
            "domainName": gateway.domain(),
            "domainPrefix": gateway.id,
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": SOURCE_IP,
                "userAgent": request.user_agent()
            },
            "requestId": fresh_uuid(),
            "routeKey": "$default",
            "stage": "$default",
            "time": TIME,
            "timeEpoch": TIME_EPOCH_MS
        },
        "isBase64Encoded": body.is_base64
    });
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query.is_empty() {
        event["queryStringParameters"] = joined(&query);
    }
    if let Some(text) = &body.text {
        event["body"] = json!(text);
    }
    event
}

struct Body {
    text: Option<String>,
    is_base64: bool,
}

fn encoded_unless_text(body: &[u8]) -> Body {
    let Ok(text) = std::str::from_utf8(body) else { return encoded(body) };
    Body { text: (!text.is_empty()).then(|| text.to_owned()), is_base64: false }
}

fn encoded(body: &[u8]) -> Body {
    Body { text: (!body.is_empty()).then(|| STANDARD.encode(body)), is_base64: !body.is_empty() }
}

/// Payload 2.0's way with names that repeat.
fn joined(pairs: &[(String, String)]) -> Value {
    let mut joined = Map::new();
    for (name, value) in pairs {
        match joined.get_mut(name) {
            Some(Value::String(there)) => {
                there.push(',');
                there.push_str(value);
            }
            _ => {
                joined.insert(name.clone(), json!(value));
            }
        }
    }
    Value::Object(joined)
}

/// Payload 1.0's way with names that repeat; null when there are none.
fn last_of_each(pairs: &[(String, String)]) -> Option<Value> {
    let last: Map<String, Value> = pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    (!last.is_empty()).then_some(Value::Object(last))
}

fn all_of_each(pairs: &[(String, String)]) -> Option<Value> {
    let mut all = Map::new();
    for (name, value) in pairs {
        let values = all.entry(name.clone()).or_insert_with(|| json!([]));
        values.as_array_mut().expect("just made one").push(json!(value));
    }
    (!all.is_empty()).then_some(Value::Object(all))
}

/// What `{name}` and `{name+}` in the resource stand for; null when it has neither.
fn path_parameters(resource: &str, path: &str) -> Option<Value> {
    let mut parameters = Map::new();
    let mut rest = path;
    for segment in resource.split('/').skip(1) {
        rest = rest.strip_prefix('/').unwrap_or_else(|| panic!("{path} is none of {resource}"));
        let parameter = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        let greedy = parameter.and_then(|parameter| parameter.strip_suffix('+'));
        let length = if greedy.is_some() { rest.len() } else { rest.find('/').unwrap_or(rest.len()) };
        let (value, after) = rest.split_at(length);
        match greedy.or(parameter) {
            Some(name) => {
                parameters.insert(name.to_owned(), json!(value));
            }
            None => assert_eq!(segment, value, "{path} is none of {resource}"),
        }
        rest = after;
    }
    assert!(rest.is_empty(), "{path} is none of {resource}");
    (!parameters.is_empty()).then_some(Value::Object(parameters))
}

fn is_payload_2(event: &Value) -> bool {
    event["version"] == "2.0"
}

fn with(mut event: Value, path: &[&str], value: Value) -> Value {
    let place = path.iter().fold(&mut event, |place, name| &mut place[*name]);
    *place = value;
    event
}

fn fresh_uuid() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    format!("c6af9ac6-7b61-11e6-9a41-{:012x}", LAST.fetch_add(1, Ordering::Relaxed) + 1)
}
