//! What Lambda hands to a function: the event, told apart by its shape, and what is known about the call.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use super::deadline::{Deadline, LONGEST_INVOCATION, Lease};
use super::http::HttpEvent;
use super::sqs::Batch;
use crate::trace::{TRACEPARENT, Trace};

/// One event, by the way it came.
#[derive(Debug)]
pub enum Event {
    /// From API Gateway or a function URL.
    Http(Box<HttpEvent>),
    /// From an SQS queue.
    Sqs(Batch),
    /// Anything else, as it is: from Step Functions, EventBridge, Genesys Cloud, another function.
    Direct(Bytes),
}

impl Event {
    /// Tells what an event is. Never fails: what is neither HTTP nor SQS is the function's own to judge.
    #[must_use]
    pub fn read(payload: Bytes) -> Self {
        let Ok(event) = serde_json::from_slice::<Value>(&payload) else { return Self::Direct(payload) };
        match HttpEvent::read(event) {
            Ok(event) => Self::Http(Box::new(event)),
            Err(event) => Batch::read(&event["Records"]).map_or(Self::Direct(payload), Self::Sqs),
        }
    }
}

/// What is known about a call beside its event.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Lambda's name for the call. It repeats when Lambda retries, so it names no claim.
    pub request_id: String,
    /// Genesys Cloud's `ININ-Correlation-Id`, when it is the caller and sent one.
    pub correlation_id: Option<String>,
    /// Who calls, when API Gateway authenticated somebody: `jwt:<sub>`, `iam:<arn>` or `api-key:<id>`.
    pub caller: Option<String>,
    /// The trace that the caller names in its client context, as OpenTelemetry does. The work itself goes on
    /// [within](crate::trace::within) a trace.
    pub(super) trace: Option<Trace>,
    ends_at: Option<Instant>,
}

impl Invocation {
    /// A call on one machine: no Lambda, hence no deadline of Lambda's.
    #[must_use]
    pub fn local() -> Self {
        let request_id = crate::random::token();
        Self { request_id, correlation_id: None, caller: None, trace: None, ends_at: None }
    }

    /// A call from Lambda. `deadline` (Unix milliseconds) and `now` are by the same clock; a deadline that is
    /// absent or has passed says nothing (one popular local runner sends 1970), and none is further away than
    /// a function can run.
    #[must_use]
    pub fn from_lambda(
        request_id: String,
        deadline: Option<i64>,
        now: jiff::Timestamp,
        client_context: Option<&str>,
    ) -> Self {
        let left = deadline
            .and_then(|deadline| u64::try_from(deadline.saturating_sub(now.as_millisecond())).ok())
            .filter(|left| *left > 0)
            .map(|left| Duration::from_millis(left).min(LONGEST_INVOCATION));
        let named = |name| client_context.and_then(|context| named(context, name));
        Self {
            request_id,
            correlation_id: named("ININ-Correlation-Id"),
            caller: None,
            trace: named(TRACEPARENT).and_then(|text| Trace::from_w3c(&text)),
            ends_at: left.map(|left| Instant::now() + left),
        }
    }

    /// When this call must be over: after `limit`, or when Lambda ends it if that is sooner.
    #[must_use]
    pub fn deadline(&self, limit: Duration) -> Deadline {
        Deadline::after(self.time_left().map_or(limit, |left| left.min(limit)))
    }

    /// How long this call's claims last: as long as Lambda lets it run, else `default`.
    #[must_use]
    pub fn lease(&self, default: Duration) -> Lease {
        Lease { ends_at: self.ends_at, default }
    }

    /// Puts the correlation id on the log lines of this call.
    pub(super) fn note_correlation_id(&self) {
        if let Some(id) = &self.correlation_id {
            tracing::Span::current().record("genesys.caller_correlation_id", id);
        }
    }

    /// How long Lambda lets this call run, if it said so.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.ends_at.map(|end| end.saturating_duration_since(Instant::now()))
    }
}

/// A value in a client context: a flat map, as Genesys Cloud sends it, or one under `custom`, which some of
/// OpenTelemetry's libraries spell `Custom`. Anything else has none, and is no reason to fail.
fn named(client_context: &str, name: &str) -> Option<String> {
    let context: Value = serde_json::from_str(client_context).ok()?;
    [Some(&context), context.get("custom"), context.get("Custom")]
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flatten()
        .find(|(it, _)| it.eq_ignore_ascii_case(name))
        .and_then(|(_, value)| value.as_str())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(json: &str) -> &'static str {
        match Event::read(Bytes::from(json.to_owned())) {
            Event::Http(_) => "http",
            Event::Sqs(_) => "sqs",
            Event::Direct(_) => "direct",
        }
    }

    #[test]
    fn events_are_told_apart_by_their_shape() {
        assert_eq!(kind(r#"{"httpMethod":"POST","path":"/x","requestContext":{"stage":"prod"}}"#), "http");
        assert_eq!(
            kind(r#"{"version":"2.0","rawPath":"/x","requestContext":{"http":{"method":"POST"}}}"#),
            "http"
        );
        assert_eq!(kind(r#"{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"{}"}]}"#), "sqs");
        assert_eq!(kind(r#"{"dataActionId":"a","input":{"httpMethod":"POST"}}"#), "direct");
        assert_eq!(kind(r#"{"httpMethod":"POST","body":1,"requestContext":{"stage":[]}}"#), "http");
        assert_eq!(kind(r#"{"dataActionId":"a","requestContext":"mine"}"#), "direct");
        assert_eq!(kind(r#"{"Records":[{"eventSource":"aws:sns"}]}"#), "direct");
        assert_eq!(kind("not json"), "direct");
    }

    #[test]
    fn a_correlation_id_is_found_flat_and_under_custom_and_nowhere_else() {
        let correlation_id = |context| named(context, "ININ-Correlation-Id");
        assert_eq!(correlation_id(r#"{"ININ-Correlation-Id":"c-1"}"#).as_deref(), Some("c-1"));
        assert_eq!(
            correlation_id(r#"{"client":{},"custom":{"inin-correlation-id":"c-2"}}"#).as_deref(),
            Some("c-2")
        );
        assert_eq!(correlation_id(r#"{"custom":"odd"}"#), None);
        assert_eq!(correlation_id("[]"), None);
        assert_eq!(correlation_id("nonsense"), None);
    }

    #[test]
    fn a_deadline_that_has_passed_or_lies_too_far_away_is_not_believed() {
        let now = jiff::Timestamp::from_second(1_760_000_000).unwrap();
        let left = |deadline| Invocation::from_lambda("r".to_owned(), deadline, now, None).time_left();
        assert_eq!(left(None), None);
        assert_eq!(left(Some(0)), None);
        assert_eq!(left(Some(now.as_millisecond() - 1)), None);
        assert!(left(Some(i64::MAX)).unwrap() <= LONGEST_INVOCATION);
        assert!(left(Some(now.as_millisecond() + 3000)).unwrap() <= Duration::from_secs(3));
    }
}
