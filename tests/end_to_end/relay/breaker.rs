//! Subscribers that fail again and again, and are left alone.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;
use harness::world::World;
use local::{Inbox, Relay};
use serde_json::{Value, json};

use super::{feed, ids, is_due, now, number, swept, text, world};

/// A world in which one subscriber has failed five times, and a sixth notice to it was just put off.
async fn tripped() -> (World, Inbox, Relay) {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    inbox.go_down().await;
    for nth in 1..=5 {
        world.put_notice(&format!("msg_{nth}"), &inbox.url());
    }
    feed(&relay).await;
    inbox.come_back().await.expect("the port is still free");
    world.put_notice("msg_6", &inbox.url());
    feed(&relay).await;
    (world, inbox, relay)
}

fn breaker(world: &World) -> Value {
    let mut breakers = world.items("breaker");
    assert_eq!(breakers.len(), 1, "{breakers:?}");
    breakers.remove(0)
}

#[tokio::test]
async fn after_five_failures_a_subscriber_is_left_alone_and_its_notices_lose_no_attempt() {
    let (world, inbox, relay) = tripped().await;

    let breaker = breaker(&world);
    assert_eq!((number(&breaker, "failures"), number(&breaker, "open_until")), (5, now(&world) + 30_000));
    let notice = world.notice("msg_6");
    assert_eq!((text(&notice, "state"), number(&notice, "attempts")), ("PENDING", 0));
    assert!((30_000..=35_000).contains(&(number(&notice, "due_at") - now(&world))), "{notice}");
    world.let_pass(Duration::from_secs(10));
    assert_eq!(swept(&relay).await, json!({"deferred": 5}));
    assert!(ids(&inbox).is_empty());
}

#[tokio::test]
async fn another_subscriber_notices_nothing_of_it() {
    let (world, _, relay) = tripped().await;
    let other = world.inbox().await;
    world.put_notice("msg_other", &other.url());

    feed(&relay).await;

    assert_eq!(ids(&other), ["msg_other"]);
}

#[tokio::test]
async fn of_all_that_find_the_time_up_one_sends_one_notice_and_the_rest_waits_for_what_it_finds() {
    let (world, inbox, _) = tripped().await;
    inbox.answer_with(StatusCode::SERVICE_UNAVAILABLE);
    world.let_pass(Duration::from_secs(36));
    let relays = join_all((0..5).map(|_| world.relay(&[]))).await;

    join_all(relays.iter().map(Relay::sweep)).await;

    assert_eq!(ids(&inbox).len(), 1);
    let breaker = breaker(&world);
    assert_eq!((number(&breaker, "open_until"), number(&breaker, "trips")), (now(&world) + 60_000, 2));
    let attempts: i64 = world.items("notice").iter().map(|notice| number(notice, "attempts")).sum();
    assert_eq!(attempts, 6);
}

#[tokio::test]
async fn a_probe_that_succeeds_lets_all_others_through_at_once() {
    let (world, inbox, relay) = tripped().await;
    world.let_pass(Duration::from_secs(36));

    assert_eq!(swept(&relay).await, json!({"delivered": 6}));

    assert_eq!(ids(&inbox).len(), 6);
    let breaker = breaker(&world);
    assert_eq!((number(&breaker, "failures"), &breaker["open_until"]), (0, &Value::Null));
    world.put_notice("msg_7", &inbox.url());
    feed(&relay).await;
    assert_eq!(ids(&inbox).len(), 7);
}

#[tokio::test]
async fn who_was_elected_and_died_holds_the_others_up_for_its_lease_and_no_longer() {
    let (world, inbox, relay) = tripped().await;
    world.let_pass(Duration::from_secs(36));
    let elected_until = (now(&world) + 30_000).to_string();
    world.meddle("breaker", |breaker| {
        breaker["open_until"] = json!({"N": elected_until});
        breaker["probe_owner"] = json!({"S": "somebody who died"});
    });

    assert_eq!(swept(&relay).await, json!({"deferred": 6}));
    world.let_pass(Duration::from_secs(36));
    assert_eq!(swept(&relay).await, json!({"delivered": 6}));
    assert_eq!(ids(&inbox).len(), 6);
}

#[tokio::test]
async fn a_success_ends_the_row_of_failures() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    for (nth, status) in [503, 503, 503, 503, 200, 503].into_iter().enumerate() {
        inbox.answer_with(StatusCode::from_u16(status).unwrap());
        world.put_notice(&format!("msg_{nth}"), &inbox.url());
        feed(&relay).await;
    }

    let breaker = breaker(&world);
    assert_eq!((number(&breaker, "failures"), &breaker["open_until"]), (1, &Value::Null));
}

#[tokio::test]
async fn a_notice_that_is_only_ever_put_off_dies_in_the_end() {
    let (world, inbox, relay) = tripped().await;
    // The whole schedule with its jitter, and a day.
    world.let_pass(Duration::from_secs(99_305 * 6 / 5 + 24 * 3600 + 1));
    let still_open = (now(&world) + 600_000).to_string();
    world.meddle("breaker", |breaker| breaker["open_until"] = json!({"N": still_open}));

    assert_eq!(swept(&relay).await, json!({"dead": 6}));

    let notice = world.notice("msg_6");
    assert_eq!((text(&notice, "state"), number(&notice, "attempts")), ("DEAD", 0));
    assert!(text(&notice, "reason").contains("has not been well"), "{notice}");
    assert!(!is_due(&notice) && ids(&inbox).is_empty());
}
