//! A store that loses answers, throttles, and goes away.

use std::time::{Duration, Instant};

use harness::store::StoreFault;
use harness::world::World;
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{KEY, PAST_THE_LEASE, RETRY_SAFE, SURFACES, calls, claim, state};

async fn world(surface: Surface) -> World {
    let world = World::start(surface).await;
    world.genesys.data_action("a", Behaviour::echo());
    world
}

#[tokio::test]
async fn a_claim_that_was_applied_and_its_answer_lost_is_recognised_as_our_own() {
    for surface in SURFACES {
        for losses in 1..=3 {
            let world = world(surface).await;
            world.store.fault_times("UpdateItem", StoreFault::ApplyThenDrop, losses);

            let response = world.invoke("a", &KEY, "{}").await;

            assert_eq!((response.status, response.is_replay()), (200, false), "{losses}");
            assert_eq!((state(&world).as_str(), world.genesys.effects("a").len()), ("DONE", 1));
            assert_eq!(claim(&world)["epoch"]["N"], "1");
        }
    }
}

#[tokio::test]
async fn a_completion_that_was_applied_and_its_answer_lost_is_recognised_as_our_own() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());

        let (response, ()) = world
            .while_stalled(world.invoke("a", &KEY, "{}"), async {
                world.store.fault("UpdateItem", StoreFault::ApplyThenDrop);
            })
            .await;

        assert_eq!((response.status, response.is_replay()), (200, false));
        assert_eq!(response.header("idempotency-stored"), None);
        let cold = world.another_instance(&[]).await;
        let again = world.invoke_at(&cold, "a", &KEY, "{}").await;
        assert_eq!((again.is_replay(), &again.body), (true, &response.body));
        assert_eq!(calls(&world), 1);
    }
}

#[tokio::test]
async fn a_claim_whose_answer_never_comes_is_tried_again() {
    let world = world(Surface::Platform).await;
    world.store.fault("UpdateItem", StoreFault::ApplyThenStall);

    let response = world.invoke("a", &KEY, "{}").await;

    assert_eq!((response.status, response.is_replay()), (200, false));
    assert_eq!((calls(&world), state(&world).as_str()), (1, "DONE"));
}

#[tokio::test]
async fn a_claim_of_which_nothing_was_ever_heard_is_withdrawn_and_not_acted_on() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.fault_times("UpdateItem", StoreFault::ApplyThenDrop, 4);

        let response = world.invoke("a", &KEY, "{}").await;
        let repeat = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, response.problem().as_str()), (503, "store-unavailable"));
        assert_eq!((repeat.status, repeat.is_replay()), (200, false));
        assert_eq!(calls(&world), 1);
    }
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_in_time_and_nothing_is_done() {
    for surface in SURFACES {
        let world = World::with(surface, &[("HTTP_TIMEOUT_SECONDS", "1")]).await;
        world.genesys.data_action("a", Behaviour::echo());
        // The claim hangs, and so does its withdrawal.
        world.store.fault_times("UpdateItem", StoreFault::Stall, 2);
        let started = Instant::now();

        let response = world.invoke("a", &KEY, "{}").await;

        assert!(started.elapsed() < Duration::from_secs(2));
        assert_eq!((response.status, response.problem().as_str()), (503, "store-unavailable"));
        assert_eq!((calls(&world), world.items("").len()), (0, 0));
        let again = world.invoke("a", &KEY, "{}").await;
        assert_eq!((again.status, again.is_replay(), calls(&world)), (200, false, 1));
    }
}

#[tokio::test]
async fn while_the_store_is_down_nothing_is_done() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.down();

        let response = world.invoke("a", &KEY, "{}").await;
        assert_eq!((response.status, response.problem().as_str()), (503, "store-unavailable"));
        assert_eq!(response.json()["idempotencyKey"], "k");
        assert_eq!((calls(&world), world.items("").len()), (0, 0));

        world.store.up();
        let later = world.invoke("a", &KEY, "{}").await;
        assert_eq!((later.status, later.is_replay(), calls(&world)), (200, false, 1));
    }
}

#[tokio::test]
async fn a_store_that_stumbles_for_a_while_is_tried_again() {
    for fault in [StoreFault::Throttle, StoreFault::InternalError, StoreFault::Refuse] {
        let world = world(Surface::Platform).await;
        world.store.fault_times("UpdateItem", fault, 3);

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, calls(&world)), (200, 1), "{fault:?}");
        assert_eq!(state(&world), "DONE");
    }
}

#[tokio::test]
async fn a_store_that_throttles_on_is_unavailable_and_nothing_is_done() {
    for fault in [StoreFault::Throttle, StoreFault::InternalError, StoreFault::Refuse] {
        let world = world(Surface::Platform).await;
        world.store.fault_times("UpdateItem", fault, 4);

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, response.problem().as_str()), (503, "store-unavailable"), "{fault:?}");
        assert_eq!((calls(&world), world.items("").len()), (0, 0));
        assert_eq!(world.invoke("a", &KEY, "{}").await.status, 200);
    }
}

