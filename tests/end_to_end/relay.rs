//! The relay: what is due is delivered, at least once, and nobody waits for anybody else.

mod stream;
mod schedule;
mod forbidden;
mod breaker;
mod events;
mod claims;
mod store;
mod binary;

use std::time::Duration;

use harness::world::World;
use local::{Inbox, Relay};
use serde_json::{Value, json};
use simulator::Surface;

/// As long as a claimed attempt holds, and a moment more.
const PAST_THE_ATTEMPT: Duration = Duration::from_millis(30_001);

/// What a batch is answered of which nothing is to come again.
fn all_taken() -> Vec<Value> {
    vec![json!({"batchItemFailures": []})]
}

async fn world() -> World {
    World::start(Surface::Platform).await
}

/// Hands over what is new on the stream, all of which must be taken.
async fn feed(relay: &Relay) {
    for answer in relay.feed_stream().await.expect("the relay takes its stream") {
        assert_eq!(answer, json!({"batchItemFailures": []}));
    }
}

/// Sweeps, and says what became of everything that was due: what is not named is none.
async fn swept(relay: &Relay) -> Value {
    let mut summary = relay.sweep().await.expect("the store is there");
    summary.as_object_mut().expect("a summary").retain(|_, value| *value != 0 && *value != false);
    summary
}

/// The ids of the notices that arrived, in order.
fn ids(inbox: &Inbox) -> Vec<String> {
    inbox.received().into_iter().map(|notice| notice.id.expect("every notice has an id")).collect()
}

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item[name]["S"].as_str().unwrap_or_else(|| panic!("no {name}: {item}"))
}

fn number(item: &Value, name: &str) -> i64 {
    item[name]["N"]
        .as_str()
        .and_then(|numeral| numeral.parse().ok())
        .unwrap_or_else(|| panic!("no {name}: {item}"))
}

fn is_due(item: &Value) -> bool {
    assert_eq!(item["due_at"].is_null(), item["due_shard"].is_null(), "{item}");
    !item["due_at"].is_null()
}

fn now(world: &World) -> i64 {
    world.clock.clock().now().as_millisecond()
}
