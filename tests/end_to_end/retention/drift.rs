//! Changes: ours are deployed, and somebody else's are reported and only overwritten when that is asked for.

use simulator::{Change, Policy};

use super::*;

/// The one policy that is there, under this name, as it was written last.
fn newest(world: &World, name: &str) -> Value {
    let policies = world.genesys.policies().into_iter().rev();
    policies.map(|it| it.stored).find(|it| it["name"] == name).expect("a policy of this name")
}

#[tokio::test]
async fn every_change_of_what_is_written_is_deployed_and_then_left_alone() {
    let was = with(with(policy("Calls", "call", 90), "description", "for 2025"), "enabled", true);
    let filters = |direction: &str| {
        json!([
            {"attribute": "direction", "operator": "EQ", "value": direction},
            {"attribute": "queueId", "operator": "EQ", "value": "q-1"},
        ])
    };
    let changes = [
        ("retentionPeriod", json!(200)),
        ("retentionPeriod", json!(40)),
        ("description", json!("for 2026")),
        ("enabled", json!(false)),
        ("filters", filters("INBOUND")),
        ("filters", filters("OUTBOUND")),
    ];
    for surface in SURFACES {
        let world = world(surface).await;
        let mut policy = was.clone();
        report(&world, &order("run", std::slice::from_ref(&policy))).await;
        for (member, value) in changes.clone() {
            policy[member] = value.clone();
            let order = order("run", std::slice::from_ref(&policy));

            let updated = report(&world, &order).await;
            let again = report(&world, &order).await;

            assert_eq!(status(&updated), "updated", "{surface} {member} {value}: {updated:#}");
            assert_eq!(compliance(&updated), "VERIFIED");
            assert_eq!(status(&again), "unchanged", "{surface} {member} {value}: {again:#}");
            let stored = newest(&world, "Calls");
            match (surface, member) {
                (Surface::Guide, _) | (_, "description" | "enabled") => assert_eq!(stored[member], value),
                (Surface::Platform, "retentionPeriod") => {
                    assert_eq!(Some(world.genesys.policies()[0].retention_days), Some(value.as_u64()));
                }
                (Surface::Platform, _) => {
                    let conditions = &stored["mediaPolicies"]["callPolicy"]["conditions"];
                    assert_eq!(conditions["directions"], json!([value[0]["value"]]));
                    assert_eq!(conditions["forQueues"][0]["id"], "q-1");
                }
            }
        }
        if surface == Surface::Platform {
            assert_eq!(world.genesys.policies().len(), 1, "a policy that can be changed is changed");
            let writes = world.genesys.policy_writes();
            assert!(writes[1..].iter().all(|write| write.change == Change::Replaced), "{writes:?}");
        }
        assert_eq!(asked_for(&world), 1 + changes.len(), "{surface}");
    }
}

#[tokio::test]
async fn a_filter_that_is_no_longer_written_is_no_longer_deployed() {
    for surface in SURFACES {
        let world = world(surface).await;
        let filters = json!([{"attribute": "direction", "operator": "EQ", "value": "INBOUND"}]);
        let inbound = with(policy("Calls", "call", 90), "filters", filters);
        report(&world, &order("run", &[inbound])).await;

        let report = report(&world, &calls(90)).await;

        assert_eq!((status(&report), compliance(&report)), ("updated", "VERIFIED"), "{surface}: {report:#}");
        let stored = newest(&world, "Calls").to_string();
        assert!(!stored.contains("INBOUND"), "{stored}");
    }
}

#[tokio::test]
async fn a_change_by_somebody_else_is_drift_until_it_is_to_be_overwritten() {
    let edits: [fn(&mut Value); 3] = [
        |stored| stored["enabled"] = json!(false),
        |stored| stored["name"] = json!("Mine now"),
        |stored| {
            if let Some(days) =
                stored.pointer_mut("/mediaPolicies/callPolicy/actions/retentionDuration/deleteRetention/days")
            {
                *days = json!(1);
            } else {
                stored["retentionPeriod"] = json!(1);
            }
        },
    ];
    for surface in SURFACES {
        for edit in edits {
            let world = world(surface).await;
            // What was renamed stays on the guides' surface, beside what is registered once more.
            world.genesys.allow_overlaps();
            let id = only(&report(&world, &calls(90)).await)["policyId"].as_str().unwrap().to_owned();
            world.genesys.edit_policy(&id, edit);
            let edited = world.genesys.policies()[0].stored.clone();

            let reported = report(&world, &with(calls(90), "onDrift", "report")).await;
            // Reporting is also what is done where nothing is said.
            let once_more = report(&world, &calls(90)).await;

            for report in [&reported, &once_more] {
                assert_eq!(
                    (status(report), compliance(report)),
                    ("drift", "VIOLATED"),
                    "{surface}: {report:#}"
                );
                assert_eq!(only(report)["policyId"], id.as_str());
                assert!(!error(report).is_empty());
            }
            assert_eq!(world.genesys.policies()[0].stored, edited, "it was left alone");
            assert_eq!(asked_for(&world), 1);

            let applied = report(&world, &applying(calls(90))).await;
            let again = report(&world, &calls(90)).await;

            assert_eq!((status(&applied), compliance(&applied)), ("updated", "VERIFIED"), "{applied:#}");
            assert_eq!((status(&again), compliance(&again)), ("unchanged", "VERIFIED"), "{again:#}");
            let newest = newest(&world, "Calls");
            assert_eq!(newest["enabled"], true);
            let last = world.genesys.policies().pop().unwrap();
            assert_eq!((last.name.as_str(), last.retention_days), ("Calls", Some(90)));
        }
    }
}

