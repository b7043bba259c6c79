//! Trouble: Genesys Cloud refuses, is away, or asks for patience. There is always a report, and nothing is lost.

use std::time::Duration;

use harness::store::StoreFault;
use simulator::{Fault, PolicyCourse};

use super::*;

const PAST_THE_TROUBLE: Duration = Duration::from_secs(31);

#[tokio::test]
async fn a_refusal_by_genesys_cloud_is_a_report_with_its_reason() {
    for surface in SURFACES {
        for operation in [Operation::ListPolicies, Operation::CreatePolicy] {
            let world = world(surface).await;
            world.genesys.forbid(operation);

            let refused = report(&world, &calls(90)).await;
            assert_eq!(
                (status(&refused), compliance(&refused)),
                ("failed", "VIOLATED"),
                "{surface}: {refused:#}"
            );
            assert!(!error(&refused).is_empty());
            assert_eq!(actions(&world, "Calls").last().map(String::as_str), Some("policy-failed"));
            assert_eq!(notices(&world)[0]["eventType"], "POLICY_DEPLOYMENT_FAILED");

            world.genesys.permit(operation);
            assert_eq!(status(&report(&world, &calls(90)).await), "created", "{surface} {operation}");
            assert_eq!(periods(&world), [named("Calls", 90)]);
        }
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_a_report_too() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.set_credentials("others", "secret");

        let refused = report(&world, &calls(90)).await;

        assert_eq!(
            (status(&refused), compliance(&refused)),
            ("failed", "VIOLATED"),
            "{surface}: {refused:#}"
        );
        assert!(!refused.to_string().contains("secret"));
        assert_eq!(actions(&world, "Calls"), ["policy-failed"]);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for surface in SURFACES {
        let elsewhere = simulator::Simulator::start(surface).await.unwrap();
        for operation in [Operation::ListPolicies, Operation::CreatePolicy] {
            let world = world(surface).await;
            world.genesys.fault(operation, Fault::redirect(&elsewhere.url()));

            let report = report(&world, &calls(90)).await;

            assert_eq!(status(&report), "failed", "{surface} {operation}: {report:#}");
            assert_eq!(elsewhere.requests().len(), 0);
        }
    }
}

#[tokio::test]
async fn while_genesys_cloud_is_away_every_policy_fails_and_later_is_deployed() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault_every(Operation::ListPolicies, 1, Fault::status(503));
        let order = order("run", &[policy("Calls", "call", 90), policy("Chats", "chat", 60)]);

        let away = report(&world, &order).await;
        for (name, status) in statuses(&away) {
            assert_eq!(status, "failed", "{surface} {name}: {away:#}");
            assert_eq!(actions(&world, &name), ["policy-failed"]);
        }
        assert_eq!(compliance(&away), "VIOLATED");
        assert_eq!(times(&away, "POLICY_DEPLOYMENT_FAILED"), 2);
        assert_eq!(away["summary"]["successRate"], 0.0);
        assert_eq!(asked_for(&world), 0);
        assert!(world.genesys.request_count(Operation::ListPolicies) <= 4, "the attempts are bounded");

        world.genesys.clear_faults();
        world.let_pass(PAST_THE_TROUBLE);
        let back = report(&world, &order).await;
        assert_eq!(compliance(&back), "VERIFIED", "{surface}: {back:#}");
        assert_eq!(world.genesys.policies().len(), 2);
    }
}

#[tokio::test]
async fn while_it_is_left_alone_genesys_cloud_is_asked_nothing_and_a_report_says_so() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::ListPolicies, Fault::status(503).times(4));
        report(&world, &calls(90)).await;
        let calls_made = world.genesys.requests().len();

        let meanwhile = report(&world, &calls(90)).await;

        assert_eq!(status(&meanwhile), "failed", "{surface}: {meanwhile:#}");
        assert!(!error(&meanwhile).is_empty());
        assert_eq!(world.genesys.requests().len(), calls_made);
        world.let_pass(PAST_THE_TROUBLE);
        assert_eq!(status(&report(&world, &calls(90)).await), "created", "{surface}");
    }
}

