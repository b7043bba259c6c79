//! Records that cannot be read are an alarm, never a miss and never a reason to run.

use std::time::Duration;

use harness::world::World;
use serde_json::{Value, json};
use simulator::{Behaviour, Surface};

use super::{KEY, RETRY_SAFE, calls};

/// A world in which the action `a` has answered `body`, and its record was changed behind everybody's back.
async fn meddled(body: &str, sort_key: &str, change: impl FnOnce(&mut Value)) -> World {
    let world = World::with(Surface::Platform, &[RETRY_SAFE]).await;
    world.genesys.data_action("a", Behaviour::status(200, "text/plain", body));
    assert_eq!(world.invoke("a", &KEY, "{}").await.status, 200);
    world.meddle(sort_key, change);
    world
}

/// A repeat in a cold instance runs nothing, changes nothing, and says that something is wrong here.
async fn assert_alarmed(world: &World, what: &str) {
    let before = world.items("");
    let cold = world.another_instance(&[RETRY_SAFE]).await;
    let repeat = world.invoke_at(&cold, "a", &KEY, "{}").await;
    assert_eq!((repeat.status, repeat.problem().as_str()), (500, "internal-error"), "{what}");
    assert_eq!(repeat.json()["idempotencyKey"], "k");
    assert_eq!((calls(world), world.genesys.effects("a").len()), (1, 1), "{what}");
    assert_eq!(world.items(""), before, "{what}");
}

#[tokio::test]
async fn a_record_of_an_unknown_state_or_a_later_version_is_left_alone() {
    for (name, value) in [
        ("state", json!({"S": "PAUSED"})),
        ("state", json!({"N": "1"})),
        ("v", json!({"N": "2"})),
        ("v", json!({"S": "1"})),
        ("answer", json!({"S": "elsewhere"})),
        ("answer_status", json!({"N": "-1"})),
        ("answer_type", json!({"N": "1"})),
    ] {
        let world = meddled("done", "claim", |item| item[name] = value.clone()).await;
        assert_alarmed(&world, &format!("{name}: {value}")).await;
    }
}

#[tokio::test]
async fn a_record_with_a_member_missing_is_left_alone() {
    for name in [
        "v",
        "state",
        "owner",
        "epoch",
        "fingerprint",
        "lease_until",
        "expires_at",
        "answer",
        "answer_status",
        "answer_body",
    ] {
        let without = |item: &mut Value| drop(item.as_object_mut().unwrap().remove(name));
        let world = meddled("done", "claim", without).await;
        assert_alarmed(&world, name).await;
    }
}

#[tokio::test]
async fn a_record_of_a_later_version_is_left_alone_even_when_it_has_expired() {
    let world = meddled("done", "claim", |item| item["v"]["N"] = "2".into()).await;
    world.let_pass(Duration::from_hours(30 * 24));
    assert_alarmed(&world, "expired").await;
}

#[tokio::test]
async fn an_unfinished_record_with_a_member_missing_is_left_alone() {
    for state in ["ACTING", "CLAIMED", "UNKNOWN"] {
        for name in ["lease_until", "fingerprint", "expires_at"] {
            let world = meddled("done", "claim", |item| {
                item["state"]["S"] = state.into();
                item.as_object_mut().unwrap().remove(name);
            })
            .await;
            let cold = world.another_instance(&[]).await;
            let repeat = world.invoke_at(&cold, "a", &KEY, "{}").await;
            assert_eq!((repeat.status, repeat.problem().as_str()), (500, "internal-error"), "{state} {name}");
            assert_eq!(calls(&world), 1);
        }
    }
}

#[tokio::test]
async fn a_large_answer_of_which_a_part_is_missing_is_not_given() {
    let large = "x".repeat(5000);
    for (what, length) in [("too long", "5001"), ("too short", "4999")] {
        let world = meddled(&large, "claim", |item| item["answer_bytes"]["N"] = length.into()).await;
        assert_alarmed(&world, what).await;
    }
    // The parts are found by their owner: under another there are none.
    let world = meddled(&large, "claim", |item| item["owner"]["S"] = "x".into()).await;
    assert_alarmed(&world, "no part").await;
    let world = meddled(&large, "answer#", |item| item["body"]["B"] = "eHg=".into()).await;
    assert_alarmed(&world, "a short part").await;
}

#[tokio::test]
async fn what_was_unknown_may_be_repeated_once_the_operator_says_so() {
    for (variables, status) in [(&[][..], 409), (&[RETRY_SAFE][..], 200)] {
        let world = World::start(Surface::Platform).await;
        world.genesys.data_action("a", Behaviour::echo());
        world.invoke("a", &KEY, "{}").await;
        world.meddle("claim", |item| item["state"]["S"] = "UNKNOWN".into());
        let cold = world.another_instance(variables).await;

        assert_eq!(world.invoke_at(&cold, "a", &KEY, "{}").await.status, status);
    }
}
