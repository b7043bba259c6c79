//! How the upstream's refusals end: stored, or with a free key.

use std::time::Duration;

use harness::world::{Response, World};
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{KEY, SURFACES, calls, nobodys_url, state, token_calls};

async fn world(surface: Surface, variables: &[(&str, &str)]) -> World {
    let world = World::with(surface, variables).await;
    world.genesys.data_action("a", Behaviour::echo());
    world
}

fn fault(world: &World, fault: Fault) {
    world.genesys.fault(Operation::ExecuteDataAction, fault);
}

/// The key is free: a repeat runs, and has the one effect.
async fn assert_free(world: &World, refused: &Response) {
    assert_eq!(refused.json()["idempotencyKey"], "k");
    assert_eq!(state(world), "FREE");
    world.genesys.clear_faults();
    let repeat = world.invoke("a", &KEY, "{}").await;
    assert_eq!((repeat.status, repeat.is_replay()), (200, false));
    assert_eq!((state(world).as_str(), world.genesys.effects("a").len()), ("DONE", 1));
}

/// When the executions arrived, in milliseconds.
fn arrivals(world: &World) -> Vec<u64> {
    let seen = world.genesys.requests();
    let executions = seen.iter().filter(|it| it.operation == Some(Operation::ExecuteDataAction));
    executions.map(|it| it.when).collect()
}

#[tokio::test]
async fn a_final_refusal_is_stored_and_replayed() {
    for surface in SURFACES {
        for status in [400, 402, 404, 409, 413, 422, 428, 499] {
            let world = world(surface, &[]).await;
            let refusal = format!(r#"{{ "status":{status} , "code":"no.results" }}"#);
            world.genesys.data_action("a", Behaviour::status(status, "application/json", &refusal));

            let first = world.invoke("a", &KEY, "{}").await;
            let cold = world.another_instance(&[]).await;
            let again = world.invoke_at(&cold, "a", &KEY, "{}").await;

            assert_eq!((first.status, first.is_replay()), (status, false));
            assert_eq!((again.status, again.is_replay()), (status, true));
            assert_eq!((&first.body[..], &again.body[..]), (refusal.as_bytes(), refusal.as_bytes()));
            assert_eq!(again.header("content-type"), Some("application/json"));
            assert_eq!((calls(&world), state(&world).as_str()), (1, "DONE"));
        }
    }
}

#[tokio::test]
async fn an_action_that_does_not_exist_is_the_upstreams_to_say() {
    for surface in SURFACES {
        let world = World::start(surface).await;

        let first = world.invoke("nowhere", &KEY, "{}").await;
        let again = world.invoke("nowhere", &KEY, "{}").await;

        assert_eq!((first.status, again.status, again.is_replay()), (404, 404, true));
        assert_eq!((first.json()["code"].as_str(), &again.body), (Some("not.found"), &first.body));
    }
}

#[tokio::test]
async fn a_token_refused_once_is_renewed_and_the_action_runs() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        fault(&world, Fault::expired_token());

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, response.is_replay()), (200, false));
        assert_eq!((token_calls(&world), calls(&world)), (2, 2));
        assert_eq!((world.genesys.effects("a").len(), state(&world).as_str()), (1, "DONE"));
    }
}

#[tokio::test]
async fn a_token_refused_twice_is_a_rejection_and_the_key_is_free() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        fault(&world, Fault::expired_token().times(2));

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, response.problem().as_str()), (502, "upstream-rejected"));
        assert_eq!((token_calls(&world), calls(&world)), (2, 2));
        assert_free(&world, &response).await;
    }
}

#[tokio::test]
async fn a_missing_permission_is_a_rejection_and_the_key_is_free() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        fault(&world, Fault::status(403));

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, response.problem().as_str()), (502, "upstream-rejected"));
        assert_eq!((token_calls(&world), calls(&world)), (1, 1));
        assert_free(&world, &response).await;
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed_and_the_key_is_free() {
    for surface in SURFACES {
        for redirect in [0, 300, 301, 303, 304, 307, 308] {
            let world = world(surface, &[]).await;
            let elsewhere = format!("{}/elsewhere", world.genesys.url());
            fault(&world, if redirect == 0 { Fault::redirect(&elsewhere) } else { Fault::status(redirect) });

            let response = world.invoke("a", &KEY, "{}").await;

            assert_eq!((response.status, response.problem().as_str()), (502, "upstream-rejected"));
            assert_eq!(world.genesys.requests().len(), 2, "a token and one execution");
            assert_free(&world, &response).await;
        }
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_as_long_as_it_says() {
    // With a backoff of up to a minute, only what the upstream says can make the waits this short.
    for (retry_after, least) in [("0", 0), ("0.25", 250), ("1", 1000)] {
        let world = world(Surface::Platform, &[("RETRY_BASE_MS", "60000")]).await;
        fault(&world, Fault::status(429).retry_after(retry_after));

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, calls(&world)), (200, 2), "{retry_after}");
        let arrivals = arrivals(&world);
        let waited = arrivals[1] - arrivals[0];
        assert!((least..least + 5000).contains(&waited), "{retry_after}: {waited} ms");
        assert_eq!((world.genesys.effects("a").len(), state(&world).as_str()), (1, "DONE"));
    }
}

