//! Runs: one at a time, and each that has a name once.

use std::time::Duration;

use simulator::{Fault, PolicyCourse};

use super::*;

fn scheduled(id: &str) -> Value {
    with(calls(90), "runId", id)
}

#[tokio::test]
async fn two_deliveries_of_one_scheduled_run_do_the_work_once() {
    for surface in SURFACES {
        let world = world(surface).await;

        let first = world.retention(&scheduled("exec-1")).await;
        let calls = world.genesys.requests().len();
        let again = world.retention(&scheduled("exec-1")).await;
        let elsewhere = world.another_instance(&[AUDIT]).await;
        let cold = world.retention_at(&elsewhere, &scheduled("exec-1")).await;

        assert_eq!(status(&reported(&first)), "created");
        for repeat in [again, cold] {
            assert_eq!(reported(&repeat), reported(&first), "{surface}");
        }
        assert_eq!(world.genesys.requests().len(), calls, "nobody was asked again");
        assert_eq!(notices(&world).len(), 1);
    }
}

#[tokio::test]
async fn another_run_is_another_run_and_so_is_one_without_a_name() {
    for surface in SURFACES {
        let world = world(surface).await;
        for (order, expected) in
            [(scheduled("exec-1"), "created"), (scheduled("exec-2"), "unchanged"), (calls(90), "unchanged")]
        {
            assert_eq!(status(&report(&world, &order).await), expected, "{surface}");
        }
        assert_eq!(asked_for(&world), 1);
    }
}

#[tokio::test]
async fn a_name_of_a_run_is_good_for_one_order() {
    for surface in SURFACES {
        let world = world(surface).await;
        report(&world, &scheduled("exec-1")).await;

        let other = world.retention(&with(calls(200), "runId", "exec-1")).await;

        assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"));
        assert_eq!(periods(&world), [named("Calls", 90)]);
    }
}

#[tokio::test]
async fn while_a_run_is_under_way_every_other_is_told_so() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::CreatePolicy, Fault::stall_after_effect());
        let order = scheduled("exec-1");

        let (first, ()) = tokio::join!(world.retention(&order), async {
            world.genesys.wait_for_stalled(1).await;
            for other in [order.clone(), calls(90)] {
                let response = world.retention(&other).await;
                assert_eq!((response.status, response.problem().as_str()), (409, "in-progress"), "{surface}");
            }
            let second = report(&world, &scheduled("exec-2")).await;
            assert_eq!((status(&second), error(&second)), ("pending", "another run is at work"), "{surface}");
            let plan = report(&world, &with(calls(90), "run", "plan")).await;
            assert!(["pending", "unchanged"].contains(&status(&plan)), "a plan waits for nobody: {plan:#}");
            world.genesys.release_stalled();
        });

        assert_eq!(status(&reported(&first)), "created");
        let resumed = report(&world, &json!({"run": "resume"})).await;
        assert_eq!(status(&resumed), "unchanged", "{surface}: {resumed:#}");
        assert_eq!(periods(&world), [named("Calls", 90)]);
    }
}

#[tokio::test]
async fn a_plan_names_no_run_and_is_made_anew_each_time() {
    for surface in SURFACES {
        let world = world(surface).await;
        let plan = with(scheduled("exec-1"), "run", "plan");

        assert_eq!(only(&report(&world, &plan).await)["action"], "create");
        assert_eq!(status(&report(&world, &scheduled("exec-1")).await), "created");
        assert_eq!(only(&report(&world, &plan).await)["action"], "unchanged");
    }
}

#[tokio::test]
async fn the_report_of_a_pending_run_is_given_again_and_resume_carries_on() {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));

    let first = report(&world, &scheduled("exec-1")).await;
    let again = report(&world, &scheduled("exec-1")).await;
    let quick = world.another_instance(&[AUDIT]).await;
    let resumed = reported(&world.retention_at(&quick, &json!({"run": "resume"})).await);

    assert_eq!((status(&first), &again), ("pending", &first));
    assert_eq!(status(&resumed), "created", "{resumed:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
}

#[tokio::test]
async fn runs_at_the_same_instant_make_one_policy() {
    for surface in SURFACES {
        let world = world(surface).await;
        let gateways = [world.another_instance(&[AUDIT]).await, world.another_instance(&[AUDIT]).await];
        let (order, other) = (calls(90), calls(90));

        let (a, b, c) = tokio::join!(
            world.retention(&order),
            world.retention_at(&gateways[0], &order),
            world.retention_at(&gateways[1], &other),
        );

        for response in [a, b, c] {
            let is_report = response.status == 200;
            assert!(is_report || response.problem() == "in-progress", "{surface}: {response:?}");
        }
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1, "{surface}");
        assert_eq!(periods(&world), [named("Calls", 90)]);
    }
}

/// Two runs meet when one outlives its lease. What is on record keeps the older one from asking for anything.
#[tokio::test]
async fn a_run_that_outlives_its_lease_does_nothing_that_another_has_done() {
    let steps = [
        (Operation::ListPolicies, Fault::stall_after_effect()),
        (Operation::ListPolicies, Fault::stall_before_effect()),
        (Operation::CreatePolicy, Fault::stall_after_effect()),
    ];
    for surface in SURFACES {
        for (operation, fault) in steps.clone() {
            let name = format!("{surface} {operation} {fault}");
            let world = world(surface).await;
            world.genesys.fault(operation, fault);
            let other = world.another_instance(&[AUDIT]).await;
            let order = calls(90);

            let (outlived, meanwhile) = tokio::join!(report(&world, &order), async {
                world.genesys.wait_for_stalled(1).await;
                world.let_pass(Duration::from_mins(2));
                let meanwhile = reported(&world.retention_at(&other, &order).await);
                world.genesys.release_stalled();
                meanwhile
            });

            assert_eq!((status(&meanwhile), compliance(&meanwhile)), ("created", "VERIFIED"), "{name}");
            assert_eq!(outlived["policies"].as_array().map(Vec::len), Some(1), "{name}: {outlived:#}");
            assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1, "{name}");
            assert_eq!(actions(&world, "Calls"), ["policy-intended", "policy-created"], "{name}");
            assert_eq!(notices(&world).len(), 1, "{name}");
            assert_eq!(status(&report(&world, &order).await), "unchanged", "{name}");
        }
    }
}

/// What another order has begun is carried on by the way, and is none of this run's business.
#[tokio::test]
async fn a_report_is_of_what_was_ordered_and_of_nothing_else() {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    assert_eq!(status(&report(&world, &calls(90)).await), "pending");
    let quick = world.another_instance(&[AUDIT]).await;

    let other = order("run", &[policy("Mails", "email", 90)]);
    let other = reported(&world.retention_at(&quick, &other).await);

    assert_eq!((only(&other)["name"].as_str(), status(&other)), (Some("Mails"), "created"), "{other:#}");
    assert_eq!(world.genesys.policies().len(), 2, "and the other one was carried on");
}

#[tokio::test]
async fn an_order_of_more_policies_than_there_is_time_for_is_refused() {
    let world = world(Surface::Platform).await;
    let many: Vec<_> = (0..1001).map(|number| policy(&format!("p {number}"), "call", 90)).collect();

    let response = world.retention(&order("run", &many)).await;

    assert_eq!((response.status, response.problem().as_str()), (400, "invalid-request"), "{response:?}");
    assert_eq!(world.genesys.requests().len(), 0);
}
