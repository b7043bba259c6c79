use serde_json::json;

use super::*;

fn policy(name: &str) -> Value {
    json!({"name": name, "objectType": "call", "retentionPeriod": 90, "schedule": {"frequency": "DAILY"}})
}

fn parse(policies: &Value) -> Vec<Entry> {
    let order = json!({"run": "run", "licenseTier": "ENTERPRISE", "policies": policies});
    match Order::parse(order.to_string().as_bytes()) {
        Ok(Order::Run(deployment)) => deployment.policies,
        other => panic!("{other:?}"),
    }
}

/// The fields that are wrong with the one policy that was changed so.
fn wrong(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut changed = policy("p");
    change(&mut changed);
    let faults = parse(&json!([changed])).remove(0).written.err().unwrap_or_default();
    faults.into_iter().map(|fault| fault.field).collect()
}

fn refused(order: &Value) -> String {
    let parsed = Order::parse(order.to_string().as_bytes());
    parsed.map_or_else(|problem| problem.detail().to_owned(), |_| String::new())
}

#[test]
fn a_policy_that_says_the_least_is_in_force_each_day_in_utc() {
    let written = parse(&json!([policy("p")])).remove(0).written.unwrap();
    assert!(written.policy.enabled && written.policy.filters.is_empty());
    assert_eq!(written.policy.schedule.timezone, "UTC");
    assert_eq!(written.daily_volume_gb, None);
}

#[test]
fn sunday_is_a_day_however_it_is_spelled() {
    for sunday in [json!(0), json!(0.0), json!("SUNDAY"), json!("sunday")] {
        let mut weekly = policy("p");
        weekly["schedule"] = json!({"frequency": "WEEKLY", "dayOfWeek": sunday});
        let written = parse(&json!([weekly])).remove(0).written.unwrap();
        assert_eq!(written.policy.schedule.day_of_week, Some(0), "{sunday}");
    }
}

#[test]
fn a_period_is_a_whole_number_of_days_that_the_licence_allows() {
    for good in [json!(7), json!(90.0), json!(2_147_483_647)] {
        assert_eq!(wrong(|it| it["retentionPeriod"] = good.clone()), [""; 0], "{good}");
    }
    let bad = [
        json!(6),
        json!(0),
        json!(-90),
        json!(30.5),
        json!("90"),
        json!("NaN"),
        json!("Infinity"),
        json!("abc"),
        json!(1e300),
        json!(2_147_483_648_u64),
        json!(true),
        json!([90]),
        json!(null),
    ];
    for bad in bad {
        assert_eq!(wrong(|it| it["retentionPeriod"] = bad.clone()), ["retentionPeriod"], "{bad}");
    }
    let standard = json!({"run": "run", "licenseTier": "standard", "policies": [{"name": "p", "objectType": "call",
        "retentionPeriod": 29, "schedule": {"frequency": "DAILY"}}]});
    let Ok(Order::Run(deployment)) = Order::parse(standard.to_string().as_bytes()) else {
        panic!("an order")
    };
    let faults = deployment.policies[0].written.as_ref().unwrap_err();
    assert!(faults[0].message.contains("at least 30 days with a STANDARD licence"), "{faults:?}");
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let bad = json!({
        "name": "\u{7}",
        "objectType": "letter",
        "retentionPeriod": "soon",
        "enabled": "yes",
        "description": 7,
        "schedule": {"frequency": "HOURLY", "dayOfWeek": 7, "dayOfMonth": 32, "timezone": "Mars/Olympus", "day": 1},
        "filters": [{"attribute": "direction", "operator": ""}, 7],
        "tags": ["GDPR", 7],
        "dailyVolumeGb": -1,
        "retention": 90,
    });
    let entry = parse(&json!([bad])).remove(0);
    assert_eq!(entry.name, "policies[0]");
    let fields: Vec<String> = entry.written.unwrap_err().into_iter().map(|fault| fault.field).collect();
    let expected = [
        "retention",
        "name",
        "description",
        "enabled",
        "objectType",
        "retentionPeriod",
        "schedule.day",
        "schedule.frequency",
        "schedule.dayOfWeek",
        "schedule.dayOfMonth",
        "schedule.timezone",
        "filters[0].operator",
        "filters[0].value",
        "filters[1]",
        "tags[1]",
        "dailyVolumeGb",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn a_weekly_schedule_has_a_day_of_the_week_and_a_monthly_one_a_day_of_the_month() {
    let with = |schedule: Value| wrong(|it| it["schedule"] = schedule);
    assert_eq!(with(json!({"frequency": "WEEKLY"})), ["schedule.dayOfWeek"]);
    assert_eq!(with(json!({"frequency": "WEEKLY", "dayOfWeek": null})), ["schedule.dayOfWeek"]);
    assert_eq!(with(json!({"frequency": "MONTHLY", "dayOfMonth": 0})), ["schedule.dayOfMonth"]);
    assert_eq!(with(json!({"frequency": "MONTHLY", "dayOfMonth": 31})), [""; 0]);
    let unneeded = json!({"frequency": "DAILY", "dayOfWeek": null, "dayOfMonth": null, "timezone": null});
    assert_eq!(with(unneeded), [""; 0]);
}

#[test]
fn two_policies_of_one_name_are_both_refused_and_the_others_are_not() {
    let entries = parse(&json!([policy("a"), policy("b"), policy("a"), 7]));
    let is_good: Vec<bool> = entries.iter().map(|entry| entry.written.is_ok()).collect();
    assert_eq!(is_good, [false, true, false, false]);
    assert!(entries[0].written.as_ref().unwrap_err()[0].message.contains("policies[2]"));
    assert_eq!(entries[3].name, "policies[3]");
}

#[test]
fn an_order_that_is_none_is_refused_by_the_member_that_is_wrong() {
    let good = json!({"run": "run", "licenseTier": "STANDARD", "policies": [policy("p")]});
    assert_eq!(refused(&good), "");
    let changes = [
        ("run", json!("go")),
        ("run", json!(null)),
        ("licenseTier", json!("GOLD")),
        ("licenseTier", json!(null)),
        ("onOverlap", json!("overwrite")),
        ("onDrift", json!(true)),
        ("policies", json!({})),
        ("policies", json!([])),
        ("policies", json!(null)),
        ("runId", json!("with space")),
        ("runId", json!("")),
    ];
    for (member, value) in changes {
        let mut order = good.clone();
        order[member] = value.clone();
        assert!(refused(&order).starts_with(member), "{member} {value}: {}", refused(&order));
    }
    for text in ["", "[]", "7", "{", r#"{"run":"run","run":"plan"}"#] {
        assert!(Order::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(matches!(Order::parse(br#"{"run":"resume"}"#), Ok(Order::Resume)));
    let many: Vec<Value> = (0..4000).map(|number| policy(&format!("p{number}"))).collect();
    let order = json!({"run": "run", "licenseTier": "STANDARD", "policies": many});
    assert!(refused(&order).contains("larger than"));
}
