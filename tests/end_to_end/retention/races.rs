//! Deliveries of one run, and runs that meet: the work is done once, and who is not at it is told so.

use std::time::Duration;

use futures_util::future::join_all;
use harness::world::Response;
use serde_json::{Value, json};
use simulator::{Fault, Operation};

use super::recovery::{
    NAMES, PAST_THE_LEASE, asked, assert_deployed_once, assert_well, carry_on, told_of, whole_order, world,
};
use super::{AUDIT, SURFACES, policy, report, reported, statuses, with};

/// The order of the story as a schedule gives it.
fn scheduled(run: &str) -> Value {
    with(whole_order(), "runId", run)
}

/// Another order under the name of the same run.
fn another(run: &str) -> Value {
    with(scheduled(run), "policies", vec![policy("Calls", "call", 91)])
}

#[track_caller]
fn assert_in_progress(response: &Response) {
    assert_eq!((response.status, response.problem().as_str()), (409, "in-progress"), "{response:?}");
    assert_eq!(response.json()["retryable"], true);
}

/// Whether all of it waits for a run that is at work.
fn is_left_to_another_run(report: &Value) -> bool {
    let policies = report["policies"].as_array().expect("policies");
    let is_left = |it: &Value| it["status"] == "pending" && it["error"] == "another run is at work";
    !policies.is_empty() && policies.iter().all(is_left)
}

#[track_caller]
fn assert_key_reused(response: &Response) {
    assert_eq!((response.status, response.problem().as_str()), (422, "key-reused"), "{response:?}");
}

#[tokio::test]
async fn a_second_delivery_of_a_run_gets_its_report_and_asks_nobody() {
    for surface in SURFACES {
        let world = world(surface).await;
        let first = report(&world, &scheduled("r-1")).await;
        let calls = asked(&world);
        let cold = world.another_instance(&[AUDIT]).await;

        world.let_pass(Duration::from_hours(24 * 13));
        for gateway in [&world.gateway, &cold, &cold] {
            let again = reported(&world.retention_at(gateway, &scheduled("r-1")).await);
            assert_eq!(again, first, "{surface}");
        }

        assert_well(&first, &surface.to_string());
        assert_eq!((&first["runId"], asked(&world)), (&json!("r-1"), calls), "{surface}");
        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}

#[tokio::test]
async fn an_order_that_is_spelled_otherwise_is_the_same_run() {
    for surface in SURFACES {
        let world = world(surface).await;
        let first = report(&world, &scheduled("r-1")).await;
        let spaced = serde_json::to_string_pretty(&scheduled("r-1")).unwrap().replace("90,", "9e1 ,");
        let url = format!("{}/retention", world.gateway.url());

        assert_eq!(reported(&world.post(&url, &[], spaced).await), first, "{surface}");
    }
}

#[tokio::test]
async fn a_second_delivery_during_the_run_is_told_that_it_is_in_progress() {
    for surface in SURFACES {
        for fault in [Fault::stall_before_effect(), Fault::stall_after_effect()] {
            let case = format!("{surface} {fault}");
            let world = world(surface).await;
            let cold = world.another_instance(&[AUDIT]).await;
            world.genesys.fault(Operation::CreatePolicy, fault);

            let order = scheduled("r-1");
            let (first, meanwhile) = world
                .while_stalled(world.retention(&order), async {
                    let mut responses = Vec::new();
                    for gateway in [&world.gateway, &cold] {
                        responses.push(world.retention_at(gateway, &order).await);
                        assert_key_reused(&world.retention_at(gateway, &another("r-1")).await);
                    }
                    responses
                })
                .await;

            meanwhile.iter().for_each(assert_in_progress);
            let again = reported(&world.retention_at(&cold, &order).await);
            assert_eq!(again, reported(&first), "{case}");
            assert_well(&again, &case);
            assert_deployed_once(&world, &NAMES, &case);
        }
    }
}

#[tokio::test]
async fn two_deliveries_at_the_same_instant_do_the_work_once() {
    for surface in SURFACES {
        let world = world(surface).await;
        let other = world.another_instance(&[AUDIT]).await;
        for round in 1..=12 {
            let order = scheduled(&format!("r-{round}"));
            let racers = [&world.gateway, &other, &world.gateway, &other];
            let responses = join_all(racers.map(|gateway| world.retention_at(gateway, &order))).await;

            let (done, refused): (Vec<_>, Vec<_>) =
                responses.iter().partition(|response| response.status == 200);
            refused.into_iter().for_each(assert_in_progress);
            let stored = report(&world, &order).await;
            assert!(!done.is_empty(), "{surface} {round}: {responses:?}");
            for response in done {
                assert_eq!(reported(response), stored, "{surface} {round}");
            }
            assert_well(&stored, &format!("{surface} {round}"));
        }
        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}

#[tokio::test]
async fn a_run_is_one_order_and_its_name_is_not_for_another() {
    for surface in SURFACES {
        let world = world(surface).await;
        let first = report(&world, &scheduled("r-1")).await;
        let before = (asked(&world), world.items(""));
        let cold = world.another_instance(&[AUDIT]).await;

        let apply = with(scheduled("r-1"), "onDrift", "apply");
        for order in [another("r-1"), apply] {
            for gateway in [&world.gateway, &cold] {
                assert_key_reused(&world.retention_at(gateway, &order).await);
            }
        }

        assert_eq!((asked(&world), world.items("")), before, "{surface}");
        assert_eq!(report(&world, &scheduled("r-1")).await, first, "{surface}");
    }
}

#[tokio::test]
async fn a_later_run_without_a_name_and_one_of_another_name_are_new_runs() {
    for surface in SURFACES {
        let world = world(surface).await;
        report(&world, &scheduled("r-1")).await;

        for order in [whole_order(), whole_order(), scheduled("r-2")] {
            let calls = world.genesys.request_count(Operation::ListPolicies);
            let later = report(&world, &order).await;
            assert!(statuses(&later).iter().all(|(_, status)| status == "unchanged"), "{later:#}");
            assert_eq!(later["runId"], order["runId"], "{surface}");
            assert!(world.genesys.request_count(Operation::ListPolicies) > calls, "{surface}: it has looked");
        }

        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}

#[tokio::test]
async fn a_scheduled_run_that_meets_another_is_carried_out_by_the_next_resume() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::ListPolicies, Fault::stall_before_effect());

        let first = super::order("run", &[policy("Texts", "sms", 30)]);
        let (first, early) = world
            .while_stalled(world.retention(&first), async { world.retention(&scheduled("r-1")).await })
            .await;
        let early = reported(&early);
        let again = report(&world, &scheduled("r-1")).await;
        let late = carry_on(&world, &world.gateway).await;

        assert_well(&reported(&first), &surface.to_string());
        assert!(is_left_to_another_run(&early), "{early:#}");
        assert_eq!(early["policies"].as_array().map(Vec::len), Some(3));
        assert_eq!(
            (&early["runId"], &early["summary"]["policyCompliance"]),
            (&json!("r-1"), &json!("PENDING"))
        );
        assert_eq!(again, early, "{surface}: a run has one report");
        assert_eq!(late.len(), 1, "{surface}: {late:#?}");
        assert_well(&late[0], &surface.to_string());
        assert_deployed_once(&world, &["Calls", "Chats", "Emails", "Texts"], &surface.to_string());
    }
}

