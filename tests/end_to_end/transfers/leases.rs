//! Holders that die, that are late, and whose clocks disagree.

use std::time::Duration;

use simulator::{Conversation, Course, Fault, Operation, Surface};

use super::{
    CRM, KEY, PAST_THE_LEASE, SURFACES, abandon, actions, blind, claim, completed, posts, refused, state,
    statuses, to_support, told, world, world_with,
};

/// What comes before the act, and may take its holder with it.
const LOOKS: [Operation; 3] = [Operation::Token, Operation::GetConversation, Operation::GetQueue];

#[tokio::test]
async fn killed_during_the_look_the_key_is_in_progress_until_the_lease_ends_and_then_runs_once() {
    for surface in SURFACES {
        for operation in LOOKS {
            let world = world(surface).await;
            world.genesys.fault(operation, Fault::stall_before_effect());
            abandon(&world, &to_support()).await;
            assert_eq!((state(&world).as_str(), posts(&world)), ("CLAIMED", 0), "{surface} {operation}");

            world.let_pass(Duration::from_millis(59_999));
            let early = world.transfer(&KEY, &to_support()).await;
            world.let_pass(Duration::from_millis(2));
            let other = world.transfer(&KEY, &blind("user", "bob")).await;
            let late = world.transfer(&KEY, &to_support()).await;
            let again = world.transfer(&KEY, &to_support()).await;

            assert_eq!(told(&early), refused(409, "in-progress"), "{surface} {operation}");
            assert_eq!(early.header("retry-after"), Some("1"));
            assert_eq!(told(&other), refused(422, "key-reused"), "{surface} {operation}");
            assert_eq!((told(&late), late.is_replay()), (completed(), false));
            assert_eq!((again.is_replay(), &again.body), (true, &late.body));
            assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
            assert_eq!(claim(&world)["epoch"]["N"], "2");
        }
    }
}

#[tokio::test]
async fn killed_before_the_effect_nothing_is_sent_again_and_nobody_says_it_failed() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());
        abandon(&world, &to_support()).await;
        let before = claim(&world);
        assert_eq!(
            (&before["state"]["S"], actions(&world)),
            (&"ACTING".into(), vec!["transfer-intended".to_owned()])
        );

        let early = world.transfer(&KEY, &to_support()).await;
        world.let_pass(PAST_THE_LEASE);
        let cold = world.another_instance(&[CRM]).await;
        for gateway in [&world.gateway, &cold] {
            let late = world.transfer_at(gateway, &KEY, &to_support()).await;
            assert_eq!(told(&late), refused(409, "outcome-unknown"), "{surface}");
            let other = world.transfer_at(gateway, &KEY, &blind("user", "bob")).await;
            assert_eq!(told(&other), refused(422, "key-reused"), "{surface}");
        }

        assert_eq!(told(&early), refused(409, "in-progress"), "{surface}");
        assert_eq!((claim(&world), posts(&world), world.genesys.transfer_count()), (before, 1, 0));
    }
}

#[tokio::test]
async fn killed_after_the_effect_a_repeat_finds_it() {
    for surface in SURFACES {
        for (course, status) in [(Course::completes(), 200), (Course::stays_pending(), 202)] {
            let world = world(surface).await;
            world.genesys.transfers_go("c", course);
            world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
            abandon(&world, &to_support()).await;

            let early = world.transfer(&KEY, &to_support()).await;
            world.let_pass(PAST_THE_LEASE);
            let late = world.transfer(&KEY, &to_support()).await;
            let cold = world.another_instance(&[CRM]).await;
            let again = world.transfer_at(&cold, &KEY, &to_support()).await;

            assert_eq!(told(&early), refused(409, "in-progress"), "{surface}");
            assert_eq!((late.status, late.is_replay()), (status, false), "{surface}: {late:?}");
            assert_eq!(late.json()["transferId"], world.genesys.transfers("c")[0].id);
            assert_eq!((again.status, again.is_replay(), &again.body), (status, true, &late.body));
            assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
            assert_eq!(actions(&world).len(), 2);
            assert_eq!(statuses(&world).len(), 1);
        }
    }
}

#[tokio::test]
async fn killed_while_it_confirms_a_repeat_finds_it() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::GetConversation, Fault::slow_body(Duration::ZERO));
        world.genesys.fault(Operation::GetConversation, Fault::stall_before_effect());
        abandon(&world, &to_support()).await;
        world.let_pass(PAST_THE_LEASE);

        let late = world.transfer(&KEY, &to_support()).await;

        assert_eq!((told(&late), state(&world).as_str()), (completed(), "DONE"), "{surface}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
    }
}

