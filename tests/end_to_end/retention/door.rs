//! The door: what is wrong with an order is said by policy and field, all of it, and nothing of it reaches anybody.

use super::*;

/// Sends an order as it is written.
async fn send(world: &World, order: &str) -> Response {
    world.post(&format!("{}/retention", world.gateway.url()), &[], order.to_owned()).await
}

/// Sends an order that is none, and says what its sender is told.
async fn refused(world: &World, order: &str) -> String {
    let response = send(world, order).await;
    assert_eq!(response.problem(), "invalid-request", "{order}");
    assert_eq!(response.status, 400);
    response.json()["detail"].as_str().expect("a detail").to_owned()
}

/// A policy with this member, or without it.
fn but(member: &str, value: impl Into<Value>) -> Value {
    with(policy("Calls", "call", 90), member, value)
}

fn without(member: &str) -> Value {
    let mut policy = policy("Calls", "call", 90);
    policy.as_object_mut().expect("an object").remove(member);
    policy
}

fn scheduled(schedule: Value) -> Value {
    but("schedule", schedule)
}

/// Policies that are wrong in one place, and the field that is to be named.
fn wrong() -> Vec<(Value, &'static str)> {
    let days = |days: Value| but("retentionPeriod", days);
    let filter = |filter: Value| but("filters", json!([filter]));
    let daily = |member: &str, value: Value| scheduled(with(json!({"frequency": "DAILY"}), member, value));
    vec![
        (but("name", "x".repeat(257)), "name"),
        (but("name", ""), "name"),
        (but("name", " "), "name"),
        (but("name", "a\nb"), "name"),
        (but("name", 7), "name"),
        (without("name"), "name"),
        (but("description", 7), "description"),
        (but("enabled", "yes"), "enabled"),
        (but("enabled", 1), "enabled"),
        (without("objectType"), "objectType"),
        (but("objectType", "Call"), "objectType"),
        (but("objectType", "letter"), "objectType"),
        (but("objectType", json!(["call"])), "objectType"),
        (without("retentionPeriod"), "retentionPeriod"),
        (days(Value::Null), "retentionPeriod"),
        (days(json!("90")), "retentionPeriod"),
        (days(json!("abc")), "retentionPeriod"),
        (days(json!("NaN")), "retentionPeriod"),
        (days(json!(30.5)), "retentionPeriod"),
        (days(json!(-90)), "retentionPeriod"),
        (days(json!(0)), "retentionPeriod"),
        (days(json!(1e300)), "retentionPeriod"),
        (days(json!(u64::MAX)), "retentionPeriod"),
        (days(json!([90])), "retentionPeriod"),
        (days(json!(true)), "retentionPeriod"),
        (without("schedule"), "schedule"),
        (scheduled(json!("DAILY")), "schedule"),
        (scheduled(json!({})), "schedule.frequency"),
        (scheduled(json!({"frequency": "YEARLY"})), "schedule.frequency"),
        (scheduled(json!({"frequency": "WEEKLY"})), "schedule.dayOfWeek"),
        (scheduled(json!({"frequency": "WEEKLY", "dayOfWeek": null})), "schedule.dayOfWeek"),
        (scheduled(json!({"frequency": "WEEKLY", "dayOfWeek": 7})), "schedule.dayOfWeek"),
        (scheduled(json!({"frequency": "WEEKLY", "dayOfWeek": -1})), "schedule.dayOfWeek"),
        (scheduled(json!({"frequency": "WEEKLY", "dayOfWeek": "FUNDAY"})), "schedule.dayOfWeek"),
        (scheduled(json!({"frequency": "MONTHLY"})), "schedule.dayOfMonth"),
        (scheduled(json!({"frequency": "MONTHLY", "dayOfMonth": 0})), "schedule.dayOfMonth"),
        (scheduled(json!({"frequency": "MONTHLY", "dayOfMonth": 32})), "schedule.dayOfMonth"),
        (scheduled(json!({"frequency": "MONTHLY", "dayOfMonth": 1.5})), "schedule.dayOfMonth"),
        (daily("dayOfWeek", json!(9)), "schedule.dayOfWeek"),
        (daily("timezone", json!("Mars/Olympus")), "schedule.timezone"),
        (daily("timezone", json!("../etc/passwd")), "schedule.timezone"),
        (daily("timezone", json!(2)), "schedule.timezone"),
        (daily("timeZone", json!("UTC")), "schedule.timeZone"),
        (but("filters", json!({})), "filters"),
        (filter(json!("direction")), "filters[0]"),
        (filter(json!({"operator": "EQ", "value": "INBOUND"})), "filters[0].attribute"),
        (filter(json!({"attribute": "direction", "value": "INBOUND"})), "filters[0].operator"),
        (filter(json!({"attribute": "direction", "operator": "EQ"})), "filters[0].value"),
        (filter(json!({"attribute": "", "operator": "EQ", "value": "x"})), "filters[0].attribute"),
        (filter(json!({"attribute": "a", "operator": "EQ", "value": "x", "not": 1})), "filters[0].not"),
        (but("tags", "GDPR"), "tags"),
        (but("tags", json!(["GDPR", 7])), "tags[1]"),
        (but("tags", json!([""])), "tags[0]"),
        (but("dailyVolumeGb", "2.5"), "dailyVolumeGb"),
        (but("dailyVolumeGb", -1), "dailyVolumeGb"),
        (but("retentionperiod", 90), "retentionperiod"),
        (but("retention_period", 90), "retention_period"),
    ]
}