#[tokio::test]
async fn a_change_by_somebody_else_is_drift_also_when_the_order_has_changed() {
    for surface in SURFACES {
        let world = world(surface).await;
        let id = only(&report(&world, &calls(90)).await)["policyId"].as_str().unwrap().to_owned();
        world.genesys.edit_policy(&id, |stored| stored["description"] = json!("hands off"));
        world.genesys.edit_policy(&id, |stored| stored["enabled"] = json!(false));

        let report = report(&world, &calls(200)).await;

        assert_eq!((status(&report), asked_for(&world)), ("drift", 1), "{surface}: {report:#}");
    }
}

#[tokio::test]
async fn a_policy_of_the_same_name_by_somebody_else_is_drift_and_not_taken_over_unasked() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policy("theirs", Policy::new("Calls", "call", 365));

        let reported = report(&world, &merging(calls(90))).await;
        assert_eq!((status(&reported), compliance(&reported)), ("drift", "VIOLATED"), "{reported:#}");
        assert_eq!(only(&reported)["policyId"], "theirs");
        assert_eq!(asked_for(&world), 0);

        let applied = report(&world, &applying(merging(calls(90)))).await;
        assert_eq!((status(&applied), compliance(&applied)), ("updated", "VERIFIED"), "{applied:#}");
        if surface == Surface::Platform {
            assert_eq!(periods(&world), [named("Calls", 90)], "it was replaced");
        }
        assert_eq!(status(&report(&world, &calls(90)).await), "unchanged");
        assert_eq!(asked_for(&world), 1);
    }
}

#[tokio::test]
async fn what_a_server_adds_is_no_drift() {
    for surface in SURFACES {
        let world = world(surface).await;
        let id = only(&report(&world, &calls(90)).await)["policyId"].as_str().unwrap().to_owned();
        world.genesys.edit_policy(&id, |stored| {
            stored["lastRun"] = json!("2026-11-22T00:00:00Z");
            stored["order"] = json!(3);
        });

        let report = report(&world, &calls(90)).await;

        assert_eq!(
            (status(&report), compliance(&report)),
            ("unchanged", "VERIFIED"),
            "{surface}: {report:#}"
        );
    }
}

#[tokio::test]
async fn a_policy_that_is_no_longer_ordered_is_left_where_it_is() {
    for surface in SURFACES {
        let world = world(surface).await;
        report(&world, &order("run", &[policy("Calls", "call", 90), policy("Chats", "chat", 60)])).await;

        let report = report(&world, &calls(90)).await;

        assert_eq!(status(&report), "unchanged");
        assert_eq!(world.genesys.policies().len(), 2, "{surface}");
        assert_eq!(world.genesys.request_count(Operation::DeletePolicy), 0);
    }
}

/// What a run was about to replace when it died may be another by the time it is carried on.
#[tokio::test]
async fn a_change_that_was_cut_off_does_not_overwrite_what_somebody_has_changed_since() {
    let world = recovery::world(Surface::Platform).await;
    assert_eq!(status(&report(&world, &calls(90)).await), "created");
    let death =
        recovery::At::Genesys(Operation::UpdatePolicy, simulator::Fault::stall_before_effect()).nth(1);
    assert!(recovery::doomed(&world, &calls(200), &death).await.is_none());
    let id = world.genesys.policies()[0].id.clone();
    world.genesys.edit_policy(&id, |stored| stored["enabled"] = json!(false));
    world.let_pass(recovery::PAST_THE_LEASE);

    let resumed = report(&world, &json!({"run": "resume"})).await;

    assert_eq!((status(&resumed), compliance(&resumed)), ("drift", "VIOLATED"), "{resumed:#}");
    assert_eq!(newest(&world, "Calls")["enabled"], false);
    assert_eq!(periods(&world), [named("Calls", 90)]);
    assert_eq!(world.genesys.policy_writes().len(), 1);
}

/// The list does not show everything that is asked for; the mark remembers it.
#[tokio::test]
async fn tags_that_are_written_otherwise_are_deployed_though_no_list_shows_them() {
    let world = world(Surface::Guide).await;
    world.genesys.allow_overlaps();
    assert_eq!(status(&report(&world, &calls(90)).await), "created");
    let tagged = order("run", &[with(policy("Calls", "call", 90), "tags", json!(["HIPAA"]))]);

    let updated = report(&world, &tagged).await;
    let again = report(&world, &tagged).await;

    assert_eq!((status(&updated), compliance(&updated)), ("updated", "VERIFIED"), "{updated:#}");
    assert_eq!(status(&again), "unchanged", "{again:#}");
    assert_eq!(asked_for(&world), 2);
}

/// An archive that somebody has added keeps what is to be deleted.
#[tokio::test]
async fn an_archive_that_somebody_has_added_is_drift() {
    let world = world(Surface::Platform).await;
    report(&world, &calls(90)).await;
    let id = world.genesys.policies()[0].id.clone();
    world.genesys.edit_policy(&id, |stored| {
        stored["mediaPolicies"]["callPolicy"]["actions"]["retentionDuration"]["archiveRetention"] =
            json!({"days": 3650, "storageMedium": "CLOUDARCHIVE"});
    });

    let report = report(&world, &calls(90)).await;

    assert_eq!((status(&report), compliance(&report)), ("drift", "VIOLATED"), "{report:#}");
}
