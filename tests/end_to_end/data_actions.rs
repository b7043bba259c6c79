//! Data actions over HTTP, by the list of what must hold.

use harness::world::World;
use serde_json::json;
use simulator::{Behaviour, Surface};

#[tokio::test]
async fn a_first_request_runs_and_its_repeat_is_replayed() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::json(json!({"ticket": 1})));

    let first = world.invoke("a", &[("idempotency-key", "k")], r#"{"customer":1}"#).await;
    let again = world.invoke("a", &[("idempotency-key", "k")], r#"{"customer":1}"#).await;

    assert_eq!((first.status, first.is_replay()), (200, false));
    assert_eq!((again.status, again.is_replay()), (200, true));
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(world.genesys.effects("a").len(), 1);
}
