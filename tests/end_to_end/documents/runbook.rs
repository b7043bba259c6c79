//! The commands of the runbook, played against a table.

use std::time::Duration;

use axum::http::StatusCode;
use harness::outbox::due_shard;
use harness::world::World;
use local::{Bus, TABLE_NAME};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simulator::{Behaviour, Fault, Operation, Surface};

use super::source;

const ACTION: &str = "custom_-_1234";

async fn world() -> World {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action(ACTION, Behaviour::echo());
    world
}

/// A section of the runbook, by its heading.
fn section(heading: &str) -> String {
    let runbook = source("docs/tasks.md");
    let section = runbook.split("\n## ").find(|section| section.starts_with(&format!("{heading}\n")));
    section.unwrap_or_else(|| panic!("no section {heading}")).to_owned()
}

/// What stands in single quotes after `--option`, once for each command of a section.
fn quoted(section: &str, option: &str) -> Vec<String> {
    let option = format!("--{option} '");
    let quoted = section.split(option.as_str()).skip(1);
    quoted.map(|rest| rest.split('\'').next().expect("a closing quote").to_owned()).collect()
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Played {
    Applied,
    /// Its condition did not hold.
    Refused,
}

/// Plays the nth `update-item` of a section on the item `pk`/`sk`, with those of `values` that it names.
async fn play(world: &World, heading: &str, nth: usize, (pk, sk): (&str, &str), values: &Value) -> Played {
    let section = section(heading);
    let command = |option: &str| quoted(&section, option).swap_remove(nth);
    let (condition, update) = (command("condition-expression"), command("update-expression"));
    let is_named = |name: &str| {
        let mut rest = format!("{condition} {update} ");
        rest.retain(|letter| letter != ',' && letter != '(' && letter != ')');
        rest.split(' ').any(|word| word == name)
    };
    let values = values.as_object().expect("values").iter().filter(|(name, _)| is_named(name));
    let request = json!({
        "TableName": TABLE_NAME,
        "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
        "ConditionExpression": condition,
        "UpdateExpression": update,
        "ExpressionAttributeNames": serde_json::from_str::<Value>(&command("expression-attribute-names")).expect("names as JSON"),
        "ExpressionAttributeValues": values.map(|(name, value)| (name.clone(), value.clone())).collect::<Value>(),
    });
    // The engine asks for a signature, and does not check it.
    let signature =
        "AWS4-HMAC-SHA256 Credential=a/20261122/r/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
    let headers = [
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "DynamoDB_20120810.UpdateItem"),
        ("x-amz-date", "20261122T120000Z"),
        ("authorization", signature),
    ];
    let answer = world.post(&world.engine.url(), &headers, request.to_string()).await;
    let is_refused = answer.json()["__type"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("#ConditionalCheckFailedException"));
    match answer.status {
        200 => Played::Applied,
        400 if is_refused => Played::Refused,
        _ => panic!("{heading}: {answer:?}"),
    }
}

/// The values that put something back on the list of what is due.
fn redriving(world: &World, pk: &str) -> Value {
    // The runbook's clock counts whole seconds.
    let now = world.clock.clock().now().as_second() * 1000;
    json!({
        ":dead": {"S": "DEAD"}, ":unpublished": {"S": "UNPUBLISHED"}, ":pending": {"S": "PENDING"}, ":none": {"N": "0"},
        ":shard": {"S": due_shard(pk)}, ":now": {"N": now.to_string()},
    })
}

#[tokio::test]
async fn a_dead_notice_that_is_redriven_by_the_runbook_gets_a_whole_schedule_again() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[("NOTICE_RETRY_SECONDS", "1")]).await);
    inbox.answer_with(StatusCode::GONE);
    world.put_notice("msg_1", &inbox.url());
    relay.feed_stream().await.unwrap();
    assert_eq!(world.notice("msg_1")["state"]["S"], "DEAD");

    // Much later, when patience with it has long run out, and while its subscriber is left alone.
    world.let_pass(Duration::from_hours(24 * 30));
    inbox.answer_with(StatusCode::SERVICE_UNAVAILABLE);
    for other in 2..=6 {
        world.put_notice(&format!("msg_{other}"), &inbox.url());
    }
    relay.feed_stream().await.unwrap();
    assert!(!world.items("breaker")[0]["open_until"].is_null());
    let (key, values) = (("notice#msg_1", "notice"), redriving(&world, "notice#msg_1"));
    assert_eq!(play(&world, "Redrive a dead notice", 0, key, &values).await, Played::Applied);
    let notice = world.notice("msg_1");
    assert_eq!((&notice["state"], &notice["attempts"]), (&json!({"S": "PENDING"}), &json!({"N": "0"})));
    assert!(notice["expires_at"].is_null() && notice["attempt_owner"].is_null(), "{notice}");
    let again = play(&world, "Redrive a dead notice", 0, key, &values).await;
    assert_eq!(again, Played::Refused, "it is not dead any more");
    relay.feed_stream().await.unwrap();
    assert_eq!(world.notice("msg_1")["state"]["S"], "PENDING", "put off, and not given up");

    inbox.answer_with(StatusCode::NO_CONTENT);
    world.let_pass(Duration::from_secs(40));
    relay.sweep().await.unwrap();
    relay.sweep().await.unwrap();
    assert_eq!(world.notice("msg_1")["state"]["S"], "DELIVERED");
}

