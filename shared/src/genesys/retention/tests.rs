use serde_json::json;

use super::*;

fn policy(object_type: ObjectType, filters: &[(&str, &str, &str)]) -> Policy {
    let schedule = Schedule {
        frequency: Frequency::Daily,
        day_of_week: None,
        day_of_month: None,
        timezone: "UTC".to_owned(),
    };
    let filter = |(attribute, operator, value): &(&str, &str, &str)| Filter {
        attribute: (*attribute).to_owned(),
        operator: (*operator).to_owned(),
        value: json!(value),
    };
    Policy {
        name: "Calls".to_owned(),
        description: None,
        enabled: true,
        object_type,
        days: 90,
        schedule,
        filters: filters.iter().map(filter).collect(),
        tags: vec!["GDPR".to_owned()],
    }
}

fn found(surface: Surface, stored: Value) -> Found {
    Found::of(surface, stored)
}

#[test]
fn what_is_stored_as_it_was_asked_is_so_whatever_the_server_adds() {
    let inbound = policy(ObjectType::Call, &[("direction", "EQ", "INBOUND"), ("queueId", "EQ", "q-1")]);
    for surface in [Surface::Platform, Surface::Guide] {
        let asked = body(surface, &inbound, 90);
        let mut stored = asked.clone();
        stored["id"] = json!("p-1");
        stored["selfUri"] = json!("/somewhere");
        stored["modifiedDate"] = json!("2026-11-23T00:00:00Z");
        stored["order"] = json!(4);
        if surface == Surface::Platform {
            let part = &mut stored["mediaPolicies"]["callPolicy"];
            part["conditions"]["forQueues"][0]["name"] = json!("Support");
            part["conditions"]["wrapupCodes"] = json!([]);
            part["actions"]["alwaysDelete"] = json!(false);
            stored["mediaPolicies"]["chatPolicy"] = json!(null);
        }
        assert!(found(surface, stored.clone()).is_as_asked(surface, &asked), "{stored}");
    }
}

#[test]
fn whatever_makes_a_policy_do_something_else_shows() {
    let asked = body(Surface::Platform, &policy(ObjectType::Call, &[("queueId", "EQ", "q-1")]), 90);
    let changes: [fn(&mut Value); 8] = [
        |it| it["enabled"] = json!(false),
        |it| it["name"] = json!("Other"),
        |it| it["mediaPolicies"]["callPolicy"]["conditions"]["forUsers"] = json!([{"id": "u-1"}]),
        |it| it["mediaPolicies"]["callPolicy"]["conditions"]["forQueues"] = json!([]),
        |it| it["mediaPolicies"]["callPolicy"]["actions"]["retainRecording"] = json!(true),
        |it| {
            it["mediaPolicies"]["callPolicy"]["actions"]["retentionDuration"]["deleteRetention"]["days"] =
                json!(91);
        },
        |it| it["mediaPolicies"]["chatPolicy"] = json!({"actions": {}}),
        |it| it["conditions"] = json!({"directions": ["OUTBOUND"]}),
    ];
    for change in changes {
        let mut stored = asked.clone();
        change(&mut stored);
        assert!(!found(Surface::Platform, stored.clone()).is_as_asked(Surface::Platform, &asked), "{stored}");
    }
    let asked = body(Surface::Guide, &policy(ObjectType::Call, &[("queueId", "EQ", "q-1")]), 90);
    let changes: [fn(&mut Value); 5] = [
        |it| it["retentionPeriod"] = json!(91),
        |it| it["filters"] = json!([]),
        |it| it["filters"][0]["value"] = json!("q-2"),
        |it| it["schedule"]["timezone"] = json!("Asia/Tokyo"),
        |it| it["objectType"] = json!("chat"),
    ];
    for change in changes {
        let mut stored = asked.clone();
        change(&mut stored);
        assert!(!found(Surface::Guide, stored.clone()).is_as_asked(Surface::Guide, &asked), "{stored}");
    }
}

