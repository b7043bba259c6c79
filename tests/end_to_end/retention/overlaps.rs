//! Overlaps that are found by looking: the longest period wins, once, and is said; or nothing happens, and that is said.

use simulator::{Change, Fault, Policy, PolicyCourse};

use super::*;

/// What became of each, by name.
fn became<'a>(report: &'a Value, name: &str) -> &'a str {
    let policies = report["policies"].as_array().expect("policies");
    let found = policies.iter().find(|policy| policy["name"] == name).expect("a policy of this name");
    found["status"].as_str().expect("a status")
}

#[tokio::test]
async fn fourteen_days_apart_is_an_overlap_and_fifteen_is_none() {
    for surface in SURFACES {
        for (there, is_overlap) in [(75, false), (76, true), (90, true), (104, true), (105, false)] {
            let world = world(surface).await;
            world.genesys.policy("old", Policy::new("Others", "call", there));

            let report = report(&world, &with(calls(90), "onOverlap", "review")).await;

            let expected = if is_overlap { "review_required" } else { "created" };
            assert_eq!(status(&report), expected, "{surface} {there}: {report:#}");
            assert_eq!(times(&report, "OVERLAP_DETECTED"), usize::from(is_overlap));
            assert_eq!(asked_for(&world), usize::from(!is_overlap));
            let expected = if is_overlap { "VIOLATED" } else { "VERIFIED" };
            assert_eq!(compliance(&report), expected);
        }
    }
}

#[tokio::test]
async fn policies_about_other_objects_do_not_overlap() {
    for surface in SURFACES {
        let world = world(surface).await;
        for (id, object_type) in [("a", "chat"), ("b", "email"), ("c", "sms"), ("d", "interaction")] {
            world.genesys.policy(id, Policy::new("Others", object_type, 90));
        }

        let report = report(&world, &merging(calls(90))).await;

        assert_eq!(status(&report), "created", "{surface}: {report:#}");
        assert_eq!(times(&report, "OVERLAP_DETECTED"), 0);
    }
}

#[tokio::test]
async fn a_merge_raises_the_policy_that_is_there_and_leaves_all_else_of_it() {
    let world = world(Surface::Platform).await;
    let others = Policy::new("Others", "call", 80).member("description", "somebody's").member("order", 7);
    world.genesys.policy("old", others);
    world.genesys.edit_policy("old", |stored| {
        stored["mediaPolicies"]["callPolicy"]["conditions"] =
            json!({"directions": ["OUTBOUND"], "forQueues": [{"id": "q-1"}]});
        stored["mediaPolicies"]["callPolicy"]["actions"]["alwaysDelete"] = json!(true);
    });
    let mut expected = world.genesys.policies()[0].stored.clone();

    let first = report(&world, &merging(calls(90))).await;
    let again = report(&world, &merging(calls(90))).await;

    assert_eq!((status(&first), compliance(&first)), ("merged", "VERIFIED"), "{first:#}");
    assert_eq!(only(&first)["policyId"], "old");
    let raised = json!({"name": "Others", "policyId": "old", "from": 80, "to": 90});
    let merge = json!({"from": 90, "to": 90, "raised": raised});
    assert_eq!(only(&first)["merge"], merge);
    let entries = world.trail(&format!("policy:platform {}:Calls", world.genesys.url()));
    let told: Vec<_> = entries.iter().map(|entry| (&entry["action"], &entry["merge"])).collect();
    assert_eq!(
        told,
        [(&json!("policy-intended"), &merge), (&json!("policy-merged"), &merge)],
        "{entries:#?}"
    );
    let notice = notices(&world).remove(0);
    assert!(notice.to_string().contains(&raised.to_string()), "{notice:#}");
    let mut stored = world.genesys.policies()[0].stored.clone();
    let days = "/mediaPolicies/callPolicy/actions/retentionDuration/deleteRetention/days";
    assert_eq!(stored.pointer(days), Some(&json!(90)));
    for policy in [&mut stored, &mut expected] {
        policy["modifiedDate"].take();
        policy.pointer_mut(days).unwrap().take();
    }
    assert_eq!(stored, expected, "nothing but the period has changed");
    assert_eq!(world.genesys.policies().len(), 1, "there is no second policy");
    assert_eq!(world.genesys.policy_writes().len(), 1);
    assert_eq!(world.genesys.policy_writes()[0].change, Change::Replaced);
    assert_eq!((status(&again), compliance(&again)), ("unchanged", "VERIFIED"), "{again:#}");
}

