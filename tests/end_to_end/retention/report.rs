//! The report: every figure is computed from what happened, and every outcome is an event.

use simulator::{Fault, Policy, PolicyCourse};

use super::*;

/// The figures of a report, after checking that its latency is a number and its events are counted.
fn figures(report: &Value) -> (u64, f64, f64) {
    let summary = &report["summary"];
    let latency = summary["averageLatencyMs"].as_f64().expect("a latency");
    assert!(latency.is_finite() && latency >= 0.0, "{report:#}");
    let total = summary["totalEvents"].as_u64().expect("a count");
    assert_eq!(total, events(report).len() as u64);
    let rate = |name: &str| summary[name].as_f64().expect("a rate");
    (total, rate("successRate"), rate("conflictRate"))
}

#[tokio::test]
async fn the_figures_are_those_of_the_events() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policies_go(PolicyCourse::created());
        world.genesys.policy_goes("Refused", PolicyCourse::refuses());
        world.genesys.policy("old", Policy::new("Others", "chat", 99));
        let policies = [
            policy("Calls", "call", 90),     // POLICY_CREATED
            policy("Refused", "email", 90),  // POLICY_DEPLOYMENT_FAILED
            policy("Chats", "chat", 90),     // OVERLAP_DETECTED, MERGE_RETENTION_WINDOW
            policy("Invalid", "letter", 90), // POLICY_VALIDATION_FAILED
            policy("Texts", "sms", 90),      // POLICY_CREATED
        ];

        let report = report(&world, &merging(order("run", &policies))).await;

        assert_eq!(events(&report).len(), 6, "{report:#}");
        // Two of six failed; one of six is a conflict.
        assert_eq!(figures(&report), (6, 66.67, 0.17), "{surface}: {report:#}");
    }
}

/// The trap: the latency is the difference of a number and a text, and so is no number.
#[tokio::test]
async fn the_average_latency_is_that_of_the_events() {
    for surface in SURFACES {
        let world = world(surface).await;
        let report = report(&world, &calls(90)).await;

        let latencies: Vec<f64> =
            report["events"].as_array().unwrap().iter().filter_map(|it| it["latencyMs"].as_f64()).collect();
        assert_eq!(latencies.len(), events(&report).len(), "every event took its time");
        #[expect(clippy::cast_precision_loss, reason = "they are few")]
        let average = latencies.iter().sum::<f64>() / latencies.len() as f64;
        let told = report["summary"]["averageLatencyMs"].as_f64().unwrap();
        assert!((told - average).abs() <= 0.5, "{told} {average}");
    }
}

/// The trap: failures leave no audit row, so that the success rate stays 100 %.
#[tokio::test]
async fn every_outcome_is_an_event_that_names_its_policy() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policies_go(PolicyCourse::created());
        world.genesys.policy_goes("Refused", PolicyCourse::refuses());
        for (id, name, object_type) in [("a", "Others", "chat"), ("b", "Drifted", "sms")] {
            world.genesys.policy(id, Policy::new(name, object_type, 99));
        }
        let policies = [
            policy("Calls", "call", 90),
            policy("Refused", "email", 90),
            policy("Chats", "chat", 90),
            policy("Drifted", "sms", 400),
            policy("Invalid", "letter", 90),
        ];

        let report = report(&world, &order("run", &policies)).await;

        let ended: Vec<_> = statuses(&report).into_iter().map(|(_, status)| status).collect();
        assert_eq!(ended, ["created", "failed", "review_required", "drift", "invalid"], "{report:#}");
        let told = report["events"].as_array().unwrap();
        for (name, status) in statuses(&report) {
            let of_it: Vec<_> = told.iter().filter(|event| event["policyName"] == name.as_str()).collect();
            assert!(!of_it.is_empty(), "{name} {status}");
            for event in of_it {
                let timestamp = event["timestamp"].as_str().unwrap();
                assert!(timestamp.starts_with("2026-11-22T12:00:00"), "{timestamp}");
            }
            let is_failure = |event: &&Value| event["event"].as_str().unwrap().contains("FAILED");
            let failures =
                told.iter().filter(|it| it["policyName"] == name.as_str()).filter(is_failure).count();
            assert_eq!(failures > 0, ["failed", "invalid"].contains(&status.as_str()), "{name} {status}");
        }
        assert!(report["summary"]["successRate"].as_f64().unwrap() < 100.0);
        for (name, status) in statuses(&report) {
            assert!(!actions(&world, &name).is_empty(), "{name} {status} is on no trail");
        }
    }
}

