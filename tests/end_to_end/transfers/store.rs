//! A store that loses answers, throttles, and goes away, at each of a transfer's three writes.
//!
//! All SDK clients of one process share a quota of retries, and so do all tests: none here wastes it. What has nothing
//! to do with the surface is played on one of them.

use harness::store::StoreFault;
use harness::world::{Response, World};
use serde_json::{Value, json};
use simulator::{Fault, Operation, Surface};

use super::{
    CRM, KEY, PAST_THE_LEASE, SURFACES, actions, completed, posts, refused, state, statuses, to_support,
    told, world, world_with,
};

/// Transfers, and lets this happen to the store while the transfer itself is under way upstream.
async fn with_trouble_at_completion(world: &World, trouble: impl FnOnce(&World)) -> Response {
    world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
    world.while_stalled(world.transfer(&KEY, &to_support()), async { trouble(world) }).await.0
}

/// Transfers, and lets this happen to the store while the look is under way upstream.
async fn with_trouble_at_the_intent(world: &World, trouble: impl FnOnce(&World)) -> Response {
    world.genesys.fault(Operation::GetQueue, Fault::stall_after_effect());
    world.while_stalled(world.transfer(&KEY, &to_support()), async { trouble(world) }).await.0
}

/// It was transferred, once, and is on record as that, once.
async fn assert_all_is_well(world: &World, response: &Response, name: &str) {
    assert_eq!((told(response), response.is_replay()), (completed(), false), "{name}: {response:?}");
    assert_eq!(response.header("idempotency-stored"), None, "{name}");
    let cold = world.another_instance(&[CRM]).await;
    let again = world.transfer_at(&cold, &KEY, &to_support()).await;
    assert_eq!((again.is_replay(), &again.body), (true, &response.body), "{name}");
    assert_eq!((posts(world), world.genesys.transfer_count()), (1, 1), "{name}");
    assert_eq!(actions(world), ["transfer-intended", "transfer-completed"], "{name}");
    assert_eq!((statuses(world), state(world)), (vec!["completed".to_owned()], "DONE".to_owned()), "{name}");
}

#[tokio::test]
async fn while_the_store_is_down_nothing_is_done_and_nobody_asked() {
    let surface = Surface::Platform;
    let world = world(surface).await;
    world.store.down();

    let response = world.transfer(&KEY, &to_support()).await;
    assert_eq!(told(&response), refused(503, "store-unavailable"), "{surface}");
    assert_eq!(response.json()["idempotencyKey"], "k");
    assert_eq!((world.genesys.requests().len(), world.items("").len()), (0, 0));

    world.store.up();
    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed());
    assert_eq!(posts(&world), 1);
}

#[tokio::test]
async fn a_store_that_goes_down_before_the_intent_keeps_the_transfer_from_being_sent() {
    let surface = Surface::Guide;
    let world = world(surface).await;

    let response = with_trouble_at_the_intent(&world, |world| world.store.down()).await;
    world.store.up();

    assert_eq!(told(&response), refused(503, "store-unavailable"), "{surface}");
    assert_eq!((posts(&world), actions(&world).len()), (0, 0));
    // The key could not even be given back: it is free when the lease ends.
    let early = world.transfer(&KEY, &to_support()).await;
    assert_eq!(told(&early), refused(409, "in-progress"), "{surface}");
    world.let_pass(PAST_THE_LEASE);
    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{surface}");
    assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
}

#[tokio::test]
async fn an_intent_that_cannot_be_written_gives_the_key_back_at_once() {
    for (surface, fault) in [(Surface::Platform, StoreFault::Throttle), (Surface::Guide, StoreFault::Refuse)]
    {
        let world = world(surface).await;

        let response = with_trouble_at_the_intent(&world, |world| {
            world.store.fault_times("TransactWriteItems", fault, 4);
        })
        .await;

        assert_eq!(told(&response), refused(503, "store-unavailable"), "{surface} {fault:?}");
        assert_eq!((posts(&world), state(&world).as_str()), (0, "FREE"), "{surface} {fault:?}");
        assert_eq!(actions(&world), ["transfer-not-performed"]);
        assert_eq!(statuses(&world), ["failed"]);
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{fault:?}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
    }
}

