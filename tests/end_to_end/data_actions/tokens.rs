//! Tokens: had before anything is claimed, renewed ahead of time, one fetch at a time.

use std::time::Duration;

use futures_util::future::join_all;
use harness::world::World;
use serde_json::json;
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{
    KEY, PAST_THE_LEASE, RETRY_SAFE, SURFACES, abandon, calls, claim, keyed, nobodys_url, state, token_calls,
};

async fn world(surface: Surface, variables: &[(&str, &str)]) -> World {
    let world = World::with(surface, variables).await;
    world.genesys.data_action("a", Behaviour::echo());
    world
}

#[tokio::test]
async fn a_cold_instance_with_many_requests_fetches_one_token() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;

        let call = |n: u32| world.invoke("a", &[], json!({"n": n}).to_string());
        let responses = join_all((0..20).map(call)).await;

        assert!(responses.iter().all(|it| it.status == 200));
        assert_eq!((token_calls(&world), calls(&world)), (1, 20));
    }
}

#[tokio::test]
async fn many_requests_whose_token_is_refused_renew_it_once() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        world.invoke("a", &keyed("warm"), "{}").await;
        world.genesys.expire_tokens();

        let call = |n: u32| world.invoke("a", &[], json!({"n": n}).to_string());
        let responses = join_all((0..20).map(call)).await;

        assert!(responses.iter().all(|it| it.status == 200));
        assert_eq!((token_calls(&world), world.genesys.effects("a").len()), (2, 21));
    }
}

#[tokio::test]
async fn a_token_is_renewed_two_minutes_or_a_tenth_of_its_life_ahead() {
    for (life, renewed_after) in [(86_400, 77_760), (1200, 1080), (300, 180)] {
        let world = world(Surface::Platform, &[]).await;
        world.genesys.token_lifetime(life);
        world.invoke("a", &keyed("1"), "{}").await;

        world.let_pass(Duration::from_secs(renewed_after - 1));
        world.invoke("a", &keyed("2"), "{}").await;
        assert_eq!(token_calls(&world), 1, "{life}");

        world.let_pass(Duration::from_secs(1));
        world.invoke("a", &keyed("3"), "{}").await;
        assert_eq!((token_calls(&world), calls(&world)), (2, 3), "{life}");
    }
}

#[tokio::test]
async fn a_login_that_stumbles_is_tried_again() {
    for surface in SURFACES {
        for stumble in [
            Fault::status(429).retry_after("0").times(3),
            Fault::status(500).times(3),
            Fault::status(503),
            Fault::drop_before_effect(),
            Fault::effect_then_drop(),
            Fault::cut_body(),
        ] {
            let name = stumble.to_string();
            let world = world(surface, &[]).await;
            world.genesys.fault(Operation::Token, stumble);

            let response = world.invoke("a", &KEY, "{}").await;

            assert_eq!((response.status, world.genesys.effects("a").len()), (200, 1), "{name}");
        }
    }
}

#[tokio::test]
async fn a_login_that_goes_on_failing_leaves_nothing_claimed() {
    for surface in SURFACES {
        for (fault, status, problem) in [
            (Fault::status(500).times(9), 502, "upstream-unavailable"),
            (Fault::drop_before_effect().times(9), 502, "upstream-unavailable"),
            (Fault::status(429).retry_after("0.01").times(9), 429, "upstream-rate-limited"),
            (Fault::status(400), 502, "upstream-rejected"),
            (Fault::redirect("http://127.0.0.1:1/"), 502, "upstream-rejected"),
        ] {
            let name = fault.to_string();
            let world = world(surface, &[]).await;
            world.genesys.fault(Operation::Token, fault);

            let response = world.invoke("a", &KEY, "{}").await;

            assert_eq!((response.status, response.problem().as_str()), (status, problem), "{name}");
            assert!(token_calls(&world) == 4 || problem == "upstream-rejected", "{name}");
            assert_eq!((calls(&world), world.items("").len()), (0, 0), "{name}");
            world.genesys.clear_faults();
            assert_eq!(world.invoke("a", &KEY, "{}").await.status, 200, "{name}");
        }
    }
}

