//! The same request again, and the same key with another request.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::world::World;
use serde_json::json;
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{KEY, SURFACES, calls, claim, token_calls};

const DAY: Duration = Duration::from_hours(24);

/// Each of these operations, once.
fn once(operations: &[&str]) -> BTreeMap<String, usize> {
    operations.iter().map(|operation| ((*operation).to_owned(), 1)).collect()
}

#[tokio::test]
async fn a_first_request_costs_two_requests_and_a_repeat_in_a_cold_instance_one() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::json(json!({"ticket": 1})));

        let first = world.invoke("a", &KEY, r#"{"customer":1}"#).await;
        assert_eq!(world.store.counts(), once(&["TransactWriteItems", "UpdateItem"]));
        world.store.reset_counts();
        let cold = world.another_instance(&[]).await;
        let again = world.invoke_at(&cold, "a", &KEY, r#"{"customer":1}"#).await;

        assert_eq!(world.store.counts(), once(&["UpdateItem"]));
        assert_eq!((first.status, first.is_replay()), (200, false));
        assert_eq!((again.status, again.is_replay()), (200, true));
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!(again.header("idempotency-key"), Some("k"));
        assert_eq!((calls(&world), world.genesys.effects("a").len()), (1, 1));
    }
}

#[tokio::test]
async fn a_repeat_in_a_warm_instance_costs_nothing() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::json(json!({"ticket": 1})));
        let first = world.invoke("a", &KEY, r#"{"customer":1}"#).await;
        world.store.reset_counts();

        let again = world.invoke("a", &KEY, r#"{"customer":1}"#).await;

        assert_eq!((again.status, again.is_replay(), &again.body), (200, true, &first.body));
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!(world.store.total(), 0);
        assert_eq!((token_calls(&world), calls(&world)), (1, 1));
    }
}

#[tokio::test]
async fn an_instance_that_replayed_once_is_warm() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::json(json!({"ticket": 1})));
    let first = world.invoke("a", &KEY, "{}").await;
    let other = world.another_instance(&[]).await;
    world.invoke_at(&other, "a", &KEY, "{}").await;
    world.store.reset_counts();

    let again = world.invoke_at(&other, "a", &KEY, "{}").await;

    assert_eq!((again.is_replay(), &again.body), (true, &first.body));
    assert_eq!(world.store.total(), 0);
}

#[tokio::test]
async fn a_large_answer_costs_one_request_more_each_way() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::status(200, "text/plain", "x".repeat(4097)));

    world.invoke("a", &KEY, "{}").await;
    let first = world.store.counts();
    world.store.reset_counts();
    let cold = world.another_instance(&[]).await;
    world.invoke_at(&cold, "a", &KEY, "{}").await;

    assert_eq!(first, once(&["BatchWriteItem", "TransactWriteItems", "UpdateItem"]));
    assert_eq!(world.store.counts(), once(&["BatchGetItem", "UpdateItem"]));
}

#[tokio::test]
async fn another_request_under_a_finished_key_is_refused_and_changes_nothing() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());
        let first = world.invoke("a", &KEY, r#"{"amount":1}"#).await;
        let before = world.items("");
        let cold = world.another_instance(&[]).await;
        world.store.reset_counts();

        let other = world.invoke_at(&cold, "a", &KEY, r#"{"amount":2}"#).await;

        assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"));
        assert_eq!(other.json()["idempotencyKey"], "k");
        assert_eq!((world.store.total(), world.items("")), (1, before));
        let again = world.invoke_at(&cold, "a", &KEY, r#"{"amount":1}"#).await;
        assert_eq!((again.is_replay(), &again.body), (true, &first.body));
        assert_eq!(calls(&world), 1);
    }
}

#[tokio::test]
async fn a_warm_instance_refuses_another_request_without_asking_anybody() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());
        world.invoke("a", &KEY, r#"{"amount":1}"#).await;
        world.store.reset_counts();

        let other = world.invoke("a", &KEY, r#"{"amount":2}"#).await;

        assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"));
        assert_eq!((world.store.total(), calls(&world)), (0, 1));
    }
}