/// Who asks for patience gets it: the policy waits, is told to be waiting, and is carried on by `resume`.
#[tokio::test]
async fn a_policy_that_is_throttled_for_long_is_told_everywhere_and_carried_on_later() {
    for surface in SURFACES {
        for operation in [Operation::ListPolicies, Operation::CreatePolicy] {
            let world = world(surface).await;
            world.genesys.fault(operation, Fault::status(429).retry_after("0").times(4));

            let throttled = report(&world, &calls(90)).await;
            assert!(["pending", "failed"].contains(&status(&throttled)), "{surface}: {throttled:#}");
            assert!(!error(&throttled).is_empty());
            assert_ne!(compliance(&throttled), "VERIFIED");
            assert_eq!(periods(&world), []);

            let resumed = report(&world, &json!({"run": "resume"})).await;
            assert_eq!((status(&resumed), compliance(&resumed)), ("created", "VERIFIED"), "{resumed:#}");
            assert_eq!(periods(&world), [named("Calls", 90)]);
            assert_eq!(report(&world, &json!({"run": "resume"})).await["policies"], json!([]));
        }
    }
}

/// Every outcome is told, also that nothing could be done yet.
#[tokio::test]
async fn a_policy_that_is_pending_because_it_is_throttled_is_on_its_trail_and_announced() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::ListPolicies, Fault::status(429).retry_after("0").times(4));

        let throttled = report(&world, &calls(90)).await;

        assert_eq!(status(&throttled), "pending", "{surface}: {throttled:#}");
        assert_eq!(actions(&world, "Calls"), ["policy-pending"], "{surface}");
        assert_eq!(notices(&world).len(), 1, "{surface}");
        assert_eq!(notices(&world)[0]["eventType"], "RETENTION_POLICY_PENDING");
    }
}

/// `VERIFIED` is what was read back: what cannot be read is not.
#[tokio::test]
async fn a_policy_that_cannot_be_read_back_is_pending_and_is_read_later() {
    for surface in SURFACES {
        let world = world(surface).await;
        let reading = match surface {
            Surface::Platform => Operation::ReadPolicy,
            Surface::Guide => Operation::ListPolicies,
        };
        world.genesys.fault(Operation::CreatePolicy, Fault::stall_after_effect());
        let order = calls(90);

        let (unread, ()) = tokio::join!(report(&world, &order), async {
            world.genesys.wait_for_stalled(1).await;
            world.genesys.forbid(reading);
            world.genesys.release_stalled();
        });
        assert_eq!((status(&unread), compliance(&unread)), ("pending", "PENDING"), "{surface}: {unread:#}");
        world.genesys.permit(reading);
        let resumed = report(&world, &json!({"run": "resume"})).await;

        assert_eq!(
            (status(&resumed), compliance(&resumed)),
            ("created", "VERIFIED"),
            "{surface}: {resumed:#}"
        );
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
        assert_eq!(actions(&world, "Calls"), ["policy-intended", "policy-pending", "policy-created"]);
    }
}

#[tokio::test]
async fn a_plan_gets_a_report_too_when_genesys_cloud_is_away() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault_every(Operation::ListPolicies, 1, Fault::status(503));
        let policies = [policy("Calls", "call", 90), policy("Chats", "chat", 1)];

        let plan = report(&world, &order("plan", &policies)).await;

        let ended: Vec<_> = statuses(&plan).into_iter().map(|(_, status)| status).collect();
        assert_eq!(ended, ["failed", "invalid"], "{surface}: {plan:#}");
        assert_eq!(compliance(&plan), "VIOLATED");
        assert_eq!(world.items("").len(), 0);
    }
}

