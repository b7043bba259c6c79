//! Events, published to the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::world::World;
use local::{Bus, Relay};
use serde_json::{Value, json};
use simulator::Surface;

use super::{feed, is_due, now, number, swept, text, world};

/// The most that jitter makes of the first wait, and a moment more.
const PAST_THE_FIRST_WAIT: Duration = Duration::from_millis(6_001);

async fn world_with_bus() -> (World, Bus, Relay) {
    let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "3000000")]).await;
    let bus = Bus::start().await.expect("loopback has a free port");
    let relay = world.relay_with_bus(&bus, &[]).await;
    (world, bus, relay)
}

async fn take_in(world: &World, ids: impl IntoIterator<Item = usize>) {
    for id in ids {
        let event = json!({"id": format!("evt-{id}"), "type": "conversation.ended", "data": {}});
        assert_eq!(world.deliver(event.to_string()).await.json()["status"], "ACKNOWLEDGED");
    }
}

fn event(world: &World, id: &str) -> Value {
    let event = world.items("event").into_iter().find(|item| item["event_id"]["S"] == id);
    event.unwrap_or_else(|| panic!("there is no event {id}"))
}

/// The ids of what was published, in the order of their numbers.
fn published(bus: &Bus) -> BTreeSet<String> {
    let ids = bus.published().into_iter().map(|published| {
        let detail: Value = serde_json::from_str(&published.detail).expect("a detail is JSON");
        detail["event_id"].as_str().expect("every detail has an id").to_owned()
    });
    ids.collect()
}