#[tokio::test]
async fn a_rate_limit_with_a_date_is_measured_by_our_clock() {
    for (date, least) in [
        ("Sun, 22 Nov 2026 12:00:00 GMT", 0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Sun, 22 Nov 2026 12:00:01 GMT", 1000),
    ] {
        let world = world(Surface::Platform, &[("RETRY_BASE_MS", "60000")]).await;
        fault(&world, Fault::status(429).retry_after(date));

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, calls(&world)), (200, 2), "{date}");
        let arrivals = arrivals(&world);
        let waited = arrivals[1] - arrivals[0];
        assert!((least..least + 5000).contains(&waited), "{date}: {waited} ms");
    }
}

#[tokio::test]
async fn rate_limits_that_outlast_the_attempts_are_passed_on_and_the_key_is_free() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        fault(&world, Fault::status(429).retry_after("0.01").times(9));

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, response.problem().as_str()), (429, "upstream-rate-limited"));
        assert_eq!((response.header("retry-after"), calls(&world)), (Some("1"), 4));
        assert_free(&world, &response).await;
    }
}

#[tokio::test]
async fn rate_limits_that_say_nothing_of_time_are_backed_off_from() {
    for (attempts, expected) in [("1", 1), ("4", 4), ("6", 6)] {
        let world = world(Surface::Platform, &[("RETRY_ATTEMPTS", attempts)]).await;
        fault(&world, Fault::status(429).times(9));

        let response = world.invoke("a", &KEY, "{}").await;
        world.genesys.clear_faults();

        assert_eq!((response.status, calls(&world)), (429, expected));
        assert_eq!(
            (response.problem().as_str(), response.header("retry-after")),
            ("upstream-rate-limited", Some("5"))
        );
    }
}

#[tokio::test]
async fn a_rate_limit_beyond_the_deadline_is_passed_on_at_once() {
    for surface in SURFACES {
        for (retry_after, passed_on) in
            [("60", "60"), ("Sun, 22 Nov 2026 12:02:00 GMT", "120"), ("28", "28"), ("59.2", "60")]
        {
            let world = world(surface, &[]).await;
            fault(&world, Fault::status(429).retry_after(retry_after));
            let started = tokio::time::Instant::now();

            let response = world.invoke("a", &KEY, "{}").await;

            assert_eq!((response.status, response.problem().as_str()), (429, "upstream-rate-limited"));
            assert_eq!((response.header("retry-after"), calls(&world)), (Some(passed_on), 1));
            assert!(started.elapsed() < Duration::from_secs(10));
            assert_free(&world, &response).await;
        }
    }
}

#[tokio::test]
async fn a_rate_limit_without_end_is_passed_on_too() {
    for retry_after in ["1000000000", "1000000000000000000", "10000000000000000000"] {
        let world = world(Surface::Platform, &[]).await;
        fault(&world, Fault::status(429).retry_after(retry_after));

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, response.problem().as_str()), (429, "upstream-rate-limited"));
        assert_eq!(calls(&world), 1);
        assert_free(&world, &response).await;
    }
}

#[tokio::test]
async fn an_upstream_that_nobody_reaches_did_nothing_and_the_key_is_free() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        let url = nobodys_url().await;
        let cut_off = world.another_instance(&[("GENESYS_API_URL", &url)]).await;

        let response = world.invoke_at(&cut_off, "a", &KEY, "{}").await;

        assert_eq!((response.status, response.problem().as_str()), (502, "upstream-unavailable"));
        assert_eq!((token_calls(&world), calls(&world)), (1, 0));
        assert_free(&world, &response).await;
    }
}

#[tokio::test]
async fn a_freed_key_may_serve_another_request() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        fault(&world, Fault::status(403));

        let refused = world.invoke("a", &KEY, r#"{"amount":1}"#).await;
        let other = world.invoke("a", &KEY, r#"{"amount":2}"#).await;

        assert_eq!((refused.status, other.status, other.is_replay()), (502, 200, false));
        let effects = world.genesys.effects("a");
        assert_eq!((effects.len(), effects[0].input["amount"].as_u64()), (1, Some(2)));
    }
}