#[tokio::test]
async fn a_repeat_finds_what_a_dead_holder_did_also_after_the_sweep() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
        abandon(&world, &to_support()).await;
        world.let_pass(PAST_THE_LEASE);
        world.meddle("claim", |claim| claim["state"]["S"] = "UNKNOWN".into());

        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{surface}");
        assert_eq!((posts(&world), state(&world).as_str()), (1, "DONE"));
    }
}

#[tokio::test]
async fn a_dead_holder_is_remembered_for_two_weeks_however_short_answers_are_kept() {
    let world = world_with(Surface::Platform, &[CRM, ("IDEMPOTENCY_TTL_SECONDS", "60")]).await;
    world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());
    abandon(&world, &to_support()).await;

    world.let_pass(Duration::from_hours(14 * 24 - 1));

    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), refused(409, "outcome-unknown"));
    assert_eq!(posts(&world), 1);
}

#[tokio::test]
async fn a_holder_that_was_slow_to_look_does_not_act_once_it_was_succeeded() {
    for surface in SURFACES {
        for operation in LOOKS {
            let world = world(surface).await;
            let other = world.another_instance(&[CRM]).await;
            // Only the slow one gets stuck: the other one has its token already.
            world.transfer_at(&other, &[("idempotency-key", "warm-up")], &blind("queue", "nowhere")).await;
            world.genesys.fault(operation, Fault::stall_after_effect());

            let (late, (successor, record)) = world
                .while_stalled(world.transfer(&KEY, &to_support()), async {
                    world.let_pass(PAST_THE_LEASE);
                    let successor = world.transfer_at(&other, &KEY, &to_support()).await;
                    let claims = world.items("claim");
                    (successor, claims)
                })
                .await;

            assert_eq!(
                (told(&successor), successor.is_replay()),
                (completed(), false),
                "{surface} {operation}"
            );
            assert!([200, 409].contains(&late.status), "{surface} {operation}: {late:?}");
            assert_eq!(world.items("claim"), record);
            assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1), "{surface} {operation}");
            let again = world.transfer(&KEY, &to_support()).await;
            assert_eq!((again.is_replay(), &again.body), (true, &successor.body));
        }
    }
}

#[tokio::test]
async fn a_holder_that_was_slow_to_look_and_that_nobody_succeeded_still_transfers() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::GetQueue, Fault::stall_after_effect());

        let (late, ()) = world
            .while_stalled(world.transfer(&KEY, &to_support()), async {
                world.let_pass(PAST_THE_LEASE);
            })
            .await;

        assert_eq!(told(&late), completed(), "{surface}");
        assert_eq!((posts(&world), state(&world).as_str()), (1, "DONE"));
    }
}

#[tokio::test]
async fn a_late_holder_that_fails_changes_nothing() {
    for surface in SURFACES {
        let world = world(surface).await;
        let other = world.another_instance(&[CRM]).await;
        world.transfer_at(&other, &[("idempotency-key", "warm-up")], &blind("queue", "nowhere")).await;
        world.genesys.fault(Operation::GetQueue, Fault::stall_before_effect());

        let (late, (successor, record)) = world
            .while_stalled(world.transfer(&KEY, &to_support()), async {
                world.let_pass(PAST_THE_LEASE);
                let successor = world.transfer_at(&other, &KEY, &to_support()).await;
                world.genesys.queue("support", simulator::Queue::closed());
                (successor, world.items(""))
            })
            .await;

        // It gives its successor's answer, and leaves no second entry.
        assert_eq!((late.status, late.is_replay(), &late.body), (200, true, &successor.body), "{surface}");
        assert_eq!(world.items(""), record);
    }
}

#[tokio::test]
async fn a_late_holder_that_nobody_succeeded_still_completes() {
    for surface in SURFACES {
        for fault in [Fault::stall_before_effect(), Fault::stall_after_effect()] {
            let name = format!("{surface}: {fault}");
            let world = world(surface).await;
            world.genesys.fault(Operation::Transfer, fault);

            let (late, ()) = world
                .while_stalled(world.transfer(&KEY, &to_support()), async {
                    world.let_pass(PAST_THE_LEASE);
                })
                .await;

            assert_eq!((told(&late), late.header("idempotency-stored")), (completed(), None), "{name}");
            let cold = world.another_instance(&[CRM]).await;
            let again = world.transfer_at(&cold, &KEY, &to_support()).await;
            assert_eq!((again.is_replay(), &again.body), (true, &late.body), "{name}");
            assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1), "{name}");
        }
    }
}

