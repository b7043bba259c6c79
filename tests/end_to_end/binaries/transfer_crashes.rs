//! The compiled transfers function, killed at each of its steps; and the repeat that comes afterwards, to another
//! process. There is one transfer, or nobody can say: never two, and never a failure of one that happened.

use std::time::Duration;

use harness::runtime_api::{Answer, Invocation, Lambda};
use harness::store::StoreFault;
use harness::world::World;
use serde_json::Value;
use simulator::{Fault, Operation, Surface};

use super::transfers::{actions, to_support, transfers, world};
use super::{let_lease_lapse, state};

const SURFACES: [Surface; 2] = [Surface::Platform, Surface::Guide];

/// A process with a transfer in hand, to be killed.
struct Doomed {
    lambda: Lambda,
    running: std::pin::Pin<Box<dyn Future<Output = Answer>>>,
}

impl Doomed {
    async fn start(world: &World) -> Self {
        let lambda = transfers(world, &[]).await;
        let running = Box::pin(lambda.begin(Invocation::new(to_support("k"))));
        Self { lambda, running }
    }

    async fn kill(self) {
        self.lambda.kill().await;
        assert_eq!(self.running.await, Answer::Died);
    }
}

/// A world in which a process was killed where this request upstream got stuck.
async fn killed_upstream(surface: Surface, operation: Operation, faults: &[Fault]) -> World {
    let world = world(surface).await;
    for fault in faults {
        world.genesys.fault(operation, fault.clone());
    }
    let doomed = Doomed::start(&world).await;
    world.genesys.wait_for_stalled(1).await;
    doomed.kill().await;
    world
}

/// The repeat, while the lease lasts and after it, to a process of its own.
async fn repeat(world: &World) -> Answer {
    let lambda = transfers(world, &[]).await;
    assert_eq!(lambda.invoke(to_support("k")).await.error_type(), "InProgress");
    let_lease_lapse(world);
    lambda.invoke(to_support("k")).await
}

/// The repeat was the first to transfer.
async fn assert_transferred_by_the_repeat(world: &World, name: &str) {
    assert_eq!((state(world).as_str(), actions(world).len()), ("CLAIMED", 0), "{name}");
    let answer = repeat(world).await.json();
    assert_eq!((&answer["status"], &answer["replayed"]), (&"completed".into(), &false.into()), "{name}");
    // The attempt that was cut off is told of too, on the trail and to the CRM.
    assert_done(world, &["transfer-not-performed", "transfer-intended", "transfer-completed"], 2, name).await;
}

/// The repeat found what had happened.
async fn assert_found_by_the_repeat(world: &World, name: &str) {
    assert_eq!((state(world).as_str(), world.genesys.transfer_count()), ("ACTING", 1), "{name}");
    let answer = repeat(world).await.json();
    assert_eq!((&answer["status"], &answer["replayed"]), (&"completed".into(), &false.into()), "{name}");
    assert_eq!(answer["transferId"], world.genesys.transfers("c")[0].id, "{name}");
    let last = world.trail("conversation:c").pop().expect("a trail with entries");
    assert_eq!(last["foundBy"], "a repeat that read the conversation", "{name}");
    assert_done_once(world, name).await;
}

/// The repeat cannot say, and does nothing.
async fn assert_unknown_to_the_repeat(world: &World, name: &str) {
    let sent = world.genesys.request_count(Operation::Transfer);
    assert_eq!(
        (state(world).as_str(), actions(world)),
        ("ACTING", vec!["transfer-intended".to_owned()]),
        "{name}"
    );
    assert_eq!(repeat(world).await.error_type(), "OutcomeUnknown", "{name}");
    let again = transfers(world, &[]).await.invoke(to_support("k")).await;
    assert_eq!(again.error_type(), "OutcomeUnknown", "{name}");
    assert_eq!(world.genesys.request_count(Operation::Transfer), sent, "{name}");
    assert_eq!(world.genesys.transfer_count(), 0, "{name}");
}

async fn assert_done_once(world: &World, name: &str) {
    assert_done(world, &["transfer-intended", "transfer-completed"], 1, name).await;
}

/// Transferred once, with these entries and so many notices.
async fn assert_done(world: &World, entries: &[&str], notices: usize, name: &str) {
    assert_eq!(state(world), "DONE", "{name}");
    assert_eq!(actions(world), entries, "{name}");
    let again: Value = transfers(world, &[]).await.invoke(to_support("k")).await.json();
    assert_eq!(again["replayed"], true, "{name}");
    assert_eq!(world.genesys.request_count(Operation::Transfer), 1, "{name}");
    assert_eq!((world.genesys.transfer_count(), world.items("notice").len()), (1, notices), "{name}");
}

