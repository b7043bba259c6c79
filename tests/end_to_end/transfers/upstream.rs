//! Trouble with Genesys Cloud before anything was asked to be transferred: provably nothing happened.

use harness::world::{Response, World};
use serde_json::Value;
use simulator::{Conversation, Fault, Operation, Surface};

use super::{
    CRM, KEY, SURFACES, actions, blind, completed, keyed, posts, refused, state, statuses, to_support, told,
    world,
};

/// What the look at a transfer to the queue `support` consists of, and what comes before it.
const LOOKS: [Operation; 3] = [Operation::Token, Operation::GetConversation, Operation::GetQueue];

/// Nothing happened, everybody is told so, and the key is free: with the cause gone, the same request goes through.
async fn assert_not_performed(world: &World, response: &Response, (status, slug): (u16, &str)) {
    assert_eq!(told(response), refused(status, slug), "{response:?}");
    assert_eq!((posts(world), state(world).as_str()), (0, "FREE"));
    assert_eq!(
        (actions(world), statuses(world)),
        (vec!["transfer-not-performed".to_owned()], vec!["failed".to_owned()])
    );
    let reason = world.trail("conversation:c")[0]["reason"].clone();
    assert!(reason.as_str().expect("a reason").starts_with(&format!("{slug}: ")), "{reason}");

    let again = world.transfer(&KEY, &to_support()).await;

    assert_eq!(told(&again), completed(), "{again:?}");
    assert_eq!((posts(world), world.genesys.transfer_count()), (1, 1));
}

