//! Claims whose holder was never heard of again.

use std::time::Duration;

use harness::world::World;
use serde_json::json;
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{is_due, swept, text};

const RETRY_SAFE: [(&str, &str); 1] = [("RETRY_SAFE_DATA_ACTIONS", "*")];

/// A world with a claim whose holder died while it acted.
async fn world_with_dead_holder(variables: &[(&str, &str)]) -> World {
    let world = World::with(Surface::Platform, variables).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());
    let dying = world.another_instance(variables).await;
    tokio::select! {
        response = world.invoke_at(&dying, "a", &[("idempotency-key", "k")], "{}") => panic!("{response:?}"),
        () = world.genesys.wait_for_stalled(1) => {}
    }
    drop(dying);
    world.genesys.wait_for_stalled(0).await;
    world
}

#[tokio::test]
async fn a_claim_that_lapsed_while_it_acted_is_unknown_on_its_trail_too() {
    for variables in [&[][..], &RETRY_SAFE] {
        let world = world_with_dead_holder(variables).await;
        let relay = world.relay(&[]).await;
        assert_eq!(swept(&relay).await, json!({}), "its lease still runs");
        world.let_pass(Duration::from_secs(61));

        assert_eq!(swept(&relay).await, json!({"unknown": 1}));

        let claims = world.items("claim");
        assert_eq!((text(&claims[0], "state"), is_due(&claims[0])), ("UNKNOWN", false));
        let trails = world.trails();
        assert_eq!(trails.len(), 1, "{trails:?}");
        let actions: Vec<_> = world.trail(&trails[0]).iter().map(|entry| entry["action"].clone()).collect();
        assert_eq!(actions, ["data-action-unknown"]);
        assert_eq!(swept(&relay).await, json!({}));
        let repeat = world.invoke("a", &[("idempotency-key", "k")], "{}").await;
        let expected = if variables.is_empty() { 409 } else { 200 };
        assert_eq!(repeat.status, expected);
    }
}

#[tokio::test]
async fn a_claim_that_nobody_can_read_stays_and_holds_up_no_other() {
    let world = world_with_dead_holder(&[]).await;
    world.meddle("claim", |claim| claim["v"] = json!({"N": "9"}));
    let before = world.items("claim");
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    world.let_pass(Duration::from_secs(61));
    world.put_notice("msg_1", &inbox.url());

    assert_eq!(swept(&relay).await, json!({"delivered": 1}));
    assert_eq!(world.items("claim"), before);
}