#[tokio::test]
async fn an_intent_that_was_written_and_of_which_nothing_was_heard_is_taken_back() {
    let surface = Surface::Platform;
    let world = world(surface).await;

    let response = with_trouble_at_the_intent(&world, |world| {
        world.store.fault_times("TransactWriteItems", StoreFault::ApplyThenDrop, 4);
    })
    .await;

    assert_eq!(told(&response), refused(503, "store-unavailable"), "{surface}: {response:?}");
    assert_eq!((posts(&world), state(&world).as_str()), (0, "FREE"), "{surface}");
    assert_eq!(actions(&world), ["transfer-intended", "transfer-not-performed"]);
    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{surface}");
    assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
}

#[tokio::test]
async fn a_claim_that_was_applied_and_its_answer_lost_is_recognised_as_our_own() {
    for surface in SURFACES {
        for losses in [1, 2] {
            let world = world(surface).await;
            world.store.fault_times("UpdateItem", StoreFault::ApplyThenDrop, losses);
            let response = world.transfer(&KEY, &to_support()).await;
            assert_all_is_well(&world, &response, &format!("{surface} {losses}")).await;
        }
    }
}

#[tokio::test]
async fn an_intent_that_was_applied_and_its_answer_lost_is_recognised_as_our_own() {
    for surface in SURFACES {
        for losses in [1, 2] {
            let world = world(surface).await;
            world.store.fault_times("TransactWriteItems", StoreFault::ApplyThenDrop, losses);
            let response = world.transfer(&KEY, &to_support()).await;
            assert_all_is_well(&world, &response, &format!("{surface} {losses}")).await;
        }
    }
}

#[tokio::test]
async fn a_completion_that_was_applied_and_its_answer_lost_is_recognised_as_our_own() {
    for surface in SURFACES {
        for losses in [1, 2] {
            let world = world(surface).await;
            let response = with_trouble_at_completion(&world, |world| {
                world.store.fault_times("TransactWriteItems", StoreFault::ApplyThenDrop, losses);
            })
            .await;
            assert_all_is_well(&world, &response, &format!("{surface} {losses}")).await;
        }
    }
}

#[tokio::test]
async fn a_store_that_stumbles_or_meets_other_transactions_is_tried_again() {
    for surface in SURFACES {
        for fault in
            [StoreFault::Throttle, StoreFault::InternalError, StoreFault::Refuse, StoreFault::Conflict]
        {
            let world = world(surface).await;
            // The product itself tries again after a conflict, and the SDK after everything else.
            let times = if fault == StoreFault::Conflict { 3 } else { 1 };
            world.store.fault_times("UpdateItem", fault, times);
            world.store.fault_times("TransactWriteItems", fault, times);

            let response = with_trouble_at_completion(&world, |world| {
                world.store.fault_times("TransactWriteItems", fault, times);
            })
            .await;

            assert_all_is_well(&world, &response, &format!("{surface} {fault:?}")).await;
        }
    }
}

#[tokio::test]
async fn a_garbled_answer_of_the_store_transfers_nothing_twice() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.fault("UpdateItem", StoreFault::Garble);

        let first = world.transfer(&KEY, &to_support()).await;
        let again = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&first), refused(503, "store-unavailable"), "{surface}");
        assert_eq!((told(&again), again.is_replay()), (completed(), false), "{surface}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_recorded_is_given_and_a_repeat_finds_it_by_looking() {
    let surface = Surface::Platform;
    let world = world(surface).await;

    let response = with_trouble_at_completion(&world, |world| world.store.down()).await;
    world.store.up();

    assert_eq!((told(&response), response.is_replay()), (completed(), false), "{surface}");
    assert_eq!(response.header("idempotency-stored"), Some("false"));
    assert_eq!((state(&world).as_str(), actions(&world).len()), ("ACTING", 1));
    let cold = world.another_instance(&[CRM]).await;
    for gateway in [&world.gateway, &cold] {
        let early = world.transfer_at(gateway, &KEY, &to_support()).await;
        assert_eq!(told(&early), refused(409, "in-progress"), "{surface}");
    }
    world.let_pass(PAST_THE_LEASE);
    let late = world.transfer_at(&cold, &KEY, &to_support()).await;
    let again = world.transfer(&KEY, &to_support()).await;

    assert_eq!((told(&late), late.is_replay()), (completed(), false), "{surface}");
    assert_eq!(late.json()["transferId"], response.json()["transferId"]);
    assert_eq!((again.is_replay(), &again.body), (true, &late.body));
    assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
    assert_eq!((actions(&world).len(), statuses(&world).len()), (2, 1));
}