#[tokio::test]
async fn killed_while_it_looks_a_transfer_happens_once_afterwards() {
    for surface in SURFACES {
        for operation in [Operation::Token, Operation::GetConversation, Operation::GetQueue] {
            let world = killed_upstream(surface, operation, &[Fault::stall_before_effect()]).await;
            assert_transferred_by_the_repeat(&world, &format!("{surface} {operation}")).await;
        }
    }
}

#[tokio::test]
async fn killed_before_its_claim_was_written_a_transfer_happens_at_once_when_it_is_repeated() {
    let world = world(Surface::Platform).await;
    world.store.fault("UpdateItem", StoreFault::Stall);
    let doomed = Doomed::start(&world).await;
    world.store.wait_for_arrivals("UpdateItem", 1).await;
    doomed.kill().await;
    assert!(world.items("").is_empty());

    let answer = transfers(&world, &[]).await.invoke(to_support("k")).await.json();

    assert_eq!(answer["status"], "completed");
    assert_done_once(&world, "claim").await;
}

#[tokio::test]
async fn killed_before_it_knew_of_its_claim_a_transfer_happens_once_afterwards() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.fault("UpdateItem", StoreFault::ApplyThenStall);
        let doomed = Doomed::start(&world).await;
        world.store.wait_for("UpdateItem", 1).await;
        doomed.kill().await;
        assert_transferred_by_the_repeat(&world, &surface.to_string()).await;
    }
}

#[tokio::test]
async fn killed_before_its_intent_was_written_a_transfer_happens_once_afterwards() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.fault("TransactWriteItems", StoreFault::Stall);
        let doomed = Doomed::start(&world).await;
        world.store.wait_for_arrivals("TransactWriteItems", 1).await;
        doomed.kill().await;
        assert_transferred_by_the_repeat(&world, &surface.to_string()).await;
    }
}

#[tokio::test]
async fn killed_once_its_intent_was_written_a_transfer_is_unknown_and_never_sent() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.fault("TransactWriteItems", StoreFault::ApplyThenStall);
        let doomed = Doomed::start(&world).await;
        world.store.wait_for("TransactWriteItems", 1).await;
        doomed.kill().await;
        assert_eq!(world.genesys.request_count(Operation::Transfer), 0);
        assert_unknown_to_the_repeat(&world, &surface.to_string()).await;
    }
}

#[tokio::test]
async fn killed_before_the_effect_a_transfer_is_unknown_and_not_sent_again() {
    for surface in SURFACES {
        let faults = [Fault::stall_before_effect()];
        let world = killed_upstream(surface, Operation::Transfer, &faults).await;
        assert_unknown_to_the_repeat(&world, &surface.to_string()).await;
    }
}

#[tokio::test]
async fn killed_after_the_effect_a_transfer_is_found() {
    for surface in SURFACES {
        let world = killed_upstream(surface, Operation::Transfer, &[Fault::stall_after_effect()]).await;
        assert_found_by_the_repeat(&world, &surface.to_string()).await;
    }
}

#[tokio::test]
async fn killed_while_it_confirms_a_transfer_is_found() {
    for surface in SURFACES {
        // The first of them is the look.
        let faults = [Fault::slow_body(Duration::ZERO), Fault::stall_before_effect()];
        let world = killed_upstream(surface, Operation::GetConversation, &faults).await;
        assert_found_by_the_repeat(&world, &surface.to_string()).await;
    }
}

/// A world in which a process was killed at its completion, which met this fault.
async fn killed_at_completion(surface: Surface, fault: StoreFault) -> World {
    let world = world(surface).await;
    world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
    let doomed = Doomed::start(&world).await;
    world.genesys.wait_for_stalled(1).await;
    world.store.fault("TransactWriteItems", fault);
    world.genesys.release_stalled();
    world.store.wait_for_arrivals("TransactWriteItems", 2).await;
    if fault == StoreFault::ApplyThenStall {
        world.store.wait_for("TransactWriteItems", 2).await;
    }
    doomed.kill().await;
    world
}

#[tokio::test]
async fn killed_before_its_completion_was_written_a_transfer_is_found() {
    for surface in SURFACES {
        let world = killed_at_completion(surface, StoreFault::Stall).await;
        assert_found_by_the_repeat(&world, &surface.to_string()).await;
    }
}

#[tokio::test]
async fn killed_once_its_completion_was_written_a_transfer_is_replayed() {
    for surface in SURFACES {
        let world = killed_at_completion(surface, StoreFault::ApplyThenStall).await;
        assert_done_once(&world, &surface.to_string()).await;
    }
}