#[tokio::test]
async fn wrong_credentials_are_a_rejection_and_nothing_is_claimed() {
    for surface in SURFACES {
        for wrong in [("GENESYS_CLIENT_SECRET", "wrong"), ("GENESYS_CLIENT_ID", "nobody")] {
            let world = world(surface, &[wrong]).await;

            let response = world.invoke("a", &KEY, "{}").await;

            assert_eq!((response.status, response.problem().as_str()), (502, "upstream-rejected"));
            assert_eq!((token_calls(&world), calls(&world), world.items("").len()), (1, 0, 0));
            let text = String::from_utf8(response.body.to_vec()).unwrap();
            assert!(!text.contains("wrong") && !text.contains("nobody"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_login_that_nobody_reaches_leaves_nothing_claimed() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        let url = nobodys_url().await;
        let cut_off = world.another_instance(&[("GENESYS_LOGIN_URL", &url)]).await;

        let response = world.invoke_at(&cut_off, "a", &KEY, "{}").await;

        assert_eq!((response.status, response.problem().as_str()), (502, "upstream-unavailable"));
        assert_eq!((world.genesys.requests().len(), world.items("").len()), (0, 0));
    }
}

#[tokio::test]
async fn a_login_that_does_not_answer_is_given_up_in_time_and_leaves_nothing_claimed() {
    let world = world(Surface::Platform, &[("HTTP_TIMEOUT_SECONDS", "1")]).await;
    world.genesys.fault(Operation::Token, Fault::stall_before_effect());
    let started = tokio::time::Instant::now();

    let response = world.invoke("a", &KEY, "{}").await;

    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!((response.status, response.problem().as_str()), (502, "upstream-unavailable"));
    assert_eq!((calls(&world), world.items("").len()), (0, 0));
}

#[tokio::test]
async fn what_has_run_needs_no_token_to_be_answered() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        let first = world.invoke("a", &KEY, "{}").await;
        let before = world.items("");
        let url = nobodys_url().await;
        let away = world.another_instance(&[("GENESYS_LOGIN_URL", &url)]).await;
        let refused = world.another_instance(&[("GENESYS_CLIENT_SECRET", "wrong")]).await;

        for cold in [away, refused] {
            let other = world.invoke_at(&cold, "a", &KEY, r#"{"other":true}"#).await;
            assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"));
            let again = world.invoke_at(&cold, "a", &KEY, "{}").await;
            assert_eq!((again.status, again.is_replay(), &again.body), (200, true, &first.body));
        }
        assert_eq!((calls(&world), world.items("")), (1, before));
    }
}

#[tokio::test]
async fn a_large_answer_is_replayed_without_a_token_too() {
    let world = world(Surface::Platform, &[]).await;
    world.genesys.data_action("a", Behaviour::status(200, "text/plain", "x".repeat(900_000)));
    let first = world.invoke("a", &KEY, "{}").await;

    world.genesys.fault(Operation::Token, Fault::status(500).times(4));
    let cold = world.another_instance(&[]).await;
    let again = world.invoke_at(&cold, "a", &KEY, "{}").await;

    assert_eq!((again.is_replay(), again.body == first.body), (true, true));
}

#[tokio::test]
async fn what_is_running_or_unknown_is_told_without_a_token_too() {
    let world = world(Surface::Platform, &[]).await;
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
    let url = nobodys_url().await;
    let away = world.another_instance(&[("GENESYS_LOGIN_URL", &url)]).await;

    let (first, (running, lapsed)) = world
        .while_stalled(world.invoke("a", &KEY, "{}"), async {
            let running = world.invoke_at(&away, "a", &KEY, "{}").await;
            world.let_pass(PAST_THE_LEASE);
            (running, world.invoke_at(&away, "a", &KEY, "{}").await)
        })
        .await;

    assert_eq!((running.status, running.problem().as_str()), (409, "in-progress"));
    assert_eq!((lapsed.status, lapsed.problem().as_str()), (409, "outcome-unknown"));
    assert_eq!((first.status, calls(&world)), (200, 1));
}

#[tokio::test]
async fn a_lapsed_key_that_may_be_run_again_is_not_called_unknown_for_want_of_a_token() {
    for (surface, variables) in [(Surface::Platform, &[RETRY_SAFE][..]), (Surface::Guide, &[][..])] {
        let world = world(surface, variables).await;
        world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
        abandon(&world, &[]).await;
        let url = nobodys_url().await;
        let away = world.another_instance(&[variables, &[("GENESYS_LOGIN_URL", &url)]].concat()).await;

        world.let_pass(PAST_THE_LEASE);
        let without = world.invoke_at(&away, "a", &KEY, "{}").await;

        assert_eq!((without.status, without.problem().as_str()), (502, "upstream-unavailable"));
        assert_eq!(world.invoke("a", &KEY, "{}").await.status, 200);
    }
}

#[tokio::test]
async fn a_freed_or_expired_key_without_a_token_is_the_logins_failure() {
    let world = world(Surface::Platform, &[]).await;
    world.genesys.fault(Operation::ExecuteDataAction, Fault::status(403));
    world.invoke("a", &KEY, "{}").await;
    let before = claim(&world);
    let url = nobodys_url().await;
    let away = world.another_instance(&[("GENESYS_LOGIN_URL", &url)]).await;

    let freed = world.invoke_at(&away, "a", &KEY, "{}").await;
    assert_eq!((freed.problem().as_str(), claim(&world)), ("upstream-unavailable", before));

    world.invoke("a", &KEY, "{}").await;
    world.let_pass(Duration::from_hours(24));
    let expired = world.invoke_at(&away, "a", &KEY, "{}").await;
    assert_eq!(expired.problem(), "upstream-unavailable");
}

#[tokio::test]
async fn without_token_and_store_the_store_is_named() {
    let world = world(Surface::Platform, &[("GENESYS_CLIENT_SECRET", "wrong")]).await;
    world.store.down();

    let response = world.invoke("a", &KEY, "{}").await;

    assert_eq!((response.status, response.problem().as_str()), (503, "store-unavailable"));
}

#[tokio::test]
async fn a_refused_token_that_cannot_be_renewed_leaves_the_key_free() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        world.invoke("a", &keyed("warm"), "{}").await;
        world.genesys.fault(Operation::ExecuteDataAction, Fault::expired_token());
        world.genesys.fault(Operation::Token, Fault::status(500).times(4));

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, response.problem().as_str()), (502, "upstream-unavailable"));
        assert!(world.items("claim").iter().any(|it| it["state"]["S"] == "FREE"));
        let repeat = world.invoke("a", &KEY, "{}").await;
        assert_eq!((repeat.status, world.genesys.effects("a").len()), (200, 2));
    }
}