#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_is_told_and_its_key_free_when_the_lease_ends() {
    let surface = Surface::Guide;
    let world = world(surface).await;
    world.genesys.queue("support", simulator::Queue::closed());

    let response = with_trouble_at_the_intent(&world, |world| world.store.down()).await;
    world.store.up();
    world.genesys.queue("support", simulator::Queue::open());

    assert_eq!(told(&response), refused(409, "destination-unavailable"), "{surface}");
    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), refused(409, "in-progress"));
    world.let_pass(PAST_THE_LEASE);
    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{surface}");
}

#[tokio::test]
async fn an_unclear_end_that_cannot_be_recorded_is_told_and_still_never_sent_again() {
    let surface = Surface::Guide;
    let world = world_with(surface, &[CRM, super::BRIEF]).await;
    world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());

    let request = to_support();
    let (response, ()) = tokio::join!(world.transfer(&KEY, &request), async {
        world.genesys.wait_for_stalled(1).await;
        world.store.down();
    });
    world.store.up();

    assert_eq!(told(&response), refused(504, "outcome-unknown"), "{surface}");
    assert_eq!(state(&world), "ACTING");
    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), refused(409, "in-progress"));
    world.let_pass(PAST_THE_LEASE);
    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), refused(409, "outcome-unknown"));
    assert_eq!(posts(&world), 1);
}

#[tokio::test]
async fn a_warm_instance_replays_while_the_store_is_down() {
    for surface in SURFACES {
        let world = world(surface).await;
        let first = world.transfer(&KEY, &to_support()).await;

        world.store.down();
        let again = world.transfer(&KEY, &to_support()).await;

        assert_eq!((again.is_replay(), &again.body), (true, &first.body), "{surface}");
    }
}

#[tokio::test]
async fn a_record_nobody_can_read_is_an_error_and_no_reason_to_transfer() {
    let garbled: [(&str, Value); 8] = [
        ("v", json!({"N": "2"})),
        ("v", json!({"S": "1"})),
        ("state", json!({"S": "PAUSED"})),
        ("owner", json!({"N": "1"})),
        ("epoch", json!({"N": "-1"})),
        ("fingerprint", json!({"BOOL": true})),
        ("answer", json!({"S": "elsewhere"})),
        ("answer_status", json!({"N": "7"})),
    ];
    for (surface, (name, value)) in SURFACES.into_iter().cycle().zip(&garbled) {
        let world = world(surface).await;
        world.transfer(&KEY, &to_support()).await;
        world.genesys.conversation("c", simulator::Conversation::with_agent("alice"));
        world.meddle("claim", |claim| claim[*name] = value.clone());
        let before = world.items("");

        let cold = world.another_instance(&[CRM]).await;
        let response = world.transfer_at(&cold, &KEY, &to_support()).await;

        assert_eq!(told(&response), refused(500, "internal-error"), "{surface} {name}");
        assert_eq!((posts(&world), world.items("")), (1, before), "{surface} {name}");
    }
}

#[tokio::test]
async fn a_trail_whose_head_nobody_can_read_keeps_a_transfer_from_being_sent() {
    for (surface, (name, value)) in
        SURFACES.into_iter().zip([("v", json!({"N": "2"})), ("hash", json!({"N": "1"}))])
    {
        let world = world(surface).await;
        world.transfer(&[("idempotency-key", "before")], &to_support()).await;
        world.genesys.conversation("c", simulator::Conversation::with_agent("alice"));
        let mut good = Value::Null;
        world.meddle("head", |head| {
            good = head.clone();
            head[name] = value;
        });

        let response = world.transfer(&KEY, &to_support()).await;
        assert_eq!(told(&response), refused(500, "internal-error"), "{surface} {name}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1), "{surface} {name}");

        world.meddle("head", |head| *head = good);
        world.let_pass(PAST_THE_LEASE);
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{surface} {name}");
        // The attempt that could not tell of itself is told of before the next.
        assert_eq!(world.trail("conversation:c").len(), 5);
    }
}

#[tokio::test]
async fn a_trail_that_was_meddled_with_does_not_verify() {
    let world = world(Surface::Platform).await;
    world.transfer(&KEY, &to_support()).await;
    world.meddle("entry#000000000001", |entry| {
        let text = entry["entry"]["S"].as_str().unwrap().replace("support", "another");
        entry["entry"]["S"] = text.into();
    });

    let fault = harness::trail::verified(&world.items(""), "conversation:c").unwrap_err();
    assert!(fault.contains("entry 2 does not follow"), "{fault}");
}
