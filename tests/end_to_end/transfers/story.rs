//! The straight path: transferred, told, on the trail, in the outbox; and again, without effect.

use serde_json::json;
use simulator::{Course, Fault, Operation, Surface};

use super::{
    CRM, KEY, SURFACES, actions, blind, consult, notices, state, to_support, told, world, world_with,
};

#[tokio::test]
async fn a_blind_transfer_happens_once_and_is_told_everywhere() {
    for surface in SURFACES {
        let world = world(surface).await;

        let first = world.transfer(&KEY, &to_support()).await;
        let again = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&first), (200, "completed".to_owned()), "{surface}: {first:?}");
        assert_eq!((again.status, again.is_replay(), &again.body), (200, true, &first.body));
        let transfers = world.genesys.transfers("c");
        assert_eq!(transfers.len(), 1, "{transfers:?}");
        let answer = first.json();
        assert_eq!(answer["transferId"], transfers[0].id);
        assert_eq!(answer["destination"], json!({"type": "queue", "id": "support"}));
        assert_eq!(actions(&world), ["transfer-intended", "transfer-completed"]);
        assert_eq!(state(&world), "DONE");
        let notices = notices(&world);
        assert_eq!(notices.len(), 1);
        assert_eq!(notices[0]["status"], "completed");
        assert_eq!(notices[0]["conversation"], "c");
    }
}

#[tokio::test]
async fn a_consult_transfer_begins_with_the_customers_leg() {
    let world = world(Surface::Platform).await;

    let response = world.transfer(&KEY, &consult("user", "bob")).await;

    assert_eq!(told(&response), (200, "completed".to_owned()), "{response:?}");
    let transfers = world.genesys.transfers("c");
    assert_eq!((transfers.len(), transfers[0].participant.as_str()), (1, "c-customer"));
    let participant = response.json()["destinationParticipantId"].clone();
    assert_eq!(participant, transfers[0].destination_participant);
}

#[tokio::test]
async fn a_first_transfer_costs_three_requests_a_later_one_four_and_a_repeat_one() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.transfer(&KEY, &to_support()).await;
        assert_eq!(world.store.total(), 3, "{:?}", world.store.counts());

        world.store.reset_counts();
        world.genesys.conversation("c", simulator::Conversation::with_agent("alice"));
        let later = world.transfer(&[("idempotency-key", "other")], &to_support()).await;
        assert_eq!(later.status, 200, "{later:?}");
        assert_eq!(world.store.total(), 4, "{:?}", world.store.counts());

        world.store.reset_counts();
        let cold = world.another_instance(&[]).await;
        let again = world.transfer_at(&cold, &KEY, &to_support()).await;
        assert!(again.is_replay());
        assert_eq!(world.store.total(), 1, "{:?}", world.store.counts());
    }
}

#[tokio::test]
async fn a_transfer_that_is_only_accepted_is_told_so() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.transfers_go("c", Course::stays_pending());

        let first = world.transfer(&KEY, &blind("user", "bob")).await;
        let again = world.transfer(&KEY, &blind("user", "bob")).await;

        assert_eq!(told(&first), (202, "accepted".to_owned()), "{surface}: {first:?}");
        assert_eq!((again.status, again.is_replay()), (202, true));
        assert_eq!(actions(&world), ["transfer-intended", "transfer-accepted"]);
    }
}

#[tokio::test]
async fn a_closed_destination_is_a_refusal_that_frees_the_key() {
    let world = world(Surface::Guide).await;

    let first = world.transfer(&KEY, &blind("queue", "closed")).await;
    world.genesys.queue("closed", simulator::Queue::open());
    let again = world.transfer(&KEY, &blind("queue", "closed")).await;

    assert_eq!(told(&first), (409, "destination-unavailable".to_owned()));
    assert_eq!(told(&again), (200, "completed".to_owned()));
    assert_eq!(actions(&world), ["transfer-refused", "transfer-intended", "transfer-completed"]);
    assert_eq!(notices(&world).len(), 2);
}

#[tokio::test]
async fn a_transfer_cut_off_after_it_took_effect_is_found_by_looking() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::Transfer, Fault::effect_then_drop());

        let first = world.transfer(&KEY, &to_support()).await;
        let again = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&first), (200, "completed".to_owned()), "{surface}: {first:?}");
        assert!(again.is_replay());
        assert_eq!(world.genesys.transfer_count(), 1);
        assert_eq!(world.genesys.request_count(Operation::Transfer), 1);
        assert_eq!(world.trail("conversation:c")[1]["foundBy"], "reading the conversation");
    }
}

#[tokio::test]
async fn a_transfer_that_shows_only_later_is_found_by_a_repeat() {
    for surface in SURFACES {
        // With little time, the first call gives up looking before the transfer shows.
        let world = world_with(surface, &[CRM, ("HTTP_TIMEOUT_SECONDS", "3")]).await;
        world.genesys.fault(Operation::Transfer, Fault::drop_then_effect(12));

        let first = world.transfer(&KEY, &to_support()).await;
        assert_eq!(told(&first), (504, "outcome-unknown".to_owned()), "{surface}: {first:?}");
        let mut again = world.transfer(&KEY, &to_support()).await;
        while told(&again) == (409, "outcome-unknown".to_owned()) {
            again = world.transfer(&KEY, &to_support()).await;
        }

        assert_eq!(told(&again), (200, "completed".to_owned()), "{surface}: {again:?}");
        assert_eq!(world.genesys.transfer_count(), 1);
        assert_eq!(world.genesys.request_count(Operation::Transfer), 1);
        assert_eq!(actions(&world), ["transfer-intended", "transfer-unknown", "transfer-completed"]);
    }
}
