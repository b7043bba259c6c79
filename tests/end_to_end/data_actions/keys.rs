//! Keys: given, derived, and refused.

use harness::world::World;
use serde_json::json;
use sha2::{Digest, Sha256};
use simulator::{Behaviour, Operation, Surface};

use super::{KEY, SURFACES, calls, keyed};

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[tokio::test]
async fn white_space_key_order_escapes_and_number_spelling_make_no_difference() {
    let spellings = [
        r#"{"name":"Zoë/A","n":1,"list":[1,{"x":null}]}"#,
        " {\r\n\t\"list\" : [ 1 , { \"x\" : null } ] , \"n\" : 1.0 , \"name\" : \"Zoë/A\" } ",
        r#"{"n":1e0,"name":"Zo\u00eb\/\u0041","list":[10e-1,{"x":null}]}"#,
    ];
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());
        let first = world.invoke("a", &[], spellings[0]).await;
        assert_eq!((first.status, first.is_replay()), (200, false));

        let cold = world.another_instance(&[]).await;
        for spelling in spellings {
            let derived = world.invoke_at(&cold, "a", &[], spelling).await;
            assert_eq!((derived.is_replay(), &derived.body), (true, &first.body), "{spelling}");
            let given = world.invoke_at(&cold, "a", &KEY, spelling).await;
            assert_eq!((given.status, given.is_replay()), (200, spelling != spellings[0]), "{spelling}");
        }
        assert_eq!(world.genesys.effects("a").len(), 2, "one by the derived key, one by the given");
    }
}

#[tokio::test]
async fn integers_beyond_the_safe_range_never_collide() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());
        let accounts = ["9007199254740992", "9007199254740993", "-9007199254740993"];

        for account in accounts {
            let response = world.invoke("a", &[], format!(r#"{{"account":{account}}}"#)).await;
            assert_eq!((response.status, response.is_replay()), (200, false), "{account}");
            let echo = String::from_utf8(response.body.to_vec()).unwrap();
            assert!(echo.contains(account), "its digits reach the upstream: {echo}");
        }

        assert_eq!(world.genesys.effects("a").len(), accounts.len());
        let one = world.invoke("a", &KEY, r#"{"account":9007199254740992}"#).await;
        let other = world.invoke("a", &KEY, r#"{"account":9007199254740993}"#).await;
        assert_eq!((one.status, other.status), (200, 422));
    }
}

#[tokio::test]
async fn what_differs_is_another_request() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let bodies =
        [r#"{"n":1}"#, r#"{"n":"1"}"#, r#"{"n":[1]}"#, r#"{"n":null}"#, r#"{"N":1}"#, "{}", r#"{"n":1.5}"#];

    for body in bodies {
        assert!(!world.invoke("a", &[], body).await.is_replay(), "{body}");
    }

    assert_eq!(world.genesys.effects("a").len(), bodies.len());
}

#[tokio::test]
async fn a_derived_key_is_the_hash_of_action_and_canonical_input_here_and_upstream() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        let id = "custom_-_7c1f0d3e-9b1a-4f4e-8a51-0b7e6f6c2f11";
        world.genesys.data_action(id, Behaviour::echo());

        let response = world.invoke(id, &[], r#"{ "b": 1.0, "a": "\u0078" }"#).await;

        let expected = sha256(&format!(r#"{id}:{{"a":"x","b":1}}"#));
        assert_eq!(response.header("idempotency-key"), Some(expected.as_str()));
        let effect = &world.genesys.effects(id)[0];
        assert_eq!(effect.idempotency_key.as_deref(), Some(expected.as_str()));
        let given = world.invoke(id, &keyed(&expected), r#"{"a":"x","b":1}"#).await;
        assert!(given.is_replay(), "given or derived, it is the same key");
    }
}

#[tokio::test]
async fn a_given_key_is_returned_and_sent_upstream() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());
        let longest = "~".repeat(255);

        for (n, key) in
            ["0", "false", "null", "order-4711/ü".trim_end_matches("/ü"), &longest].into_iter().enumerate()
        {
            let body = json!({"n": n}).to_string();
            let first = world.invoke("a", &keyed(key), body.clone()).await;
            assert_eq!((first.status, first.is_replay()), (200, false), "{key}");
            assert_eq!(first.header("idempotency-key"), Some(key));
            assert_eq!(world.genesys.effects("a")[n].idempotency_key.as_deref(), Some(key));
            assert!(world.invoke("a", &keyed(key), body).await.is_replay(), "{key}");
        }
    }
}

#[tokio::test]
async fn a_bare_and_a_quoted_key_are_the_same_key() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());

    for (bare, quoted) in [("abc", r#""abc""#), (r#"a"b\c"#, r#""a\"b\\c""#)] {
        let first = world.invoke("a", &keyed(bare), "{}").await;
        let again = world.invoke("a", &keyed(quoted), "{}").await;
        assert_eq!((first.is_replay(), again.is_replay()), (false, true), "{quoted}");
        assert_eq!(again.header("idempotency-key"), Some(bare));
    }
}