#[tokio::test]
async fn a_run_that_did_nothing_but_fail_has_no_success() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policies_go(PolicyCourse::refuses());

        let report = report(&world, &calls(90)).await;

        assert_eq!(figures(&report), (1, 0.0, 0.0), "{surface}: {report:#}");
        assert_eq!((status(&report), compliance(&report)), ("failed", "VIOLATED"));
        assert!(error(&report).contains("400"), "{report:#}");
    }
}

/// The trap: `VERIFIED` is a constant. It takes the worst of the policies to say how all of them are.
#[tokio::test]
async fn compliance_is_that_of_the_worst_policy() {
    let combinations = [
        (vec!["good"], "VERIFIED"),
        (vec!["good", "slow"], "PENDING"),
        (vec!["slow"], "PENDING"),
        (vec!["good", "bad"], "VIOLATED"),
        (vec!["slow", "bad"], "VIOLATED"),
        (vec!["good", "slow", "bad"], "VIOLATED"),
        (vec!["invalid"], "VIOLATED"),
        (vec!["good", "invalid"], "VIOLATED"),
    ];
    for (combination, expected) in combinations {
        let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
        world.genesys.policy_goes("good", PolicyCourse::created());
        world.genesys.policy_goes("slow", PolicyCourse::job().after_polls(1));
        world.genesys.policy_goes("bad", PolicyCourse::refuses());
        let written = combination.iter().map(|name| match *name {
            "good" => policy(name, "call", 90),
            "slow" => policy(name, "chat", 90),
            "bad" => policy(name, "email", 90),
            _ => policy(name, "letter", 90),
        });

        let report = report(&world, &order("run", &written.collect::<Vec<_>>())).await;

        assert_eq!(compliance(&report), expected, "{combination:?}: {report:#}");
    }
}

/// The trap: the regulatory tags are constants.
#[tokio::test]
async fn the_regulatory_tags_are_those_of_the_policies() {
    for surface in SURFACES {
        let world = world(surface).await;
        let tagged =
            |name: &str, object_type: &str, tags: Value| with(policy(name, object_type, 90), "tags", tags);
        let policies = [
            tagged("Calls", "call", json!(["SOC2", "GDPR"])),
            tagged("Chats", "chat", json!(["GDPR", "HIPAA"])),
            tagged("Mails", "email", json!([])),
        ];

        for _ in 0..2 {
            let report = report(&world, &order("run", &policies)).await;
            assert_eq!(report["regulatoryTags"], json!(["GDPR", "HIPAA", "SOC2"]), "{surface}");
        }
        let mut untagged = policy("Texts", "sms", 90);
        untagged.as_object_mut().unwrap().remove("tags");
        let report = report(&world, &order("run", &[untagged])).await;
        assert_eq!(report["regulatoryTags"], json!([]));
    }
}

#[tokio::test]
async fn the_report_says_when_it_was_made_and_what_it_is() {
    for surface in SURFACES {
        let world = world(surface).await;
        for order in [calls(90), order("plan", &[policy("Calls", "call", 90)]), json!({"run": "resume"})] {
            let report = report(&world, &order).await;

            assert_eq!(report["generatedAt"], "2026-11-22T12:00:00Z", "{surface}");
            assert_eq!(report["version"], "1.0.0");
            figures(&report);
        }
        let idle = report(&world, &json!({"run": "resume"})).await;
        assert_eq!((&idle["policies"], &idle["events"]), (&json!([]), &json!([])));
        assert_ne!(compliance(&idle), "VERIFIED", "nothing was read");
    }
}

#[tokio::test]
async fn storage_is_volume_times_days_times_factor() {
    let world = world(Surface::Guide).await;
    let expected = [
        // 100 GB a day for 30 days, times the factor of the object type.
        ("call", 30, 100.0, 3600.0, 3.52, "LOW"),
        ("chat", 30, 100.0, 2400.0, 2.34, "LOW"),
        ("email", 30, 100.0, 4500.0, 4.39, "LOW"),
        ("task", 30, 100.0, 1200.0, 1.17, "LOW"),
        ("interaction", 30, 100.0, 3000.0, 2.93, "LOW"),
        ("sms", 30, 100.0, 900.0, 0.88, "LOW"),
        // On the thresholds of 20 and 50 TB, and a little over them.
        ("interaction", 100, 204.8, 20_480.0, 20.0, "LOW"),
        ("interaction", 100, 205.0, 20_500.0, 20.02, "MEDIUM"),
        ("interaction", 100, 512.0, 51_200.0, 50.0, "MEDIUM"),
        ("interaction", 100, 512.1, 51_210.0, 50.01, "HIGH"),
        ("call", 90, 2.5, 270.0, 0.26, "LOW"),
        ("sms", 7, 0.0, 0.0, 0.0, "LOW"),
    ];
    for (object_type, days, volume, gb, tb, risk) in expected {
        let written = with(policy("P", object_type, days), "dailyVolumeGb", volume);

        let plan = report(&world, &order("plan", &[written])).await;

        let impact = json!({
            "objectType": object_type, "retentionDays": days, "dailyVolumeGB": volume,
            "projectedStorageGB": gb, "projectedStorageTB": tb, "riskLevel": risk,
        });
        assert_eq!(only(&plan)["storageImpact"], impact);
    }
    let mut unmeasured = policy("P", "call", 90);
    unmeasured.as_object_mut().unwrap().remove("dailyVolumeGb");
    assert!(only(&report(&world, &order("plan", &[unmeasured])).await).get("storageImpact").is_none());
}