#[tokio::test]
async fn another_request_under_a_running_key_is_refused_and_the_first_completes() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());
        world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());

        let first = world.invoke("a", &KEY, r#"{"amount":1}"#);
        let (first, other) = world
            .while_stalled(first, async {
                let before = world.items("");
                let other = world.invoke("a", &KEY, r#"{"amount":2}"#).await;
                assert_eq!(world.items(""), before);
                other
            })
            .await;

        assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"));
        assert_eq!((first.status, first.is_replay()), (200, false));
        assert_eq!(first.json()["echo"], json!({"amount": 1}));
        let cold = world.another_instance(&[]).await;
        let again = world.invoke_at(&cold, "a", &KEY, r#"{"amount":1}"#).await;
        assert_eq!((again.is_replay(), &again.body), (true, &first.body));
        assert_eq!(world.genesys.effects("a").len(), 1);
    }
}

#[tokio::test]
async fn a_refused_duplicate_leaves_the_record_of_the_first_as_it_is() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());
        world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());

        let (first, duplicate) = world
            .while_stalled(world.invoke("a", &KEY, "{}"), async {
                let before = claim(&world);
                world.let_pass(Duration::from_secs(7));
                let duplicate = world.invoke("a", &KEY, "{}").await;
                assert_eq!(claim(&world), before);
                duplicate
            })
            .await;

        assert_eq!((duplicate.status, duplicate.problem().as_str()), (409, "in-progress"));
        assert_eq!(duplicate.json()["idempotencyKey"], "k");
        assert_eq!((first.status, world.genesys.effects("a").len()), (200, 1));
        let before = claim(&world);
        let cold = world.another_instance(&[]).await;
        assert!(world.invoke_at(&cold, "a", &KEY, "{}").await.is_replay());
        assert_eq!(claim(&world), before);
    }
}

#[tokio::test]
async fn an_answer_is_replayed_to_the_last_second_of_its_life() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.invoke("a", &KEY, "{}").await;

    world.let_pass(Duration::from_secs(24 * 60 * 60 - 1));
    let warm = world.invoke("a", &KEY, "{}").await;
    let cold = world.another_instance(&[]).await;
    let cold = world.invoke_at(&cold, "a", &KEY, "{}").await;

    assert!(warm.is_replay() && cold.is_replay());
    assert_eq!(calls(&world), 1);
}

#[tokio::test]
async fn an_expired_key_runs_again_though_its_record_is_still_there() {
    for is_warm in [true, false] {
        let world = World::start(Surface::Platform).await;
        world.genesys.data_action("a", Behaviour::echo());
        world.invoke("a", &KEY, "{}").await;
        let cold = world.another_instance(&[]).await;
        let gateway = if is_warm { &world.gateway } else { &cold };

        world.let_pass(DAY);
        let later = world.invoke_at(gateway, "a", &KEY, "{}").await;
        let again = world.invoke_at(gateway, "a", &KEY, "{}").await;

        assert_eq!((later.status, later.is_replay()), (200, false));
        assert_eq!(later.json()["execution"], 2);
        assert_eq!((again.is_replay(), &again.body), (true, &later.body));
        assert_eq!(world.genesys.effects("a").len(), 2);
        assert_eq!(claim(&world)["epoch"]["N"], "2");
    }
}

#[tokio::test]
async fn an_expired_key_may_serve_another_request() {
    let world = World::with(Surface::Platform, &[("IDEMPOTENCY_TTL_SECONDS", "60")]).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.invoke("a", &KEY, r#"{"amount":1}"#).await;

    world.let_pass(Duration::from_mins(1));
    let other = world.invoke("a", &KEY, r#"{"amount":2}"#).await;

    assert_eq!((other.status, other.is_replay()), (200, false));
    assert_eq!(other.json()["echo"], json!({"amount": 2}));
}

#[tokio::test]
async fn an_expired_large_answer_leaves_nothing_of_itself_in_its_successor() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::status(200, "text/plain", "x".repeat(400_000)));
    world.invoke("a", &KEY, "{}").await;

    world.let_pass(DAY);
    world.genesys.data_action("a", Behaviour::status(204, None, ""));
    let later = world.invoke("a", &KEY, "{}").await;
    let cold = world.another_instance(&[]).await;
    let again = world.invoke_at(&cold, "a", &KEY, "{}").await;

    assert_eq!((later.status, again.status, again.is_replay()), (204, 204, true));
    assert_eq!((again.header("content-type"), again.body.len()), (None, 0));
}
