//! Webhook intake over HTTP and from EventBridge: stored first, acknowledged then, and once.

mod authenticity;
mod quarantine;
mod trouble;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use harness::world::World;
use serde_json::{Value, json};
use simulator::Surface;

/// A delivery as EventBridge hands it over.
const ENVELOPE: &str = include_str!("fixtures/eventbridge-customer-end.json");

/// An event in the guides' shape, with white space and an escape that a rewritten body would lose.
const EVENT: &str = r#"{ "id":"evt-1", "type":"conversation.ended",  "createdTime":1763800000000,
  "data":{"conversationId":"c-1","note":"gr\u00fc\u00dfe","n":1.0} }"#;

fn counted(operation: &str, times: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(operation.to_owned(), times)])
}

fn notification(correlation_id: &str) -> Value {
    json!({
        "topicName": "v2.routing.queues.q-1.conversations",
        "version": "2",
        "eventBody": {"id": "c-1", "eventTime": 1_763_800_000_000_i64, "participants": [{"id": "p-1"}]},
        "metadata": {"CorrelationId": correlation_id}
    })
}

async fn from_event_bridge(world: &World, envelope: &Value) -> Value {
    let answer = world.gateway.deliver_from_event_bridge(&envelope.to_string()).await;
    serde_json::from_str(&answer.expect("a success")).expect("the answer is JSON")
}

#[tokio::test]
async fn a_new_event_is_stored_as_it_was_received_and_acknowledged() {
    let world = World::start(Surface::Platform).await;

    let answer = world.deliver(EVENT).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"status": "ACKNOWLEDGED", "event_id": "evt-1"}));
    assert_eq!(world.store.counts(), counted("PutItem", 1));
    let items = world.items("event");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["body"], json!({"S": EVENT}));
    assert_eq!(items[0]["event_id"], json!({"S": "evt-1"}));
    assert_eq!(items[0]["type"], json!({"S": "conversation.ended"}));
    assert_eq!(items[0]["event_time"], json!({"S": "2025-11-22T08:26:40Z"}));
    assert_eq!(items[0]["conversation_id"], json!({"S": "c-1"}));
    let two_weeks_later = world.clock.clock().now().as_second() + 14 * 24 * 60 * 60;
    assert_eq!(items[0]["expires_at"], json!({"N": two_weeks_later.to_string()}));
}

#[tokio::test]
async fn a_repeated_event_is_a_duplicate_at_the_price_of_one_request() {
    let world = World::start(Surface::Platform).await;
    world.deliver(EVENT).await;
    let stored = world.items("event");
    world.store.reset_counts();

    let again = world.deliver(EVENT).await;

    assert_eq!(again.status, 200);
    assert_eq!(again.json(), json!({"status": "DUPLICATE", "processed_event_id": "evt-1"}));
    assert_eq!(world.store.counts(), counted("PutItem", 1));
    assert_eq!(world.items("event"), stored);
}

