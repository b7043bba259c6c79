//! Notices: who audits hears of every change and every failure, once, and of nothing else.

use std::collections::BTreeMap;

use simulator::{Policy, PolicyCourse};

use super::*;

/// The kind of each notice, by the policy it is about.
fn told(world: &World) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let notices = notices(world).into_iter();
    notices.map(|notice| (text(&notice["payload"]["name"]), text(&notice["eventType"]))).collect()
}

#[tokio::test]
async fn a_notice_bears_the_policy_and_a_report_on_it() {
    for surface in SURFACES {
        let world = world(surface).await;

        let report =
            report(&world, &order("run", &[policy("Calls", "call", 90), policy("Chats", "chat", 60)])).await;

        let notices = notices(&world);
        assert_eq!(notices.len(), 2, "{surface}");
        for policy in report["policies"].as_array().unwrap() {
            let notice = notices.iter().find(|it| it["payload"]["name"] == policy["name"]).unwrap();
            assert_eq!(notice["eventType"], "RETENTION_POLICY_DEPLOYED");
            assert_eq!(notice["payload"], *policy);
            let members: Vec<_> = notice.as_object().unwrap().keys().collect();
            assert_eq!(members, ["auditReport", "eventType", "payload"]);
            let audit = &notice["auditReport"];
            assert_eq!(audit["summary"]["policyCompliance"], "VERIFIED");
            assert_eq!(audit["policies"], json!([policy]));
            let events = audit["events"].as_array().unwrap();
            assert_eq!(audit["summary"]["totalEvents"], events.len());
            assert!(!events.is_empty() && events.iter().all(|event| event["policyName"] == policy["name"]));
            for member in ["generatedAt", "regulatoryTags", "version"] {
                assert_eq!(audit[member], report[member], "{member}");
            }
        }
    }
}

#[tokio::test]
async fn every_end_has_its_kind_of_notice() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policies_go(PolicyCourse::created());
        world.genesys.policy_goes("Refused", PolicyCourse::refuses());
        world.genesys.policy("a", Policy::new("Others", "chat", 99));
        world.genesys.policy("b", Policy::new("Drifted", "sms", 300));
        report(&world, &order("run", &[policy("Calls", "call", 90)])).await;
        let policies = [
            policy("Calls", "call", 200),
            policy("Refused", "email", 90),
            policy("Chats", "chat", 90),
            policy("Drifted", "sms", 90),
            policy("Invalid", "letter", 90),
        ];

        report(&world, &merging(order("run", &policies))).await;

        let (deployed, failed) = ("RETENTION_POLICY_DEPLOYED", "POLICY_DEPLOYMENT_FAILED");
        let expected = [
            ("Calls", deployed),
            ("Chats", deployed),
            ("Drifted", failed),
            ("Invalid", failed),
            ("Refused", failed),
        ];
        let expected: BTreeMap<_, _> =
            expected.into_iter().map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        assert_eq!(told(&world), expected, "{surface}");
        assert_eq!(notices(&world).len(), 6);
    }
}

#[tokio::test]
async fn nobody_hears_of_what_is_as_it_was() {
    for surface in SURFACES {
        let world = world(surface).await;
        report(&world, &calls(90)).await;
        assert_eq!(notices(&world).len(), 1);

        for order in [calls(90), order("plan", &[policy("Calls", "call", 200)]), json!({"run": "resume"})] {
            report(&world, &order).await;
        }

        assert_eq!(notices(&world).len(), 1, "{surface}");
    }
}

#[tokio::test]
async fn a_pending_policy_is_announced_once_and_then_its_end() {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().never_ends());

    for order in [calls(90), json!({"run": "resume"}), calls(90)] {
        assert_eq!(status(&report(&world, &order).await), "pending");
    }
    assert_eq!(told(&world)["Calls"], "RETENTION_POLICY_PENDING");
    assert_eq!(notices(&world).len(), 1);
    world.genesys.finish_jobs();
    let quick = world.another_instance(&[AUDIT]).await;
    reported(&world.retention_at(&quick, &json!({"run": "resume"})).await);

    assert_eq!(notices(&world).len(), 2);
}

#[tokio::test]
async fn without_a_subscriber_there_are_no_notices() {
    for surface in SURFACES {
        let world = World::start(surface).await;

        let report = report(&world, &calls(90)).await;

        assert_eq!((status(&report), notices(&world).len()), ("created", 0), "{surface}");
        assert_eq!(actions(&world, "Calls"), ["policy-intended", "policy-created"]);
    }
}

#[tokio::test]
async fn the_relay_delivers_a_notice_signed_and_once() {
    for surface in SURFACES {
        let bare = World::start(surface).await;
        let (inbox, relay) = (bare.inbox().await, bare.relay(&[]).await);
        let url = inbox.url();
        let auditing = bare.another_instance(&[("AUDIT_WEBHOOK_URL", &url)]).await;

        let report = reported(&bare.retention_at(&auditing, &calls(90)).await);
        for _ in 0..2 {
            relay.feed_stream().await.expect("the relay takes its stream");
            relay.sweep().await.expect("the store is there");
        }

        let received = inbox.received();
        assert_eq!(received.len(), 1, "{surface}");
        assert!(received[0].is_verified);
        let body: Value = serde_json::from_str(&received[0].body).unwrap();
        assert_eq!(body["eventType"], "RETENTION_POLICY_DEPLOYED");
        assert_eq!(&body["payload"], only(&report));
    }
}
