//! When the store fails: a delivery is acknowledged if it is stored, and never otherwise.

use harness::store::StoreFault;
use harness::world::World;
use serde_json::{Value, json};
use simulator::Surface;

use super::{EVENT, large_event};

/// As often as the functions try a request.
const EVERY_ATTEMPT: usize = 4;

fn acknowledged() -> Value {
    json!({"status": "ACKNOWLEDGED", "event_id": "evt-1"})
}

#[tokio::test]
async fn while_the_store_is_down_nothing_is_acknowledged_and_later_everything_is() {
    let world = World::start(Surface::Platform).await;
    world.store.down();

    let refused = world.deliver(EVENT).await;
    let from_event_bridge = world.gateway.deliver_from_event_bridge(EVENT).await;

    assert_eq!((refused.status, refused.problem().as_str()), (503, "store-unavailable"));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(from_event_bridge.unwrap_err().contains("StoreUnavailable"));
    world.store.up();
    assert!(world.items("").is_empty());
    assert_eq!(world.deliver(EVENT).await.json(), acknowledged());
}

#[tokio::test]
async fn a_store_that_throttles_for_too_long_is_a_503() {
    let world = World::start(Surface::Platform).await;
    world.store.fault_times("PutItem", StoreFault::Throttle, EVERY_ATTEMPT);

    let refused = world.deliver(EVENT).await;

    assert_eq!((refused.status, refused.problem().as_str()), (503, "store-unavailable"));
    assert!(world.items("").is_empty());
    assert_eq!(world.deliver(EVENT).await.json(), acknowledged());
}

#[tokio::test]
async fn a_passing_trouble_of_the_store_is_not_the_senders() {
    for fault in [StoreFault::Throttle, StoreFault::InternalError, StoreFault::Refuse, StoreFault::Conflict] {
        let world = World::start(Surface::Platform).await;
        world.store.fault("PutItem", fault);

        assert_eq!(world.deliver(EVENT).await.json(), acknowledged(), "{fault:?}");
        assert_eq!(world.items("event").len(), 1);
    }
}

#[tokio::test]
async fn a_delivery_that_meets_its_own_earlier_write_is_new() {
    let world = World::start(Surface::Platform).await;
    world.store.fault("PutItem", StoreFault::ApplyThenDrop);

    assert_eq!(world.deliver(EVENT).await.json(), acknowledged());
    assert_eq!(world.store.total(), 2);
    assert_eq!(world.items("event").len(), 1);
    assert_eq!(world.deliver(EVENT).await.json()["status"], "DUPLICATE");
}

#[tokio::test]
async fn a_delivery_in_parts_that_meets_its_own_earlier_write_is_new() {
    for fault in [StoreFault::ApplyThenDrop, StoreFault::Conflict] {
        let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "1000000")]).await;
        world.store.fault("TransactWriteItems", fault);

        let answer = world.deliver(large_event()).await.json();

        assert_eq!(answer, json!({"status": "ACKNOWLEDGED", "event_id": "large"}), "{fault:?}");
        assert_eq!(world.deliver(large_event()).await.json()["status"], "DUPLICATE", "{fault:?}");
    }
}

#[tokio::test]
async fn a_repeat_whose_refusal_was_lost_is_still_a_duplicate() {
    let world = World::start(Surface::Platform).await;
    world.deliver(EVENT).await;
    world.store.fault("PutItem", StoreFault::ApplyThenDrop);

    assert_eq!(world.deliver(EVENT).await.json()["status"], "DUPLICATE");
}

#[tokio::test]
async fn an_answer_of_the_store_that_nobody_can_read_acknowledges_nothing() {
    for (operation, event) in [("PutItem", EVENT.to_owned()), ("TransactWriteItems", large_event())] {
        let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "1000000")]).await;
        world.store.fault(operation, StoreFault::Garble);

        let refused = world.deliver(event.clone()).await;

        assert_eq!((refused.status, refused.problem().as_str()), (503, "store-unavailable"));
        // It was stored all the same, and the sender's next try learns that, as soon as an answer can be read.
        world.store.fault(operation, StoreFault::Garble);
        assert_eq!(world.deliver(event.clone()).await.status, 503);
        assert_eq!(world.deliver(event).await.json()["status"], "DUPLICATE");
    }
}

#[tokio::test]
async fn a_record_of_a_later_version_is_neither_acknowledged_nor_overwritten() {
    let world = World::start(Surface::Platform).await;
    world.deliver(EVENT).await;
    world.meddle("event", |item| item["v"] = json!({"N": "2"}));
    let stored = world.items("event");

    let answer = world.deliver(EVENT).await;

    assert_eq!((answer.status, answer.problem().as_str()), (500, "internal-error"));
    assert_eq!(world.items("event"), stored);
}