#[tokio::test]
async fn a_write_that_meets_a_transaction_is_tried_again() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
        world.store.fault_times("UpdateItem", StoreFault::Conflict, 4);

        let (response, ()) = world
            .while_stalled(world.invoke("a", &KEY, "{}"), async {
                world.store.fault_times("TransactWriteItems", StoreFault::Conflict, 4);
            })
            .await;

        assert_eq!((response.status, response.header("idempotency-stored")), (200, None));
        assert_eq!((calls(&world), state(&world).as_str()), (1, "DONE"));
    }
}

#[tokio::test]
async fn a_garbled_answer_of_the_store_causes_no_second_effect() {
    let world = world(Surface::Platform).await;
    world.store.fault("UpdateItem", StoreFault::Garble);

    let first = world.invoke("a", &KEY, "{}").await;
    let again = world.invoke("a", &KEY, "{}").await;

    // The claim was applied, and nobody could read that: it is withdrawn, and the repeat is the first to act.
    assert_eq!((first.status, first.problem().as_str()), (503, "store-unavailable"));
    assert_eq!((again.status, again.is_replay(), calls(&world)), (200, false, 1));
}

#[tokio::test]
async fn an_answer_that_cannot_be_recorded_is_given_and_the_key_stays_taken() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());

        let (response, ()) = world
            .while_stalled(world.invoke("a", &KEY, "{}"), async {
                world.store.down();
            })
            .await;
        world.store.up();

        assert_eq!((response.status, response.is_replay()), (200, false));
        assert_eq!(response.header("idempotency-stored"), Some("false"));
        assert_eq!(response.json()["execution"], 1);
        assert_eq!(state(&world), "ACTING");
        let cold = world.another_instance(&[]).await;
        for gateway in [&world.gateway, &cold] {
            let repeat = world.invoke_at(gateway, "a", &KEY, "{}").await;
            assert_eq!((repeat.status, repeat.problem().as_str()), (409, "in-progress"));
        }
        assert_eq!(calls(&world), 1);
    }
}

#[tokio::test]
async fn an_answer_that_was_not_recorded_is_unknown_after_the_lease_and_never_repeated() {
    let world = world(Surface::Platform).await;
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
    world
        .while_stalled(world.invoke("a", &KEY, "{}"), async {
            world.store.fault_times("TransactWriteItems", StoreFault::Throttle, 4);
        })
        .await;

    world.let_pass(PAST_THE_LEASE);
    let cold = world.another_instance(&[]).await;
    let repeat = world.invoke_at(&cold, "a", &KEY, "{}").await;

    assert_eq!((repeat.status, repeat.problem().as_str()), (409, "outcome-unknown"));
    assert_eq!((calls(&world), world.genesys.effects("a").len()), (1, 1));
}

#[tokio::test]
async fn a_large_answer_of_which_the_parts_cannot_be_written_is_never_recorded_as_done() {
    let world = world(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::status(200, "text/plain", "x".repeat(800_000)));
    world.store.fault_times("BatchWriteItem", StoreFault::Refuse, 4);

    let response = world.invoke("a", &KEY, "{}").await;

    assert_eq!((response.status, response.body.len()), (200, 800_000));
    assert_eq!(response.header("idempotency-stored"), Some("false"));
    assert_eq!(state(&world), "ACTING");
}

#[tokio::test]
async fn an_outcome_that_is_unknown_and_cannot_be_recorded_is_still_not_repeated() {
    let world = world(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::status(503, None, ""));
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());

    let (response, ()) =
        world.while_stalled(world.invoke("a", &KEY, "{}"), async { world.store.down() }).await;
    world.store.up();

    assert_eq!((response.status, response.problem().as_str()), (504, "outcome-unknown"));
    assert_eq!(state(&world), "ACTING");
    assert_eq!(world.invoke("a", &KEY, "{}").await.problem(), "in-progress");
    world.let_pass(PAST_THE_LEASE);
    assert_eq!(world.invoke("a", &KEY, "{}").await.problem(), "outcome-unknown");
    assert_eq!(calls(&world), 1);
}

#[tokio::test]
async fn a_retry_safe_action_whose_answer_was_not_recorded_runs_again_after_the_lease() {
    let world = World::with(Surface::Platform, &[RETRY_SAFE]).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
    world.while_stalled(world.invoke("a", &KEY, "{}"), async { world.store.down() }).await;
    world.store.up();

    world.let_pass(PAST_THE_LEASE);
    let repeat = world.invoke("a", &KEY, "{}").await;

    assert_eq!((repeat.status, repeat.is_replay(), state(&world).as_str()), (200, false, "DONE"));
}

#[tokio::test]
async fn a_warm_instance_replays_while_the_store_is_down() {
    for surface in SURFACES {
        let world = world(surface).await;
        let first = world.invoke("a", &KEY, "{}").await;

        world.store.down();
        let again = world.invoke("a", &KEY, "{}").await;

        assert_eq!((again.is_replay(), &again.body), (true, &first.body));
    }
}
