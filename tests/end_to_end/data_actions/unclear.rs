//! Calls that may have happened: never sent again, unless that does no harm.

use std::time::Duration;

use simulator::{Behaviour, Fault, Operation, Simulator, Surface};
use tokio::time::Instant;

use super::{KEY, PAST_THE_LEASE, RETRY_SAFE, SURFACES, abandon, calls, claim, faulty_world, state};

/// Everything that leaves a call unclear, with the effects it has on its own.
fn unclear() -> [(Fault, usize); 12] {
    [
        (Fault::status(408), 0),
        (Fault::status(500), 0),
        (Fault::status(501), 0),
        (Fault::status(502), 0),
        (Fault::status(503).retry_after("0"), 0),
        (Fault::status(504), 0),
        (Fault::effect_then_status(408), 1),
        (Fault::effect_then_status(503), 1),
        (Fault::effect_then_status(504), 1),
        (Fault::drop_before_effect(), 0),
        (Fault::effect_then_drop(), 1),
        (Fault::cut_body(), 1),
    ]
}

#[tokio::test]
async fn what_may_have_happened_is_told_so_and_never_sent_again() {
    for (fault, effects) in unclear() {
        let name = fault.to_string();
        let world = faulty_world(Surface::Platform, fault, &[]).await;

        let first = world.invoke("a", &KEY, "{}").await;
        assert_eq!((first.status, first.problem().as_str()), (504, "outcome-unknown"), "{name}");
        assert_eq!(first.json()["idempotencyKey"], "k");
        let before = claim(&world);
        assert_eq!(before["state"]["S"], "UNKNOWN", "{name}");
        let cold = world.another_instance(&[]).await;
        for gateway in [&world.gateway, &cold] {
            let repeat = world.invoke_at(gateway, "a", &KEY, "{}").await;
            assert_eq!((repeat.status, repeat.problem().as_str()), (409, "outcome-unknown"), "{name}");
        }
        let other = world.invoke("a", &KEY, r#"{"other":true}"#).await;

        assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"), "{name}");
        assert_eq!((calls(&world), world.genesys.effects("a").len()), (1, effects), "{name}");
        assert_eq!(claim(&world), before, "{name}");
    }
}

#[tokio::test]
async fn where_the_upstream_knows_the_key_the_call_is_sent_again_and_has_one_effect() {
    for (fault, _) in unclear() {
        let name = fault.to_string();
        let world = faulty_world(Surface::Guide, fault, &[]).await;

        let first = world.invoke("a", &KEY, "{}").await;

        assert_eq!((first.status, first.is_replay()), (200, false), "{name}");
        assert_eq!((calls(&world), world.genesys.effects("a").len()), (2, 1), "{name}");
        let seen = world.genesys.requests();
        let executions = seen.iter().filter(|it| it.operation == Some(Operation::ExecuteDataAction));
        assert!(executions.into_iter().all(|it| it.header("idempotency-key") == Some("k")), "{name}");
        let cold = world.another_instance(&[]).await;
        assert!(world.invoke_at(&cold, "a", &KEY, "{}").await.is_replay(), "{name}");
    }
}

#[tokio::test]
async fn a_retry_safe_action_is_sent_again() {
    for (fault, effects) in unclear() {
        let name = fault.to_string();
        let world = faulty_world(Surface::Platform, fault, &[RETRY_SAFE]).await;

        let first = world.invoke("a", &KEY, "{}").await;

        assert_eq!((first.status, first.is_replay()), (200, false), "{name}");
        assert_eq!((calls(&world), world.genesys.effects("a").len()), (2, effects + 1), "{name}");
        assert_eq!(state(&world), "DONE");
    }
}

#[tokio::test]
async fn a_retry_safe_action_that_never_succeeds_frees_its_key() {
    for (surface, variables) in [(Surface::Platform, &[RETRY_SAFE][..]), (Surface::Guide, &[][..])] {
        let world = faulty_world(surface, Fault::status(503).times(4), variables).await;

        let response = world.invoke("a", &KEY, "{}").await;
        assert_eq!((response.status, response.problem().as_str()), (502, "upstream-unavailable"));
        assert_eq!((calls(&world), state(&world).as_str()), (4, "FREE"));

        let later = world.invoke("a", &KEY, "{}").await;
        assert_eq!((later.status, later.is_replay()), (200, false));
        assert_eq!(world.genesys.effects("a").len(), 1);
    }
}

#[tokio::test]
async fn an_unclear_call_after_a_rate_limit_is_unclear() {
    let world = faulty_world(Surface::Platform, Fault::status(429).retry_after("0").times(2), &[]).await;
    world.genesys.fault(Operation::ExecuteDataAction, Fault::effect_then_status(504));

    let response = world.invoke("a", &KEY, "{}").await;

    assert_eq!((response.status, response.problem().as_str()), (504, "outcome-unknown"));
    assert_eq!((calls(&world), state(&world).as_str()), (3, "UNKNOWN"));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_given_up_before_the_gateway_gives_up() {
    for (fault, effects) in [
        (Fault::stall_before_effect(), 0),
        (Fault::stall_after_effect(), 1),
        (Fault::slow_body(Duration::from_secs(1)), 1),
    ] {
        let name = fault.to_string();
        let world = faulty_world(Surface::Platform, fault, &[("HTTP_TIMEOUT_SECONDS", "1")]).await;
        let started = Instant::now();

        let response = world.invoke("a", &KEY, "{}").await;

        assert!(started.elapsed() < Duration::from_secs(2), "{name}: {:?}", started.elapsed());
        assert_eq!((response.status, response.problem().as_str()), (504, "outcome-unknown"), "{name}");
        assert_eq!(
            (state(&world).as_str(), world.genesys.effects("a").len()),
            ("UNKNOWN", effects),
            "{name}"
        );
        let repeat = world.invoke("a", &KEY, "{}").await;
        assert_eq!((repeat.problem().as_str(), calls(&world)), ("outcome-unknown", 1), "{name}");
    }
}

#[tokio::test]
async fn a_retry_safe_action_that_does_not_answer_in_time_frees_its_key() {
    let variables = [("HTTP_TIMEOUT_SECONDS", "1")];
    let world = faulty_world(Surface::Guide, Fault::stall_after_effect(), &variables).await;
    let started = Instant::now();

    let response = world.invoke("a", &KEY, "{}").await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!((response.status, response.problem().as_str()), (502, "upstream-unavailable"));
    assert_eq!((calls(&world), state(&world).as_str()), (1, "FREE"));

    let later = world.invoke("a", &KEY, "{}").await;
    assert_eq!((later.status, world.genesys.effects("a").len()), (200, 1));
}

#[tokio::test]
async fn no_attempt_begins_that_cannot_end_in_time() {
    let variables = [("HTTP_TIMEOUT_SECONDS", "1"), ("RETRY_ATTEMPTS", "20"), ("RETRY_BASE_MS", "1")];
    for surface in SURFACES {
        let busy = Fault::status(429).retry_after("0.3").times(9);
        let world = faulty_world(surface, busy, &variables).await;
        let started = Instant::now();

        let response = world.invoke("a", &KEY, "{}").await;

        assert!(started.elapsed() < Duration::from_secs(2));
        assert_eq!((response.status, response.problem().as_str()), (429, "upstream-rate-limited"));
        assert!((1..=3).contains(&calls(&world)), "{}", calls(&world));
        assert_eq!(state(&world), "FREE");
        world.genesys.clear_faults();
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_remembered_for_two_weeks_however_short_answers_are_kept() {
    let variables = [("IDEMPOTENCY_TTL_SECONDS", "60")];
    let world = faulty_world(Surface::Platform, Fault::effect_then_status(504), &variables).await;
    world.invoke("a", &KEY, "{}").await;

    world.let_pass(Duration::from_secs(14 * 24 * 60 * 60 - 1));
    let late = world.invoke("a", &KEY, "{}").await;
    assert_eq!((late.status, late.problem().as_str()), (409, "outcome-unknown"));
    assert_eq!(calls(&world), 1);

    world.let_pass(Duration::from_secs(1));
    let later = world.invoke("a", &KEY, "{}").await;
    assert_eq!((later.status, later.is_replay(), calls(&world)), (200, false, 2));
}

#[tokio::test]
async fn a_dead_holder_is_remembered_for_two_weeks_however_short_answers_are_kept() {
    let variables = [("IDEMPOTENCY_TTL_SECONDS", "60")];
    let world = faulty_world(Surface::Platform, Fault::stall_after_effect(), &variables).await;
    abandon(&world, &variables).await;

    world.let_pass(Duration::from_hours(14 * 24 - 1));
    let late = world.invoke("a", &KEY, "{}").await;

    assert_eq!((late.status, late.problem().as_str()), (409, "outcome-unknown"));
    assert_eq!(calls(&world), 1);
}

/// The guides' upstream recognises a repeat of what it has seen, and of nothing else.
#[tokio::test]
async fn what_was_unclear_on_one_surface_is_not_repeated_on_the_other() {
    let other = Simulator::start(Surface::Guide).await.expect("loopback has a free port");
    other.data_action("a", Behaviour::echo());
    let url = other.url();
    let elsewhere =
        [("GENESYS_API", "guide"), ("GENESYS_API_URL", url.as_str()), ("GENESYS_LOGIN_URL", &url)];

    let unknown = faulty_world(Surface::Platform, Fault::effect_then_drop(), &[]).await;
    assert_eq!(unknown.invoke("a", &KEY, "{}").await.status, 504);
    let cut_off = faulty_world(Surface::Platform, Fault::stall_after_effect(), &[]).await;
    abandon(&cut_off, &[]).await;
    cut_off.let_pass(PAST_THE_LEASE);

    for (round, (world, left)) in [(unknown, "UNKNOWN"), (cut_off, "ACTING")].iter().enumerate() {
        let switched = world.another_instance(&elsewhere).await;
        for _ in 0..2 {
            let repeat = world.invoke_at(&switched, "a", &KEY, "{}").await;
            assert_eq!((repeat.status, repeat.problem().as_str()), (409, "outcome-unknown"), "{repeat:?}");
        }
        assert_eq!((state(world).as_str(), other.effect_count()), (*left, round));

        // Where the operator vouches for it, it runs.
        let declared = world.another_instance(&[&elsewhere[..], &[RETRY_SAFE]].concat()).await;
        assert_eq!(world.invoke_at(&declared, "a", &KEY, "{}").await.status, 200);
        assert_eq!((state(world).as_str(), world.genesys.effect_count()), ("DONE", 1));
    }
    assert_eq!(other.anomalies(), []);
}
