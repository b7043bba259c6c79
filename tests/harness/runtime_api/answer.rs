//! What came of an invocation.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The function's answer.
    Success(Bytes),
    /// The function failed, and said so.
    Error {
        /// The header `Lambda-Runtime-Function-Error-Type`.
        error_type_header: Option<String>,
        /// `{"errorType", "errorMessage"}`; a string, when it was no JSON.
        body: Value,
    },
    /// The process ended, or polled again, without having answered.
    Died,
}

impl Answer {
    /// The answer as a gateway reads it.
    ///
    /// # Panics
    ///
    /// Unless it is a success, and of a shape that a gateway takes.
    #[must_use]
    #[track_caller]
    pub fn http(&self) -> HttpAnswer {
        HttpAnswer::of_proxy(&self.json())
    }

    /// The answer as JSON.
    ///
    /// # Panics
    ///
    /// Unless it is a success, and JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        let Self::Success(body) = self else { panic!("the function did not succeed: {self:?}") };
        let Ok(json) = serde_json::from_slice(body) else { panic!("the answer is no JSON: {self:?}") };
        json
    }

    /// The `errorType` of the failure.
    ///
    /// # Panics
    ///
    /// Unless it is a failure that has one.
    #[must_use]
    #[track_caller]
    pub fn error_type(&self) -> String {
        self.error_field("errorType")
    }

    /// The `errorMessage` of the failure.
    ///
    /// # Panics
    ///
    /// Unless it is a failure that has one.
    #[must_use]
    #[track_caller]
    pub fn error_message(&self) -> String {
        self.error_field("errorMessage")
    }

    #[track_caller]
    fn error_field(&self, field: &str) -> String {
        let Self::Error { body, .. } = self else { panic!("the function did not fail by itself: {self:?}") };
        let Some(text) = body[field].as_str() else { panic!("the failure has no {field}: {body}") };
        text.to_owned()
    }
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// Headers by lowercase name; several values of one are joined with `", "`.
    pub headers: BTreeMap<String, String>,
    /// The body, decoded.
    pub body: Bytes,
}

impl HttpAnswer {
    /// The body as text.
    ///
    /// # Panics
    ///
    /// Unless it is UTF-8.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        let Ok(text) = std::str::from_utf8(&self.body) else { panic!("the body is no text: {self:?}") };
        text
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// Unless it is JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        let Ok(json) = serde_json::from_slice(&self.body) else { panic!("the body is no JSON: {self:?}") };
        json
    }

    /// A header, by its lowercase name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    #[track_caller]
    fn of_proxy(answer: &Value) -> Self {
        let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
        let Some(status) = status else { panic!("no gateway takes an answer without a status: {answer}") };
        Self { status, headers: headers_of(answer), body: body_of(answer) }
    }
}

/// A name in both maps keeps both, and a value in both is there once: so a REST API merges them.
#[track_caller]
fn headers_of(answer: &Value) -> BTreeMap<String, String> {
    let single = entries(&answer["headers"]).map(|(name, value)| (name, vec![value.clone()]));
    let multiple = entries(&answer["multiValueHeaders"]).map(|(name, values)| {
        let Some(values) = values.as_array() else { panic!("no list of values: {name}: {values}") };
        (name, values.clone())
    });

    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, values) in single.chain(multiple) {
        let joined = headers.entry(name.to_ascii_lowercase()).or_default();
        for value in values {
            let Some(value) = value.as_str() else { panic!("no header value: {name}: {value}") };
            if !joined.iter().any(|there| there == value) {
                joined.push(value.to_owned());
            }
        }
    }
    headers.into_iter().map(|(name, values)| (name, values.join(", "))).collect()
}

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}

#[track_caller]
fn body_of(answer: &Value) -> Bytes {
    let text = match &answer["body"] {
        Value::Null => "",
        Value::String(text) => text,
        other => panic!("no gateway takes a body that is no string: {other}"),
    };
    if answer["isBase64Encoded"] != Value::Bool(true) {
        return Bytes::copy_from_slice(text.as_bytes());
    }
    let Ok(bytes) = STANDARD.decode(text) else { panic!("the body is no base64: {text}") };
    Bytes::from(bytes)
}