/// What cannot be changed on the guides' surface is registered once more.
#[tokio::test]
async fn a_merge_on_the_guides_surface_registers_the_longest_period() {
    let world = world(Surface::Guide).await;
    world.genesys.allow_overlaps();
    world.genesys.policy("old", Policy::new("Others", "call", 80));

    let first = report(&world, &merging(calls(90))).await;
    let again = report(&world, &merging(calls(90))).await;

    assert_eq!((status(&first), compliance(&first)), ("merged", "VERIFIED"), "{first:#}");
    assert_eq!(periods(&world), [named("Others", 80), named("Calls", 90)]);
    assert_eq!(events(&first).iter().filter(|it| it.contains("OVERLAP")).count(), 1);
    assert_eq!(times(&first, "MERGE_RETENTION_WINDOW"), 1);
    assert_eq!(status(&again), "unchanged", "{again:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
}

#[tokio::test]
async fn a_longest_period_that_is_in_force_costs_no_write_and_is_never_lowered() {
    for surface in SURFACES {
        let world = world(surface).await;
        for (id, days) in [("a", 80), ("b", 99), ("c", 95)] {
            world.genesys.policy(id, Policy::new(&format!("Others {id}"), "call", days));
        }

        let first = report(&world, &merging(calls(90))).await;
        let again = report(&world, &merging(calls(90))).await;

        assert_eq!((status(&first), compliance(&first)), ("merged", "VERIFIED"), "{surface}: {first:#}");
        assert_eq!(only(&first)["policyId"], "b");
        assert_eq!(only(&first)["merge"], json!({"from": 90, "to": 99}));
        let overlap = &first["events"][0];
        assert_eq!((&overlap["event"], &overlap["conflictCount"]), (&json!("OVERLAP_DETECTED"), &json!(3)));
        assert_eq!((status(&again), compliance(&again)), ("unchanged", "VERIFIED"), "{surface}: {again:#}");
        assert_eq!(times(&again, "OVERLAP_DETECTED"), 0);
        assert_eq!(asked_for(&world), 0);
    }
}

#[tokio::test]
async fn of_several_overlapping_policies_none_is_left_shorter_than_it_was() {
    let world = world(Surface::Platform).await;
    for (id, days) in [("a", 80), ("b", 85)] {
        world.genesys.policy(id, Policy::new(&format!("Others {id}"), "call", days));
    }

    let first = report(&world, &merging(calls(90))).await;

    assert_eq!((status(&first), times(&first, "OVERLAP_DETECTED")), ("merged", 1), "{first:#}");
    let after = periods(&world);
    assert!(after.iter().any(|(_, days)| *days == 90), "{after:?}");
    assert!(after.iter().all(|(name, days)| *days >= if name == "Others a" { 80 } else { 85 }), "{after:?}");
    assert_eq!(asked_for(&world), 1);
    assert_eq!(status(&report(&world, &merging(calls(90))).await), "unchanged");
    assert_eq!(asked_for(&world), 1);
}

/// The longest retention wins medium by medium: what one medium keeps says nothing of another.
#[tokio::test]
async fn a_policy_that_keeps_only_some_media_for_long_is_raised_for_the_others() {
    let world = world(Surface::Platform).await;
    world.genesys.policy("old", Policy::new("Others", "interaction", 80));
    let days = "/actions/retentionDuration/deleteRetention/days";
    world.genesys.edit_policy("old", |stored| {
        *stored["mediaPolicies"]["chatPolicy"].pointer_mut(days).unwrap() = json!(95);
    });
    let all = order("run", &[policy("All", "interaction", 90)]);

    let report = report(&world, &merging(all)).await;

    let policies = world.genesys.policies();
    for medium in ["callPolicy", "chatPolicy", "emailPolicy", "messagePolicy"] {
        let kept =
            policies.iter().filter_map(|it| it.stored["mediaPolicies"][medium].pointer(days)?.as_u64());
        assert!(kept.max() >= Some(90), "{medium} is not kept as it was asked: {report:#}");
    }
}

/// The trap: the merge raises retention silently, and makes a second policy.
#[tokio::test]
async fn a_merge_is_told_on_the_trail_in_the_report_and_to_the_subscriber() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policy("old", Policy::new("Others", "call", 99));

        let report = report(&world, &merging(calls(90))).await;

        let merge = json!({"from": 90, "to": 99});
        assert_eq!(events(&report), ["OVERLAP_DETECTED", "MERGE_RETENTION_WINDOW"]);
        assert_eq!(report["events"][1]["merge"], merge);
        let trail = format!("policy:{surface} {}:Calls", world.genesys.url());
        let entries = world.trail(&trail);
        let last = entries.last().unwrap();
        assert_eq!((&last["action"], &last["merge"]), (&json!("policy-merged"), &merge), "{last:#}");
        assert_eq!(last["events"], json!(["OVERLAP_DETECTED", "MERGE_RETENTION_WINDOW"]), "{last:#}");
        assert_eq!(notices(&world)[0]["payload"]["merge"], merge);
        assert_eq!(periods(&world), [named("Others", 99)]);
    }
}