#[tokio::test]
async fn a_merged_policy_is_stored_for_as_long_as_it_is_kept() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policy("old", Policy::new("Others", "call", 100));

        for _ in 0..2 {
            let report = report(&world, &merging(calls(90))).await;

            let impact = &only(&report)["storageImpact"];
            assert_eq!(impact["retentionDays"], 100, "{surface}: {report:#}");
            // 2.5 GB × 100 days × 1.2
            assert_eq!(impact["projectedStorageGB"], 300.0);
        }
    }
}

#[tokio::test]
async fn a_plan_tells_the_storage_before_and_after() {
    for surface in SURFACES {
        let world = world(surface).await;
        report(&world, &order("run", &[policy("Calls", "call", 90)])).await;
        let policies = [policy("Calls", "call", 180), policy("Chats", "chat", 50)];

        let plan = report(&world, &order("plan", &policies)).await;

        let [calls, chats] = [&plan["policies"][0], &plan["policies"][1]];
        assert_eq!((&calls["action"], &chats["action"]), (&json!("update"), &json!("create")), "{plan:#}");
        // Calls: 2.5 × 90 × 1.2 = 270 before, 540 after. Chats: nothing before, 2.5 × 50 × 0.8 = 100 after.
        assert_eq!((&calls["currentStorageGB"], &chats["currentStorageGB"]), (&json!(270.0), &json!(0.0)));
        assert_eq!(calls["storageImpact"]["projectedStorageGB"], 540.0);
        assert_eq!(plan["currentStorageImpact"]["projectedStorageGB"], 270.0, "{plan:#}");
        assert_eq!(plan["storageImpact"]["projectedStorageGB"], 640.0);
        assert_eq!(asked_for(&world), 1);
        assert_ne!(compliance(&plan), "VERIFIED", "nothing of it was done");
    }
}

#[tokio::test]
async fn a_plan_says_what_a_run_then_does() {
    for surface in SURFACES {
        let world = world(surface).await;
        report(&world, &order("run", &[policy("Same", "email", 40), policy("Other", "sms", 40)])).await;
        world.genesys.policy("old", Policy::new("Others", "chat", 99));
        world.genesys.policy("theirs", Policy::new("Theirs", "call", 700));
        let policies = [
            policy("Same", "email", 40),
            policy("Other", "sms", 80),
            policy("New", "interaction", 40),
            policy("Chats", "chat", 90),
            policy("Theirs", "call", 900),
            policy("Invalid", "call", 1),
        ];
        let before = (asked_for(&world), world.items("").len());

        let plan = report(&world, &merging(order("plan", &policies))).await;
        assert_eq!((asked_for(&world), world.items("").len()), before, "a plan changes nothing");
        let run = report(&world, &merging(order("run", &policies))).await;

        let expected = ["unchanged", "updated", "created", "merged", "drift", "invalid"];
        for report in [&plan, &run] {
            let ended: Vec<_> = statuses(report).into_iter().map(|(_, status)| status).collect();
            assert_eq!(ended, expected, "{surface}: {report:#}");
        }
    }
}

/// What was read back is verified, whatever it took to get there.
#[tokio::test]
async fn a_rough_way_to_a_policy_does_not_make_it_less_verified() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::ListPolicies, Fault::status(503).times(2));
        world.genesys.fault(Operation::CreatePolicy, Fault::status(429).retry_after("0"));

        let report = report(&world, &calls(90)).await;

        assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{surface}: {report:#}");
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2);
    }
}

/// A sum of nothing is nothing, and not less than it.
#[tokio::test]
async fn a_report_without_events_has_figures_all_the_same() {
    for surface in SURFACES {
        let world = world(surface).await;
        for order in [json!({"run": "resume"}), order("plan", &[policy("Calls", "call", 90)])] {
            let report = report(&world, &order).await;

            assert_eq!(figures(&report).0, 0, "{surface}");
            let latency = report["summary"]["averageLatencyMs"].as_f64().unwrap();
            assert!(latency.is_sign_positive(), "{surface}: {report:#}");
        }
    }
}
