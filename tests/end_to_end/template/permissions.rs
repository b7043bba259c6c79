//! The table's permissions: each function is watched while it does all that it does, and what it did is what it may do.
//!
//! A permission is an action together with what the keys begin with that it is given for. One that is granted and was not
//! seen used fails a test, as one that was used and is not granted.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join;
use harness::world::World;
use local::{Bus, Relay};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simulator::{Behaviour, Conversation, Fault, Operation, PolicyCourse, Queue, Surface};

use super::roles::statements;
use super::{FUNCTIONS, as_text, source, texts};

/// What a role may do with the table, and to what.
fn granted(role: &str) -> BTreeSet<(String, String)> {
    let on_the_table = |statement: &Value| {
        let resource = &statement["Resource"];
        resource["Fn::GetAtt"] == "Table.Arn"
            || resource["Fn::Sub"].as_str().is_some_and(|it| it.starts_with("${Table.Arn}"))
    };
    statements(role).iter().filter(|it| on_the_table(it)).flat_map(pairs).collect()
}

/// Each action of a statement, with each beginning of a key.
fn pairs(statement: &Value) -> Vec<(String, String)> {
    let keys = match statement["Resource"]["Fn::Sub"].as_str() {
        Some(index) => [index.trim_start_matches("${Table.Arn}/").to_owned()].into(),
        None => leading_keys(statement),
    };
    let actions = texts(&statement["Action"]);
    let of_the_table = actions.iter().filter_map(|action| action.strip_prefix("dynamodb:"));
    of_the_table.flat_map(|action| keys.iter().map(move |key| (action.to_owned(), key.clone()))).collect()
}

/// What the keys begin with that a statement is about: the pattern `claim#*` is `claim#`.
fn leading_keys(statement: &Value) -> BTreeSet<String> {
    let patterns = &statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
    let patterns = patterns.as_array().unwrap_or_else(|| panic!("any key at all: {statement}")).iter();
    patterns.map(|it| as_text(it).strip_suffix('*').expect("a pattern").to_owned()).collect()
}

/// Puts an entry on a trail without moving its head: what a reader sees of another writer's transaction halfway through.
fn put_half_of_a_rivals_entry(world: &World, trail: &str) {
    let sequence = world.trail(trail).len() + 1;
    let entry = json!({
        "pk": {"S": format!("trail#{}", hex::encode(Sha256::digest(trail)))},
        "sk": {"S": format!("entry#{sequence:012}")},
        "v": {"N": "1"},
        "trail": {"S": trail},
        "entry": {"S": "{}"},
        "hash": {"S": "a rival's"},
    });
    world.engine.put(&entry).expect("the entry is an item");
}

#[tokio::test]
async fn webhook_intake_may_do_what_it_does_and_no_more() {
    let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "1000000")]).await;

    world.deliver(r#"{"id":"small","type":"t"}"#).await;
    world.deliver(json!({"id": "large", "text": "x".repeat(600_000)}).to_string()).await;
    world.deliver("not an event").await;

    assert_eq!(granted("WebhookIntakeRole"), world.store.accesses());
}

#[tokio::test]
async fn data_actions_may_do_what_it_does_and_no_more() {
    let world = World::with(Surface::Platform, &[("RETRY_ATTEMPTS", "1")]).await;
    let key = [("idempotency-key", "large")];
    world.genesys.data_action("large", Behaviour::status(200, "text/plain", "x".repeat(600_000)));
    world.invoke("large", &key, "{}").await;
    let cold = world.another_instance(&[]).await;
    assert!(world.invoke_at(&cold, "large", &key, "{}").await.is_replay());
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());
    let patient = [("idempotency-key", "k"), ("prefer", "wait=20")];
    let release = async {
        world.store.wait_for("GetItem", 1).await;
        world.genesys.release_stalled();
    };
    let running = join(world.invoke("a", &patient, "{}"), world.invoke_at(&cold, "a", &patient, "{}"));
    let ((one, other), ()) = join(running, release).await;
    assert_eq!((one.status, other.status), (200, 200));

    let before: BTreeSet<_> = world.trails().into_iter().collect();
    world.genesys.fault(Operation::ExecuteDataAction, Fault::status(403));
    let key = [("idempotency-key", "again")];
    assert_eq!(world.invoke("a", &key, "{}").await.problem(), "upstream-rejected");
    let trails: Vec<_> = world.trails().into_iter().filter(|it| !before.contains(it)).collect();
    let [trail] = trails.as_slice() else { panic!("one trail: {trails:?}") };
    put_half_of_a_rivals_entry(&world, trail);
    world.invoke("a", &key, "{}").await;

    assert_eq!(granted("DataActionsRole"), world.store.accesses());
}

#[tokio::test]
async fn transfers_may_do_what_it_does_and_no_more() {
    let world = World::with(Surface::Platform, &[("CRM_WEBHOOK_URL", "https://crm.example")]).await;
    world.genesys.conversation("c", Conversation::with_agent("alice"));
    world.genesys.queue("q", Queue::open().joined(1));
    world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
    let order =
        json!({"conversationId": "c", "transferType": "blind", "destination": {"type": "queue", "id": "q"}});
    let patient = [("idempotency-key", "k"), ("prefer", "wait=20")];
    let cold = world.another_instance(&[]).await;
    let one = world.transfer(&patient, &order);
    let other = async {
        world.genesys.wait_for_stalled(1).await;
        world.transfer_at(&cold, &patient, &order).await
    };
    let release = async {
        world.store.wait_for("GetItem", 1).await;
        world.genesys.release_stalled();
    };
    let ((one, other), ()) = join(join(one, other), release).await;
    assert_eq!((one.status, other.status), (200, 200));
    let [trail] = &world.trails()[..] else { panic!("one trail") };
    put_half_of_a_rivals_entry(&world, trail);
    world.transfer(&[("idempotency-key", "another")], &order).await;

    assert_eq!(granted("TransfersRole"), world.store.accesses());
}