#[tokio::test]
async fn every_wrong_member_is_named_and_reaches_nobody() {
    for surface in SURFACES {
        let world = world(surface).await;
        for (wrong, field) in wrong() {
            let report = report(&world, &order("run", std::slice::from_ref(&wrong))).await;

            let told = only(&report);
            assert_eq!(told["status"], "invalid", "{surface} {wrong}: {report:#}");
            let fields: Vec<_> =
                told["faults"].as_array().expect("faults").iter().map(|fault| &fault["field"]).collect();
            assert_eq!(fields, [field], "{surface} {wrong}");
            assert!(error(&report).contains(field), "{surface} {wrong}: {report:#}");
            assert_eq!(compliance(&report), "VIOLATED");
        }
        assert_eq!(world.genesys.requests().len(), 0, "not even a token");
    }
}

#[tokio::test]
async fn all_faults_of_all_policies_are_told_together_and_the_valid_ones_are_deployed() {
    for surface in SURFACES {
        let world = world(surface).await;
        let first = json!({"name": "First", "objectType": "fax", "retentionPeriod": "abc", "schedule": 7});
        let second = json!({
            "name": "Second", "objectType": "call", "retentionPeriod": 6, "tags": [1, 2],
            "schedule": {"frequency": "MONTHLY", "dayOfMonth": 32, "timezone": "Nowhere"},
        });

        let policies = [first, policy("Calls", "call", 90), second, json!("a policy")];
        let report = report(&world, &order("run", &policies)).await;

        let invalid = |name: &str| (name.to_owned(), "invalid".to_owned());
        let created = ("Calls".to_owned(), "created".to_owned());
        let expected = [invalid("First"), created, invalid("Second"), invalid("policies[3]")];
        assert_eq!(statuses(&report), expected, "{surface}");
        let error = |index: usize| report["policies"][index]["error"].as_str().unwrap();
        for field in ["objectType", "retentionPeriod", "schedule"] {
            assert!(error(0).contains(field), "{field}: {}", error(0));
        }
        let fields = ["retentionPeriod", "tags[0]", "tags[1]", "schedule.dayOfMonth", "schedule.timezone"];
        for field in fields {
            assert!(error(2).contains(field), "{field}: {}", error(2));
        }
        assert_eq!(periods(&world), [named("Calls", 90)]);
        assert_eq!(asked_for(&world), 1);
        assert_eq!(actions(&world, "First"), ["policy-invalid"]);
    }
}

