//! Events: what a delivery says, in three shapes, with one identity.
//!
//! | shape | identity |
//! |---|---|
//! | guide: `{"id","type","createdTime","data"}` | its `id` |
//! | notification: `{"topicName","version","eventBody","metadata"}` | topic and canonical body, hashed |
//! | EventBridge: an envelope whose `detail` is one of the above | its detail's, else the envelope's `id` |
//!
//! A notification has no id of its own: `eventBody.id` may name a conversation, and EventBridge's envelope gets
//! a new id when Genesys Cloud publishes again. Version, metadata and timestamps differ between two deliveries
//! of one event, so they do not count. Another shape is another branch of [`read`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::canonical::{canonical, digest, raw, refuse_duplicate_keys};

/// What is known of an event beside its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Two deliveries with the same id are the same event.
    pub(crate) id: String,
    /// What kind of event it is.
    pub(crate) kind: String,
    /// When it happened, if it says so.
    pub(crate) occurred_at: Option<Timestamp>,
    /// The conversation it is about, if it names one.
    pub(crate) conversation_id: Option<String>,
}

/// An id longer than this is no id: it could not be kept beside the body.
const MAX_ID_BYTES: usize = 1024;

/// An object's members, each as it was written.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Reads a body. When it cannot, the reason completes the sentence "the body …".
pub(crate) fn read(body: &[u8]) -> Result<Event, String> {
    let text = std::str::from_utf8(body).map_err(|_| "is not UTF-8 text".to_owned())?;
    let json = raw(text).map_err(|fault| fault.to_string())?;
    // Which of two members of one name counts is anybody's guess.
    refuse_duplicate_keys(json).map_err(|fault| fault.to_string())?;
    let members: Members<'_> =
        serde_json::from_str(json.get()).map_err(|_| "is not a JSON object".to_owned())?;
    if let Some(detail_type) = string(&members, "detail-type") {
        return from_event_bridge(&members, detail_type);
    }
    let event = notification(&members)?.or_else(|| identified(&members));
    event.ok_or_else(|| "has no identity: neither an id nor a topicName with an eventBody".to_owned())
}

fn from_event_bridge(envelope: &Members<'_>, detail_type: String) -> Result<Event, String> {
    let detail = envelope.get("detail").and_then(|detail| serde_json::from_str(detail.get()).ok());
    let detail: Members<'_> = detail.unwrap_or_default();
    // A notification without a canonical form still has its envelope's id.
    let event = notification(&detail).unwrap_or_default();
    let event = event.or_else(|| identified(&detail)).or_else(|| identified(envelope));
    let event = event.ok_or_else(|| "is an EventBridge event without an id".to_owned())?;
    Ok(Event {
        kind: clipped(detail_type),
        occurred_at: event.occurred_at.or_else(|| time(envelope, "time")),
        ..event
    })
}

/// A notification, if it is one. Its identity needs a body that has a canonical form.
fn notification(members: &Members<'_>) -> Result<Option<Event>, String> {
    let (Some(topic), Some(body)) = (string(members, "topicName"), members.get("eventBody")) else {
        return Ok(None);
    };
    let canonical = canonical(body.get()).map_err(|fault| format!("has an eventBody that {fault}"))?;
    let fields: Members<'_> = serde_json::from_str(body.get()).unwrap_or_default();
    Ok(Some(Event {
        id: digest(format!("{topic}:{canonical}").as_bytes()),
        kind: clipped(topic),
        occurred_at: time(&fields, "eventTime").or_else(|| time(members, "timestamp")),
        conversation_id: conversation_id(&fields),
    }))
}