#[tokio::test]
async fn an_unpublished_event_that_is_redriven_by_the_runbook_is_published_and_still_remembered() {
    let world = world().await;
    let body = json!({"id": "evt-1", "type": "t", "createdTime": 1_763_800_000_000_u64, "data": {}});
    assert_eq!(world.deliver(body.to_string()).await.status, 200);
    world.relay(&[]).await.feed_stream().await.unwrap();
    let expires_at = world.items("event")[0]["expires_at"].clone();

    let bus = Bus::start().await.unwrap();
    let relay = world.relay_with_bus(&bus, &[]).await;
    relay.feed_stream().await.unwrap();
    let pk = format!("event#{}", hex::encode(Sha256::digest("evt-1")));
    let heading = "Redrive a dead or unpublished event";
    assert_eq!(play(&world, heading, 0, (&pk, "event"), &redriving(&world, &pk)).await, Played::Applied);
    relay.sweep().await.unwrap();
    assert_eq!(bus.published().len(), 1);
    let event = &world.items("event")[0];
    assert_eq!((&event["state"]["S"], &event["expires_at"]), (&json!("PUBLISHED"), &expires_at));
    assert_eq!(
        play(&world, heading, 0, (&pk, "event"), &redriving(&world, &pk)).await,
        Played::Refused,
        "it is published"
    );
}

/// An action whose answer was lost; the key of its record, computed as the runbook says.
async fn unknown(world: &World, fault: Fault) -> String {
    world.genesys.fault(Operation::ExecuteDataAction, fault);
    let answer = world.invoke(ACTION, &[("Idempotency-Key", "order-7")], "{}").await;
    assert_eq!((answer.status, answer.problem().as_str()), (504, "outcome-unknown"));
    let section = section("Find out what became of a key");
    let scope = section.split("$(sha '").nth(1).and_then(|rest| rest.split('\'').next()).expect("a scope");
    format!("claim#{}", hex::encode(Sha256::digest(scope)))
}

/// The values of both ways to resolve a key, for its record as it is.
fn resolving(world: &World, pk: &str) -> Value {
    let record = world.items("claim").into_iter().find(|item| item["pk"]["S"] == pk);
    let record = record.unwrap_or_else(|| panic!("no record {pk}"));
    json!({
        ":unknown": {"S": "UNKNOWN"}, ":owner": record["owner"], ":epoch": record["epoch"], ":free": {"S": "FREE"},
        ":why": {"S": "looked into"}, ":done": {"S": "DONE"}, ":inline": {"S": "inline"}, ":status": {"N": "200"},
        ":type": {"S": "application/json"}, ":body": {"B": "eyJ0aWNrZXQiOiI0NzExIn0="},
    })
}

#[tokio::test]
async fn a_key_that_is_freed_by_the_runbook_runs_once_more() {
    let world = world().await;
    let pk = unknown(&world, Fault::drop_before_effect()).await;
    let values = resolving(&world, &pk);
    assert_eq!(play(&world, "Resolve an UNKNOWN key", 0, (&pk, "claim"), &values).await, Played::Applied);
    let answer = world.invoke(ACTION, &[("Idempotency-Key", "order-7")], "{}").await;
    assert_eq!((answer.status, answer.is_replay()), (200, false));
    assert_eq!(world.genesys.effects(ACTION).len(), 1);
    assert_eq!(
        play(&world, "Resolve an UNKNOWN key", 0, (&pk, "claim"), &values).await,
        Played::Refused,
        "it is done"
    );
}

#[tokio::test]
async fn a_key_that_is_answered_by_the_runbook_replays_that_answer() {
    let world = world().await;
    let pk = unknown(&world, Fault::effect_then_drop()).await;
    let values = resolving(&world, &pk);
    assert_eq!(play(&world, "Resolve an UNKNOWN key", 1, (&pk, "claim"), &values).await, Played::Applied);
    let answer = world.invoke(ACTION, &[("Idempotency-Key", "order-7")], "{}").await;
    assert_eq!((answer.status, answer.is_replay()), (200, true));
    assert_eq!(answer.json(), json!({"ticket": "4711"}));
    assert_eq!(world.genesys.effects(ACTION).len(), 1);
}