/// The trap: `NaN`, `'abc'` and `Infinity` pass the minimum, because nothing is less than they are. As texts they are
/// among the wrong members above; as numbers they are none of JSON's, or none that anybody could hold.
#[tokio::test]
async fn a_period_that_is_no_number_of_json_or_beyond_them_all_is_refused() {
    for surface in SURFACES {
        let world = world(surface).await;
        for endless in ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "0x5a", "090"] {
            let text = calls(7_777).to_string().replace("7777", endless);
            refused(&world, &text).await;
        }
        assert_eq!(world.genesys.requests().len(), 0);
        assert_eq!(world.items("").len(), 0);
    }
}

#[tokio::test]
async fn a_licence_says_how_short_a_period_may_be() {
    for surface in SURFACES {
        let world = world(surface).await;
        for (tier, days, is_valid) in [
            ("STANDARD", 29, false),
            ("STANDARD", 30, true),
            ("ENTERPRISE", 6, false),
            ("ENTERPRISE", 7, true),
        ] {
            let order = with(order("plan", &[policy("Calls", "call", days)]), "licenseTier", tier);
            let report = report(&world, &order).await;
            assert_eq!(status(&report) != "invalid", is_valid, "{surface} {tier} {days}: {report:#}");
            if !is_valid {
                assert!(error(&report).contains("retentionPeriod") && error(&report).contains(tier));
            }
        }
    }
}

/// The trap: an unknown licence tier silently counts as one that is known.
#[tokio::test]
async fn a_licence_that_nobody_knows_is_refused_and_so_is_none() {
    for surface in SURFACES {
        let world = world(surface).await;
        for tier in [json!("GOLD"), json!(""), json!(30), json!(["STANDARD"])] {
            let said = refused(&world, &with(calls(90), "licenseTier", tier).to_string()).await;
            assert!(said.contains("licenseTier"), "{said}");
        }
        let none = json!({"run": "run", "policies": [policy("Calls", "call", 90)]});
        assert!(refused(&world, &none.to_string()).await.contains("licenseTier"));
        assert_eq!(world.genesys.requests().len(), 0);
        assert_eq!(world.items("").len(), 0);
    }
}

/// The trap: `!dayOfWeek` takes Sunday, which is 0, for no day at all.
#[tokio::test]
async fn sunday_is_a_day_by_number_and_by_name() {
    let world = world(Surface::Guide).await;
    for (name, day) in [("By number", json!(0)), ("By name", json!("SUNDAY"))] {
        let mut sundays = policy(name, "call", 90);
        sundays["schedule"] = json!({"frequency": "WEEKLY", "dayOfWeek": day, "timezone": "UTC"});
        let report = report(&world, &order("plan", &[sundays])).await;

        assert_ne!(status(&report), "invalid", "{report:#}");
        // The world's clock stands on a Sunday: the next one is a week away.
        assert_eq!(only(&report)["nextScheduled"], "2026-11-29T00:00:00Z");
    }
    let mut sundays = policy("Sundays", "call", 90);
    sundays["schedule"] = json!({"frequency": "WEEKLY", "dayOfWeek": 0});
    assert_eq!(status(&report(&world, &order("run", &[sundays])).await), "created");
    let asked = world.genesys.policy_writes().remove(0).asked;
    assert!([json!(0), json!("SUNDAY")].contains(&asked["schedule"]["dayOfWeek"]), "{asked}");
}

#[tokio::test]
async fn a_whole_number_is_one_however_it_is_spelled() {
    for surface in SURFACES {
        for spelling in ["90", "90.0", "9e1", "9000e-2"] {
            let world = world(surface).await;
            let text = calls(7_777).to_string().replace("7777", spelling);

            let report = reported(&send(&world, &text).await);

            assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{spelling}");
            assert_eq!(periods(&world), [named("Calls", 90)]);
        }
    }
}

