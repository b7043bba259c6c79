//! Further attempts, by the schedule.

use std::time::Duration;

use axum::http::StatusCode;
use harness::world::World;
use serde_json::json;

use super::{feed, ids, is_due, now, number, swept, text, world};

/// The waits between attempts, in seconds.
const WAITS: [u64; 7] = [5, 300, 1800, 7200, 18_000, 36_000, 36_000];

/// The most that jitter makes of the first wait, and a moment more.
const PAST_THE_FIRST_WAIT: Duration = Duration::from_millis(6_001);

#[tokio::test]
async fn a_notice_is_attempted_eight_times_under_one_name_and_then_dead() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    inbox.answer_with(StatusCode::SERVICE_UNAVAILABLE);
    world.put_notice("msg_1", &inbox.url());
    feed(&relay).await;

    for (attempt, wait) in (1..).zip(WAITS.map(Duration::from_secs)) {
        let notice = world.notice("msg_1");
        assert_eq!((text(&notice, "state"), number(&notice, "attempts")), ("PENDING", attempt));
        assert_eq!(
            (text(&notice, "last_error"), number(&notice, "last_status")),
            ("the subscriber answered 503", 503)
        );
        world.let_pass(wait.mul_f64(0.79));
        assert_eq!(swept(&relay).await, json!({}), "too early after attempt {attempt}");
        world.let_pass(wait.mul_f64(0.42));
        let expected = if attempt == 7 { json!({"dead": 1}) } else { json!({"failed": 1}) };
        assert_eq!(swept(&relay).await, expected, "after attempt {attempt}");
    }

    let notice = world.notice("msg_1");
    assert_eq!((text(&notice, "state"), number(&notice, "attempts")), ("DEAD", 8));
    assert_eq!(text(&notice, "reason"), "given up after 8 attempts: the subscriber answered 503");
    assert_eq!(number(&notice, "expires_at"), now(&world) / 1000 + 90 * 24 * 3600);
    assert!(!is_due(&notice));
    world.let_pass(Duration::from_hours(24));
    assert_eq!(swept(&relay).await, json!({}));
    assert_eq!(ids(&inbox), ["msg_1"; 8]);
    assert!(inbox.received().iter().all(|attempt| attempt.is_verified));
}

#[tokio::test]
async fn the_subscribers_retry_after_is_honoured() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    inbox.answer_with_retry_after(StatusCode::TOO_MANY_REQUESTS, "3600");
    world.put_notice("msg_1", &inbox.url());
    feed(&relay).await;
    inbox.answer_with(StatusCode::NO_CONTENT);

    world.let_pass(Duration::from_secs(3599));
    assert_eq!(swept(&relay).await, json!({}));
    world.let_pass(Duration::from_secs(1));
    assert_eq!(swept(&relay).await, json!({"delivered": 1}));
}

#[tokio::test]
async fn nobody_can_ask_for_more_than_a_day() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    inbox.answer_with_retry_after(StatusCode::SERVICE_UNAVAILABLE, "99999999999");
    world.put_notice("msg_1", &inbox.url());

    feed(&relay).await;

    assert_eq!(number(&world.notice("msg_1"), "due_at"), now(&world) + 24 * 3_600_000);
}

#[tokio::test]
async fn a_subscriber_that_wants_no_more_of_it_is_sent_no_more() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    inbox.answer_with(StatusCode::GONE);
    world.put_notice("msg_1", &inbox.url());

    feed(&relay).await;

    let notice = world.notice("msg_1");
    assert_eq!((text(&notice, "state"), number(&notice, "last_status")), ("DEAD", 410));
    assert!(text(&notice, "reason").contains("410") && !is_due(&notice), "{notice}");
}

#[tokio::test]
async fn a_subscriber_that_was_down_has_every_notice_once_in_the_end() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    inbox.go_down().await;
    for id in ["msg_1", "msg_2", "msg_3"] {
        world.put_notice(id, &inbox.url());
    }
    feed(&relay).await;
    assert!(text(&world.notice("msg_1"), "last_error").contains("cannot be reached"));
    inbox.come_back().await.unwrap();

    world.let_pass(PAST_THE_FIRST_WAIT);
    assert_eq!(swept(&relay).await, json!({"delivered": 3}));

    let mut arrived = ids(&inbox);
    arrived.sort();
    assert_eq!(arrived, ["msg_1", "msg_2", "msg_3"]);
    assert_eq!(world.notice("msg_1")["last_error"], json!(null));
}

#[tokio::test]
async fn the_schedule_finds_what_the_stream_missed_however_much_it_is() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    // More than a page of each shard.
    for nth in 0..450 {
        world.put_notice(&format!("msg_{nth}"), &inbox.url());
    }

    assert_eq!(swept(&relay).await, json!({"delivered": 450}));

    assert_eq!(ids(&inbox).len(), 450);
    assert!(inbox.received().iter().all(|notice| !notice.is_repeated));
}

#[tokio::test]
async fn a_notice_that_nobody_can_read_keeps_no_other_from_being_sent() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    for nth in 0..60 {
        put_unreadable(&world, &format!("odd_{nth}"), &inbox.url());
    }
    world.let_pass(Duration::from_secs(1));
    world.put_notice("msg_1", &inbox.url());

    assert_eq!(swept(&relay).await, json!({"delivered": 1}));
    assert_eq!(ids(&inbox), ["msg_1"]);
}

fn put_unreadable(world: &World, id: &str, subscriber: &str) {
    world.put_notice(id, subscriber);
    let mut notice = world.notice(id);
    notice["v"] = json!({"N": "9"});
    world.engine.put(&notice).expect("it is still an item");
}
