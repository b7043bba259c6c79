//! The story: a policy is planned, deployed, left alone, changed, and found again after it was cut off.

use serde_json::json;
use simulator::{Operation, Policy, PolicyCourse};

use super::*;

#[tokio::test]
async fn a_policy_is_deployed_once_and_left_alone_while_it_is_as_it_was_written() {
    for surface in SURFACES {
        let world = world(surface).await;
        let order = order("run", &[policy("Calls", "call", 90)]);

        let first = report(&world, &order).await;
        let again = report(&world, &order).await;

        assert_eq!(only(&first)["status"], "created", "{surface}: {first:#}");
        assert_eq!(only(&again)["status"], "unchanged", "{surface}: {again:#}");
        assert_eq!((compliance(&first), compliance(&again)), ("VERIFIED", "VERIFIED"));
        let there = world.genesys.policies();
        assert_eq!(there.len(), 1);
        assert_eq!(there[0].retention_days, Some(90));
        assert_eq!(only(&first)["policyId"], there[0].id.as_str());
        assert_eq!(world.genesys.policy_writes().len(), 1);
        assert_eq!(actions(&world, "Calls"), ["policy-intended", "policy-created"]);
    }
}

#[tokio::test]
async fn a_plan_says_what_a_run_would_do_and_does_nothing() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policy("old", Policy::new("Chats", "chat", 60));
        let policies =
            [policy("Calls", "call", 90), policy("Emails", "email", 3), policy("Talks", "chat", 65)];

        let plan = report(&world, &order("plan", &policies)).await;

        let actions: Vec<_> = plan["policies"].as_array().unwrap().iter().map(|it| &it["action"]).collect();
        assert_eq!(actions, ["create", "none", "review"], "{plan:#}");
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 0);
        assert_eq!(world.items("").len(), 0, "nothing is on record");
    }
}

#[tokio::test]
async fn a_job_that_takes_its_time_is_carried_on_by_resume() {
    let world = World::with(simulator::Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(3));

    let first = report(&world, &order("run", &[policy("Calls", "call", 90)])).await;
    assert_eq!(only(&first)["status"], "pending", "{first:#}");
    assert!(only(&first)["jobId"].is_string());
    let quick = world.another_instance(&[AUDIT]).await;
    let resumed = reported(&world.retention_at(&quick, &json!({"run": "resume"})).await);
    let idle = report(&world, &json!({"run": "resume"})).await;

    assert_eq!(only(&resumed)["status"], "created", "{resumed:#}");
    assert_eq!(compliance(&resumed), "VERIFIED");
    assert_eq!(idle["policies"], json!([]));
    assert_eq!(world.genesys.policies().len(), 1);
    assert_eq!(actions(&world, "Calls"), ["policy-intended", "policy-pending", "policy-created"]);
    let told: Vec<_> = notices(&world).iter().map(|it| it["eventType"].clone()).collect();
    assert_eq!(told.len(), 2);
    assert!(
        told.contains(&json!("RETENTION_POLICY_PENDING"))
            && told.contains(&json!("RETENTION_POLICY_DEPLOYED"))
    );
}

#[tokio::test]
async fn an_invalid_policy_does_not_keep_the_others_from_being_deployed() {
    for surface in SURFACES {
        let world = world(surface).await;
        let mut bad = policy("Bad", "letter", 5);
        bad["schedule"] = json!({"frequency": "WEEKLY", "timezone": "Mars/Olympus"});

        let report = report(&world, &order("run", &[bad, policy("Calls", "call", 90)])).await;

        let told = statuses(&report);
        assert_eq!(
            told,
            [("Bad".to_owned(), "invalid".to_owned()), ("Calls".to_owned(), "created".to_owned())]
        );
        let error = report["policies"][0]["error"].as_str().unwrap();
        for field in ["objectType", "retentionPeriod", "schedule.dayOfWeek", "schedule.timezone"] {
            assert!(error.contains(field), "{field}: {error}");
        }
        assert_eq!(compliance(&report), "VIOLATED");
    }
}

#[tokio::test]
async fn an_overlap_is_merged_to_the_longest_period_and_said() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policy("old", Policy::new("Others", "call", 99));

        let merged =
            report(&world, &with(order("run", &[policy("Calls", "call", 90)]), "onOverlap", "merge")).await;

        assert_eq!(only(&merged)["status"], "merged", "{merged:#}");
        assert_eq!(only(&merged)["merge"], json!({"from": 90, "to": 99}));
        assert_eq!(only(&merged)["policyId"], "old");
        assert_eq!(events(&merged), ["OVERLAP_DETECTED", "MERGE_RETENTION_WINDOW"]);
        assert_eq!(world.genesys.policy_writes(), [], "it is in force already");
        let again =
            report(&world, &with(order("run", &[policy("Calls", "call", 90)]), "onOverlap", "merge")).await;
        assert_eq!(only(&again)["status"], "unchanged", "{again:#}");
    }
}

#[tokio::test]
async fn a_conflict_that_never_goes_away_is_resolved_once() {
    let world = world(simulator::Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::always_conflicts());

    let report =
        report(&world, &with(order("run", &[policy("Calls", "call", 90)]), "onOverlap", "merge")).await;

    assert_eq!(only(&report)["status"], "review_required", "{report:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2);
    assert_eq!(events(&report).iter().filter(|it| **it == "OVERLAP_DETECTED").count(), 1);
}