#[tokio::test]
async fn a_bad_key_is_refused_by_name_and_leaves_nothing() {
    let long = "k".repeat(256);
    let bad = [
        "",
        "   ",
        &long,
        "a b",
        "a\tb",
        "ü",
        "\"\"",
        "\"a",
        "\"a\"b\"",
        r#""a\x""#,
        "\"a b\"",
        "\"a\";p=1",
        "\"ü\"",
    ];
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());

        for key in bad {
            let response = world.invoke("a", &keyed(key), "{}").await;
            assert_eq!((response.status, response.problem().as_str()), (400, "invalid-request"), "{key:?}");
            assert!(response.json()["detail"].as_str().unwrap().contains("Idempotency-Key"), "{response:?}");
        }

        assert!(world.items("").is_empty());
        assert_eq!((world.store.total(), world.genesys.requests().len()), (0, 0));
    }
}

#[tokio::test]
async fn two_keys_are_refused_even_if_they_are_the_same() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());

    for (one, other) in [("k", "k"), ("k", "l")] {
        let headers = [("idempotency-key", one), ("idempotency-key", other)];
        let response = world.invoke("a", &headers, "{}").await;
        assert_eq!((response.status, response.problem().as_str()), (400, "invalid-request"));
        assert!(response.json()["detail"].as_str().unwrap().contains("Idempotency-Key"));
    }

    assert!(world.items("").is_empty());
    assert_eq!(world.genesys.requests().len(), 0);
}

#[tokio::test]
async fn the_same_key_on_two_actions_is_two_keys() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::json(json!({"from": "a"})));
        world.genesys.data_action("b", Behaviour::json(json!({"from": "b"})));

        let of_a = world.invoke("a", &KEY, "{}").await;
        let of_b = world.invoke("b", &KEY, r#"{"other":true}"#).await;
        let cold = world.another_instance(&[]).await;
        let again = world.invoke_at(&cold, "a", &KEY, "{}").await;

        assert_eq!((of_a.status, of_b.status, of_b.is_replay()), (200, 200, false));
        assert_eq!(of_b.json(), json!({"from": "b"}));
        assert_eq!((again.is_replay(), &again.body), (true, &of_a.body));
        assert_eq!((world.genesys.effect_count(), calls(&world)), (2, 2));
    }
}

#[tokio::test]
async fn every_attempt_carries_the_same_key() {
    for surface in SURFACES {
        let world = World::start(surface).await;
        world.genesys.data_action("a", Behaviour::echo());
        let busy = simulator::Fault::status(429).retry_after("0").times(3);
        world.genesys.fault(Operation::ExecuteDataAction, busy);

        let response = world.invoke("a", &KEY, "{}").await;

        assert_eq!((response.status, calls(&world)), (200, 4));
        let seen = world.genesys.requests();
        let executions = seen.iter().filter(|it| it.operation == Some(Operation::ExecuteDataAction));
        assert!(executions.into_iter().all(|it| it.header("idempotency-key") == Some("k")));
    }
}
