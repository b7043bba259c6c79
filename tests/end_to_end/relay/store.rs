//! A store that is away.

use harness::store::StoreFault;
use serde_json::json;

use super::{all_taken, feed, ids, swept, text, world};

#[tokio::test]
async fn records_that_could_not_be_claimed_come_again_and_no_others() {
    let world = world().await;
    let (inbox, other, relay) = (world.inbox().await, world.inbox().await, world.relay(&[]).await);
    world.put_notice("msg_1", &inbox.url());
    feed(&relay).await;
    world.put_notice("msg_2", &other.url());
    let put = world.stream().pop().unwrap();
    world.store.fault_times("UpdateItem", StoreFault::Throttle, 4);

    let answers = relay.feed_stream().await.unwrap();

    let failed = &answers[0]["batchItemFailures"];
    assert_eq!(failed, &json!([{"itemIdentifier": put["dynamodb"]["SequenceNumber"]}]));
    assert!(ids(&other).is_empty());
    assert_eq!(relay.feed_stream().await.unwrap(), all_taken());
    assert_eq!((ids(&inbox).len(), ids(&other)), (1, vec!["msg_2".to_owned()]));
}

#[tokio::test]
async fn a_store_that_is_down_is_an_error_and_afterwards_nothing_is_lost() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    world.put_notice("msg_1", &inbox.url());
    world.store.down();

    let failure = relay.sweep().await.unwrap_err();
    assert!(failure.contains("StoreUnavailable"), "{failure}");
    let answers = relay.feed_stream().await.unwrap();
    assert_eq!(answers[0]["batchItemFailures"].as_array().unwrap().len(), 1);
    // A record without a name cannot be named: the whole batch comes again.
    let mut nameless = world.stream();
    nameless[0]["dynamodb"].as_object_mut().unwrap().remove("SequenceNumber");
    let failure = relay.hand_over(&json!({"Records": nameless})).await.unwrap_err();
    assert!(failure.contains("StoreUnavailable"), "{failure}");
    world.store.up();

    assert_eq!(swept(&relay).await, json!({"delivered": 1}));
    feed(&relay).await;
    assert_eq!(ids(&inbox), ["msg_1"]);
}

#[tokio::test]
async fn a_breaker_that_cannot_be_recorded_keeps_no_notice_from_its_schedule() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    inbox.go_down().await;
    world.put_notice("msg_1", &inbox.url());
    // The claim and the end of the attempt; then what it says about the subscriber.
    world.store.fault_times("UpdateItem", StoreFault::Pass, 2);
    world.store.fault_times("UpdateItem", StoreFault::Throttle, 4);

    feed(&relay).await;

    assert!(world.items("breaker").is_empty());
    assert!(text(&world.notice("msg_1"), "last_error").contains("cannot be reached"));
}
