//! Transfers that may have happened: found by reading the conversation, and never sent again.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use harness::store::StoreFault;
use harness::world::World;
use serde_json::json;
use simulator::{Conversation, Course, Fault, Operation, Surface};

use super::{
    BRIEF, CRM, KEY, SURFACES, actions, blind, claim, completed, posts, refused, state, statuses, to_support,
    told, world, world_with,
};

/// What leaves a transfer unclear after it has happened.
fn after_the_effect() -> [(Surface, Fault); 9] {
    [
        (Surface::Platform, Fault::effect_then_status(408)),
        (Surface::Guide, Fault::effect_then_status(500)),
        (Surface::Platform, Fault::effect_then_status(502)),
        (Surface::Guide, Fault::effect_then_status(503)),
        (Surface::Platform, Fault::effect_then_status(504)),
        (Surface::Platform, Fault::effect_then_drop()),
        (Surface::Guide, Fault::effect_then_drop()),
        (Surface::Platform, Fault::cut_body()),
        (Surface::Guide, Fault::cut_body()),
    ]
}

/// What leaves it unclear although nothing has happened.
fn before_the_effect() -> [(Surface, Fault); 10] {
    [
        (Surface::Platform, Fault::status(408)),
        (Surface::Guide, Fault::status(500)),
        (Surface::Platform, Fault::status(501)),
        (Surface::Guide, Fault::status(502)),
        (Surface::Platform, Fault::status(503).retry_after("0")),
        (Surface::Guide, Fault::status(504)),
        (Surface::Platform, Fault::drop_before_effect()),
        (Surface::Guide, Fault::drop_before_effect()),
        (Surface::Platform, Fault::stall_before_effect()),
        (Surface::Guide, Fault::stall_before_effect()),
    ]
}

/// A world whose first transfer meets `fault`, and that waits for nobody long.
async fn faulty(surface: Surface, fault: Fault) -> World {
    let world = world_with(surface, &[CRM, BRIEF]).await;
    world.genesys.fault(Operation::Transfer, fault);
    world
}

async fn assert_found(surface: Surface, fault: Fault, limit: Duration) {
    let name = format!("{surface}: {fault}");
    let world = world_with(surface, &[CRM, ("HTTP_TIMEOUT_SECONDS", &limit.as_secs().to_string())]).await;
    world.genesys.fault(Operation::Transfer, fault);
    let started = Instant::now();

    let first = world.transfer(&KEY, &to_support()).await;

    assert!(started.elapsed() < limit, "{name}: {:?}", started.elapsed());
    assert_eq!(told(&first), completed(), "{name}: {first:?}");
    assert_eq!(first.json()["transferId"], world.genesys.transfers("c")[0].id, "{name}");
    assert_eq!(actions(&world), ["transfer-intended", "transfer-completed"], "{name}");
    assert_eq!(world.trail("conversation:c")[1]["foundBy"], "reading the conversation", "{name}");
    assert_eq!(statuses(&world), ["completed"], "{name}");
    let again = world.transfer(&KEY, &to_support()).await;
    assert_eq!((again.status, again.is_replay(), &again.body), (200, true, &first.body), "{name}");
    assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1), "{name}");
}

async fn assert_unknown(surface: Surface, fault: Fault) {
    let name = format!("{surface}: {fault}");
    let world = faulty(surface, fault).await;

    let first = world.transfer(&KEY, &to_support()).await;

    assert_eq!(told(&first), refused(504, "outcome-unknown"), "{name}");
    assert_eq!(first.json()["idempotencyKey"], "k");
    let before = claim(&world);
    assert_eq!(before["state"]["S"], "UNKNOWN", "{name}");
    for _ in 0..2 {
        let again = world.transfer(&KEY, &to_support()).await;
        assert_eq!(told(&again), refused(409, "outcome-unknown"), "{name}");
        let other = world.transfer(&KEY, &blind("user", "bob")).await;
        assert_eq!(told(&other), refused(422, "key-reused"), "{name}");
    }
    assert_eq!(claim(&world), before, "{name}");
    assert_eq!(actions(&world), ["transfer-intended", "transfer-unknown"], "{name}");
    assert_eq!(statuses(&world), ["unknown"], "{name}");
    assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 0), "{name}");
}