#[tokio::test]
async fn an_overlap_that_is_to_be_reviewed_changes_nothing_in_any_run() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policy("old", Policy::new("Others", "call", 99));
        // Review is also what is done where nothing is said.
        for order in [with(calls(90), "onOverlap", "review"), calls(90)] {
            let report = report(&world, &order).await;
            assert_eq!((status(&report), compliance(&report)), ("review_required", "VIOLATED"), "{report:#}");
            assert!(error(&report).contains("Others"), "{report:#}");
        }
        assert_eq!(periods(&world), [named("Others", 99)]);
        assert_eq!(asked_for(&world), 0);
    }
}

#[tokio::test]
async fn two_policies_of_one_order_that_overlap_are_kept_for_the_longer_period() {
    for surface in SURFACES {
        let world = world(surface).await;
        let order = merging(order("run", &[policy("Calls", "call", 90), policy("Talks", "call", 95)]));

        let first = report(&world, &order).await;
        let writes = asked_for(&world);
        let again = report(&world, &order).await;

        assert_eq!((became(&first, "Talks"), became(&first, "Calls")), ("created", "merged"), "{first:#}");
        assert_eq!(times(&first, "OVERLAP_DETECTED"), 1);
        assert_eq!(periods(&world), [named("Talks", 95)]);
        let both = (became(&again, "Talks"), became(&again, "Calls"));
        assert_eq!((both, compliance(&again)), (("unchanged", "unchanged"), "VERIFIED"), "{again:#}");
        assert_eq!(asked_for(&world), writes);
    }
}

/// Whether they overlap does not depend on how quickly the first of them is made.
#[tokio::test]
async fn two_policies_of_one_order_overlap_also_while_the_job_of_the_first_still_runs() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(3));
    let order = merging(order("run", &[policy("Calls", "call", 90), policy("Talks", "call", 95)]));

    let first = report(&world, &order).await;

    assert_eq!((became(&first, "Talks"), became(&first, "Calls")), ("created", "merged"), "{first:#}");
    assert_eq!(times(&first, "OVERLAP_DETECTED"), 1);
    assert_eq!(periods(&world), [named("Talks", 95)]);
}

/// What we have raised ourselves is not drift.
#[tokio::test]
async fn a_policy_of_ours_that_a_later_one_was_merged_into_stays_deployed() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.allow_overlaps();
        report(&world, &calls(90)).await;
        let both = merging(order("run", &[policy("Calls", "call", 90), policy("Talks", "call", 95)]));

        let merged = report(&world, &both).await;
        let writes = asked_for(&world);
        let again = report(&world, &both).await;

        assert_eq!(became(&merged, "Talks"), "merged", "{surface}: {merged:#}");
        assert!(periods(&world).iter().any(|(_, days)| *days == 95), "{surface}: {:?}", periods(&world));
        let ended = (became(&again, "Calls"), became(&again, "Talks"));
        assert_eq!(ended, ("unchanged", "unchanged"), "{surface}: {again:#}");
        assert_eq!(asked_for(&world), writes, "{surface}: a second run after a merge writes nothing");
    }
}

