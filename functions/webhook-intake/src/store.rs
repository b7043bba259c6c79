//! Keeps events, each once, and what nobody understood.
//!
//! Storing is the acknowledgement: one conditional put, or for a body larger than an item may be, one
//! transaction. The body is kept as it was received, readable, with what is known of it beside it.

use std::time::Duration;

use jiff::Timestamp;
use shared::canonical::digest;
use shared::clock::Clock;
use shared::due;
use shared::dynamo::{self, AttributeValue, Item, PART_BYTES, Table, Written, binary, number, string};
use shared::events::{PREFIX, SORT_KEY, VERSION, part_key};
use shared::lambda::Invocation;
use shared::random;
use shared::trace::{self, TRACEPARENT};
use tokio::time::Instant;

use crate::event::Event;

/// Which item may be overwritten: none, or one of ours that has expired and is only still there.
const ABSENT_OR_EXPIRED: &str = "attribute_not_exists(pk) OR (v = :version AND expires_at <= :now)";

#[derive(Debug)]
pub(crate) struct Store {
    table: Table,
    clock: Clock,
    lifetime: Duration,
}

/// What came of keeping an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    New,
    Before,
    BeforeWithAnotherBody,
}

/// How a delivery came.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    Http,
    EventBridge,
}

/// Why something could not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] dynamo::Error),
    #[error("what is on record for the event is not ours, or of a later version")]
    Unreadable,
}

impl Store {
    pub(crate) fn new(table: Table, clock: Clock, lifetime: Duration) -> Self {
        Self { table, clock, lifetime }
    }

    /// Keeps an event unless it is kept already.
    pub(crate) async fn keep(
        &self,
        event: &Event,
        body: &[u8],
        origin: Origin,
        invocation: &Invocation,
        until: Instant,
    ) -> Result<Kept, Error> {
        let pk = format!("{PREFIX}{}", digest(event.id.as_bytes()));
        let delivery = random::token();
        let body_hash = digest(body);
        let mut item = self.head(&pk, SORT_KEY, origin);
        // To be published, from now on; the relay takes it off the list.
        let due = due::attributes(&pk, self.clock.now().as_millisecond());
        item.extend(due.map(|(name, value)| (name.to_owned(), value)));
        item.insert("attempts".to_owned(), number(0));
        item.insert("event_id".to_owned(), string(&event.id));
        item.insert("type".to_owned(), string(&event.kind));
        item.insert("delivery".to_owned(), string(&delivery));
        item.insert("body_hash".to_owned(), string(&body_hash));
        let optional = [
            ("event_time", event.occurred_at.map(|time| time.to_string())),
            ("conversation_id", event.conversation_id.clone()),
            ("correlation_id", invocation.correlation_id.clone()),
            (TRACEPARENT, trace::current().map(|trace| trace.to_string())),
        ];
        for (name, value) in optional {
            item.extend(value.map(|value| (name.to_owned(), string(&value))));
        }
        let Written::Refused(standing) = self.put(item, body, until).await? else { return Ok(Kept::New) };
        if standing.get("v") != Some(&number(VERSION)) {
            return Err(Error::Unreadable);
        }
        if standing.get("delivery") == Some(&string(&delivery)) {
            // The response to our own put was lost, and the SDK's repeat met what the first try had written.
            return Ok(Kept::New);
        }
        let is_same = standing.get("body_hash") == Some(&string(&body_hash));
        Ok(if is_same { Kept::Before } else { Kept::BeforeWithAnotherBody })
    }

    /// Keeps a body that is no event, with the reason. The same body again changes nothing.
    pub(crate) async fn quarantine(
        &self,
        body: &[u8],
        reason: &str,
        origin: Origin,
        until: Instant,
    ) -> Result<(), Error> {
        let mut item = self.head(&format!("quarantine#{}", digest(body)), "quarantine", origin);
        item.insert("reason".to_owned(), string(reason));
        self.put(item, body, until).await?;
        Ok(())
    }

    fn head(&self, pk: &str, sk: &str, origin: Origin) -> Item {
        let now = self.clock.now();
        let expires_at = now.checked_add(self.lifetime).unwrap_or(Timestamp::MAX);
        let origin = match origin {
            Origin::Http => "http",
            Origin::EventBridge => "eventbridge",
        };
        [
            ("pk", string(pk)),
            ("sk", string(sk)),
            ("v", number(VERSION)),
            ("origin", string(origin)),
            ("received_at", string(&now.to_string())),
            ("expires_at", number(expires_at.as_second())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Puts `item` with its body: in one item, or where that is too small, with the parts of the body beside
    /// it, all or nothing.
    async fn put(&self, mut item: Item, body: &[u8], until: Instant) -> Result<Written, dynamo::Error> {
        let now = self.clock.now().as_second();
        let mut parts = split(body);
        if parts.len() == 1 {
            item.insert("body".to_owned(), parts.remove(0));
            return self
                .table
                .put(item, until, |put| {
                    put.condition_expression(ABSENT_OR_EXPIRED)
                        .expression_attribute_values(":version", number(VERSION))
                        .expression_attribute_values(":now", number(now))
                })
                .await;
        }
        item.insert("body_parts".to_owned(), number(parts.len() as u64));
        let others = parts.into_iter().enumerate().map(|(index, part)| beside(&item, index, part)).collect();
        self.table
            .put_together(
                item,
                ABSENT_OR_EXPIRED,
                [(":version", number(VERSION)), (":now", number(now))],
                others,
                until,
            )
            .await
    }
}

/// One part of a body.
fn beside(item: &Item, index: usize, part: AttributeValue) -> Item {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
    let (pk, sk) = part_key(text("pk"), text("sk"), index);
    [
        ("pk", string(&pk)),
        ("sk", string(&sk)),
        ("expires_at", item.get("expires_at").cloned().unwrap_or_else(|| number(0))),
        ("body", part),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A body in parts that each fit an item: text where it is text, so that it can be read where it lies.
fn split(body: &[u8]) -> Vec<AttributeValue> {
    let Ok(mut text) = std::str::from_utf8(body) else {
        return body.chunks(PART_BYTES).map(binary).collect();
    };
    let mut parts = Vec::new();
    while text.len() > PART_BYTES {
        let (part, rest) = text.split_at(text.floor_char_boundary(PART_BYTES));
        parts.push(string(part));
        text = rest;
    }
    parts.push(string(text));
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_body_is_one_empty_part() {
        assert_eq!(split(b""), [string("")]);
    }

    proptest! {
        #[test]
        fn parts_fit_and_add_up(text in "[aé😀]{0,20}", times in 1_usize..60_000) {
            let body = text.repeat(times);
            let parts = split(body.as_bytes());
            let texts: Vec<&str> = parts.iter().map(|part| part.as_s().unwrap().as_str()).collect();
            prop_assert!(texts.iter().all(|part| part.len() <= PART_BYTES));
            prop_assert_eq!(texts.concat(), body);
        }
    }
}
