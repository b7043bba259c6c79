//! Data actions over HTTP, by the list of what must hold.

mod answers;
mod concurrency;
mod keys;
mod leases;
mod records;
mod repeats;
mod requests;
mod routes;
mod store;
mod tokens;
mod unclear;
mod upstream;

use std::time::Duration;

use harness::world::World;
use serde_json::Value;
use simulator::{Behaviour, Fault, Operation, Surface};

const SURFACES: [Surface; 2] = [Surface::Platform, Surface::Guide];

/// The operator's word that the action `a` may be sent twice.
const RETRY_SAFE: (&str, &str) = ("RETRY_SAFE_DATA_ACTIONS", "a");

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

/// A world with the action `a`, whose first execution meets `fault`.
async fn faulty_world(surface: Surface, fault: Fault, variables: &[(&str, &str)]) -> World {
    let world = World::with(surface, variables).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, fault);
    world
}

/// How often an execution was asked for upstream, whatever became of it.
fn calls(world: &World) -> usize {
    world.genesys.request_count(Operation::ExecuteDataAction)
}

fn token_calls(world: &World) -> usize {
    world.genesys.request_count(Operation::Token)
}

/// The one claim on record.
fn claim(world: &World) -> Value {
    let mut claims = world.items("claim");
    assert_eq!(claims.len(), 1, "{claims:?}");
    claims.remove(0)
}

fn state(world: &World) -> String {
    claim(world)["state"]["S"].as_str().expect("a claim has a state").to_owned()
}

/// Lets an instance with these variables get stuck in a stall that was scripted upstream, and die there.
async fn abandon(world: &World, variables: &[(&str, &str)]) {
    let dying = world.another_instance(variables).await;
    let stuck = async {
        tokio::select! {
            response = world.invoke_at(&dying, "a", &KEY, "{}") => panic!("it was to be stuck: {response:?}"),
            () = world.genesys.wait_for_stalled(1) => {}
        }
    };
    tokio::time::timeout(PATIENCE, stuck).await.expect("a stall strikes");
    drop(dying);
    let gone = world.genesys.wait_for_stalled(0);
    tokio::time::timeout(PATIENCE, gone).await.expect("a stall ends with its client");
}

/// The URL of a port of the loopback address at which nobody listens.
async fn nobodys_url() -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
    format!("http://{}", listener.local_addr().expect("a listener has an address"))
}
