//! Holders that die, that are late, and whose clocks disagree.

use std::time::Duration;

use simulator::{Behaviour, Fault, Surface};

use super::{KEY, PAST_THE_LEASE, RETRY_SAFE, SURFACES, abandon, calls, claim, faulty_world, state};

#[tokio::test]
async fn while_the_lease_of_a_dead_holder_lasts_its_key_is_in_progress() {
    for surface in SURFACES {
        let world = faulty_world(surface, Fault::stall_before_effect(), &[]).await;
        abandon(&world, &[]).await;
        let before = claim(&world);

        world.let_pass(Duration::from_millis(59_999));
        let repeat = world.invoke("a", &KEY, "{}").await;

        assert_eq!((repeat.status, repeat.problem().as_str()), (409, "in-progress"));
        assert_eq!(repeat.header("retry-after"), Some("1"));
        assert_eq!((claim(&world), calls(&world)), (before, 1));
    }
}

#[tokio::test]
async fn after_the_lease_of_a_dead_holder_the_outcome_is_unknown_and_nothing_is_sent() {
    for (fault, effects) in [(Fault::stall_before_effect(), 0), (Fault::stall_after_effect(), 1)] {
        let world = faulty_world(Surface::Platform, fault, &[]).await;
        abandon(&world, &[]).await;
        let before = claim(&world);
        assert_eq!(before["state"]["S"], "ACTING");

        world.let_pass(PAST_THE_LEASE);
        let cold = world.another_instance(&[]).await;
        for gateway in [&world.gateway, &cold] {
            let repeat = world.invoke_at(gateway, "a", &KEY, "{}").await;
            assert_eq!((repeat.status, repeat.problem().as_str()), (409, "outcome-unknown"));
            assert_eq!(repeat.json()["idempotencyKey"], "k");
        }

        let other = world.invoke("a", &KEY, r#"{"other":true}"#).await;
        assert_eq!(other.problem(), "key-reused");
        assert_eq!((calls(&world), world.genesys.effects("a").len()), (1, effects));
        assert_eq!(claim(&world), before);
    }
}

#[tokio::test]
async fn after_the_lease_of_a_dead_holder_a_retry_safe_action_runs_once_more() {
    for (surface, ids) in
        [(Surface::Platform, "a"), (Surface::Platform, "x,a"), (Surface::Platform, "*"), (Surface::Guide, "")]
    {
        let variables = [("RETRY_SAFE_DATA_ACTIONS", ids)];
        let world = faulty_world(surface, Fault::stall_before_effect(), &variables).await;
        abandon(&world, &variables).await;

        world.let_pass(PAST_THE_LEASE);
        let repeat = world.invoke("a", &KEY, "{}").await;
        let cold = world.another_instance(&variables).await;
        let again = world.invoke_at(&cold, "a", &KEY, "{}").await;

        assert_eq!((repeat.status, repeat.is_replay()), (200, false), "{surface} {ids}");
        assert_eq!((again.is_replay(), &again.body), (true, &repeat.body));
        assert_eq!((calls(&world), world.genesys.effects("a").len()), (2, 1));
        assert_eq!(claim(&world)["epoch"]["N"], "2");
    }
}

#[tokio::test]
async fn an_action_that_is_not_among_the_retry_safe_is_not_repeated() {
    let variables = [("RETRY_SAFE_DATA_ACTIONS", "b,aa,A")];
    let world = faulty_world(Surface::Platform, Fault::stall_before_effect(), &variables).await;
    abandon(&world, &variables).await;

    world.let_pass(PAST_THE_LEASE);
    let repeat = world.invoke("a", &KEY, "{}").await;

    assert_eq!((repeat.status, repeat.problem().as_str()), (409, "outcome-unknown"));
    assert_eq!(calls(&world), 1);
}

#[tokio::test]
async fn even_a_retry_safe_action_runs_no_other_request_under_a_lapsed_key() {
    for (surface, variables) in [(Surface::Platform, &[RETRY_SAFE][..]), (Surface::Guide, &[][..])] {
        let world = faulty_world(surface, Fault::stall_before_effect(), variables).await;
        abandon(&world, variables).await;
        let before = claim(&world);

        world.let_pass(PAST_THE_LEASE);
        let other = world.invoke("a", &KEY, r#"{"other":true}"#).await;

        assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"));
        assert_eq!((claim(&world), calls(&world)), (before, 1));
    }
}

#[tokio::test]
async fn a_dead_holders_effect_is_not_repeated_where_the_upstream_knows_the_key() {
    let world = faulty_world(Surface::Guide, Fault::stall_after_effect(), &[]).await;
    abandon(&world, &[]).await;

    world.let_pass(PAST_THE_LEASE);
    let repeat = world.invoke("a", &KEY, "{}").await;

    assert_eq!((repeat.status, calls(&world), world.genesys.effects("a").len()), (200, 2, 1));
}

#[tokio::test]
async fn a_late_holder_that_was_succeeded_changes_nothing_and_gives_its_successors_answer() {
    for (surface, variables) in [(Surface::Platform, &[RETRY_SAFE][..]), (Surface::Guide, &[][..])] {
        let world = faulty_world(surface, Fault::stall_before_effect(), variables).await;
        let other = world.another_instance(variables).await;

        let (late, (successor, record)) = world
            .while_stalled(world.invoke("a", &KEY, "{}"), async {
                world.let_pass(PAST_THE_LEASE);
                let successor = world.invoke_at(&other, "a", &KEY, "{}").await;
                (successor, claim(&world))
            })
            .await;

        assert_eq!((successor.status, successor.is_replay()), (200, false));
        assert_eq!(successor.json()["execution"], 1);
        assert_eq!((late.status, &late.body), (200, &successor.body));
        assert_eq!(claim(&world), record);
        let again = world.invoke("a", &KEY, "{}").await;
        assert_eq!((again.is_replay(), &again.body), (true, &successor.body));
    }
}

#[tokio::test]
async fn a_late_holder_with_a_large_answer_gives_its_successors() {
    let large = |letter: &str| Behaviour::status(200, "text/plain", letter.repeat(400_000));
    let world = faulty_world(Surface::Platform, Fault::stall_before_effect(), &[RETRY_SAFE]).await;
    world.genesys.data_action("a", large("b"));
    let other = world.another_instance(&[RETRY_SAFE]).await;

    let (late, (successor, record)) = world
        .while_stalled(world.invoke("a", &KEY, "{}"), async {
            world.let_pass(PAST_THE_LEASE);
            let successor = world.invoke_at(&other, "a", &KEY, "{}").await;
            world.genesys.data_action("a", large("a"));
            (successor, claim(&world))
        })
        .await;

    assert_eq!((late.status, late.body == successor.body), (200, true));
    let cold = world.another_instance(&[RETRY_SAFE]).await;
    let again = world.invoke_at(&cold, "a", &KEY, "{}").await;
    assert_eq!((again.is_replay(), again.body == successor.body), (true, true));
    assert_eq!(claim(&world), record);
}

#[tokio::test]
async fn a_late_holder_that_fails_changes_nothing() {
    for failure in [403, 503] {
        let world = faulty_world(Surface::Platform, Fault::stall_before_effect(), &[RETRY_SAFE]).await;
        let other = world.another_instance(&[RETRY_SAFE]).await;

        let (late, (successor, record)) = world
            .while_stalled(world.invoke("a", &KEY, "{}"), async {
                world.let_pass(PAST_THE_LEASE);
                let successor = world.invoke_at(&other, "a", &KEY, "{}").await;
                world.genesys.data_action("a", Behaviour::status(failure, None, ""));
                (successor, claim(&world))
            })
            .await;

        assert_eq!((late.status, late.is_replay(), &late.body), (200, true, &successor.body));
        assert_eq!(claim(&world), record);
        let again = world.invoke("a", &KEY, "{}").await;
        assert_eq!((again.is_replay(), &again.body), (true, &successor.body));
    }
}

#[tokio::test]
async fn a_late_holder_that_nobody_succeeded_still_completes() {
    for fault in [Fault::stall_before_effect(), Fault::stall_after_effect()] {
        let world = faulty_world(Surface::Platform, fault, &[]).await;
        let other = world.another_instance(&[]).await;

        let (late, repeat) = world
            .while_stalled(world.invoke("a", &KEY, "{}"), async {
                world.let_pass(PAST_THE_LEASE);
                world.invoke_at(&other, "a", &KEY, "{}").await
            })
            .await;

        assert_eq!((repeat.status, repeat.problem().as_str()), (409, "outcome-unknown"));
        assert_eq!((late.status, late.is_replay()), (200, false));
        assert_eq!((late.header("idempotency-stored"), state(&world).as_str()), (None, "DONE"));
        let again = world.invoke_at(&other, "a", &KEY, "{}").await;
        assert_eq!((again.is_replay(), &again.body), (true, &late.body));
        assert_eq!((calls(&world), world.genesys.effects("a").len()), (1, 1));
    }
}

#[tokio::test]
async fn a_holder_still_completes_a_key_that_was_swept_to_unknown() {
    let world = faulty_world(Surface::Platform, Fault::stall_before_effect(), &[]).await;

    let (late, ()) = world
        .while_stalled(world.invoke("a", &KEY, "{}"), async {
            world.let_pass(PAST_THE_LEASE);
            world.meddle("claim", |item| item["state"]["S"] = "UNKNOWN".into());
        })
        .await;

    assert_eq!((late.status, late.header("idempotency-stored")), (200, None));
    assert_eq!(state(&world), "DONE");
    let cold = world.another_instance(&[]).await;
    assert!(world.invoke_at(&cold, "a", &KEY, "{}").await.is_replay());
}

#[tokio::test]
async fn an_instance_five_minutes_ahead_runs_nothing_twice_and_the_holder_completes() {
    let world = faulty_world(Surface::Platform, Fault::stall_before_effect(), &[]).await;
    let ahead = world.another_instance_ahead(Duration::from_mins(5), &[]).await;

    let (first, repeat) = world
        .while_stalled(world.invoke("a", &KEY, "{}"), async {
            world.invoke_at(&ahead, "a", &KEY, "{}").await
        })
        .await;

    assert_eq!((repeat.status, repeat.problem().as_str()), (409, "outcome-unknown"));
    assert_eq!((first.status, first.is_replay()), (200, false));
    assert_eq!((calls(&world), world.genesys.effects("a").len()), (1, 1));
    let again = world.invoke_at(&ahead, "a", &KEY, "{}").await;
    assert_eq!((again.is_replay(), &again.body), (true, &first.body));
}

#[tokio::test]
async fn an_instance_five_minutes_ahead_causes_no_second_effect_where_the_upstream_knows_the_key() {
    let world = faulty_world(Surface::Guide, Fault::stall_after_effect(), &[]).await;
    let ahead = world.another_instance_ahead(Duration::from_mins(5), &[]).await;

    let (first, repeat) = world
        .while_stalled(world.invoke("a", &KEY, "{}"), async {
            world.invoke_at(&ahead, "a", &KEY, "{}").await
        })
        .await;

    assert_eq!((first.status, repeat.status, &repeat.body), (200, 200, &first.body));
    assert_eq!(world.genesys.effects("a").len(), 1);
}

#[tokio::test]
async fn the_lease_is_as_long_as_it_is_set_to_be() {
    let variables = [("LEASE_SECONDS", "5")];
    let world = faulty_world(Surface::Platform, Fault::stall_before_effect(), &variables).await;
    abandon(&world, &variables).await;

    world.let_pass(Duration::from_secs(3));
    let during = world.invoke("a", &KEY, "{}").await;
    world.let_pass(Duration::from_secs(2));
    let after = world.invoke("a", &KEY, "{}").await;

    assert_eq!((during.problem().as_str(), during.header("retry-after")), ("in-progress", Some("2")));
    assert_eq!(after.problem(), "outcome-unknown");
}
