//! What says nothing anybody understands is refused, and kept: nothing is lost.

use harness::world::World;
use serde_json::{Value, json};
use simulator::Surface;

/// Bodies that are no event, with the beginning of the reason.
const NO_EVENTS: [(&[u8], &str); 8] = [
    (b"", "is not valid JSON"),
    (b"hello, world", "is not valid JSON"),
    (b"[1,2]", "is not a JSON object"),
    (b"{\"type\":\"conversation.ended\"}", "has no identity"),
    (b"{\"id\":4711}", "has no identity"),
    (b"{\"topicName\":\"t\",\"metadata\":{}}", "has no identity"),
    (b"{\"id\":\"a\",\"id\":\"b\"}", "has the object key"),
    (b"{\"id\":\"\xff\xfe\"}", "is not UTF-8"),
];

#[tokio::test]
async fn a_body_that_is_no_event_is_refused_and_kept_with_its_reason() {
    for (body, reason) in NO_EVENTS {
        let world = World::start(Surface::Platform).await;

        let answer = world.deliver(body).await;

        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-request"), "{reason}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(reason), "{detail}");
        let items = world.items("");
        assert_eq!(items.len(), 1, "{items:?}");
        assert_eq!(items[0]["sk"]["S"], "quarantine");
        assert!(items[0]["reason"]["S"].as_str().unwrap().starts_with(reason), "{items:?}");
        assert!(holds(&items[0], body), "{items:?}");
    }
}

/// Text is kept readable, anything else as bytes.
fn holds(item: &Value, body: &[u8]) -> bool {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(body);
    match std::str::from_utf8(body) {
        Ok(text) => item["body"] == json!({"S": text}),
        Err(_) => item["body"] == json!({"B": encoded}),
    }
}

#[tokio::test]
async fn the_same_bad_body_is_kept_once_and_another_beside_it() {
    let world = World::start(Surface::Platform).await;
    world.deliver("not an event").await;
    let kept = world.items("quarantine");

    let again = world.deliver("not an event").await;

    assert_eq!((again.status, again.problem().as_str()), (400, "invalid-request"));
    assert_eq!(world.items("quarantine"), kept);
    world.deliver("not an event either").await;
    assert_eq!(world.items("quarantine").len(), 2);
    assert_eq!(world.store.total(), 3);
}

#[tokio::test]
async fn event_bridge_is_told_of_success_so_that_it_does_not_send_what_nobody_understands_again() {
    let world = World::start(Surface::Platform).await;
    let envelope = r#"{"version":"0","detail-type":"t","source":"s","detail":{"n":1}}"#;

    for body in [envelope, "no JSON at all", ""] {
        let answer = world.gateway.deliver_from_event_bridge(body).await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "QUARANTINED");
        assert!(answer["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
    assert_eq!(world.items("quarantine").len(), 3);
    assert!(world.items("event").is_empty());
}

#[tokio::test]
async fn a_bad_body_that_cannot_be_kept_is_not_refused_for_good() {
    let world = World::start(Surface::Platform).await;
    world.store.down();

    let over_http = world.deliver("not an event").await;
    let from_event_bridge = world.gateway.deliver_from_event_bridge("not an event").await;

    assert_eq!((over_http.status, over_http.problem().as_str()), (503, "store-unavailable"));
    assert!(from_event_bridge.unwrap_err().contains("StoreUnavailable"));
    world.store.up();
    assert_eq!(world.deliver("not an event").await.status, 400);
    assert_eq!(world.items("quarantine").len(), 1);
}
