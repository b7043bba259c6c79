//! Transfers, by the list of what must hold.

mod story;
mod door;
mod look;
mod upstream;
mod moves;
mod refusals;
mod unclear;
mod repeats;
mod leases;
mod store;
mod races;
mod privacy;

use std::time::Duration;

use harness::world::{Response, World};
use serde_json::{Value, json};
use simulator::{Conversation, Operation, Queue, Surface, User};

const SURFACES: [Surface; 2] = [Surface::Platform, Surface::Guide];

/// So little time that nobody waits long for what does not come.
const BRIEF: (&str, &str) = ("HTTP_TIMEOUT_SECONDS", "2");

/// What a claim holds for when Lambda says nothing of a deadline, and a moment more.
const PAST_THE_LEASE: Duration = Duration::from_millis(60_001);

/// How long a wait may take before the test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// The header that names the key `k`.
const KEY: [(&str, &str); 1] = [("idempotency-key", "k")];

/// The header that names a key.
fn keyed(key: &str) -> [(&'static str, &str); 1] {
    [("idempotency-key", key)]
}

/// Where transfer notices go.
const CRM: (&str, &str) = ("CRM_WEBHOOK_URL", "https://crm.example/transfers");

/// A world in which the conversation `c` is with the agent `alice`, and `bob` and the queue `support` can answer.
async fn world(surface: Surface) -> World {
    world_with(surface, &[CRM]).await
}

async fn world_with(surface: Surface, variables: &[(&str, &str)]) -> World {
    let world = World::with(surface, variables).await;
    world.genesys.conversation("c", Conversation::with_agent("alice"));
    world.genesys.queue("support", Queue::open().joined(3));
    world.genesys.queue("closed", Queue::closed());
    world.genesys.user("alice", User::available());
    world.genesys.user("bob", User::available());
    world.genesys.user("carol", User::offline());
    world
}

/// A blind transfer of `c` to the queue `support`.
fn to_support() -> Value {
    blind("queue", "support")
}

fn blind(kind: &str, id: &str) -> Value {
    json!({"conversationId": "c", "transferType": "blind", "destination": {"type": kind, "id": id}})
}

fn consult(kind: &str, id: &str) -> Value {
    json!({"conversationId": "c", "transferType": "consult", "destination": {"type": kind, "id": id},
        "consult": {"speakTo": "destination", "consultingUserId": "alice"}})
}

/// The status, and what tells one answer of that status from another.
fn told(response: &Response) -> (u16, String) {
    let is_problem = response.header("content-type") == Some("application/problem+json");
    let word = if is_problem {
        response.problem()
    } else {
        response.json()["status"].as_str().unwrap_or_default().to_owned()
    };
    (response.status, word)
}

/// What the trail of `c` says happened.
fn actions(world: &World) -> Vec<String> {
    let trail = world.trail("conversation:c");
    trail.iter().map(|entry| entry["action"].as_str().expect("an entry has an action").to_owned()).collect()
}

/// The bodies of the notices in the outbox.
fn notices(world: &World) -> Vec<Value> {
    let body =
        |item: &Value| serde_json::from_str(item["body"]["S"].as_str().expect("a body")).expect("JSON");
    world.items("notice").iter().map(body).collect()
}

/// The state of the one claim on record.
fn state(world: &World) -> String {
    let claims = world.items("claim");
    assert_eq!(claims.len(), 1, "{claims:?}");
    claims[0]["state"]["S"].as_str().expect("a claim has a state").to_owned()
}

/// The one claim on record.
fn claim(world: &World) -> Value {
    let mut claims = world.items("claim");
    assert_eq!(claims.len(), 1, "{claims:?}");
    claims.remove(0)
}

/// The statuses of the notices in the outbox, sorted.
fn statuses(world: &World) -> Vec<String> {
    let status = |notice: &Value| notice["status"].as_str().expect("a notice has a status").to_owned();
    let mut statuses: Vec<String> = notices(world).iter().map(status).collect();
    statuses.sort();
    statuses
}

/// How often a transfer was asked for upstream, whatever became of it.
fn posts(world: &World) -> usize {
    world.genesys.request_count(Operation::Transfer)
}

/// What is told to somebody who is refused.
fn refused(status: u16, slug: &str) -> (u16, String) {
    (status, slug.to_owned())
}

/// What is told to somebody whose call was transferred.
fn completed() -> (u16, String) {
    (200, "completed".to_owned())
}

/// Lets another instance get stuck with `request` in a stall that was scripted upstream, and die there.
async fn abandon(world: &World, request: &Value) {
    let dying = world.another_instance(&[CRM]).await;
    let stuck = async {
        tokio::select! {
            response = world.transfer_at(&dying, &KEY, request) => panic!("it was to be stuck: {response:?}"),
            () = world.genesys.wait_for_stalled(1) => {}
        }
    };
    tokio::time::timeout(PATIENCE, stuck).await.expect("a stall strikes");
    drop(dying);
    let gone = world.genesys.wait_for_stalled(0);
    tokio::time::timeout(PATIENCE, gone).await.expect("a stall ends with its client");
}
