//! Events: published to the bus in as few requests as they fit into.

use std::fmt;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serializer};
use serde_json::value::RawValue;
use shared::dynamo::{number, string};
use shared::events::{self, read_body};
use shared::lambda::Deadline;
use shared::telemetry::{Metric, count};
use shared::trace::{self, TRACEPARENT, Trace};
use tokio::time::Instant;

use crate::attempt::{Attempt, Changes, Due, after, because};
use crate::bus::{self, Bus, Entry, LONGEST_REQUEST, Put};
use crate::stream::unreadable;
use crate::tally::Outcome;
use crate::{App, store_failed};

/// How many writes to the table are under way at once.
const AT_ONCE: usize = 20;

/// How many events are in memory at once, with their bodies.
const TOGETHER: usize = 30;

/// Publishes events that are due, and says of each, in order, what became of it.
pub(crate) async fn publish(app: &App, due: &[Due], deadline: Deadline) -> Vec<Outcome> {
    let Some(bus) = &app.bus else {
        let unpublishing: Vec<_> = due.iter().map(|due| unpublish(app, due, deadline)).collect();
        return stream::iter(unpublishing).buffered(AT_ONCE).collect().await;
    };
    let mut outcomes = Vec::new();
    for due in due.chunks(TOGETHER) {
        outcomes.extend(publish_some(app, bus, due, deadline).await);
    }
    outcomes
}