fn identified(members: &Members<'_>) -> Option<Event> {
    let data = members.get("data").and_then(|data| serde_json::from_str::<Members<'_>>(data.get()).ok());
    Some(Event {
        id: string(members, "id").filter(|id| id.len() <= MAX_ID_BYTES)?,
        kind: string(members, "type").map_or_else(|| "unknown".to_owned(), clipped),
        occurred_at: time(members, "createdTime"),
        conversation_id: data.as_ref().and_then(conversation_id),
    })
}

/// Genesys Cloud's ids have at most 128 characters; what is longer is no conversation.
fn conversation_id(members: &Members<'_>) -> Option<String> {
    string(members, "conversationId").filter(|id| id.len() <= 128)
}

/// A kind stands beside the body, where there is not room for a second body.
fn clipped(mut kind: String) -> String {
    kind.truncate(kind.floor_char_boundary(256));
    kind
}

/// A member that is a string and not empty.
fn string(members: &Members<'_>, name: &str) -> Option<String> {
    let text: String = serde_json::from_str(members.get(name)?.get()).ok()?;
    (!text.is_empty()).then_some(text)
}

/// A member that is a time: Unix milliseconds or RFC 3339.
fn time(members: &Members<'_>, name: &str) -> Option<Timestamp> {
    match serde_json::from_str(members.get(name)?.get()).ok()? {
        Value::Number(millis) => Timestamp::from_millisecond(millis.as_i64()?).ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(value: &Value) -> String {
        read(value.to_string().as_bytes()).unwrap().id
    }

    fn body() -> Value {
        json!({"id": "conversation-1", "conversationId": "conversation-1", "eventTime": 1_760_000_000_000_i64})
    }

    #[test]
    fn the_guides_shape_is_known_by_its_id() {
        let event =
            read(br#"{"id":"e1","type":"interaction.created","createdTime":1678886400000,"data":{}}"#)
                .unwrap();
        assert_eq!(event.id, "e1");
        assert_eq!(event.kind, "interaction.created");
        assert_eq!(event.occurred_at.unwrap().to_string(), "2023-03-15T13:20:00Z");
        let later = read(br#"{"id":"e1","type":"x","createdTime":"2023-03-15T13:20:00+01:00"}"#).unwrap();
        assert_eq!(later.occurred_at.unwrap().to_string(), "2023-03-15T12:20:00Z");
        assert_eq!(read(br#"{"id":"e1","type":"x","createdTime":"soon"}"#).unwrap().occurred_at, None);
    }

    #[test]
    fn a_notification_is_known_by_topic_and_body_and_nothing_else() {
        let first = json!({"topicName": "t", "version": "2", "eventBody": body(), "metadata": {"CorrelationId": "1"}});
        let again = json!({"metadata": {"CorrelationId": "2"}, "timestamp": "2026-11-22T00:00:00Z", "eventBody": body(),
            "version": "3", "topicName": "t"});
        assert_eq!(id(&first), id(&again));
        let mut other = first.clone();
        other["eventBody"]["eventTime"] = json!(1);
        assert_ne!(id(&first), id(&other));
        let mut elsewhere = first.clone();
        elsewhere["topicName"] = json!("u");
        assert_ne!(id(&first), id(&elsewhere));
    }

    #[test]
    fn an_event_is_the_same_over_http_and_event_bridge() {
        let notification = json!({"topicName": "t", "eventBody": body()});
        let envelope =
            |id: &str| json!({"id": id, "detail-type": "v2.x.{id}", "source": "s", "detail": notification});
        assert_eq!(id(&envelope("1")), id(&notification));
        assert_eq!(id(&envelope("2")), id(&notification));
        let event = read(envelope("1").to_string().as_bytes()).unwrap();
        assert_eq!(
            (event.kind.as_str(), event.conversation_id.as_deref()),
            ("v2.x.{id}", Some("conversation-1"))
        );
    }

    #[test]
    fn an_envelope_lends_its_id_to_a_detail_without_one() {
        let with = |detail: Value| json!({"id": "envelope", "detail-type": "t", "time": "2026-11-22T00:00:00Z", "detail": detail});
        assert_eq!(id(&with(json!({"id": "own"}))), "own");
        assert_eq!(id(&with(json!({"x": 1}))), "envelope");
        assert_eq!(id(&with(json!("text"))), "envelope");
        let event = read(with(json!({})).to_string().as_bytes()).unwrap();
        assert_eq!(event.occurred_at.unwrap().to_string(), "2026-11-22T00:00:00Z");
    }

    #[test]
    fn an_event_with_an_id_may_say_what_has_no_canonical_form() {
        for odd in ["1e400", "\"\\ud800\"", &("[".repeat(200) + &"]".repeat(200))] {
            let event = read(format!(r#"{{"id":"e","type":"t","data":{{"odd":{odd}}}}}"#).as_bytes());
            assert_eq!(event.unwrap().id, "e", "{odd}");
        }
    }

    #[test]
    fn what_stands_beside_the_body_is_short() {
        let long = "x".repeat(2000);
        let event =
            read(format!(r#"{{"id":"e","type":"{long}","data":{{"conversationId":"{long}"}}}}"#).as_bytes());
        let event = event.unwrap();
        assert_eq!((event.kind.len(), event.conversation_id), (256, None));
        assert!(read(format!(r#"{{"id":"{long}"}}"#).as_bytes()).unwrap_err().starts_with("has no identity"));
    }

    #[test]
    fn what_is_no_event_says_why() {
        for (body, why) in [
            (&b"\xff"[..], "is not UTF-8 text"),
            (b"", "is not valid JSON"),
            (b"[1]", "is not a JSON object"),
            (b"{}", "has no identity"),
            (br#"{"id":""}"#, "has no identity"),
            (br#"{"id":7}"#, "has no identity"),
            (br#"{"id":"a","id":"b"}"#, "has the object key \"id\" twice"),
            (br#"{"topicName":"t"}"#, "has no identity"),
            (br#"{"topicName":"t","eventBody":{"n":1e400}}"#, "has an eventBody that has the number 1e400"),
            (br#"{"id":"e","n":1e400,"data":{"x":1,"x":2}}"#, "has the object key \"x\" twice"),
            (br#"{"detail-type":"t","detail":{}}"#, "is an EventBridge event without an id"),
        ] {
            let reason = read(body).unwrap_err();
            assert!(reason.starts_with(why), "{reason}");
        }
    }
}