#[tokio::test]
async fn two_runs_at_once_are_one_after_the_other_and_the_second_may_come_again() {
    for surface in SURFACES {
        let world = world(surface).await;
        let cold = world.another_instance(&[AUDIT]).await;
        world.genesys.fault(Operation::ListPolicies, Fault::stall_before_effect());
        let resume = json!({"run": "resume"});
        let other = super::order("run", &[policy("Texts", "sms", 30)]);

        let order = whole_order();
        let (first, (refused, resumed)) = world
            .while_stalled(world.retention(&order), async {
                let mut refused = Vec::new();
                for order in [&other, &order] {
                    refused.push(world.retention_at(&cold, order).await);
                }
                (refused, reported(&world.retention_at(&cold, &resume).await))
            })
            .await;
        assert!(is_left_to_another_run(&resumed), "{resumed:#}");
        assert_eq!(resumed["policies"].as_array().map(Vec::len), Some(3), "{surface}: what was ordered");
        refused.iter().for_each(assert_in_progress);
        let calls = asked(&world);
        assert_eq!(
            carry_on(&world, &cold).await,
            Vec::<Value>::new(),
            "{surface}: a refused order is not kept"
        );
        assert_eq!(asked(&world), calls);
        let second = reported(&world.retention_at(&cold, &other).await);

        assert_well(&reported(&first), &surface.to_string());
        assert_well(&second, &surface.to_string());
        assert_deployed_once(&world, &["Calls", "Chats", "Emails", "Texts"], &surface.to_string());
    }
}

#[tokio::test]
async fn a_crowd_of_runs_and_resumptions_with_everything_going_wrong_deploys_each_policy_once() {
    for surface in SURFACES {
        let world = world(surface).await;
        let instances = join_all((0..3).map(|_| world.another_instance(&[AUDIT]))).await;
        let faults = [Fault::effect_then_drop(), Fault::drop_before_effect(), Fault::effect_then_status(503)];
        for fault in faults {
            world.genesys.fault(Operation::CreatePolicy, fault.clone());
            world.genesys.fault(Operation::ListPolicies, fault);
        }

        for round in 0..6 {
            let crowd = (0..9).map(|nth| {
                let order = match nth % 3 {
                    0 => scheduled(&format!("r-{}", nth / 3)),
                    1 => whole_order(),
                    _ => json!({"run": "resume"}),
                };
                let (world, gateway) = (&world, &instances[(nth + round) % 3]);
                async move { world.retention_at(gateway, &order).await }
            });
            for response in join_all(crowd).await {
                assert!([200, 409].contains(&response.status), "{surface}: {response:?}");
            }
            world.let_pass(PAST_THE_LEASE);
        }
        carry_on(&world, &world.gateway).await;
        let last = report(&world, &whole_order()).await;

        assert_well(&last, &surface.to_string());
        assert_deployed_once(&world, &NAMES, &surface.to_string());
        assert_eq!(told_of(&world, "RETENTION_POLICY_DEPLOYED").len(), 3);
    }
}