/// What we have raised ourselves is not put back: a merge never lowers.
#[tokio::test]
async fn a_policy_of_ours_that_a_later_one_was_merged_into_is_not_lowered_again() {
    let world = world(Surface::Platform).await;
    report(&world, &calls(90)).await;
    let both = order("run", &[policy("Calls", "call", 90), policy("Talks", "call", 95)]);

    for run in 1..=3 {
        let report = report(&world, &applying(merging(both.clone()))).await;

        let longest = periods(&world).into_iter().map(|(_, days)| days).max();
        assert_eq!((longest, compliance(&report)), (Some(95), "VERIFIED"), "run {run}: {report:#}");
        assert_eq!(asked_for(&world), 2, "run {run}: one created, one raised, and nothing after that");
    }
}

/// What one of our merges has left, another of ours has raised: that is no drift either.
#[tokio::test]
async fn two_of_our_policies_may_be_merged_into_the_same_one_after_another() {
    let world = world(Surface::Platform).await;
    world.genesys.policy("old", Policy::new("Others", "call", 85));
    assert_eq!(status(&report(&world, &merging(calls(90))).await), "merged");
    let both = merging(order("run", &[policy("Calls", "call", 90), policy("Talks", "call", 95)]));

    let merged = report(&world, &both).await;
    let again = report(&world, &both).await;

    assert_eq!(became(&merged, "Talks"), "merged", "{merged:#}");
    assert_ne!(became(&merged, "Calls"), "drift", "{merged:#}");
    assert_eq!((became(&again, "Calls"), became(&again, "Talks")), ("unchanged", "unchanged"), "{again:#}");
    assert_eq!(periods(&world), [named("Others", 95)]);
    assert_eq!(asked_for(&world), 2);
}

/// A policy of ours that comes close to another must not stay as it was while the report says otherwise.
#[tokio::test]
async fn a_policy_of_ours_that_comes_close_to_another_does_not_stay_as_it_was() {
    let world = world(Surface::Platform).await;
    world.genesys.policy("old", Policy::new("Others", "call", 99));
    assert_eq!(status(&report(&world, &calls(200)).await), "created");

    let report = report(&world, &merging(calls(90))).await;

    assert_eq!(times(&report, "OVERLAP_DETECTED"), 1, "{report:#}");
    let longest = periods(&world).into_iter().map(|(_, days)| days).max();
    assert_eq!(longest, Some(99), "the report says that calls are kept for 99 days: {report:#}");
}

#[tokio::test]
async fn a_policy_that_is_off_overlaps_with_nothing() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.allow_overlaps();
        world.genesys.policy("old", Policy::new("Others", "call", 99).member("enabled", false));

        let report = report(&world, &merging(calls(90))).await;

        assert_eq!((status(&report), times(&report, "OVERLAP_DETECTED")), ("created", 0), "{report:#}");
    }
}

#[tokio::test]
async fn a_policy_that_ours_was_merged_into_is_watched_from_then_on() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.policy("old", Policy::new("Others", "call", 99));
        assert_eq!(status(&report(&world, &merging(calls(90))).await), "merged");
        world.genesys.remove_policy("old");

        let again = report(&world, &merging(calls(90))).await;

        assert_eq!((status(&again), compliance(&again)), ("created", "VERIFIED"), "{surface}: {again:#}");
        assert_eq!(periods(&world), [named("Calls", 90)]);
    }
}