#[tokio::test]
async fn a_policy_that_vanishes_while_it_is_replaced_is_a_failure_and_the_next_run_creates_it() {
    let world = world(Surface::Platform).await;
    let id = only(&report(&world, &calls(90)).await)["policyId"].as_str().unwrap().to_owned();
    world.genesys.fault(Operation::UpdatePolicy, Fault::stall_before_effect());
    let order = calls(200);

    let (vanished, ()) = tokio::join!(report(&world, &order), async {
        world.genesys.wait_for_stalled(1).await;
        world.genesys.remove_policy(&id);
        world.genesys.release_stalled();
    });
    assert_eq!((status(&vanished), compliance(&vanished)), ("failed", "VIOLATED"), "{vanished:#}");
    let again = report(&world, &order).await;

    assert_eq!((status(&again), compliance(&again)), ("created", "VERIFIED"), "{again:#}");
    assert_eq!(periods(&world), [named("Calls", 200)]);
}

#[tokio::test]
async fn a_store_that_is_away_is_a_problem_and_nobody_is_asked_for_anything() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.down();
        let response = world.retention(&calls(90)).await;
        assert_eq!((response.status, response.problem().as_str()), (503, "store-unavailable"), "{surface}");
        assert_eq!(world.genesys.requests().len(), 0);

        world.store.up();
        assert_eq!(status(&report(&world, &calls(90)).await), "created");
    }
}

/// Without an intent on record nothing is asked for.
#[tokio::test]
async fn an_intent_that_cannot_be_recorded_stops_the_policy_and_not_the_report() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::ListPolicies, Fault::stall_before_effect());
        let order = calls(90);

        let (stopped, ()) = tokio::join!(report(&world, &order), async {
            world.genesys.wait_for_stalled(1).await;
            world.store.down();
            world.genesys.release_stalled();
        });
        assert_eq!(
            (status(&stopped), compliance(&stopped)),
            ("failed", "VIOLATED"),
            "{surface}: {stopped:#}"
        );
        assert_eq!(asked_for(&world), 0);

        world.store.up();
        world.let_pass(Duration::from_mins(2));
        assert_eq!(status(&report(&world, &order).await), "created", "{surface}");
    }
}

#[tokio::test]
async fn a_stumble_of_the_store_changes_nothing_of_what_is_done_and_told() {
    // The lease, the intent, the end, and the lease given back.
    for surface in SURFACES {
        for before in 0..4 {
            for fault in [StoreFault::ApplyThenDrop, StoreFault::Throttle, StoreFault::Refuse] {
                let world = world(surface).await;
                world.genesys.policies_go(PolicyCourse::created());
                world.store.fault_times("TransactWriteItems", StoreFault::Pass, before);
                world.store.fault("TransactWriteItems", fault);
                let name = format!("{surface}: {fault:?} after {before}");

                let first = report(&world, &calls(90)).await;
                let again = report(&world, &calls(90)).await;

                assert_eq!((status(&first), status(&again)), ("created", "unchanged"), "{name}: {first:#}");
                assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1, "{name}");
                assert_eq!(actions(&world, "Calls"), ["policy-intended", "policy-created"], "{name}");
                assert_eq!(notices(&world).len(), 1, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn an_outcome_that_could_not_be_recorded_is_found_by_the_next_run() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::CreatePolicy, Fault::stall_after_effect());
        let order = calls(90);

        let (first, ()) = tokio::join!(report(&world, &order), async {
            world.genesys.wait_for_stalled(1).await;
            world.store.down();
            world.genesys.release_stalled();
        });
        assert_eq!(
            first["policies"].as_array().map(Vec::len),
            Some(1),
            "there is always a report: {first:#}"
        );
        world.store.up();
        // The lease of the run could not be given back, and lapses.
        world.let_pass(Duration::from_mins(2));
        let again = report(&world, &order).await;

        assert!(["created", "unchanged"].contains(&status(&again)), "{surface}: {again:#}");
        assert_eq!(compliance(&again), "VERIFIED");
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1, "{surface}");
        let told = actions(&world, "Calls");
        assert_eq!(told.first().map(String::as_str), Some("policy-intended"), "{told:?}");
        assert_ne!(told.last().map(String::as_str), Some("policy-intended"), "the end is told: {told:?}");
    }
}
