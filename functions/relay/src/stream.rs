//! The table's stream: a record of something that is due and was never attempted is its first attempt.
//!
//! Lambda hands records over in batches, and holds up all that follow until a batch is taken. So a record nobody can
//! read is not refused but left to the schedule, and a delivery that failed is no failure of the batch: that is on
//! record, and due again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::{join, join_all};
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::dynamo::{AttributeValue, Item, binary};
use shared::lambda::Deadline;
use shared::telemetry::{Metric, count};
use shared::{events as event_layout, outbox};

use crate::App;
use crate::attempt::{Due, Seen};
use crate::breaker::Subscribers;
use crate::tally::Outcome;
use crate::{events, notices};

/// How many notices to one subscriber are under way at once: all that a batch brings.
const AT_ONCE: usize = 100;

/// What a batch tells of, as far as it can be read.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    records: Vec<Record>,
}

/// Something that was never attempted.
#[derive(Debug)]
struct Record {
    /// What a partial-batch response names.
    sequence: String,
    what: What,
    item: Item,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Notice,
    Event,
}

#[derive(Debug, Deserialize)]
struct RawRecord {
    dynamodb: Change,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: Option<String>,
    keys: Map<String, Value>,
    new_image: Option<Map<String, Value>>,
}

impl Batch {
    /// The batch that a payload is. Nothing, if it comes from elsewhere.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let mut payload: Value = serde_json::from_slice(payload).ok()?;
        let Value::Array(records) = payload.get_mut("Records")?.take() else { return None };
        records.iter().any(|record| record["eventSource"] == "aws:dynamodb").then_some(())?;
        let mut batch = Self::default();
        for record in records {
            match Record::read(record) {
                Ok(record) => batch.records.extend(record),
                Err(error) => {
                    count(Metric::RecordsUnreadable);
                    tracing::error!(
                        message = "a stream record cannot be read; what it tells of is left to the schedule",
                        error = %error,
                    );
                }
            }
        }
        Some(batch)
    }
}

impl Record {
    /// What a record tells of, if that was never attempted.
    fn read(record: Value) -> Result<Option<Self>, serde_json::Error> {
        let record: RawRecord = serde_json::from_value(record)?;
        let what = match record.dynamodb.keys.get("sk").and_then(|sk| sk["S"].as_str()) {
            Some(outbox::SORT_KEY) => What::Notice,
            Some(event_layout::SORT_KEY) => What::Event,
            _ => return Ok(None),
        };
        // What has been attempted is the schedule's.
        let Some(image) = record.dynamodb.new_image else { return Ok(None) };
        if image.get("attempts").is_none_or(|attempts| attempts["N"] != "0") {
            return Ok(None);
        }
        let sequence = record.dynamodb.sequence_number.unwrap_or_default();
        Ok(Some(Self { sequence, what, item: item(&image) }))
    }
}

/// Makes the first attempts. Returns the records that the store kept us from claiming.
pub(crate) async fn make_first_attempts(app: &App, batch: Batch, deadline: Deadline) -> Vec<String> {
    let now = app.clock.now();
    let (mut due_notices, mut due_events) = (Vec::new(), Vec::new());
    for Record { sequence, what, item } in batch.records {
        let (version, due) = match what {
            What::Notice => (outbox::VERSION, &mut due_notices),
            What::Event => (event_layout::VERSION, &mut due_events),
        };
        match Seen::of(item, version, now) {
            Seen::Due(seen) => due.push((sequence, seen)),
            Seen::NotDue => {}
            Seen::Unreadable(pk) => unreadable(&pk),
        }
    }
    let subscribers = Subscribers::new(AT_ONCE);
    let (mut sequences, due_notices): (Vec<String>, Vec<Due>) = due_notices.into_iter().unzip();
    let (of_events, due_events): (Vec<String>, Vec<Due>) = due_events.into_iter().unzip();
    sequences.extend(of_events);
    let delivering: Vec<_> =
        due_notices.iter().map(|due| notices::deliver(app, &subscribers, due, deadline)).collect();
    let publishing = events::publish(app, &due_events, deadline);
    let (delivered, published) = join(join_all(delivering), publishing).await;
    let outcomes = sequences.into_iter().zip(delivered.into_iter().chain(published));
    outcomes.filter(|(_, outcome)| *outcome == Outcome::StoreDown).map(|(sequence, _)| sequence).collect()
}

/// Logs and counts an item that is not one of ours.
pub(crate) fn unreadable(pk: &str) {
    count(Metric::RecordsUnreadable);
    tracing::error!(message = "what is on record as due cannot be read", pk);
}

/// An item in `DynamoDB`'s JSON. Attributes of a kind that nothing of ours has are left out.
fn item(image: &Map<String, Value>) -> Item {
    let attributes = image.iter().filter_map(|(name, value)| Some((name.clone(), attribute(value)?)));
    attributes.collect()
}

fn attribute(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => Some(AttributeValue::S(text.clone())),
        ("N", Value::String(numeral)) => Some(AttributeValue::N(numeral.clone())),
        ("BOOL", Value::Bool(is_so)) => Some(AttributeValue::Bool(*is_so)),
        ("B", Value::String(encoded)) => BASE64.decode(encoded).ok().map(|bytes| binary(&bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::dynamo::{number, string};

    use super::*;

    fn record(attempts: &str, sk: &str) -> Value {
        json!({"eventSource": "aws:dynamodb", "eventName": "INSERT", "dynamodb": {"SequenceNumber": "7",
            "Keys": {"pk": {"S": "p"}, "sk": {"S": sk}},
            "NewImage": {"pk": {"S": "p"}, "attempts": {"N": attempts}, "b": {"B": "AQI="}, "odd": {"SS": ["x"]}}}})
    }

    fn read(records: &[Value]) -> Option<Batch> {
        Batch::read(json!({"Records": records}).to_string().as_bytes())
    }

    #[test]
    fn notices_and_events_that_nobody_attempted_are_read_and_nothing_else() {
        let mut removed = record("0", "event");
        removed["dynamodb"].as_object_mut().unwrap().remove("NewImage");
        let records = [
            record("0", "notice"),
            record("1", "notice"),
            removed,
            record("0", "claim"),
            record("0", "event#0001"),
            record("0", "event"),
            json!({"eventSource": "aws:dynamodb", "dynamodb": 7}),
            json!("poison"),
        ];
        let batch = read(&records).unwrap();
        let read: Vec<What> = batch.records.iter().map(|record| record.what).collect();
        assert_eq!(read, [What::Notice, What::Event]);
        let expected = [("pk", string("p")), ("attempts", number(0)), ("b", binary(&[1, 2]))];
        let expected: Item = expected.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(batch.records[0].item, expected);
        assert_eq!(batch.records[0].sequence, "7");
    }

    #[test]
    fn whatever_comes_from_elsewhere_is_no_batch() {
        for other in
            [json!({}), json!([]), json!({"Records": []}), json!({"Records": [{"eventSource": "x"}]})]
        {
            assert!(Batch::read(other.to_string().as_bytes()).is_none(), "{other}");
        }
        assert!(Batch::read(b"not json").is_none());
    }
}
