//! Surfaces: what each is asked for, and what it has no place for. The simulator holds every body against its shape.

use simulator::{Fault, Policy, PolicyCourse};

use super::*;

/// The one thing that was asked for.
fn asked(world: &World) -> Value {
    let mut writes = world.genesys.policy_writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    writes.remove(0).asked
}

#[tokio::test]
async fn every_object_type_has_its_place_in_the_published_api_but_tasks() {
    let media = [
        ("call", vec!["callPolicy"]),
        ("chat", vec!["chatPolicy"]),
        ("email", vec!["emailPolicy"]),
        ("sms", vec!["messagePolicy"]),
        ("interaction", vec!["callPolicy", "chatPolicy", "emailPolicy", "messagePolicy"]),
    ];
    for (object_type, parts) in media {
        let world = world(Surface::Platform).await;

        let report = report(&world, &order("run", &[policy("P", object_type, 90)])).await;

        assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{report:#}");
        let asked = asked(&world);
        let asked_parts: Vec<_> = asked["mediaPolicies"].as_object().unwrap().keys().collect();
        assert_eq!(asked_parts, parts, "{object_type}");
        for part in parts {
            let retention = &asked["mediaPolicies"][part]["actions"]["retentionDuration"];
            assert_eq!(retention, &json!({"deleteRetention": {"days": 90}}), "{object_type}");
        }
        assert_eq!((&asked["name"], &asked["enabled"]), (&json!("P"), &json!(true)));
    }
}

#[tokio::test]
async fn every_object_type_is_one_of_the_guides_surface() {
    for object_type in ["call", "chat", "email", "task", "interaction", "sms"] {
        let world = world(Surface::Guide).await;

        let report = report(&world, &order("run", &[policy("P", object_type, 90)])).await;

        assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{report:#}");
        assert_eq!(asked(&world)["objectType"], object_type);
    }
}

#[tokio::test]
async fn the_guides_surface_is_asked_for_a_policy_as_it_is_written() {
    let world = world(Surface::Guide).await;
    let written = json!({
        "name": "Calls", "description": "for the auditors", "enabled": false, "objectType": "call",
        "retentionPeriod": 90, "schedule": {"frequency": "WEEKLY", "dayOfWeek": 1, "timezone": "America/New_York"},
        "filters": [{"attribute": "wrapUpCode", "operator": "IN", "value": ["a", "b"]}],
        "tags": ["GDPR", "voice-data"], "dailyVolumeGb": 1,
    });

    let report = report(&world, &order("run", std::slice::from_ref(&written))).await;

    assert_eq!(status(&report), "created", "{report:#}");
    let asked = asked(&world);
    for member in ["name", "description", "enabled", "objectType", "retentionPeriod", "filters"] {
        assert_eq!(asked[member], written[member], "{member}");
    }
    assert_eq!(asked["schedule"]["timezone"], "America/New_York");
    assert_eq!(asked["metadata"]["tags"], written["tags"]);
    let post = world.genesys.policy_writes().remove(0);
    assert!(post.request_id.is_some_and(|id| !id.is_empty()));
}

#[tokio::test]
async fn filters_that_have_a_place_are_mapped() {
    let world = world(Surface::Platform).await;
    let filters = json!([
        {"attribute": "direction", "operator": "EQ", "value": "INBOUND"},
        {"attribute": "queueId", "operator": "EQ", "value": "q-1"},
    ]);

    let report = report(&world, &order("run", &[with(policy("P", "call", 90), "filters", filters)])).await;

    assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{report:#}");
    let conditions = &asked(&world)["mediaPolicies"]["callPolicy"]["conditions"];
    assert_eq!(conditions, &json!({"directions": ["INBOUND"], "forQueues": [{"id": "q-1"}]}));
}

#[tokio::test]
async fn a_queue_is_a_condition_for_every_medium() {
    for object_type in ["call", "chat", "email", "sms", "interaction"] {
        let world = world(Surface::Platform).await;
        let filters = json!([{"attribute": "queueId", "operator": "EQ", "value": "q-1"}]);

        let written = with(policy("P", object_type, 90), "filters", filters);
        let report = report(&world, &order("run", &[written])).await;

        assert_eq!(status(&report), "created", "{object_type}: {report:#}");
        let parts = asked(&world)["mediaPolicies"].as_object().unwrap().clone();
        for (name, part) in parts {
            assert_eq!(part["conditions"]["forQueues"], json!([{"id": "q-1"}]), "{object_type} {name}");
        }
    }
}

#[tokio::test]
async fn what_the_published_api_has_no_place_for_is_named_and_nothing_of_it_is_asked_for() {
    let filter = |attribute: &str, operator: &str, value: Value| json!([{"attribute": attribute, "operator": operator, "value": value}]);
    let filtered = |filters: Value| with(policy("P", "call", 90), "filters", filters);
    let cases = [
        (policy("P", "task", 90), vec!["objectType"]),
        (filtered(filter("wrapUpCode", "EQ", json!("w"))), vec!["filters[0]", "wrapUpCode"]),
        (filtered(filter("direction", "NEQ", json!("INBOUND"))), vec!["filters[0]", "direction"]),
        (filtered(filter("direction", "EQ", json!(["INBOUND"]))), vec!["filters[0]", "direction"]),
        (filtered(filter("queueId", "IN", json!(["q-1"]))), vec!["filters[0]", "queueId"]),
        (filtered(filter("queueId", "EQ", json!(7))), vec!["filters[0]", "queueId"]),
        (
            with(policy("P", "task", 90), "filters", filter("wrapUpCode", "EQ", json!("w"))),
            vec!["objectType", "filters[0]"],
        ),
    ];
    for (written, named) in cases {
        let world = world(Surface::Platform).await;
        for run in ["plan", "run"] {
            let report = report(&world, &order(run, std::slice::from_ref(&written))).await;

            assert_eq!(
                (status(&report), compliance(&report)),
                ("failed", "VIOLATED"),
                "{written}: {report:#}"
            );
            assert!(error(&report).contains("unsupported"), "{report:#}");
            for name in &named {
                assert!(error(&report).contains(name), "{written}: {name}: {report:#}");
            }
        }
        assert_eq!(asked_for(&world), 0);
    }
}

#[tokio::test]
async fn a_period_over_the_cap_is_told_before_anything_is_written() {
    let world = world(Surface::Platform).await;
    world.genesys.retention_cap(365);
    let policies = [policy("Calls", "call", 366), policy("Chats", "chat", 365)];

    let plan = report(&world, &order("plan", &policies)).await;
    let run = report(&world, &order("run", &policies)).await;

    for report in [&plan, &run] {
        let error = report["policies"][0]["error"].as_str().unwrap();
        assert_eq!(report["policies"][0]["status"], "failed");
        assert!(
            error.contains("retentionPeriod") && error.contains("366") && error.contains("365"),
            "{error}"
        );
    }
    assert_eq!(run["policies"][1]["status"], "created", "{run:#}");
    assert_eq!(asked_for(&world), 1, "what is over the cap was not asked for");
    assert_eq!(periods(&world), [named("Chats", 365)]);
}

#[tokio::test]
async fn a_merge_over_the_cap_is_told_before_anything_is_written() {
    let world = world(Surface::Platform).await;
    world.genesys.policy("old", Policy::new("Others", "call", 80));
    world.genesys.retention_cap(85);

    let report = report(&world, &merging(calls(90))).await;

    assert_eq!(status(&report), "failed", "{report:#}");
    assert_eq!((asked_for(&world), periods(&world)), (0, vec![named("Others", 80)]));
}

#[tokio::test]
async fn a_cap_that_may_not_be_read_is_left_to_genesys_cloud() {
    let world = world(Surface::Platform).await;
    world.genesys.forbid(Operation::ReadRetentionSettings);
    world.genesys.retention_cap(365);

    let report = report(&world, &order("run", &[policy("A", "call", 366), policy("B", "chat", 365)])).await;

    let ended: Vec<_> = statuses(&report).into_iter().map(|(_, status)| status).collect();
    assert_eq!(ended, ["failed", "created"], "{report:#}");
    assert!(report["policies"][0]["error"].as_str().unwrap().contains("365"), "{report:#}");
}

/// The trap: `VERIFIED` is a constant.
#[tokio::test]
async fn what_is_not_read_back_as_it_was_asked_is_never_verified() {
    let courses = [PolicyCourse::job(), PolicyCourse::created(), PolicyCourse::job().after_polls(1)];
    for surface in SURFACES {
        for course in courses.clone() {
            let world = world(surface).await;
            world.genesys.policies_go(course.keeps_days(30));

            let first = report(&world, &calls(90)).await;
            let again = report(&world, &calls(90)).await;

            assert_eq!((status(&first), compliance(&first)), ("failed", "VIOLATED"), "{surface}: {first:#}");
            assert!(error(&first).contains("30"), "{first:#}");
            assert_eq!(compliance(&again), "VIOLATED", "{again:#}");
            assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1, "{surface}");
        }
    }
}

#[tokio::test]
async fn a_replacement_that_is_not_read_back_as_it_was_asked_is_never_verified() {
    let world = world(Surface::Platform).await;
    report(&world, &calls(90)).await;
    world.genesys.policies_go(PolicyCourse::job().keeps_days(120));

    let report = report(&world, &calls(200)).await;

    assert_eq!((status(&report), compliance(&report)), ("failed", "VIOLATED"), "{report:#}");
    assert!(error(&report).contains("120"), "{report:#}");
}

/// What may have been replaced is looked for before anybody says that it was not.
#[tokio::test]
async fn a_replacement_whose_answer_is_lost_is_found() {
    let world = world(Surface::Platform).await;
    report(&world, &calls(90)).await;
    world.genesys.fault(Operation::UpdatePolicy, Fault::effect_then_drop());

    let updated = report(&world, &calls(200)).await;

    assert_eq!((status(&updated), compliance(&updated)), ("updated", "VERIFIED"), "{updated:#}");
    assert_eq!(periods(&world), [named("Calls", 200)]);
    assert_eq!(world.genesys.request_count(Operation::UpdatePolicy), 1);
}

#[tokio::test]
async fn a_replacement_that_never_arrived_is_sent_again() {
    let world = world(Surface::Platform).await;
    report(&world, &calls(90)).await;
    world.genesys.fault(Operation::UpdatePolicy, Fault::drop_before_effect());

    let updated = report(&world, &calls(200)).await;

    assert_eq!((status(&updated), compliance(&updated)), ("updated", "VERIFIED"), "{updated:#}");
    assert_eq!(periods(&world), [named("Calls", 200)]);
    assert_eq!(world.genesys.request_count(Operation::UpdatePolicy), 2);
}