#[tokio::test]
async fn of_twenty_deliveries_at_once_one_is_acknowledged() {
    let world = World::start(Surface::Platform).await;

    let answers = join_all((0..20).map(|_| world.deliver(EVENT))).await;

    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for answer in &answers {
        assert_eq!(answer.status, 200);
        *told.entry(answer.json()["status"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let expected = [("ACKNOWLEDGED".to_owned(), 1), ("DUPLICATE".to_owned(), 19)];
    assert_eq!(told, BTreeMap::from(expected));
    assert_eq!(world.items("event").len(), 1);
}

#[tokio::test]
async fn all_three_shapes_are_understood_over_http() {
    let world = World::start(Surface::Platform).await;
    let with_own_id = json!({"version": "0", "id": "envelope-1", "detail-type": "order.placed",
        "source": "mine", "time": "2026-11-22T11:00:00Z", "detail": {"id": "order-1"}});
    let without = json!({"version": "0", "id": "envelope-2", "detail-type": "order.lost",
        "source": "mine", "time": "2026-11-22T11:00:00Z", "detail": {"order": 7}});

    for body in [EVENT, &notification("x").to_string(), ENVELOPE] {
        assert_eq!(world.deliver(body.to_owned()).await.json()["status"], "ACKNOWLEDGED", "{body}");
    }
    assert_eq!(world.deliver(with_own_id.to_string()).await.json()["event_id"], "order-1");
    assert_eq!(world.deliver(without.to_string()).await.json()["event_id"], "envelope-2");
    assert_eq!(world.items("event").len(), 5);
}

#[tokio::test]
async fn a_created_time_does_not_make_another_event() {
    let world = World::start(Surface::Platform).await;
    let event = |time: Value| json!({"id": "evt-2", "type": "t", "createdTime": time, "data": {}});
    world.deliver(event(json!(1)).to_string()).await;

    for time in [json!(2), json!("2026-11-22T12:00:00Z"), Value::Null] {
        let again = world.deliver(event(time).to_string()).await;
        assert_eq!(again.json()["status"], "DUPLICATE");
    }
}

#[tokio::test]
async fn a_notification_is_known_by_its_topic_and_body_whatever_surrounds_them() {
    let world = World::start(Surface::Platform).await;
    let first = world.deliver(notification("x-1").to_string()).await.json();
    let reordered = r#"{"timestamp":"2026-11-22T12:00:00Z","metadata":{"CorrelationId":"x-2"},"version":"3",
        "eventBody":{"participants":[{"id":"p-1"}],"eventTime":1.7638e12,"id":"c\u002d1"},
        "topicName":"v2.routing.queues.q-1.conversations"}"#;

    let again = world.deliver(reordered).await.json();

    assert_eq!(first["status"], "ACKNOWLEDGED");
    assert_eq!(again, json!({"status": "DUPLICATE", "processed_event_id": first["event_id"]}));
}

#[tokio::test]
async fn another_body_or_topic_is_another_event_although_the_conversation_is_the_same() {
    let world = World::start(Surface::Platform).await;
    let mut later = notification("x");
    later["eventBody"]["eventTime"] = json!(1_763_800_000_001_i64);
    let mut elsewhere = notification("x");
    elsewhere["topicName"] = json!("v2.routing.queues.q-2.conversations");

    for event in [notification("x"), later, elsewhere] {
        assert_eq!(world.deliver(event.to_string()).await.json()["status"], "ACKNOWLEDGED");
    }
    assert_eq!(world.items("event").len(), 3);
}

#[tokio::test]
async fn a_repeat_with_another_body_is_a_duplicate_and_the_first_body_stays() {
    let world = World::start(Surface::Platform).await;
    world.deliver(EVENT).await;
    let stored = world.items("event");

    let again = world.deliver(r#"{"id":"evt-1","type":"conversation.ended","data":{"n":2}}"#).await;

    assert_eq!(again.json(), json!({"status": "DUPLICATE", "processed_event_id": "evt-1"}));
    assert_eq!(world.items("event"), stored);
}

#[tokio::test]
async fn an_event_from_event_bridge_is_stored_whole_and_known_again_however_it_comes() {
    let world = World::start(Surface::Platform).await;
    let mut envelope: Value = serde_json::from_str(ENVELOPE).unwrap();

    let answer = world.gateway.deliver_from_event_bridge(ENVELOPE).await.unwrap();

    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["status"], "ACKNOWLEDGED");
    assert_eq!(world.store.counts(), counted("PutItem", 1));
    let items = world.items("event");
    assert_eq!(items[0]["body"], json!({"S": ENVELOPE}));
    assert_eq!(items[0]["type"]["S"], "v2.detail.events.conversation.{id}.customer.end");
    assert_eq!(items[0]["event_time"]["S"], "2026-11-22T11:59:57.123Z");
    assert_eq!(items[0]["conversation_id"]["S"], "8c0f5a52-6f1e-4d0b-b1a3-5d2e9f7c4b60");
    // Genesys Cloud published it again, and sent it to the webhook as well.
    envelope["id"] = json!("00000000-0000-0000-0000-000000000000");
    envelope["time"] = json!("2026-11-22T12:00:09Z");
    let duplicate = json!({"status": "DUPLICATE", "processed_event_id": answer["event_id"]});
    assert_eq!(from_event_bridge(&world, &envelope).await, duplicate);
    assert_eq!(world.deliver(envelope["detail"].to_string()).await.json(), duplicate);
}

#[tokio::test]
async fn an_event_is_new_again_once_its_memory_has_expired() {
    let world = World::with(Surface::Platform, &[("EVENT_TTL_SECONDS", "3600")]).await;
    world.deliver(EVENT).await;

    world.let_pass(Duration::from_secs(3599));
    assert_eq!(world.deliver(EVENT).await.json()["status"], "DUPLICATE");
    world.let_pass(Duration::from_secs(1));
    assert_eq!(world.deliver(EVENT).await.json()["status"], "ACKNOWLEDGED");
    world.let_pass(Duration::from_secs(3599));
    assert_eq!(world.deliver(EVENT).await.json()["status"], "DUPLICATE");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "64")]).await;
    let event = |length: usize| {
        let start = r#"{"id":"evt-3","type":"t","data":""#;
        format!("{start}{}\"}}", "x".repeat(length - start.len() - 2))
    };

    let refused = world.deliver(event(65)).await;
    assert_eq!((refused.status, refused.problem().as_str()), (413, "payload-too-large"));
    assert_eq!((world.items("").len(), world.store.total()), (0, 0));
    assert_eq!(world.deliver(event(64)).await.json()["status"], "ACKNOWLEDGED");
}