#[tokio::test]
async fn what_happened_is_found_whatever_became_of_the_answer() {
    for (surface, fault) in after_the_effect() {
        assert_found(surface, fault, Duration::from_secs(28)).await;
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_or_dribbles_in_too_slowly_leaves_time_to_look() {
    // The published blind transfer is answered without a body, which cannot be slow.
    let slow = Fault::slow_body(Duration::from_secs(1));
    tokio::join!(
        assert_found(Surface::Platform, Fault::stall_after_effect(), Duration::from_secs(4)),
        assert_found(Surface::Guide, Fault::stall_after_effect(), Duration::from_secs(4)),
        assert_found(Surface::Guide, slow, Duration::from_secs(4)),
    );
}

#[tokio::test]
async fn what_does_not_show_is_told_to_be_unknown_and_never_sent_again() {
    let all = before_the_effect().into_iter().map(|(surface, fault)| assert_unknown(surface, fault));
    // Each of them mostly waits; but not so many that one's work is another's delay.
    stream::iter(all).buffer_unordered(3).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn what_was_refused_before_anybody_looked_at_it_is_sent_again() {
    for surface in SURFACES {
        for (fault, times) in [
            (Fault::status(429).retry_after("0").times(3), 4),
            (Fault::status(429).times(2), 3),
            (Fault::expired_token(), 2),
        ] {
            let name = format!("{surface}: {fault}");
            let world = world(surface).await;
            world.genesys.fault(Operation::Transfer, fault);

            let response = world.transfer(&KEY, &to_support()).await;

            assert_eq!(told(&response), completed(), "{name}");
            assert_eq!((posts(&world), world.genesys.transfer_count()), (times, 1), "{name}");
            let keys = world.genesys.requests();
            let keys = keys.iter().filter(|request| request.operation == Some(Operation::Transfer));
            assert!(keys.into_iter().all(|request| request.header("idempotency-key") == Some("k")));
        }
    }
}

#[tokio::test]
async fn what_is_refused_for_as_long_as_it_is_tried_did_not_happen() {
    for (surface, (fault, told_status, slug)) in SURFACES.into_iter().cycle().zip([
        (Fault::status(429).retry_after("0").times(4), 429, "upstream-rate-limited"),
        (Fault::status(429).retry_after("3600"), 429, "upstream-rate-limited"),
        (Fault::redirect("https://elsewhere.example/"), 502, "upstream-rejected"),
        (Fault::expired_token().times(2), 502, "upstream-rejected"),
        (Fault::status(403), 502, "upstream-rejected"),
    ]) {
        let name = format!("{surface}: {fault}");
        let world = world(surface).await;
        world.genesys.fault(Operation::Transfer, fault);

        let response = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&response), refused(told_status, slug), "{name}");
        assert_eq!((state(&world).as_str(), world.genesys.transfer_count()), ("FREE", 0), "{name}");
        assert_eq!(actions(&world), ["transfer-intended", "transfer-not-performed"], "{name}");
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{name}");
        assert_eq!(world.genesys.transfer_count(), 1);
    }
}

#[tokio::test]
async fn an_unclear_answer_after_a_rate_limit_is_unclear() {
    for surface in SURFACES {
        let world = faulty(surface, Fault::status(429).retry_after("0").times(2)).await;
        world.genesys.fault(Operation::Transfer, Fault::drop_before_effect());

        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), refused(504, "outcome-unknown"));
        assert_eq!((posts(&world), state(&world).as_str()), (3, "UNKNOWN"));
    }
}