#[tokio::test]
async fn retention_may_do_what_it_does_and_no_more() {
    let world = World::with(Surface::Guide, &[("AUDIT_WEBHOOK_URL", "https://audit.example")]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    let policies = |count: usize| -> Vec<Value> {
        let policy = |number| {
            json!({"name": format!("p-{number}"), "objectType": "call", "retentionPeriod": 100 + number * 20,
                "schedule": {"frequency": "DAILY"}})
        };
        (0..count).map(policy).collect()
    };
    let order = |id: &str, count| json!({"run": "run", "runId": id, "licenseTier": "STANDARD", "policies": policies(count)});
    let cold = world.another_instance(&[]).await;

    let first = world.retention(&order("r", 20)).await;
    let again = world.retention_at(&cold, &order("r", 20)).await;
    assert_eq!(first.json(), again.json());
    let trail = world.trails().into_iter().find(|trail| trail.contains("p-1")).expect("a policy's trail");
    put_half_of_a_rivals_entry(&world, &trail);
    let mut changed = order("s", 20);
    changed["policies"][1]["retentionPeriod"] = json!(999);
    world.retention(&changed).await;

    assert_eq!(granted("RetentionRole"), world.store.accesses());
}

/// A world in which a data action's holder and a transfer's died while they acted.
async fn world_with_dead_holders() -> World {
    let settings = [("CRM_WEBHOOK_URL", "https://crm.example")];
    let world = World::with(Surface::Platform, &settings).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.conversation("c", Conversation::with_agent("alice"));
    world.genesys.queue("q", Queue::open().joined(1));
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());
    world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
    let dying = world.another_instance(&settings).await;
    let order =
        json!({"conversationId": "c", "transferType": "blind", "destination": {"type": "queue", "id": "q"}});
    let (action_key, transfer_key) = ([("idempotency-key", "k")], [("idempotency-key", "t")]);
    let both = join(
        world.invoke_at(&dying, "a", &action_key, "{}"),
        world.transfer_at(&dying, &transfer_key, &order),
    );
    tokio::select! {
        responses = both => panic!("{responses:?}"),
        () = world.genesys.wait_for_stalled(2) => {}
    }
    drop(dying);
    world.genesys.wait_for_stalled(0).await;
    world
}

async fn sweep(relay: &Relay) {
    relay.sweep().await.expect("the store is there");
}

#[tokio::test]
async fn the_relay_may_do_what_it_does_and_no_more() {
    let world = world_with_dead_holders().await;
    let (bus, inbox) = (Bus::start().await.expect("loopback has a free port"), world.inbox().await);
    world.deliver(r#"{"id":"e","type":"t"}"#).await;
    let [trail] = &world.trails()[..] else { panic!("the trail of the transfer: {:?}", world.trails()) };
    put_half_of_a_rivals_entry(&world, trail);
    for nth in 1..=6 {
        world.put_notice(&format!("msg_{nth}"), &inbox.url());
    }
    inbox.answer_with(StatusCode::INTERNAL_SERVER_ERROR);
    world.store.reset_counts();

    let relay = world.relay_with_bus(&bus, &[]).await;
    // What fails at first is found by the sweep.
    bus.throttle(true);
    relay.feed_stream().await.expect("the relay takes its stream");
    bus.throttle(false);
    world.let_pass(Duration::from_secs(61));
    sweep(&relay).await;

    assert_eq!(granted("RelayRole"), world.store.accesses());
}

/// The services of AWS that a crate asks something of.
fn services(crate_path: &str) -> BTreeSet<String> {
    let manifest = source(&format!("{crate_path}/Cargo.toml"));
    let names = manifest.lines().filter_map(|line| line.strip_prefix("aws-sdk-"));
    names.filter_map(|rest| rest.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn a_role_allows_requests_to_the_services_that_the_code_speaks_to_and_to_no_others() {
    // The stand-ins for these services know these requests, and refuse any other.
    let requests = [("secretsmanager", "secretsmanager:GetSecretValue"), ("eventbridge", "events:PutEvents")];
    for (binary, name) in FUNCTIONS {
        let mut spoken_to = services("shared");
        spoken_to.extend(services(&format!("functions/{binary}")));
        assert!(spoken_to.remove("dynamodb"), "{binary}");
        let granted: BTreeSet<_> =
            statements(&format!("{name}Role")).iter().flat_map(|it| texts(&it["Action"])).collect();
        for (service, request) in requests {
            // Every crate has what shared has; only some settings name a secret.
            assert!(!granted.contains(request) || spoken_to.contains(service), "{binary}: {request}");
        }
        let known: BTreeSet<_> = requests.iter().map(|(service, _)| (*service).to_owned()).collect();
        assert!(spoken_to.is_subset(&known), "{binary}: {spoken_to:?}");
    }
}

#[test]
fn nobody_may_update_or_delete_an_entry_of_a_trail() {
    for (_, name) in FUNCTIONS {
        let role = format!("{name}Role");
        for (action, key) in granted(&role) {
            let writes_anew = ["UpdateItem", "BatchWriteItem"].contains(&action.as_str());
            assert!(!writes_anew || key != "trail#", "{role}: {action} {key}");
            assert!(!action.contains("Delete") && !action.contains("PartiQL"), "{role}: {action} {key}");
            // What begins with nothing, or with half of a kind, would be a trail's key as well.
            assert!(key.ends_with('#') && key.len() > 1 || key == "index/due", "{role}: {action} {key}");
        }
    }
}
