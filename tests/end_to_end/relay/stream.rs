//! First attempts, from the table's stream.

use std::collections::BTreeMap;

use futures_util::future::join;
use harness::outbox::SIGNING_SECRET;
use serde_json::json;

use super::{all_taken, feed, ids, is_due, now, number, swept, text, world};

#[tokio::test]
async fn a_notice_is_delivered_signed_within_three_requests() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    world.put_notice("msg_1", &inbox.url());

    assert_eq!(relay.feed_stream().await.unwrap(), all_taken());

    let received = inbox.received();
    assert_eq!((received.len(), received[0].id.as_deref()), (1, Some("msg_1")));
    assert!(received[0].is_verified);
    assert_eq!(received[0].body, r#"{"status":"completed"}"#);
    assert!(received[0].headers.contains(&("x-transfer-event".to_owned(), "true".to_owned())));
    let notice = world.notice("msg_1");
    assert_eq!((text(&notice, "state"), number(&notice, "attempts")), ("DELIVERED", 1));
    assert_eq!(number(&notice, "delivered_at"), now(&world));
    assert_eq!(number(&notice, "expires_at"), now(&world) / 1000 + 14 * 24 * 3600);
    assert!(!is_due(&notice));
    // Whether its subscriber is well; the claim; the end.
    let expected = [("GetItem".to_owned(), 1), ("UpdateItem".to_owned(), 2)];
    assert_eq!(world.store.counts(), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_redelivered_record_of_something_delivered_sends_nothing() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    world.put_notice("msg_1", &inbox.url());
    feed(&relay).await;
    let delivered = world.notice("msg_1");

    for _ in 0..2 {
        let again = relay.hand_over(&json!({"Records": world.stream()})).await.unwrap();
        assert_eq!(vec![again], all_taken());
    }

    assert_eq!((ids(&inbox).len(), world.notice("msg_1")), (1, delivered));
    assert_eq!(swept(&relay).await, json!({}));
}

#[tokio::test]
async fn stream_and_schedule_at_once_send_once() {
    let world = world().await;
    let inbox = world.inbox().await;
    let (by_stream, by_schedule) = (world.relay(&[]).await, world.relay(&[]).await);

    for round in 1..=50 {
        world.put_notice(&format!("msg_{round}"), &inbox.url());
        let (fed, swept) = join(by_stream.feed_stream(), by_schedule.sweep()).await;
        fed.unwrap();
        swept.unwrap();
        assert_eq!(ids(&inbox).len(), round);
    }
    assert!(inbox.received().iter().all(|notice| !notice.is_repeated));
}

#[tokio::test]
async fn a_delivery_whose_record_was_lost_is_made_again_under_the_same_name() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    world.put_notice("msg_1", &inbox.url());
    world.store.fault("UpdateItem", harness::store::StoreFault::Pass);
    world.store.fault_times("UpdateItem", harness::store::StoreFault::Refuse, 4);

    assert_eq!(relay.feed_stream().await.unwrap(), all_taken());
    let unrecorded = world.notice("msg_1");
    assert_eq!((text(&unrecorded, "state"), number(&unrecorded, "attempts")), ("PENDING", 1));
    assert_eq!(swept(&relay).await, json!({}));
    world.let_pass(super::PAST_THE_ATTEMPT);

    assert_eq!(swept(&relay).await, json!({"delivered": 1}));
    assert_eq!(ids(&inbox), ["msg_1", "msg_1"]);
    assert_eq!(text(&world.notice("msg_1"), "state"), "DELIVERED");
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_known_again() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    world.put_notice("msg_1", &inbox.url());
    world.store.fault("UpdateItem", harness::store::StoreFault::ApplyThenDrop);

    feed(&relay).await;

    assert_eq!(ids(&inbox), ["msg_1"]);
    let notice = world.notice("msg_1");
    assert_eq!((text(&notice, "state"), number(&notice, "attempts")), ("DELIVERED", 1));
}

#[tokio::test]
async fn while_secrets_are_rotated_a_notice_bears_both_signatures() {
    let world = world().await;
    let secrets = format!("the-next-secret, {SIGNING_SECRET}");
    let (inbox, relay) = (world.inbox().await, world.relay(&[("NOTICE_SIGNING_SECRETS", &secrets)]).await);
    world.put_notice("msg_1", &inbox.url());

    feed(&relay).await;

    let received = inbox.received();
    assert!(received[0].is_verified);
    let signatures = received[0].headers.iter().find(|(name, _)| name == "webhook-signature");
    assert_eq!(signatures.unwrap().1.split(' ').count(), 2);
}

#[tokio::test]
async fn a_subscriber_that_never_answers_delays_nobody_else() {
    let world = world().await;
    let (silent, inbox, relay) = (world.inbox().await, world.inbox().await, world.relay(&[]).await);
    silent.hang();
    world.put_notice("msg_silent", &silent.url());
    world.put_notice("msg_1", &inbox.url());

    let mut feeding = Box::pin(relay.feed_stream());
    tokio::select! {
        // Two claims, and the end of one attempt.
        () = world.store.wait_for("UpdateItem", 3) => {}
        answer = &mut feeding => panic!("it waited for the silent one: {answer:?}"),
    }
    assert_eq!(text(&world.notice("msg_1"), "state"), "DELIVERED");
    assert_eq!(feeding.await.unwrap(), all_taken());

    let failed = world.notice("msg_silent");
    assert_eq!((text(&failed, "state"), number(&failed, "attempts")), ("PENDING", 1));
    assert!(text(&failed, "last_error").contains("in time"), "{failed}");
}

#[tokio::test]
async fn a_record_that_nobody_can_read_holds_nothing_up() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    world.put_notice("msg_1", &inbox.url());
    let mut records = world.stream();
    let mut later_version = records[0].clone();
    later_version["dynamodb"]["NewImage"]["v"] = json!({"N": "9"});
    records.insert(0, later_version);
    records.insert(0, json!({"eventSource": "aws:dynamodb", "eventName": "INSERT", "dynamodb": {"Keys": 7}}));
    records.insert(0, json!("poison"));

    let answer = relay.hand_over(&json!({"Records": records})).await.unwrap();

    assert_eq!((vec![answer], ids(&inbox)), (all_taken(), vec!["msg_1".to_owned()]));
}

#[tokio::test]
async fn what_is_due_later_is_not_attempted_from_the_stream() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    world.put_notice("msg_1", &inbox.url());
    let later = (now(&world) + 60_000).to_string();
    world.meddle("notice", |notice| notice["due_at"] = json!({"N": later}));
    let put_later = world.stream().pop().unwrap();

    let answer = relay.hand_over(&json!({"Records": [put_later]})).await.unwrap();

    assert_eq!((vec![answer], ids(&inbox).len(), world.store.total()), (all_taken(), 0, 0));
}