#[tokio::test]
async fn a_port_that_closed_after_the_look_was_never_sent_anything() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.fault("TransactWriteItems", StoreFault::ApplyThenStall);

        let request = to_support();
        let (response, ()) = tokio::join!(world.transfer(&KEY, &request), async {
            world.store.wait_for("TransactWriteItems", 1).await;
            world.genesys.clone().stop().await;
            world.store.release_stalled();
        });

        assert_eq!(told(&response), refused(502, "upstream-unavailable"), "{surface}");
        assert_eq!((posts(&world), state(&world).as_str()), (0, "FREE"));
        assert_eq!(actions(&world), ["transfer-intended", "transfer-not-performed"]);
    }
}

#[tokio::test]
async fn reading_that_stumbles_goes_on_reading() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::Transfer, Fault::effect_then_drop());
        // The first of them is the look.
        world.genesys.fault(Operation::GetConversation, Fault::slow_body(Duration::ZERO));
        world.genesys.fault(Operation::GetConversation, Fault::status(500).times(5));
        world.genesys.fault(Operation::GetConversation, Fault::drop_before_effect().times(4));
        world.genesys.fault(Operation::GetConversation, Fault::status(404));

        let response = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&response), completed(), "{surface}: {response:?}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
    }
}

#[tokio::test]
async fn what_cannot_be_read_now_is_found_by_a_repeat() {
    for surface in SURFACES {
        let world = faulty(surface, Fault::stall_after_effect()).await;

        let request = to_support();
        let (first, ()) = tokio::join!(world.transfer(&KEY, &request), async {
            world.genesys.wait_for_stalled(1).await;
            world.genesys.forbid(Operation::GetConversation);
        });
        let early = world.transfer(&KEY, &to_support()).await;
        world.genesys.permit(Operation::GetConversation);
        let later = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&first), refused(504, "outcome-unknown"), "{surface}");
        assert_eq!(told(&early), refused(409, "outcome-unknown"), "{surface}");
        assert_eq!((told(&later), later.is_replay()), (completed(), false), "{surface}");
        let cold = world.another_instance(&[CRM]).await;
        let again = world.transfer_at(&cold, &KEY, &to_support()).await;
        assert_eq!((again.is_replay(), &again.body), (true, &later.body));
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
        assert_eq!(actions(&world), ["transfer-intended", "transfer-unknown", "transfer-completed"]);
        let entry = world.trail("conversation:c")[2].clone();
        assert_eq!(entry["foundBy"], "a repeat that read the conversation");
        assert_eq!(statuses(&world), ["completed", "unknown"]);
    }
}

#[tokio::test]
async fn a_repeat_that_finds_it_failed_frees_the_key() {
    for surface in SURFACES {
        let world = faulty(surface, Fault::stall_after_effect()).await;
        world.genesys.transfers_go("c", Course::fails());

        let request = to_support();
        let (first, ()) = tokio::join!(world.transfer(&KEY, &request), async {
            world.genesys.wait_for_stalled(1).await;
            world.genesys.forbid(Operation::GetConversation);
        });
        world.genesys.permit(Operation::GetConversation);
        let second = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&first), refused(504, "outcome-unknown"), "{surface}");
        assert_eq!(told(&second), refused(422, "transfer-refused"), "{surface}");
        assert_eq!(second.json()["upstreamCode"], "transfer.failed");
        assert_eq!((posts(&world), state(&world).as_str()), (1, "FREE"));
        assert_eq!(statuses(&world), ["refused", "unknown"]);
        world.genesys.transfers_go("c", Course::completes());
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed());
        assert_eq!(posts(&world), 2);
    }
}

#[tokio::test]
async fn a_conversation_that_is_gone_meanwhile_tells_nothing() {
    for surface in SURFACES {
        let world = faulty(surface, Fault::effect_then_drop()).await;
        world.genesys.fault(Operation::GetConversation, Fault::slow_body(Duration::ZERO));
        world.genesys.fault(Operation::GetConversation, Fault::status(404).times(99));

        let first = world.transfer(&KEY, &to_support()).await;
        let again = world.transfer(&KEY, &to_support()).await;
        world.genesys.clear_faults();

        assert_eq!(told(&first), refused(504, "outcome-unknown"), "{surface}");
        assert_eq!(told(&again), refused(409, "outcome-unknown"), "{surface}");
        assert_eq!((posts(&world), state(&world).as_str()), (1, "UNKNOWN"));
    }
}

