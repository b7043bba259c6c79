//! A hundred policies while Genesys Cloud asks for patience every third time, and what that costs.

use harness::world::World;
use serde_json::Value;
use simulator::{Fault, Operation, PolicyCourse, Surface};

use super::recovery::{CALLS, asked, assert_deployed_once, carry_on};
use super::{AUDIT, SLOW_POLLS, SURFACES, compliance, order, policy, report, reported, statuses};

/// What the published surface has places for.
const OBJECTS: [&str; 5] = ["call", "chat", "email", "interaction", "sms"];

const MANY: usize = 100;

/// Policies that do not overlap.
pub(crate) fn many() -> Vec<Value> {
    let policy = |nth: usize| {
        let days = 30 + 15 * u64::try_from(nth / OBJECTS.len()).expect("a small number");
        policy(&name(nth), OBJECTS[nth % OBJECTS.len()], days)
    };
    (0..MANY).map(policy).collect()
}

fn name(nth: usize) -> String {
    format!("policy {nth:03}")
}

/// Every third call of each kind is answered with 429.
fn throttle(world: &World) {
    let is_asked = |call: &Operation| match world.genesys.surface() {
        Surface::Platform => *call != Operation::ReadJob,
        Surface::Guide => ![Operation::ReadPolicy, Operation::ReadRetentionSettings].contains(call),
    };
    for call in CALLS.into_iter().filter(is_asked) {
        world.genesys.fault_every(call, 3, Fault::status(429));
    }
}

/// How many requests to the store and to Genesys Cloud there were for each policy, in hundredths.
fn costs(world: &World) -> (usize, usize) {
    (world.store.total() * 100 / MANY, asked(world) * 100 / MANY)
}

#[track_caller]
fn assert_all_are(report: &Value, status: &str) {
    let statuses = statuses(report);
    assert_eq!(statuses.len(), MANY);
    let others: Vec<_> = statuses.iter().filter(|(_, it)| it != status).collect();
    assert!(others.is_empty(), "{others:?}");
}

fn assert_each_is_there(world: &World, case: &str) {
    let names: Vec<_> = (0..MANY).map(name).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_deployed_once(world, &names, case);
    let there = world.genesys.policies();
    for (name, policy) in names.into_iter().zip(many()) {
        let there = there.iter().find(|it| it.name == name).expect("it is there");
        assert_eq!(there.retention_days, policy["retentionPeriod"].as_u64(), "{case}: {name}");
    }
}

#[tokio::test]
async fn a_hundred_policies_are_deployed_though_every_third_call_is_throttled() {
    let world = World::with(Surface::Platform, &[AUDIT]).await;
    throttle(&world);

    let first = report(&world, &order("run", &many())).await;
    let costs = costs(&world);
    // A token and the cap are asked for once: their share of faults never struck.
    world.genesys.clear_faults();

    assert_all_are(&first, "created");
    assert_eq!(compliance(&first), "VERIFIED");
    assert_each_is_there(&world, "platform");
    assert!(costs.0 <= 210 && costs.1 <= 310, "{costs:?}");
}

#[tokio::test]
async fn a_hundred_jobs_are_carried_on_across_invocations_though_every_third_call_is_throttled() {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(2));
    throttle(&world);

    let first = report(&world, &order("run", &many())).await;
    let begun = costs(&world);
    let quick = world.another_instance(&[AUDIT]).await;
    let resumed = carry_on(&world, &quick).await;
    let costs = costs(&world);
    world.genesys.clear_faults();
    let last = reported(&world.retention_at(&quick, &order("run", &many())).await);

    assert_all_are(&first, "pending");
    assert_eq!(compliance(&first), "PENDING");
    assert_all_are(resumed.last().expect("a report"), "created");
    assert_eq!(resumed.len(), 1);
    assert_all_are(&last, "unchanged");
    assert_eq!(compliance(&last), "VERIFIED");
    assert_each_is_there(&world, "guide");
    assert!(begun.0 <= 310 && costs.0 <= 720 && costs.1 <= 620, "{begun:?} {costs:?}");
}

#[tokio::test]
async fn a_hundred_policies_that_are_deployed_already_cost_no_write_and_hardly_a_call() {
    for surface in SURFACES {
        let world = World::with(surface, &[AUDIT]).await;
        assert_all_are(&report(&world, &order("run", &many())).await, "created");
        world.store.reset_counts();
        let calls = asked(&world);

        assert_all_are(&report(&world, &order("run", &many())).await, "unchanged");

        assert_eq!(world.store.total(), 3, "{surface}: {:?}", world.store.counts());
        assert!(asked(&world) - calls <= 5, "{surface}: {}", asked(&world) - calls);
    }
}