#[tokio::test]
async fn events_are_published_as_received_ten_at_a_time() {
    let (world, bus, relay) = world_with_bus().await;
    let first = r#"{"id":"first","type":"order.placed","createdTime":1763800000000,"data":{"n":12345678901234567890,"f":1.10}}"#;
    world.deliver(first).await;
    take_in(&world, 1..=22).await;
    world.store.reset_counts();

    feed(&relay).await;

    let by_request = bus.published().iter().fold(BTreeMap::new(), |mut sizes, published| {
        *sizes.entry(published.request).or_insert(0) += 1;
        sizes
    });
    assert_eq!(by_request.into_values().collect::<BTreeSet<_>>(), [3, 10].into());
    assert_eq!((bus.requests(), published(&bus).len(), bus.published().len()), (3, 23, 23));
    let all = bus.published();
    let taken = all.iter().find(|it| it.detail_type == "order.placed").unwrap();
    assert_eq!(
        (taken.bus.as_str(), taken.source.as_str(), taken.time),
        ("events", "patchbay", Some(1_763_800_000.0))
    );
    assert_eq!(taken.detail, format!(r#"{},"event_id":"first"}}"#, first.strip_suffix('}').unwrap()));
    // Each is claimed, and its end recorded.
    assert_eq!(world.store.counts(), BTreeMap::from([("UpdateItem".to_owned(), 46)]));
    let event = event(&world, "first");
    assert_eq!(
        (text(&event, "state"), number(&event, "published_at"), is_due(&event)),
        ("PUBLISHED", now(&world), false)
    );
    assert_eq!(world.deliver(first).await.json()["status"], "DUPLICATE");
    assert_eq!(swept(&relay).await, json!({}));
}

#[tokio::test]
async fn an_event_that_the_bus_refused_is_tried_again_alone() {
    let (world, bus, relay) = world_with_bus().await;
    take_in(&world, 1..=5).await;
    bus.refuse(&["evt-3"]);

    feed(&relay).await;
    assert_eq!(bus.published().len(), 4);
    let refused = event(&world, "evt-3");
    assert!(text(&refused, "last_error").contains("InternalFailure") && is_due(&refused), "{refused}");
    assert_eq!(swept(&relay).await, json!({}));
    bus.refuse(&[]);
    world.let_pass(PAST_THE_FIRST_WAIT);

    assert_eq!(swept(&relay).await, json!({"published": 1}));
    assert_eq!((bus.published().len(), published(&bus).len(), bus.requests()), (5, 5, 2));
    assert_eq!(number(&event(&world, "evt-3"), "attempts"), 2);
}

#[tokio::test]
async fn a_bus_that_throttles_or_is_away_gets_every_event_in_the_end() {
    let (world, bus, relay) = world_with_bus().await;
    take_in(&world, 1..=3).await;
    bus.throttle(true);
    feed(&relay).await;
    assert!(text(&event(&world, "evt-1"), "last_error").contains("ThrottlingException"));
    bus.throttle(false);
    bus.go_down().await;
    world.let_pass(PAST_THE_FIRST_WAIT);
    assert_eq!(swept(&relay).await, json!({"failed": 3}));
    bus.come_back().await.unwrap();

    world.let_pass(Duration::from_secs(361));
    assert_eq!(swept(&relay).await, json!({"published": 3}));
    assert_eq!((bus.published().len(), published(&bus).len()), (3, 3));
}

#[tokio::test]
async fn an_event_that_the_bus_never_takes_is_dead_and_still_known() {
    let (world, bus, _) = world_with_bus().await;
    let relay = world.relay_with_bus(&bus, &[("NOTICE_RETRY_SECONDS", "5")]).await;
    take_in(&world, 1..=1).await;
    bus.refuse(&["evt-1"]);
    feed(&relay).await;

    world.let_pass(PAST_THE_FIRST_WAIT);
    assert_eq!(swept(&relay).await, json!({"dead": 1}));

    let dead = event(&world, "evt-1");
    assert_eq!((text(&dead, "state"), is_due(&dead)), ("DEAD", false));
    assert!(text(&dead, "reason").contains("after 2 attempts"), "{dead}");
    let again = world.deliver(r#"{"id":"evt-1","type":"conversation.ended","data":{}}"#).await;
    assert_eq!(again.json()["status"], "DUPLICATE");
}

#[tokio::test]
async fn a_large_event_is_published_whole_and_one_too_large_is_dead_at_once() {
    let (world, bus, relay) = world_with_bus().await;
    let sized =
        |id: &str, length: usize| json!({"id": id, "type": "t", "data": "ä".repeat(length / 2)}).to_string();
    for (id, length) in [("large", 800_000), ("too-large", 1_200_000), ("small", 10)] {
        assert_eq!(world.deliver(sized(id, length)).await.status, 200);
    }

    feed(&relay).await;

    assert_eq!(published(&bus), ["large".to_owned(), "small".to_owned()].into());
    let large = bus.published().into_iter().find(|it| it.detail.len() > 1000).unwrap();
    let detail: Value = serde_json::from_str(&large.detail).unwrap();
    assert_eq!(detail["data"].as_str().unwrap().chars().count(), 400_000);
    let dead = event(&world, "too-large");
    assert_eq!((text(&dead, "state"), is_due(&dead)), ("DEAD", false));
    assert!(text(&dead, "reason").contains("size"), "{dead}");
}

#[tokio::test]
async fn without_a_bus_events_are_taken_off_the_list_and_can_be_redriven() {
    let world = world().await;
    let relay = world.relay(&[]).await;
    take_in(&world, 1..=1).await;
    feed(&relay).await;
    let event_on_record = event(&world, "evt-1");
    assert_eq!((text(&event_on_record, "state"), is_due(&event_on_record)), ("UNPUBLISHED", false));

    take_in(&world, 2..=3).await;
    assert_eq!(swept(&relay).await, json!({"unpublished": 2}));

    // An operator puts one back on the list, once there is a bus.
    let bus = Bus::start().await.unwrap();
    let relay = world.relay_with_bus(&bus, &[]).await;
    let mut redriven = event_on_record;
    redriven["due_at"] = json!({"N": now(&world).to_string()});
    redriven["due_shard"] = json!({"S": harness::outbox::due_shard(text(&redriven, "pk"))});
    world.engine.put(&redriven).unwrap();
    assert_eq!(swept(&relay).await, json!({"published": 1}));
    assert_eq!(text(&event(&world, "evt-1"), "state"), "PUBLISHED");
}

#[tokio::test]
async fn an_event_whose_publication_was_not_recorded_is_published_again() {
    let (world, bus, relay) = world_with_bus().await;
    take_in(&world, 1..=1).await;
    world.store.fault("UpdateItem", harness::store::StoreFault::Pass);
    world.store.fault_times("UpdateItem", harness::store::StoreFault::Throttle, 4);
    feed(&relay).await;
    assert!(is_due(&event(&world, "evt-1")));

    world.let_pass(super::PAST_THE_ATTEMPT);
    assert_eq!(swept(&relay).await, json!({"published": 1}));
    assert_eq!((bus.published().len(), published(&bus).len()), (2, 1));
}
