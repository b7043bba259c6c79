//! Transfers, by the list of what must hold.

mod story;

use harness::world::{Response, World};
use serde_json::{Value, json};
use simulator::{Conversation, Queue, Surface, User};

const SURFACES: [Surface; 2] = [Surface::Platform, Surface::Guide];

/// The header that names the key `k`.
const KEY: [(&str, &str); 1] = [("idempotency-key", "k")];

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
