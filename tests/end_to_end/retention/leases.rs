//! The lease: who holds it is alone, who lost it changes nothing, and what was ordered last is what counts.

use std::time::Duration;

use futures_util::future::join;
use harness::world::{Response, World};
use local::Gateway;
use serde_json::{Value, json};
use simulator::{Fault, Operation, PolicyCourse, Surface};

use super::recovery::{
    At, NAMES, PAST_THE_LEASE, assert_deployed_once, assert_there_once, assert_well, carry_on, doomed,
    told_of, unharmed, whole_order, world,
};
use super::{AUDIT, SURFACES, actions, only, policy, report, reported, statuses, with};

#[track_caller]
fn assert_in_progress(response: &Response) {
    assert_eq!((response.status, response.problem().as_str()), (409, "in-progress"), "{response:?}");
}

/// Lets this gateway's run get stuck at its nth request of this kind, and lets go of it after `meanwhile`.
async fn outlived<T>(
    world: &World,
    order: &Value,
    (call, nth, fault): (Operation, u32, Fault),
    meanwhile: impl Future<Output = T>,
) -> (Response, T) {
    world.genesys.fault(call, unharmed().times(nth - 1));
    world.genesys.fault(call, fault);
    let meanwhile = async {
        world.genesys.wait_for_stalled(1).await;
        world.let_pass(PAST_THE_LEASE);
        let result = meanwhile.await;
        world.genesys.release_stalled();
        result
    };
    let both = join(world.retention(order), meanwhile);
    tokio::time::timeout(Duration::from_mins(1), both).await.expect("a stall strikes, and its run ends")
}

/// An instance that need not ask for a token.
async fn warm(world: &World) -> Gateway {
    let gateway = world.another_instance(&[AUDIT]).await;
    let plan = with(whole_order(), "run", "plan");
    reported(&world.retention_at(&gateway, &plan).await);
    gateway
}

