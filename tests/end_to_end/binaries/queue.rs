//! SQS batches: every message on its own, and only those named that must come again.

use std::collections::BTreeSet;

use harness::events;
use harness::runtime_api::{Answer, Invocation};
use harness::world::World;
use serde_json::{Value, json};
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{data_actions, request};

fn failures(answer: &Answer) -> BTreeSet<String> {
    let answer = answer.json();
    let failures = answer["batchItemFailures"].as_array().expect("a partial-batch response");
    let id = |failure: &Value| failure["itemIdentifier"].as_str().expect("an id").to_owned();
    failures.iter().map(id).collect()
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Ten messages: one whose request is in progress elsewhere, one that is no request, eight good ones.
fn ten_messages() -> Value {
    let good: Vec<(String, String)> =
        (0..8).map(|n| (format!("good-{n}"), request(&format!("k-{n}"), &json!({"n": n})))).collect();
    let busy = request("busy", &json!({}));
    let mut messages = vec![("busy", busy.as_str()), ("poison", "{\"dataActionId\":")];
    messages.extend(good.iter().map(|(id, body)| (id.as_str(), body.as_str())));
    events::sqs_batch(&messages)
}

#[tokio::test]
async fn of_ten_messages_the_two_that_failed_are_named_and_the_good_are_not_repeated() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
    let elsewhere = data_actions(&world, &[]).await;
    let busy = elsewhere.begin(Invocation::new(request("busy", &json!({}))));
    world.genesys.wait_for_stalled(1).await;

    // The second time is a redelivery, to another process.
    for _ in 0..2 {
        let lambda = data_actions(&world, &[]).await;
        let answer = lambda.invoke_with((&ten_messages()).into()).await;
        assert_eq!(failures(&answer), ids(&["busy", "poison"]));
        assert_eq!(world.genesys.effects("a").len(), 8);
    }
    world.genesys.release_stalled();
    assert_eq!(busy.await.json()["replayed"], false);
    let answer = elsewhere.invoke_with((&ten_messages()).into()).await;
    assert_eq!(failures(&answer), ids(&["poison"]));
    assert_eq!(world.genesys.effects("a").len(), 9);
}

#[tokio::test]
async fn an_outcome_unknown_stays_in_the_queue_and_is_not_run_again() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::effect_then_drop());
    let lambda = data_actions(&world, &[]).await;
    let body = request("k", &json!({}));

    for _ in 0..2 {
        let batch = events::sqs_batch(&[("m-1", body.as_str())]);
        assert_eq!(failures(&lambda.invoke_with((&batch).into()).await), ids(&["m-1"]));
    }
    assert_eq!(world.genesys.effects("a").len(), 1);
}

#[tokio::test]
async fn a_failed_message_without_an_id_fails_the_whole_batch() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;
    let good = request("k", &json!({}));

    for nameless in [Value::Null, json!("")] {
        let mut batch = events::sqs_batch(&[("m-1", good.as_str()), ("m-2", "poison")]);
        batch["Records"][1]["messageId"] = nameless;
        let answer = lambda.invoke_with((&batch).into()).await;
        assert_eq!(answer.error_type(), "InternalError");
    }
    // A good message needs no name.
    let mut batch = events::sqs_batch(&[("m-1", good.as_str())]);
    batch["Records"][0].as_object_mut().unwrap().remove("messageId");
    assert!(failures(&lambda.invoke_with((&batch).into()).await).is_empty());
    assert_eq!(world.genesys.effects("a").len(), 1);
}

#[tokio::test]
async fn behind_a_failed_message_the_rest_of_its_group_waits() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;
    let good: Vec<String> = (0..3).map(|n| request(&format!("k-{n}"), &json!({"n": n}))).collect();
    let mut batch =
        events::sqs_batch(&[("m-0", &good[0]), ("m-1", "poison"), ("m-2", &good[1]), ("m-3", &good[2])]);
    for (nth, group) in ["one", "one", "one", "another"].into_iter().enumerate() {
        batch["Records"][nth]["attributes"]["MessageGroupId"] = json!(group);
    }

    let answer = lambda.invoke_with((&batch).into()).await;

    assert_eq!(failures(&answer), ids(&["m-1", "m-2"]));
    let ran: BTreeSet<String> =
        world.genesys.effects("a").iter().map(|effect| effect.input["n"].to_string()).collect();
    assert_eq!(ran, ids(&["0", "2"]));
}

#[tokio::test]
async fn a_store_that_is_down_brings_the_whole_batch_back() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;
    let bodies = [request("k-1", &json!({})), request("k-2", &json!({}))];
    let batch = events::sqs_batch(&[("m-1", &bodies[0]), ("m-2", &bodies[1])]);
    world.store.down();

    assert_eq!(failures(&lambda.invoke_with((&batch).into()).await), ids(&["m-1", "m-2"]));
    assert_eq!(world.genesys.effect_count(), 0);
    world.store.up();
    assert!(failures(&lambda.invoke_with((&batch).into()).await).is_empty());
    assert_eq!(world.genesys.effects("a").len(), 2);
}