#[tokio::test]
async fn a_leg_of_the_destination_that_was_there_before_is_not_taken_for_the_transfer() {
    for surface in SURFACES {
        let world = faulty(surface, Fault::drop_before_effect()).await;
        let bob = simulator::Participant::new("bob", "user").user("bob").state("alerting");
        world.genesys.conversation("c", Conversation::with_agent("alice").participant(bob));

        let response = world.transfer(&KEY, &blind("user", "bob")).await;

        assert_eq!(told(&response), refused(504, "outcome-unknown"), "{surface}: {response:?}");
        assert_eq!(posts(&world), 1);
    }
}

#[tokio::test]
async fn a_transfer_of_somebody_elses_to_another_destination_is_not_taken_for_ours() {
    for surface in SURFACES {
        let world = faulty(surface, Fault::stall_before_effect()).await;

        let request = blind("user", "bob");
        let (response, ()) = tokio::join!(world.transfer(&KEY, &request), async {
            world.genesys.wait_for_stalled(1).await;
            let elsewhere = simulator::Destination::User("erin".to_owned());
            let state = simulator::TransferState::Complete;
            let conversation = Conversation::with_agent("alice").recent_transfer("theirs", state, elsewhere);
            world.genesys.conversation("c", conversation);
        });

        assert_eq!(told(&response), refused(504, "outcome-unknown"), "{surface}: {response:?}");
        assert_eq!((posts(&world), state(&world).as_str()), (1, "UNKNOWN"));
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_remembered_for_two_weeks_however_short_answers_are_kept() {
    for surface in SURFACES {
        let variables = [CRM, BRIEF, ("IDEMPOTENCY_TTL_SECONDS", "60")];
        let world = world_with(surface, &variables).await;
        world.genesys.fault(Operation::Transfer, Fault::drop_before_effect());
        world.transfer(&KEY, &to_support()).await;

        world.let_pass(Duration::from_secs(14 * 24 * 60 * 60 - 1));
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), refused(409, "outcome-unknown"));
        assert_eq!(posts(&world), 1);

        world.let_pass(Duration::from_secs(1));
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{surface}");
        assert_eq!(posts(&world), 2);
    }
}

#[tokio::test]
async fn a_consult_that_was_cut_off_is_found_as_far_as_it_has_got() {
    let world = faulty(Surface::Platform, Fault::effect_then_drop()).await;
    world.genesys.transfers_go("c", Course::stays_pending());

    let response = world.transfer(&KEY, &super::consult("user", "bob")).await;

    assert_eq!(told(&response), (202, "accepted".to_owned()), "{response:?}");
    assert_eq!(response.json()["transferId"], world.genesys.transfers("c")[0].id);
    assert_eq!((posts(&world), json!(state(&world))), (1, json!("DONE")));
}

#[tokio::test]
async fn an_unclear_transfer_is_in_progress_while_it_is_looked_for() {
    for surface in SURFACES {
        let world = faulty(surface, Fault::effect_then_drop()).await;
        let other = world.another_instance(&[CRM]).await;
        world.genesys.fault(Operation::GetConversation, Fault::slow_body(Duration::ZERO));
        world.genesys.fault(Operation::GetConversation, Fault::stall_after_effect());

        let (first, meanwhile) = world
            .while_stalled(world.transfer(&KEY, &to_support()), async {
                world.transfer_at(&other, &KEY, &to_support()).await
            })
            .await;

        assert_eq!(told(&meanwhile), refused(409, "in-progress"), "{surface}");
        assert_eq!(told(&first), completed(), "{surface}: {first:?}");
        assert_eq!(posts(&world), 1);
    }
}
