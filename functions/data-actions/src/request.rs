//! Requests, parsed at the door: from here on, everything is what it says it is.

use std::time::Duration;

use http::HeaderMap;
use serde_json::value::RawValue;
use shared::canonical::{canonical, digest, raw};
use shared::genesys::data_actions::Route;
use shared::genesys::{DataActionId, Surface};
use shared::idempotency::Key;
use shared::problem::Problem;
use shared::request::{Members, invalid, key_header, preferred_wait};

/// One invocation of a data action.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: DataActionId,
    /// As it was written: its bytes go to the upstream.
    pub(crate) input: Box<RawValue>,
    pub(crate) key: Key,
    /// Two requests with the same fingerprint ask for the same.
    pub(crate) fingerprint: String,
    /// How long a duplicate waits for the run it met.
    pub(crate) wait: Duration,
}

impl Request {
    /// Over HTTP: the body is the input, the key a header.
    pub(crate) fn from_http(
        id: &str,
        headers: &HeaderMap,
        body: &[u8],
        route: Route,
    ) -> Result<Self, Problem> {
        let id = DataActionId::parse(id).map_err(|fault| invalid(format!("dataActionId {fault}.")))?;
        let key = key_header(headers)?;
        let text = std::str::from_utf8(body).map_err(|_| invalid("The body is not UTF-8 text."))?;
        let fault = |fault: shared::canonical::Error| invalid(format!("The body {fault}."));
        let canonical = canonical(text).map_err(fault)?;
        let input = raw(text).map_err(fault)?;
        Self::new(id, input.to_owned(), &canonical, key, preferred_wait(headers), route)
    }

    /// As a direct invocation or an SQS message: everything is a member of one object.
    pub(crate) fn from_direct(payload: &[u8], route: Route) -> Result<Self, Problem> {
        let text = std::str::from_utf8(payload).map_err(|_| invalid("The payload is not UTF-8 text."))?;
        let members = Members::parse(text, "The payload")?;
        let id = members.string(&["dataActionId", "data_action_id"])?;
        let id = id.ok_or_else(|| invalid("dataActionId is missing."))?;
        let id = DataActionId::parse(&id).map_err(|fault| invalid(format!("dataActionId {fault}.")))?;
        let input = members.raw(&["input", "payload", "input_payload"])?;
        let input = input.ok_or_else(|| invalid("input is missing."))?;
        let (key, wait) = (members.key()?, members.wait()?);
        let canonical = canonical(input.get()).map_err(|fault| invalid(format!("input {fault}.")))?;
        Self::new(id, input.to_owned(), &canonical, key, wait, route)
    }

    fn new(
        id: DataActionId,
        input: Box<RawValue>,
        canonical: &str,
        key: Option<Key>,
        wait: Duration,
        route: Route,
    ) -> Result<Self, Problem> {
        // The published operation's request body is an object; what could only be refused is refused here.
        if route.surface() == Surface::Platform && !canonical.starts_with('{') {
            return Err(invalid("The input must be a JSON object."));
        }
        let content = format!("{}:{canonical}", id.as_str());
        let key = key.unwrap_or_else(|| Key::derived(&content));
        Ok(Self { id, input, key, fingerprint: digest(content.as_bytes()), wait })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(json: &str) -> Result<Request, String> {
        Request::from_direct(json.as_bytes(), Route::Platform).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn without_a_key_the_key_is_the_hash_of_action_and_canonical_input() {
        let request = direct(r#"{"dataActionId":"a-1","input":{"b":1.0,"a":"x"}}"#).unwrap();
        assert_eq!(request.key.as_str(), digest(br#"a-1:{"a":"x","b":1}"#));
        let http =
            Request::from_http("a-1", &HeaderMap::new(), br#" {"a":"\u0078", "b":1} "#, Route::Platform)
                .unwrap();
        assert_eq!(http.key, request.key);
        assert_eq!(http.input.get(), r#"{"a":"\u0078", "b":1}"#);
    }

    #[test]
    fn the_guides_names_are_understood() {
        for json in [
            r#"{"data_action_id":"a","payload":{"x":1},"idempotency_key":"k"}"#,
            r#"{"dataActionId":"a","input_payload":{"x":1},"idempotencyKey":"k"}"#,
        ] {
            let request = direct(json).unwrap();
            assert_eq!(
                (request.id.as_str(), request.key.as_str(), request.input.get()),
                ("a", "k", r#"{"x":1}"#)
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, named) in [
            ("[]", "not a JSON object"),
            ("{", "not valid JSON"),
            (r#"{"input":{}}"#, "dataActionId is missing"),
            (r#"{"dataActionId":7,"input":{}}"#, "dataActionId must be a string"),
            (r#"{"dataActionId":"../x","input":{}}"#, "dataActionId must be 1 to 128"),
            (r#"{"dataActionId":"a"}"#, "input is missing"),
            (r#"{"dataActionId":"a","input":[]}"#, "input must be a JSON object"),
            (r#"{"dataActionId":"a","input":{},"payload":{}}"#, "input is given more than once"),
            (r#"{"dataActionId":"a","input":{"x":1,"x":1}}"#, "\"x\" twice"),
            (r#"{"dataActionId":"a","input":{},"idempotencyKey":""}"#, "idempotencyKey must be 1 to 255"),
            (r#"{"dataActionId":"a","input":{},"idempotencyKey":0}"#, "idempotencyKey must be a string"),
            (r#"{"dataActionId":"a","input":{},"waitSeconds":-1}"#, "waitSeconds must be"),
        ] {
            let detail = direct(json).unwrap_err();
            assert!(detail.contains(named), "{json}: {detail}");
        }
    }
}