#[tokio::test]
async fn a_look_that_stumbles_is_tried_again() {
    for surface in SURFACES {
        let world = world(surface).await;
        let mut keys = 0;
        for operation in LOOKS {
            for fault in [
                Fault::status(429).retry_after("0").times(3),
                Fault::status(500).times(3),
                Fault::drop_before_effect().times(2),
                Fault::cut_body(),
            ] {
                let name = format!("{surface} {operation}: {fault}");
                keys += 1;
                world.genesys.conversation("c", Conversation::with_agent("alice"));
                let gateway = world.another_instance(&[CRM]);
                let gateway = if operation == Operation::Token { Some(gateway.await) } else { None };
                world.genesys.fault(operation, fault);

                let gateway = gateway.as_ref().unwrap_or(&world.gateway);
                let response = world.transfer_at(gateway, &keyed(&keys.to_string()), &to_support()).await;

                assert_eq!(told(&response), completed(), "{name}: {response:?}");
                assert_eq!((posts(&world), world.genesys.transfer_count()), (keys, keys), "{name}");
                assert_eq!(actions(&world).len(), 2 * keys, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_rate_limit_that_outlasts_the_attempts_is_told_with_the_time_to_wait() {
    for surface in SURFACES {
        for operation in LOOKS {
            let world = world(surface).await;
            world.genesys.fault(operation, Fault::status(429).retry_after("0.01").times(3));
            world.genesys.fault(operation, Fault::status(429).retry_after("3"));

            let response = world.transfer(&KEY, &to_support()).await;

            assert_eq!(response.header("retry-after"), Some("3"), "{surface} {operation}: {response:?}");
            assert_not_performed(&world, &response, (429, "upstream-rate-limited")).await;
        }
    }
}

#[tokio::test]
async fn a_rate_limit_longer_than_the_deadline_is_not_waited_for() {
    for (surface, operation) in
        [(Surface::Platform, Operation::GetConversation), (Surface::Guide, Operation::GetQueue)]
    {
        let world = world(surface).await;
        world.genesys.fault(operation, Fault::status(429).retry_after("3600"));

        let response = world.transfer(&KEY, &to_support()).await;

        assert_eq!(response.header("retry-after"), Some("3600"), "{surface} {operation}: {response:?}");
        assert_not_performed(&world, &response, (429, "upstream-rate-limited")).await;
    }
}

#[tokio::test]
async fn trouble_that_outlasts_the_attempts_is_told_and_the_key_is_free() {
    for surface in SURFACES {
        let faults = [Fault::status(500), Fault::status(408), Fault::drop_before_effect()];
        for (operation, fault) in LOOKS.into_iter().zip(faults) {
            let world = world(surface).await;
            world.genesys.fault(operation, fault.times(4));

            let response = world.transfer(&KEY, &to_support()).await;

            assert_not_performed(&world, &response, (502, "upstream-unavailable")).await;
        }
    }
}

#[tokio::test]
async fn a_permission_that_is_lacking_is_told_and_the_key_is_free() {
    for surface in SURFACES {
        for operation in [Operation::GetConversation, Operation::GetQueue] {
            let world = world(surface).await;
            world.genesys.forbid(operation);
            let response = world.transfer(&KEY, &to_support()).await;
            world.genesys.permit(operation);

            assert_not_performed(&world, &response, (502, "upstream-rejected")).await;
        }
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_told_and_the_key_is_free() {
    for surface in SURFACES {
        let world = world(surface).await;
        let (id, secret) = world.genesys.credentials();
        world.genesys.set_credentials("another", "secret");
        let response = world.transfer(&KEY, &to_support()).await;
        world.genesys.set_credentials(&id, &secret);

        assert_not_performed(&world, &response, (502, "upstream-rejected")).await;
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    for surface in SURFACES {
        for operation in [Operation::GetConversation, Operation::GetQueue] {
            let world = world(surface).await;
            world.genesys.fault(operation, Fault::redirect("https://elsewhere.example/"));
            let response = world.transfer(&KEY, &to_support()).await;

            assert_not_performed(&world, &response, (502, "upstream-rejected")).await;
        }
    }
}

#[tokio::test]
async fn tokens_that_were_refused_are_renewed_once_for_the_whole_look() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.transfer(&[("idempotency-key", "warm-up")], &to_support()).await;
        world.genesys.conversation("c", Conversation::with_agent("alice"));
        world.genesys.expire_tokens();

        let response = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&response), completed(), "{surface}");
        assert_eq!(world.genesys.request_count(Operation::Token), 2, "{surface}");
        assert_eq!(world.genesys.transfer_count(), 2);
    }
}

#[tokio::test]
async fn a_token_that_is_refused_again_after_its_renewal_is_told() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::GetQueue, Fault::expired_token().times(2));
        let response = world.transfer(&KEY, &to_support()).await;

        assert_not_performed(&world, &response, (502, "upstream-rejected")).await;
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_done() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let nowhere = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for surface in SURFACES {
        for variable in ["GENESYS_API_URL", "GENESYS_LOGIN_URL"] {
            let world = world(surface).await;
            let cut_off = world.another_instance(&[CRM, (variable, &nowhere)]).await;
            let response = world.transfer_at(&cut_off, &KEY, &to_support()).await;

            assert_not_performed(&world, &response, (502, "upstream-unavailable")).await;
        }
    }
}

#[tokio::test]
async fn trouble_with_the_look_at_a_user_is_no_reason_to_transfer_or_to_say_that_there_is_none() {
    for operation in [Operation::GetUser, Operation::GetPresence] {
        let world = world(Surface::Platform).await;
        world.genesys.fault(operation, Fault::status(503).times(4));

        let response = world.transfer(&KEY, &blind("user", "bob")).await;

        assert_eq!(told(&response), refused(502, "upstream-unavailable"), "{operation}");
        assert_eq!((posts(&world), state(&world).as_str()), (0, "FREE"));
        assert_eq!(told(&world.transfer(&KEY, &blind("user", "bob")).await), completed());
    }
}

#[tokio::test]
async fn what_genesys_calls_a_look_is_on_the_trail_of_no_attempt_but_its_transfer_is() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.transfer(&KEY, &to_support()).await;

        let trail = world.trail("conversation:c");

        assert_eq!(trail[0]["genesysCorrelationId"], Value::Null);
        assert!(trail[1]["genesysCorrelationId"].is_string(), "{}", trail[1]);
    }
}
