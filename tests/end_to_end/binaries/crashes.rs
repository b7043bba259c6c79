//! A process that is killed at the worst moment, and the repeat that comes afterwards, to another process.

use harness::runtime_api::{Answer, Invocation, Lambda};
use harness::store::StoreFault;
use harness::world::World;
use serde_json::json;
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{data_actions, let_lease_lapse, request, state};

/// Kills the process while it has the invocation in hand.
async fn kill(lambda: &Lambda, invocation: impl Future<Output = Answer>) {
    lambda.kill().await;
    assert_eq!(invocation.await, Answer::Died);
}

/// A world whose one claim was made by a process that died before it acted.
async fn killed_before_acting(surface: Surface) -> World {
    let world = World::start(surface).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.store.fault("UpdateItem", StoreFault::ApplyThenStall);
    let lambda = data_actions(&world, &[]).await;
    let running = lambda.begin(Invocation::new(request("k", &json!({}))));
    world.store.wait_for("UpdateItem", 1).await;
    kill(&lambda, running).await;
    assert_eq!((state(&world).as_str(), world.genesys.effect_count()), ("ACTING", 0));
    world
}

/// A world whose one claim was made by a process that died after the effect, before it knew.
async fn killed_after_acting(surface: Surface) -> World {
    let world = World::start(surface).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());
    let lambda = data_actions(&world, &[]).await;
    let running = lambda.begin(Invocation::new(request("k", &json!({}))));
    world.genesys.wait_for_stalled(1).await;
    kill(&lambda, running).await;
    assert_eq!((state(&world).as_str(), world.genesys.effect_count()), ("ACTING", 1));
    world
}

/// Until the lease lapses, whoever repeats the request is told that it is in progress.
async fn repeat_until_the_lease_lapses(world: &World) -> Lambda {
    let lambda = data_actions(world, &[]).await;
    let early = lambda.invoke(request("k", &json!({}))).await;
    assert_eq!(early.error_type(), "InProgress");
    let_lease_lapse(world);
    lambda
}

#[tokio::test]
async fn killed_before_acting_a_platform_action_is_unknown_and_never_runs() {
    let world = killed_before_acting(Surface::Platform).await;
    let lambda = repeat_until_the_lease_lapses(&world).await;

    for _ in 0..2 {
        let late = lambda.invoke(request("k", &json!({}))).await;
        assert_eq!(late.error_type(), "OutcomeUnknown");
    }
    assert_eq!(world.genesys.request_count(Operation::ExecuteDataAction), 0);
}

#[tokio::test]
async fn killed_before_acting_a_guide_action_runs_once_afterwards() {
    let world = killed_before_acting(Surface::Guide).await;
    let lambda = repeat_until_the_lease_lapses(&world).await;

    for replayed in [false, true] {
        let late = lambda.invoke(request("k", &json!({}))).await.json();
        assert_eq!((&late["statusCode"], &late["replayed"]), (&json!(200), &json!(replayed)));
    }
    assert_eq!((world.genesys.effects("a").len(), state(&world).as_str()), (1, "DONE"));
}

#[tokio::test]
async fn killed_before_acting_a_platform_action_declared_safe_runs_once_afterwards() {
    let world = killed_before_acting(Surface::Platform).await;
    let_lease_lapse(&world);
    let lambda = data_actions(&world, &[("RETRY_SAFE_DATA_ACTIONS", "b, a")]).await;

    assert_eq!(lambda.invoke(request("k", &json!({}))).await.json()["statusCode"], 200);
    assert_eq!((world.genesys.effects("a").len(), state(&world).as_str()), (1, "DONE"));
}

#[tokio::test]
async fn killed_after_the_effect_a_platform_action_never_runs_again() {
    let world = killed_after_acting(Surface::Platform).await;
    let lambda = repeat_until_the_lease_lapses(&world).await;

    for _ in 0..2 {
        let late = lambda.invoke(request("k", &json!({}))).await;
        assert_eq!(late.error_type(), "OutcomeUnknown");
    }
    assert_eq!(world.genesys.request_count(Operation::ExecuteDataAction), 1);
}

#[tokio::test]
async fn killed_after_the_effect_a_guide_action_is_recognised_by_its_key() {
    let world = killed_after_acting(Surface::Guide).await;
    let lambda = repeat_until_the_lease_lapses(&world).await;

    let late = lambda.invoke(request("k", &json!({}))).await.json();

    assert_eq!((&late["body"]["execution"], &late["replayed"]), (&json!(1), &json!(false)));
    assert_eq!(world.genesys.effects("a").len(), 1);
    let keys: Vec<String> = world
        .genesys
        .requests()
        .iter()
        .filter(|request| request.operation == Some(Operation::ExecuteDataAction))
        .map(|request| request.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["k", "k"]);
}

#[tokio::test]
async fn killed_with_its_answer_on_record_the_answer_is_replayed() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;
    // The claim goes through; the record of the answer is made, and its maker never learns of it.
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());
    let running = lambda.begin(Invocation::new(request("k", &json!({}))));
    world.genesys.wait_for_stalled(1).await;
    world.store.fault("TransactWriteItems", StoreFault::ApplyThenStall);
    world.genesys.release_stalled();
    world.store.wait_for("TransactWriteItems", 1).await;
    kill(&lambda, running).await;

    let late = data_actions(&world, &[]).await.invoke(request("k", &json!({}))).await.json();

    assert_eq!((&late["statusCode"], &late["replayed"]), (&json!(200), &json!(true)));
    assert_eq!(world.genesys.effects("a").len(), 1);
}