/// What we have raised for ours, and somebody has lowered since, is drift; what did as it stood is decided anew.
#[tokio::test]
async fn a_merge_that_somebody_undoes_is_drift_and_is_made_again_only_if_asked_for() {
    let world = world(Surface::Platform).await;
    world.genesys.policy("old", Policy::new("Others", "call", 80));
    assert_eq!(status(&report(&world, &merging(calls(90))).await), "merged");
    let days = "/mediaPolicies/callPolicy/actions/retentionDuration/deleteRetention/days";
    world.genesys.edit_policy("old", |stored| *stored.pointer_mut(days).unwrap() = json!(80));

    let reported = report(&world, &merging(calls(90))).await;
    assert_eq!((status(&reported), compliance(&reported)), ("drift", "VIOLATED"), "{reported:#}");
    assert_eq!(periods(&world), [named("Others", 80)]);

    let applied = report(&world, &applying(merging(calls(90)))).await;
    assert_eq!((status(&applied), compliance(&applied)), ("merged", "VERIFIED"), "{applied:#}");
    assert_eq!(periods(&world), [named("Others", 90)]);
}

#[tokio::test]
async fn a_policy_of_ours_is_still_ours_when_what_it_was_merged_into_is_gone() {
    let world = world(Surface::Platform).await;
    assert_eq!(status(&report(&world, &calls(90)).await), "created");
    world.genesys.policy("old", Policy::new("Others", "call", 110));
    assert_eq!(status(&report(&world, &merging(calls(100))).await), "merged");
    world.genesys.remove_policy("old");

    let again = report(&world, &merging(calls(100))).await;

    assert_eq!((status(&again), compliance(&again)), ("updated", "VERIFIED"), "{again:#}");
    assert_eq!(periods(&world), [named("Calls", 100)]);
}

#[tokio::test]
async fn a_plan_says_that_two_policies_of_one_order_overlap() {
    for surface in SURFACES {
        let world = world(surface).await;
        let policies = [policy("Calls", "call", 90), policy("Talks", "call", 95)];
        for (on_overlap, expected) in [("merge", ["merge", "create"]), ("review", ["review", "create"])] {
            let plan = with(order("plan", &policies), "onOverlap", on_overlap);

            let plan = report(&world, &plan).await;

            let actions: Vec<_> =
                plan["policies"].as_array().unwrap().iter().map(|policy| &policy["action"]).collect();
            assert_eq!(actions, expected, "{surface}: {plan:#}");
        }
    }
}

/// What was there under our name before is not what our lost request has made.
#[tokio::test]
async fn a_registration_that_was_lost_is_told_from_a_namesake() {
    let world = world(Surface::Guide).await;
    world.genesys.policy("theirs", Policy::new("Calls", "call", 365));
    world.genesys.policies_go(PolicyCourse::job().after_lists(4));
    world.genesys.fault(Operation::CreatePolicy, Fault::effect_then_drop());

    let applied = report(&world, &applying(calls(90))).await;

    assert_eq!((status(&applied), compliance(&applied)), ("updated", "VERIFIED"), "{applied:#}");
    assert_ne!(only(&applied)["policyId"], "theirs");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
}

/// A merge whose answer was lost is found, and is one merge.
#[tokio::test]
async fn a_merge_whose_answer_was_lost_is_made_once() {
    for surface in SURFACES {
        for fault in [Fault::effect_then_drop(), Fault::effect_then_status(504)] {
            let world = world(surface).await;
            world.genesys.allow_overlaps();
            world.genesys.policy("old", Policy::new("Others", "call", 80));
            let operation = match surface {
                Surface::Platform => Operation::UpdatePolicy,
                Surface::Guide => Operation::CreatePolicy,
            };
            world.genesys.fault(operation, fault.clone());

            let first = report(&world, &merging(calls(90))).await;
            let again = report(&world, &merging(calls(90))).await;

            assert_eq!((status(&first), compliance(&first)), ("merged", "VERIFIED"), "{fault}: {first:#}");
            assert_eq!(times(&first, "OVERLAP_DETECTED"), 1);
            assert_eq!(status(&again), "unchanged", "{surface} {fault}: {again:#}");
            let longest = periods(&world).into_iter().filter(|(_, days)| *days == 90).count();
            assert_eq!(longest, 1, "{surface} {fault}: {:?}", periods(&world));
        }
    }
}
