//! The compiled Lambda binaries, driven as AWS drives them: a process, and the Runtime API it polls.
//!
//! They run on the machine's own clock; where time has to pass, the record is changed instead.

mod crashes;
mod direct;
mod http;
mod logs;
mod queue;
mod retention;
mod retention_crashes;
mod secrets;
mod start;
mod transfer_crashes;
mod transfers;

use harness::runtime_api::{Lambda, binary};
use harness::world::World;
use serde_json::{Value, json};

/// A data action's route, as API Gateway knows it.
const RESOURCE: &str = "/data-actions/{dataActionId}/invocations";

async fn data_actions(world: &World, variables: &[(&str, &str)]) -> Lambda {
    Lambda::start(&binary("data-actions"), &world.variables(variables)).await
}

async fn webhook_intake(world: &World, variables: &[(&str, &str)]) -> Lambda {
    Lambda::start(&binary("webhook-intake"), &world.variables(variables)).await
}

/// A direct invocation of the action `a`.
fn request(key: &str, input: &Value) -> String {
    json!({"dataActionId": "a", "input": input, "idempotencyKey": key}).to_string()
}

/// Lets the lease of the one claim lapse.
fn let_lease_lapse(world: &World) {
    world.meddle("claim", |claim| claim["lease_until"] = json!({"N": "1"}));
}

/// The state of the one claim.
fn state(world: &World) -> String {
    let claims = world.items("claim");
    assert_eq!(claims.len(), 1, "{claims:?}");
    claims[0]["state"]["S"].as_str().expect("a claim has a state").to_owned()
}

/// All that the process has said, after its end: its last lines are then read, too.
async fn last_words(lambda: &Lambda) -> String {
    lambda.kill().await;
    lambda.output()
}