#[tokio::test]
async fn credentials_rotated_away_matter_only_when_the_token_ends() {
    let world = world(Surface::Platform, &[]).await;
    world.invoke("a", &keyed("1"), "{}").await;
    world.genesys.set_credentials("rotated", "away");

    assert_eq!(world.invoke("a", &keyed("2"), "{}").await.status, 200);
    world.genesys.expire_tokens();
    let refused = world.invoke("a", &keyed("3"), "{}").await;

    assert_eq!((refused.status, refused.problem().as_str()), (502, "upstream-rejected"));
    assert_eq!(world.genesys.effects("a").len(), 2);
    world.genesys.set_credentials("simulated-client", "simulated-secret");
    assert_eq!(world.invoke("a", &keyed("3"), "{}").await.status, 200);
}

#[tokio::test]
async fn a_token_that_lives_shorter_than_the_margin_is_fetched_for_each_request() {
    let world = world(Surface::Platform, &[]).await;
    world.genesys.token_lifetime(60);

    for key in ["1", "2", "3"] {
        assert_eq!(world.invoke("a", &keyed(key), "{}").await.status, 200);
    }

    assert_eq!(token_calls(&world), 3);
}

#[tokio::test]
async fn a_repeat_of_a_freed_key_ends_done() {
    let world = world(Surface::Platform, &[]).await;
    world.genesys.fault(Operation::ExecuteDataAction, Fault::expired_token().times(2));

    world.invoke("a", &KEY, "{}").await;
    assert_eq!(state(&world), "FREE");
    world.invoke("a", &KEY, "{}").await;

    assert_eq!((state(&world).as_str(), world.genesys.effects("a").len()), ("DONE", 1));
}