#[tokio::test]
async fn a_name_that_two_policies_bear_is_refused_to_both() {
    for surface in SURFACES {
        let world = world(surface).await;
        let policies =
            [policy("Calls", "call", 90), policy("Chats", "chat", 60), policy("Calls", "email", 200)];

        let report = report(&world, &order("run", &policies)).await;

        let statuses: Vec<_> = statuses(&report).into_iter().map(|(_, status)| status).collect();
        assert_eq!(statuses, ["invalid", "created", "invalid"], "{surface}");
        for index in [0, 2] {
            assert!(report["policies"][index]["error"].as_str().unwrap().contains("name"));
        }
        assert_eq!(periods(&world), [named("Chats", 60)]);
    }
}

#[tokio::test]
async fn an_order_that_is_none_is_a_problem_that_names_the_member() {
    for surface in SURFACES {
        let world = world(surface).await;
        let but = |member: &str, value: Value| with(calls(90), member, value).to_string();
        let twice =
            calls(90).to_string().replace("\"objectType\":", "\"objectType\":\"chat\",\"objectType\":");
        let cases = [
            ("{".to_owned(), ""),
            (String::new(), ""),
            ("[]".to_owned(), ""),
            (twice, "objectType"),
            (but("run", json!(null)), "run"),
            (but("run", json!("deploy")), "run"),
            (but("run", json!(1)), "run"),
            (but("policies", json!(null)), "policies"),
            (but("policies", json!([])), "policies"),
            (but("policies", json!({"name": "Calls"})), "policies"),
            (but("policies", json!("Calls")), "policies"),
            (but("onOverlap", json!("ignore")), "onOverlap"),
            (but("onOverlap", json!(true)), "onOverlap"),
            (but("onDrift", json!("merge")), "onDrift"),
            (but("runId", json!("")), "runId"),
            (but("runId", json!("a b")), "runId"),
            (but("runId", json!("x".repeat(256))), "runId"),
            (but("runId", json!(7)), "runId"),
        ];
        for (order, member) in cases {
            let said = refused(&world, &order).await;
            assert!(said.contains(member), "{order}: {said}");
        }
        assert_eq!(world.genesys.requests().len(), 0);
        assert_eq!(world.items("").len(), 0, "nothing is on record");
    }
}

#[tokio::test]
async fn an_order_that_no_item_could_hold_is_too_large() {
    let world = world(Surface::Platform).await;
    let wordy = but("description", "x".repeat(400_000));

    let response = world.retention(&order("run", &[wordy])).await;

    assert_eq!((response.status, response.problem().as_str()), (413, "payload-too-large"));
    assert_eq!(world.genesys.requests().len(), 0);
    assert_eq!(world.items("").len(), 0);
}

#[tokio::test]
async fn a_name_may_be_anything_that_a_person_would_write() {
    for surface in SURFACES {
        let world = world(surface).await;
        let name = "Gespräche: Q4/Compliance – «90 Tage» #1 \\ \"x\" 📞";

        let report = report(&world, &order("run", &[policy(name, "call", 90)])).await;

        assert_eq!(status(&report), "created", "{report:#}");
        assert_eq!(periods(&world), [named(name, 90)]);
        assert_eq!(actions(&world, name), ["policy-intended", "policy-created"]);
    }
}

/// What passes the door has room wherever it is kept.
#[tokio::test]
async fn a_description_of_any_length_is_deployed_or_named_at_the_door() {
    for surface in SURFACES {
        for length in [10_000, 100_000, 200_000, 340_000] {
            let world = world(surface).await;

            let report = report(&world, &order("run", &[but("description", "x".repeat(length))])).await;

            match status(&report) {
                "invalid" => assert!(error(&report).contains("description"), "{length}: {}", error(&report)),
                other => assert_eq!(other, "created", "{surface} {length}: {}", error(&report)),
            }
        }
    }
}
