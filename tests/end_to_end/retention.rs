//! Retention: what is written is deployed, once; what is not is reported; and what is cut off is carried on.

mod story;
mod door;
mod look;
mod overlaps;
mod conflicts;
mod drift;
mod jobs;
mod patience;
mod runs;
mod surfaces;
mod report;
mod trouble;
mod notices;
mod budgets;
mod binary;
pub(crate) mod recovery;
mod crashes;
mod races;
mod leases;
mod store;
pub(crate) mod load;
mod circuit;

use harness::world::{Response, World};
use serde_json::{Value, json};
use simulator::{Operation, Surface};

const SURFACES: [Surface; 2] = [Surface::Platform, Surface::Guide];

/// Where retention notices go.
pub(crate) const AUDIT: (&str, &str) = ("AUDIT_WEBHOOK_URL", "https://audit.example/retention");

/// So long a wait for a job that there is no time for it in one invocation.
const SLOW_POLLS: (&str, &str) = ("RETENTION_POLL_BASE_MS", "60000");

async fn world(surface: Surface) -> World {
    World::with(surface, &[AUDIT]).await
}

/// A policy that is written as it must be.
fn policy(name: &str, object_type: &str, days: u64) -> Value {
    json!({
        "name": name,
        "objectType": object_type,
        "retentionPeriod": days,
        "schedule": {"frequency": "DAILY", "timezone": "Europe/Berlin"},
        "tags": ["GDPR"],
        "dailyVolumeGb": 2.5,
    })
}

/// An order for these policies.
fn order(run: &str, policies: &[Value]) -> Value {
    json!({"run": run, "licenseTier": "ENTERPRISE", "policies": policies})
}

/// The same, with another member.
fn with(mut order: Value, member: &str, value: impl Into<Value>) -> Value {
    order[member] = value.into();
    order
}

/// The report that an order is answered with.
async fn report(world: &World, order: &Value) -> Value {
    reported(&world.retention(order).await)
}

fn reported(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// What became of each policy, in the report's order: its name and status.
fn statuses(report: &Value) -> Vec<(String, String)> {
    let text = |policy: &Value, name: &str| policy[name].as_str().expect("a text").to_owned();
    let policies = report["policies"].as_array().expect("policies").iter();
    policies.map(|policy| (text(policy, "name"), text(policy, "status"))).collect()
}

/// What became of the one policy of a report.
fn only(report: &Value) -> &Value {
    let policies = report["policies"].as_array().expect("policies");
    assert_eq!(policies.len(), 1, "{report}");
    &policies[0]
}

/// The names of the report's events, in order.
fn events(report: &Value) -> Vec<&str> {
    let events = report["events"].as_array().expect("events").iter();
    events.map(|event| event["event"].as_str().expect("a name")).collect()
}

fn compliance(report: &Value) -> &str {
    report["summary"]["policyCompliance"].as_str().expect("a word")
}

/// The actions on the trail of a policy.
fn actions(world: &World, name: &str) -> Vec<String> {
    let trail = format!("policy:{} {}:{name}", world.genesys.surface(), world.genesys.url());
    let entries = world.trail(&trail);
    entries.iter().map(|entry| entry["action"].as_str().expect("an action").to_owned()).collect()
}

/// The bodies of the notices in the outbox.
fn notices(world: &World) -> Vec<Value> {
    let body =
        |item: &Value| serde_json::from_str(item["body"]["S"].as_str().expect("a body")).expect("JSON");
    world.items("notice").iter().map(body).collect()
}

/// The same order, where overlaps are merged.
fn merging(order: Value) -> Value {
    with(order, "onOverlap", "merge")
}

/// The same order, where drift is overwritten.
fn applying(order: Value) -> Value {
    with(order, "onDrift", "apply")
}

/// An order to deploy one policy that keeps calls for so many days.
fn calls(days: u64) -> Value {
    order("run", &[policy("Calls", "call", days)])
}

/// The only status of a report.
fn status(report: &Value) -> &str {
    only(report)["status"].as_str().expect("a status")
}

/// What a report says went wrong with its only policy.
fn error(report: &Value) -> &str {
    only(report)["error"].as_str().unwrap_or_default()
}

/// How often Genesys Cloud was asked for a change, whatever came of it.
fn asked_for(world: &World) -> usize {
    let operations = [Operation::CreatePolicy, Operation::UpdatePolicy, Operation::DeletePolicy];
    operations.into_iter().map(|operation| world.genesys.request_count(operation)).sum()
}

/// How often an event is on a report.
fn times(report: &Value, event: &str) -> usize {
    events(report).iter().filter(|it| **it == event).count()
}

/// The name and period of each policy that is there.
fn periods(world: &World) -> Vec<(String, u64)> {
    let policies = world.genesys.policies().into_iter();
    policies.map(|policy| (policy.name, policy.retention_days.expect("a period"))).collect()
}

fn named(name: &str, days: u64) -> (String, u64) {
    (name.to_owned(), days)
}
