//! The same request many times at once, over several instances.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use harness::world::World;
use local::Gateway;
use serde_json::json;
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{KEY, PAST_THE_LEASE, RETRY_SAFE, SURFACES, calls, claim, keyed};

const WAITING: [(&str, &str); 2] = [("idempotency-key", "k"), ("prefer", "wait=10")];

/// A world with the action `a`, whose first execution gets stuck, and five instances.
async fn five_instances(surface: Surface) -> (World, Vec<Gateway>) {
    let world = World::start(surface).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
    let instances = join_all((0..5).map(|_| world.another_instance(&[]))).await;
    (world, instances)
}

#[tokio::test]
async fn of_fifty_at_once_one_runs_and_the_others_are_told_to_come_back() {
    for surface in SURFACES {
        let (world, instances) = five_instances(surface).await;
        let call = |n: usize| world.invoke_at(&instances[n % 5], "a", &WAITING[..1], "{}");
        let mut responses: FuturesUnordered<_> = (0..50).map(call).collect();

        for _ in 0..49 {
            let refused = responses.next().await.unwrap();
            assert_eq!((refused.status, refused.problem().as_str()), (409, "in-progress"));
            assert_eq!(refused.header("retry-after"), Some("5"));
        }
        world.genesys.wait_for_stalled(1).await;
        world.genesys.release_stalled();
        let winner = responses.next().await.unwrap();

        assert_eq!((winner.status, winner.is_replay()), (200, false));
        assert_eq!((calls(&world), world.genesys.effects("a").len()), (1, 1));
        assert!(call(0).await.is_replay());
    }
}

#[tokio::test]
async fn of_fifty_that_prefer_to_wait_one_runs_and_all_get_its_answer() {
    for surface in SURFACES {
        let (world, instances) = five_instances(surface).await;
        let responses = (0..50).map(|n| world.invoke_at(&instances[n % 5], "a", &WAITING, "{}"));

        let (responses, ()) = tokio::join!(join_all(responses), async {
            world.store.wait_for("UpdateItem", 50).await;
            world.genesys.wait_for_stalled(1).await;
            world.genesys.release_stalled();
        });

        assert!(responses.iter().all(|it| it.status == 200 && it.body == responses[0].body));
        assert_eq!(responses.iter().filter(|it| it.is_replay()).count(), 49);
        assert_eq!((calls(&world), world.genesys.effects("a").len()), (1, 1));
    }
}

#[tokio::test]
async fn of_fifty_different_requests_each_runs() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());

        let call = |n: u32| world.invoke("a", &[], json!({"n": n}).to_string());
        let responses = join_all((0..50).map(call)).await;

        assert!(responses.iter().all(|it| it.status == 200 && !it.is_replay()));
        assert_eq!((world.genesys.effects("a").len(), world.items("claim").len()), (50, 50));
    }
}

#[tokio::test]
async fn of_fifty_requests_with_one_key_and_different_payloads_one_runs() {
    let (world, instances) = five_instances(Surface::Platform).await;
    let call = |n: usize| world.invoke_at(&instances[n % 5], "a", &WAITING[..1], json!({"n": n}).to_string());
    let mut responses: FuturesUnordered<_> = (0..50).map(call).collect();

    for _ in 0..49 {
        let refused = responses.next().await.unwrap();
        assert_eq!((refused.status, refused.problem().as_str()), (422, "key-reused"));
    }
    world.genesys.wait_for_stalled(1).await;
    world.genesys.release_stalled();

    assert_eq!(responses.next().await.unwrap().status, 200);
    assert_eq!(world.genesys.effects("a").len(), 1);
}

#[tokio::test]
async fn who_waits_for_less_than_the_run_takes_is_told_to_come_back() {
    let (world, instances) = five_instances(Surface::Platform).await;
    let headers = [("idempotency-key", "k"), ("prefer", "respond-async, wait=1")];

    let first = world.invoke("a", &KEY, "{}");
    let (first, waiter) = world
        .while_stalled(first, async {
            let before = claim(&world);
            let waiter = world.invoke_at(&instances[0], "a", &headers, "{}").await;
            assert_eq!(claim(&world), before);
            waiter
        })
        .await;

    assert_eq!((waiter.status, waiter.problem().as_str()), (409, "in-progress"));
    assert_eq!((first.status, calls(&world)), (200, 1));
}