/// The same, of as many as fit into memory.
async fn publish_some(app: &App, bus: &Bus, due: &[Due], deadline: Deadline) -> Vec<Outcome> {
    let preparing: Vec<_> = due.iter().map(|due| prepare(app, due, deadline)).collect();
    let prepared: Vec<Prepared> = stream::iter(preparing).buffered(AT_ONCE).collect().await;

    let (mut outcomes, mut entries, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
    for prepared in prepared {
        match prepared {
            Prepared::Ready(entry, attempt) => {
                attempts.push((outcomes.len(), attempt));
                entries.push(*entry);
                outcomes.push(Outcome::Failed);
            }
            Prepared::Settled(outcome) => outcomes.push(outcome),
        }
    }
    let mut attempts = attempts.into_iter();
    let mut start = 0;
    let mut requests = Vec::new();
    for length in bus::requests(&entries) {
        let of_request: Vec<(usize, Attempt)> = attempts.by_ref().take(length).collect();
        requests.push((&entries[start..start + length], of_request));
        start += length;
    }
    let publishing: Vec<_> = requests
        .into_iter()
        .map(|(entries, attempts)| publish_together(app, bus, entries, attempts, deadline))
        .collect();
    let published: Vec<Vec<(usize, Outcome)>> = join_all(publishing).await;
    for (place, outcome) in published.into_iter().flatten() {
        outcomes[place] = outcome;
    }
    outcomes
}

/// An event on its way to the bus.
enum Prepared {
    Ready(Box<Entry>, Attempt),
    Settled(Outcome),
}

/// Claims an attempt at an event and reads what is to be published.
async fn prepare(app: &App, due: &Due, deadline: Deadline) -> Prepared {
    if !deadline.has_time_for(LONGEST_REQUEST) {
        return Prepared::Settled(Outcome::LeftOver);
    }
    let attempt = match due.claim(app, deadline.act_by()).await {
        Ok(Some(attempt)) => attempt,
        Ok(None) => return Prepared::Settled(Outcome::NotOurs),
        Err(error) => {
            store_failed(&error);
            return Prepared::Settled(Outcome::StoreDown);
        }
    };
    let entry = match read_body(&app.table, &due.item, deadline.act_by()).await {
        Ok(body) => entry(due, &body),
        Err(error @ events::Error::Store(_)) => {
            // The claim stands; its lease brings the event back.
            store_failed(&error);
            return Prepared::Settled(Outcome::Failed);
        }
        Err(events::Error::Unreadable) => None,
    };
    let Some(entry) = entry else {
        unreadable(&due.pk);
        let reason = "what is on record for it cannot be read";
        attempt.record(app, &dead(app, reason), deadline.answer_by()).await;
        report(due.text("event_id"), &attempt, "dead", Some(reason), &[Metric::EventsDead]);
        return Prepared::Settled(Outcome::Dead);
    };
    Prepared::Ready(Box::new(entry), attempt)
}

/// One request to the bus, and what is on record afterwards.
async fn publish_together(
    app: &App,
    bus: &Bus,
    entries: &[Entry],
    attempts: Vec<(usize, Attempt)>,
    deadline: Deadline,
) -> Vec<(usize, Outcome)> {
    if Instant::now() >= deadline.act_by() {
        // Nothing was sent: the claims lapse, and the events are due again.
        return attempts.into_iter().map(|(place, _)| (place, Outcome::LeftOver)).collect();
    }
    let until = deadline.act_by().min(Instant::now() + LONGEST_REQUEST);
    let puts = bus.publish(entries, until).await;
    let recording: Vec<_> = attempts
        .iter()
        .zip(entries)
        .zip(puts)
        .map(|(((_, attempt), entry), put)| {
            trace::within(entry.trace, settle(app, &entry.id, attempt, put, deadline))
        })
        .collect();
    let outcomes = join_all(recording).await;
    attempts.iter().map(|(place, _)| *place).zip(outcomes).collect()
}

async fn settle(app: &App, id: &str, attempt: &Attempt, put: Put, deadline: Deadline) -> Outcome {
    let now = app.clock.now();
    let (outcome, said, reason, changes, metrics): (_, _, _, _, &[Metric]) = match put {
        Put::Published => {
            let changes = Changes::default()
                .set("state", string("PUBLISHED"))
                .set("published_at", number(now.as_millisecond()))
                .remove("last_error")
                .remove("reason")
                .remove("dead_at")
                .off_the_list();
            (Outcome::Published, "published", None, changes, &[Metric::EventsPublished])
        }
        Put::TooLarge(reason) => {
            let changes = dead(app, &reason);
            (Outcome::Dead, "dead", Some(reason), changes, &[Metric::EventsDead])
        }
        Put::Failed(reason) => {
            if let Some(wait) = app.schedule.wait_after(attempt.number, None) {
                let changes = Changes::default()
                    .set("last_error", because(&reason))
                    .set("due_at", number(after(now, wait)));
                (Outcome::Failed, "failed", Some(reason), changes, &[Metric::EventsFailed])
            } else {
                let reason = format!("given up after {} attempts: {reason}", attempt.number);
                let changes = dead(app, &reason);
                let metrics = &[Metric::EventsFailed, Metric::EventsDead];
                (Outcome::Dead, "dead", Some(reason), changes, metrics)
            }
        }
    };
    attempt.record(app, &changes, deadline.answer_by()).await;
    report(Some(id), attempt, said, reason.as_deref(), metrics);
    outcome
}

/// One line per decision.
fn report(id: Option<&str>, attempt: &Attempt, said: &str, reason: Option<&str>, metrics: &[Metric]) {
    metrics.iter().copied().for_each(count);
    tracing::info!(
        message = "event attempted",
        event.id = id,
        attempt = attempt.number,
        outcome = said,
        reason
    );
}

/// An event that is not tried again. It stays as long as its id is remembered.
fn dead(app: &App, reason: &str) -> Changes {
    Changes::default()
        .set("state", string("DEAD"))
        .set("reason", because(reason))
        .set("last_error", because(reason))
        .set("dead_at", number(app.clock.now().as_millisecond()))
        .off_the_list()
}

/// Takes an event off the list, because there is no bus to publish it to.
async fn unpublish(app: &App, due: &Due, deadline: Deadline) -> Outcome {
    let changes = Changes::default().set("state", string("UNPUBLISHED")).off_the_list();
    match due.change(app, &changes, deadline.answer_by()).await {
        Ok(true) => {
            count(Metric::EventsUnpublished);
            Outcome::Unpublished
        }
        Ok(false) => Outcome::NotOurs,
        Err(error) => {
            store_failed(&error);
            Outcome::StoreDown
        }
    }
}

/// What the bus is given of an event.
fn entry(due: &Due, body: &[u8]) -> Option<Entry> {
    let id = due.text("event_id")?;
    Some(Entry {
        detail: with_event_id(body, id)?,
        id: id.to_owned(),
        kind: due.text("type")?.to_owned(),
        time: due.text("event_time").and_then(|time| time.parse().ok()),
        trace: due.text(TRACEPARENT).and_then(Trace::from_w3c),
    })
}

/// The body, an object, with its event's id as another member. Everything else stays as it was received: numbers
/// keep their digits, members their order.
fn with_event_id(body: &[u8], id: &str) -> Option<String> {
    let Members(members) = serde_json::from_slice(body).ok()?;
    let id = serde_json::value::to_raw_value(id).ok()?;
    let others =
        members.iter().filter(|(name, _)| name != "event_id").map(|(name, value)| (name.as_str(), value));
    let mut detail = Vec::new();
    let members = others.chain([("event_id", &id)]);
    serde_json::Serializer::new(&mut detail).collect_map(members).ok()?;
    String::from_utf8(detail).ok()
}

/// The members of a JSON object, in their order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_the_event_as_received_with_its_id() {
        let body = br#"{"z":1.10,"a":12345678901234567890123,"event_id":"theirs","t":"\u00e4"}"#;
        let expected = r#"{"z":1.10,"a":12345678901234567890123,"t":"\u00e4","event_id":"evt \"1\""}"#;
        assert_eq!(with_event_id(body, "evt \"1\"").as_deref(), Some(expected));
        assert_eq!(with_event_id(b"{}", "e").as_deref(), Some(r#"{"event_id":"e"}"#));
        for odd in [&b"[]"[..], b"1", b"{", b"\xff"] {
            assert_eq!(with_event_id(odd, "e"), None);
        }
    }
}