#[test]
fn what_the_published_api_has_no_place_for_is_named() {
    let unsupported = |object_type, filters: &[(&str, &str, &str)]| {
        unsupported(Surface::Platform, &policy(object_type, filters)).join("; ")
    };
    assert_eq!(unsupported(ObjectType::Call, &[("direction", "EQ", "INBOUND"), ("queueId", "EQ", "q")]), "");
    assert!(unsupported(ObjectType::Task, &[]).contains("objectType task"));
    for filter in [("wrapUpCode", "EQ", "w"), ("direction", "NEQ", "INBOUND"), ("queueId", "EQ", "")] {
        let named = unsupported(ObjectType::Call, &[filter]);
        assert!(named.contains("filters[0]") && named.contains(filter.0), "{named}");
    }
    assert!(unsupported(ObjectType::Chat, &[("direction", "EQ", "INBOUND")]).contains("for calls only"));
    let twice = unsupported(ObjectType::Call, &[("queueId", "EQ", "a"), ("queueId", "EQ", "b")]);
    assert!(twice.contains("filters[1]") && twice.contains("twice"), "{twice}");
    assert!(
        super::unsupported(Surface::Guide, &policy(ObjectType::Task, &[("any", "LIKE", "x")])).is_empty()
    );
}

#[test]
fn a_policy_is_about_what_its_media_say_and_keeps_it_for_as_long_as_each_says() {
    for object_type in ObjectType::ALL {
        let shown = found(Surface::Guide, body(Surface::Guide, &policy(object_type, &[]), 90));
        assert_eq!((shown.object_type, shown.days), (Some(object_type), Some(90)));
        if object_type != ObjectType::Task {
            let shown = found(Surface::Platform, body(Surface::Platform, &policy(object_type, &[]), 90));
            assert_eq!((shown.object_type, shown.days), (Some(object_type), Some(90)));
        }
    }
    let mut stored = body(Surface::Platform, &policy(ObjectType::Interaction, &[]), 90);
    stored["mediaPolicies"]["chatPolicy"]["actions"]["retentionDuration"]["deleteRetention"]["days"] =
        json!(95.0);
    let shown = found(Surface::Platform, stored.clone());
    assert_eq!((shown.days, shown.longest), (Some(90), Some(95)));
    let raised = found(Surface::Platform, raised(&shown, 92));
    assert_eq!((raised.days, raised.longest), (Some(92), Some(95)), "and nothing is lowered");
    stored["mediaPolicies"]["emailPolicy"] = json!(null);
    assert_eq!(found(Surface::Platform, stored).object_type, None);
}

#[test]
fn a_policy_that_is_kept_for_longer_stays_what_it_is_otherwise() {
    let mut stored = body(Surface::Platform, &policy(ObjectType::Interaction, &[("queueId", "EQ", "q")]), 60);
    stored["id"] = json!("p-1");
    stored["createdDate"] = json!("2026-11-23T00:00:00Z");
    stored["order"] = json!(3);
    let raised = raised(&found(Surface::Platform, stored.clone()), 90);
    let mut back = raised.clone();
    assert_eq!(found(Surface::Platform, raised).days, Some(90));
    for name in ["callPolicy", "chatPolicy", "emailPolicy", "messagePolicy"] {
        back["mediaPolicies"][name]["actions"]["retentionDuration"]["deleteRetention"]["days"] = json!(60);
    }
    for name in ["id", "createdDate"] {
        stored.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(back, stored);
}

#[test]
fn any_2xx_is_taken_for_what_it_says() {
    let answer = |status, body: &str| Answer { status, content_type: None, body: body.to_owned().into() };
    let done = |id: Option<&str>| Asked::Done(id.map(|id| PolicyId::parse(id).unwrap()));
    let job = |id| Asked::Job(JobId::parse(id).unwrap());
    assert_eq!(taken(&answer(201, ""), None), done(None));
    assert_eq!(taken(&answer(201, r#"{"id":"p-1"}"#), None), done(Some("p-1")));
    assert_eq!(taken(&answer(200, r#"{"policyId":"p-1"}"#), None), done(Some("p-1")));
    assert_eq!(taken(&answer(202, ""), Some("j-1")), job("j-1"));
    assert_eq!(taken(&answer(202, r#"{"jobId":"j-2"}"#), None), job("j-2"));
    assert_eq!(taken(&answer(202, r#"{"jobId":7}"#), None), job("7"));
    assert!(matches!(taken(&answer(202, "oops"), None), Asked::Accepted(_)));
    assert!(matches!(taken(&answer(202, ""), Some("../j")), Asked::Accepted(_)));
}