#[tokio::test]
async fn who_prefers_to_wait_is_still_refused_with_another_payload() {
    let (world, instances) = five_instances(Surface::Platform).await;

    let first = world.invoke("a", &KEY, "{}");
    let other = world.invoke_at(&instances[0], "a", &WAITING, r#"{"other":true}"#);
    let (first, other) = world.while_stalled(first, other).await;

    assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"));
    assert_eq!((first.status, calls(&world)), (200, 1));
}

#[tokio::test]
async fn the_longest_wait_there_is_does_no_harm() {
    for seconds in [u64::MAX, u64::MAX / 2, 1 << 33] {
        let world = World::start(Surface::Platform).await;
        world.genesys.data_action("a", Behaviour::echo());
        world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
        let prefer = format!("wait={seconds}");
        let headers = [("idempotency-key", "k"), ("prefer", prefer.as_str())];
        let cold = world.another_instance(&[]).await;

        let first = world.invoke("a", &headers, "{}");
        let other = world.invoke_at(&cold, "a", &headers, "{}");
        let (first, other, ()) = tokio::join!(first, other, async {
            world.store.wait_for("UpdateItem", 2).await;
            world.genesys.wait_for_stalled(1).await;
            world.genesys.release_stalled();
        });

        assert_eq!((first.status, other.status, calls(&world)), (200, 200, 1));
        assert_eq!(first.body, other.body);
    }
}

#[tokio::test]
async fn who_waited_for_a_run_that_freed_its_key_runs_itself() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());
        world.genesys.data_action("b", Behaviour::echo());
        let other = world.another_instance(&[]).await;
        world.invoke("b", &keyed("warm"), "{}").await;
        world.invoke_at(&other, "b", &keyed("up"), "{}").await;
        world.store.reset_counts();
        // The first is held where it renews its token, and then refused for good.
        world.genesys.fault(Operation::ExecuteDataAction, Fault::status(401));
        world.genesys.fault(Operation::ExecuteDataAction, Fault::status(403));
        world.genesys.fault(Operation::Token, Fault::stall_before_effect());

        let waiter = async {
            world.genesys.wait_for_stalled(1).await;
            world.invoke_at(&other, "a", &WAITING, "{}").await
        };
        let (first, (waiter, ())) = tokio::join!(world.invoke("a", &KEY, "{}"), async {
            tokio::join!(waiter, async {
                world.store.wait_for("UpdateItem", 2).await;
                world.genesys.release_stalled();
            })
        });

        assert_eq!((first.status, first.problem().as_str()), (502, "upstream-rejected"));
        assert_eq!((waiter.status, waiter.is_replay()), (200, false));
        assert_eq!(world.genesys.effects("a").len(), 1);
    }
}

#[tokio::test]
async fn who_waits_for_a_holder_that_is_never_heard_of_again_takes_over_when_its_lease_ends() {
    let world = World::with(Surface::Platform, &[RETRY_SAFE]).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
    let other = world.another_instance(&[RETRY_SAFE]).await;

    let (_, waiter) = world
        .while_stalled(world.invoke("a", &KEY, "{}"), async {
            let lapse = async {
                world.store.wait_for("UpdateItem", 2).await;
                world.let_pass(PAST_THE_LEASE);
            };
            tokio::join!(world.invoke_at(&other, "a", &WAITING, "{}"), lapse).0
        })
        .await;

    assert_eq!((waiter.status, waiter.is_replay()), (200, false));
    assert_eq!(waiter.json()["execution"], 1);
}

#[tokio::test]
async fn who_waits_for_a_holder_that_may_have_acted_is_told_when_its_lease_ends() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
    let other = world.another_instance(&[]).await;

    let (first, waiter) = world
        .while_stalled(world.invoke("a", &KEY, "{}"), async {
            let lapse = async {
                world.store.wait_for("UpdateItem", 2).await;
                world.let_pass(PAST_THE_LEASE + Duration::from_secs(1));
            };
            tokio::join!(world.invoke_at(&other, "a", &WAITING, "{}"), lapse).0
        })
        .await;

    assert_eq!((waiter.status, waiter.problem().as_str()), (409, "outcome-unknown"));
    assert_eq!((first.status, calls(&world)), (200, 1));
}