#[tokio::test]
async fn until_its_lease_ends_a_dead_run_keeps_others_out_and_then_no_more() {
    for surface in SURFACES {
        let world = world(surface).await;
        let death = At::Genesys(Operation::CreatePolicy, Fault::stall_after_effect()).nth(1);
        assert!(doomed(&world, &whole_order(), &death).await.is_none());

        world.let_pass(Duration::from_millis(59_999));
        let early = world.retention(&whole_order()).await;
        assert_in_progress(&early);
        assert_eq!(early.header("retry-after"), Some("1"), "{surface}");
        for order in [json!({"run": "resume"}), with(whole_order(), "runId", "r")] {
            let early = report(&world, &order).await;
            assert_eq!(statuses(&early).len(), 3, "{surface}: {early:#}");
            assert!(statuses(&early).iter().all(|(_, status)| status == "pending"), "{surface}: {early:#}");
        }
        let planned = report(&world, &with(whole_order(), "run", "plan")).await;
        assert_eq!(statuses(&planned).len(), 3, "a plan needs no lease");
        world.let_pass(Duration::from_millis(1));
        let late = report(&world, &whole_order()).await;

        assert_well(&late, &surface.to_string());
        carry_on(&world, &world.gateway).await;
        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}

/// Where a run may be held up for longer than its lease, but for the making of a policy that has not happened yet: who
/// comes later cannot know of that.
fn holdups(surface: Surface) -> Vec<(Operation, u32, Fault)> {
    let (before, after) = (Fault::stall_before_effect, Fault::stall_after_effect);
    let mut holdups = vec![
        (Operation::Token, 1, before()),
        (Operation::ListPolicies, 1, before()),
        (Operation::ListPolicies, 1, after()),
        (Operation::CreatePolicy, 1, after()),
        (Operation::CreatePolicy, 2, after()),
        (Operation::CreatePolicy, 3, after()),
    ];
    match surface {
        Surface::Platform => holdups.extend([
            (Operation::ReadRetentionSettings, 1, before()),
            (Operation::ReadPolicy, 1, before()),
            (Operation::ReadPolicy, 3, after()),
        ]),
        Surface::Guide => holdups.extend([
            (Operation::ReadJob, 1, before()),
            (Operation::ReadJob, 3, after()),
            (Operation::ListPolicies, 2, before()),
        ]),
    }
    holdups
}

#[tokio::test]
async fn a_holder_that_comes_back_late_changes_nothing() {
    for surface in SURFACES {
        for holdup in holdups(surface) {
            let case = format!("{surface}: {holdup:?}");
            let world = world(surface).await;
            let other = warm(&world).await;

            let order = whole_order();
            let (late, (successor, before)) = outlived(&world, &order, holdup, async {
                let mut successor = reported(&world.retention_at(&other, &order).await);
                for report in carry_on(&world, &other).await {
                    successor = report;
                }
                (successor, (world.items(""), world.genesys.policies()))
            })
            .await;

            assert_well(&successor, &case);
            assert_eq!(late.status, 200, "{case}: {late:?}");
            assert_eq!((world.items(""), world.genesys.policies()), before, "{case}");
            assert_deployed_once(&world, &NAMES, &case);
        }
    }
}

/// One run, one report: who lost the fence answers with what the winner stored.
#[tokio::test]
async fn a_late_holder_of_a_run_with_a_name_gives_the_report_that_is_on_record() {
    for surface in SURFACES {
        let world = world(surface).await;
        let other = warm(&world).await;
        let holdup = (Operation::ListPolicies, 1, Fault::stall_before_effect());

        let order = with(whole_order(), "runId", "r-1");
        let (late, successor) = outlived(&world, &order, holdup, async {
            world.let_pass(Duration::from_secs(1));
            reported(&world.retention_at(&other, &order).await)
        })
        .await;

        assert_well(&successor, &surface.to_string());
        let stored = reported(&world.retention_at(&other, &order).await);
        assert_eq!(stored, successor, "{surface}");
        assert_deployed_once(&world, &NAMES, &surface.to_string());
        assert_eq!(reported(&late), stored, "{surface}");
    }
}

#[tokio::test]
async fn a_late_holder_does_not_give_back_the_lease_of_its_successor() {
    for surface in SURFACES {
        let world = world(surface).await;
        let (second, third) = (warm(&world).await, warm(&world).await);
        let order = whole_order();
        world.genesys.fault(Operation::ListPolicies, Fault::stall_before_effect().times(2));

        let meanwhile = async {
            world.genesys.wait_for_stalled(1).await;
            world.let_pass(PAST_THE_LEASE);
            let second = world.retention_at(&second, &order);
            let third = async {
                world.genesys.wait_for_stalled(2).await;
                // The first ends as a run that has nobody to ask; the second is still at it.
                let in_between = world.retention_at(&third, &order).await;
                world.genesys.release_stalled();
                in_between
            };
            join(second, third).await
        };
        let (first, (second, in_between)) = join(world.retention(&order), meanwhile).await;

        assert_in_progress(&in_between);
        assert_eq!((first.status, second.status), (200, 200), "{surface}: {first:?} {second:?}");
        carry_on(&world, &world.gateway).await;
        assert_well(&report(&world, &order).await, &surface.to_string());
        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}

#[tokio::test]
async fn an_instance_whose_clock_is_ahead_takes_over_and_each_policy_is_deployed_once() {
    for surface in SURFACES {
        let world = world(surface).await;
        let ahead = world.another_instance_ahead(Duration::from_mins(5), &[AUDIT]).await;
        world.genesys.fault(Operation::CreatePolicy, Fault::stall_after_effect());

        let order = whole_order();
        let meanwhile = async {
            world.genesys.wait_for_stalled(1).await;
            let taken_over = world.retention_at(&ahead, &order).await;
            world.genesys.release_stalled();
            taken_over
        };
        let (first, taken_over) = join(world.retention(&order), meanwhile).await;

        assert_well(&reported(&taken_over), &surface.to_string());
        assert_eq!(first.status, 200, "{first:?}");
        carry_on(&world, &world.gateway).await;
        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}

/// The older order was cut off before it began; the newer one was carried out. Whoever resumes must not undo it.
#[tokio::test]
async fn an_order_that_was_cut_off_does_not_undo_a_later_one() {
    for surface in SURFACES {
        let world = world(surface).await;
        let older = super::order("run", &[policy("Calls", "call", 90)]);
        let newer = super::order("run", &[policy("Calls", "call", 120)]);
        let death = At::Genesys(Operation::ListPolicies, Fault::stall_before_effect()).nth(1);
        assert!(doomed(&world, &older, &death).await.is_none());
        world.let_pass(PAST_THE_LEASE);

        let later = report(&world, &newer).await;
        let resumed = carry_on(&world, &world.gateway).await;

        assert_well(&later, &surface.to_string());
        let there: Vec<_> = world.genesys.policies().iter().map(|policy| policy.retention_days).collect();
        assert_eq!(there, [Some(120)], "{surface}: {resumed:#?}");
        assert_eq!(actions(&world, "Calls"), ["policy-intended", "policy-created"], "{surface}");
    }
}

#[tokio::test]
async fn of_two_orders_that_were_cut_off_both_are_carried_out_and_the_later_one_counts() {
    for surface in SURFACES {
        let world = world(surface).await;
        let death = At::Genesys(Operation::ListPolicies, Fault::stall_before_effect()).nth(1);
        let older = super::order("run", &[policy("Calls", "call", 90), policy("Chats", "chat", 60)]);
        let newer = super::order("run", &[policy("Calls", "call", 120), policy("Emails", "email", 30)]);
        for order in [&older, &newer] {
            assert!(doomed(&world, order, &death).await.is_none());
            world.let_pass(PAST_THE_LEASE);
        }

        let resumed = carry_on(&world, &world.gateway).await;

        for report in &resumed {
            assert_well(report, &surface.to_string());
        }
        let days = |name: &str| {
            let policies = world.genesys.policies();
            policies.iter().find(|policy| policy.name == name).and_then(|policy| policy.retention_days)
        };
        assert_eq!(NAMES.map(days), [Some(120), Some(60), Some(30)], "{surface}");
        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}

/// What was changed while its first form was under way is deployed as it is written now, and not before that is known.
#[tokio::test]
async fn a_later_order_for_what_is_in_a_job_comes_after_the_job() {
    let world = World::with(Surface::Guide, &[AUDIT, super::SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(2));
    let first = report(&world, &super::order("run", &[policy("Calls", "call", 90)])).await;
    assert_eq!(only(&first)["status"], "pending");
    let quick = world.another_instance(&[AUDIT]).await;

    let newer = super::order("run", &[policy("Calls", "call", 120)]);
    let second = reported(&world.retention_at(&quick, &newer).await);
    let again = reported(&world.retention_at(&quick, &newer).await);

    assert_eq!(only(&second)["status"], "updated", "{second:#}");
    assert_eq!(only(&again)["status"], "unchanged", "{again:#}");
    // The surface cannot change a policy: the newer one was registered once more.
    let days: Vec<_> = world.genesys.policies().iter().map(|policy| policy.retention_days).collect();
    assert_eq!(days, [Some(90), Some(120)]);
    assert_eq!(world.genesys.jobs().len(), 2);
    assert!(told_of(&world, "RETENTION_POLICY_DEPLOYED").contains(&"Calls".to_owned()));
}

#[tokio::test]
async fn a_run_that_outlives_its_lease_alone_ends_well() {
    for surface in SURFACES {
        let world = world(surface).await;
        let holdup = (Operation::CreatePolicy, 2, Fault::stall_before_effect());

        let (late, ()) = outlived(&world, &whole_order(), holdup, async {}).await;

        assert_well(&reported(&late), &surface.to_string());
        assert_there_once(&world, &NAMES, &surface.to_string());
        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}