/// More than an item may hold, in letters of two bytes, so that a careless cut would split one.
fn large_event() -> String {
    json!({"id": "large", "type": "t", "data": {"text": "ä".repeat(300_000)}}).to_string()
}

#[tokio::test]
async fn an_event_too_large_for_an_item_is_stored_in_parts_by_one_transaction() {
    let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "1000000")]).await;

    let answer = world.deliver(large_event()).await;

    assert_eq!(answer.json(), json!({"status": "ACKNOWLEDGED", "event_id": "large"}));
    assert_eq!(world.store.counts(), counted("TransactWriteItems", 1));
    let mut parts = world.items("event#");
    parts.sort_by_key(|part| part["sk"]["S"].as_str().unwrap().to_owned());
    let body: String = parts.iter().map(|part| part["body"]["S"].as_str().unwrap()).collect();
    assert_eq!(body, large_event());
    let head = world.items("event").into_iter().find(|item| item["sk"]["S"] == "event").unwrap();
    assert_eq!(head["event_id"]["S"], "large");
    assert_eq!(head["body_parts"]["N"], parts.len().to_string());
    assert!(
        parts.iter().all(|part| part["pk"]["S"]
            .as_str()
            .unwrap()
            .starts_with(head["pk"]["S"].as_str().unwrap())
            && part["expires_at"] == head["expires_at"])
    );
}

#[tokio::test]
async fn a_repeated_event_in_parts_is_a_duplicate_at_the_price_of_one_request() {
    let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "1000000")]).await;
    world.deliver(large_event()).await;
    let stored = world.items("event");
    world.store.reset_counts();

    let again = world.deliver(large_event()).await;

    assert_eq!(again.json(), json!({"status": "DUPLICATE", "processed_event_id": "large"}));
    assert_eq!(world.store.counts(), counted("TransactWriteItems", 1));
    assert_eq!(world.items("event"), stored);
}

#[tokio::test]
async fn large_events_lie_beside_each_other() {
    let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "1000000")]).await;

    for id in ["one", "two", "three"] {
        let event = json!({"id": id, "type": "t", "data": {"text": "ä".repeat(300_000)}});
        assert_eq!(world.deliver(event.to_string()).await.json()["status"], "ACKNOWLEDGED");
    }

    // Three heads, and two parts to each: more than one page of a scan.
    assert_eq!(world.items("event").len(), 9);
}