#[tokio::test]
async fn a_holder_still_completes_a_key_that_was_swept_to_unknown() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());

        let (late, early) = world
            .while_stalled(world.transfer(&KEY, &to_support()), async {
                world.let_pass(PAST_THE_LEASE);
                world.meddle("claim", |item| item["state"]["S"] = "UNKNOWN".into());
                world.transfer(&KEY, &to_support()).await
            })
            .await;

        assert_eq!(told(&early), refused(409, "outcome-unknown"), "{surface}");
        assert_eq!((told(&late), state(&world).as_str()), (completed(), "DONE"), "{surface}");
        let cold = world.another_instance(&[CRM]).await;
        assert!(world.transfer_at(&cold, &KEY, &to_support()).await.is_replay());
    }
}

#[tokio::test]
async fn an_instance_five_minutes_ahead_transfers_nothing_twice_and_the_holder_completes() {
    for surface in SURFACES {
        let world = world(surface).await;
        let ahead = world.another_instance_ahead(Duration::from_mins(5), &[CRM]).await;
        world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());

        let (first, repeat) = world
            .while_stalled(world.transfer(&KEY, &to_support()), async {
                world.transfer_at(&ahead, &KEY, &to_support()).await
            })
            .await;

        assert_eq!(told(&repeat), refused(409, "outcome-unknown"), "{surface}");
        assert_eq!((told(&first), first.is_replay()), (completed(), false), "{surface}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
        let again = world.transfer_at(&ahead, &KEY, &to_support()).await;
        assert_eq!((again.is_replay(), &again.body), (true, &first.body));
    }
}

#[tokio::test]
async fn an_instance_five_minutes_ahead_that_takes_over_during_the_look_is_the_only_one_to_transfer() {
    for surface in SURFACES {
        let world = world(surface).await;
        let ahead = world.another_instance_ahead(Duration::from_mins(5), &[CRM]).await;
        world.genesys.fault(Operation::GetQueue, Fault::stall_after_effect());

        let (first, successor) = world
            .while_stalled(world.transfer(&KEY, &to_support()), async {
                world.transfer_at(&ahead, &KEY, &to_support()).await
            })
            .await;

        assert_eq!(told(&successor), completed(), "{surface}");
        assert!([200, 409].contains(&first.status), "{surface}: {first:?}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
    }
}

#[tokio::test]
async fn a_conversation_that_was_transferred_back_meanwhile_does_not_hide_the_transfer() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
        abandon(&world, &to_support()).await;
        let id = world.genesys.transfers("c")[0].id.clone();
        // Somebody else has moved it on since: of ours, only the list of transfers still tells.
        let since = Conversation::with_agent("alice")
            .recent_transfer(
                &id,
                simulator::TransferState::Complete,
                simulator::Destination::Queue("support".to_owned()),
            )
            .recent_transfer(
                "back",
                simulator::TransferState::Complete,
                simulator::Destination::User("alice".to_owned()),
            );
        world.genesys.conversation("c", since);
        world.let_pass(PAST_THE_LEASE);

        let late = world.transfer(&KEY, &to_support()).await;

        assert_eq!((told(&late), &late.json()["transferId"]), (completed(), &id.into()), "{surface}");
        assert_eq!(posts(&world), 1);
    }
}

/// A repeat that finds out and the late holder say the same, byte for byte: the record has one answer.
#[tokio::test]
async fn a_late_holder_whose_transfer_a_repeat_has_found_gives_the_repeats_answer() {
    for surface in SURFACES {
        let world = world(surface).await;
        let other = world.another_instance(&[CRM]).await;
        world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());

        let (late, found) = world
            .while_stalled(world.transfer(&KEY, &to_support()), async {
                world.let_pass(PAST_THE_LEASE);
                let found = world.transfer_at(&other, &KEY, &to_support()).await;
                world.let_pass(std::time::Duration::from_secs(1));
                found
            })
            .await;

        assert_eq!((told(&late), told(&found)), (completed(), completed()), "{surface}");
        assert_eq!(late.body, found.body, "{surface}");
        assert_eq!(world.transfer(&KEY, &to_support()).await.body, found.body, "{surface}");
    }
}
