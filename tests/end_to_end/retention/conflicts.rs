//! Overlaps that Genesys Cloud tells of, with a 409: each is resolved once, and what is no overlap is not taken for one.

use simulator::{Fault, Policy, PolicyCourse};

use super::*;

#[tokio::test]
async fn a_409_is_resolved_once_and_then_accepted() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::job().conflicts_first(1));

    let first = report(&world, &merging(calls(90))).await;
    let again = report(&world, &merging(calls(90))).await;

    assert_eq!((status(&first), compliance(&first)), ("merged", "VERIFIED"), "{first:#}");
    assert_eq!(times(&first, "OVERLAP_DETECTED"), 1);
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2);
    assert_eq!(periods(&world), [named("Calls", 90)]);
    assert_eq!(status(&again), "unchanged", "{again:#}");
}

/// The trap: 409, resolve, 409, and so on for ever.
#[tokio::test]
async fn a_409_for_ever_is_asked_for_twice_also_where_the_other_policy_can_be_seen() {
    for there in [None, Some(80)] {
        let world = world(Surface::Guide).await;
        world.genesys.policies_go(PolicyCourse::always_conflicts());
        if let Some(days) = there {
            world.genesys.policy("old", Policy::new("Others", "call", days));
        }

        let report = report(&world, &merging(calls(90))).await;

        assert_eq!(status(&report), "review_required", "{there:?}: {report:#}");
        assert_eq!(times(&report, "OVERLAP_DETECTED"), 1, "{there:?}: {report:#}");
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2, "{there:?}");
        assert_eq!(world.genesys.policy_writes(), []);
    }
}

#[tokio::test]
async fn a_409_that_is_to_be_reviewed_is_asked_for_once() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::always_conflicts());

    let report = report(&world, &calls(90)).await;

    assert_eq!((status(&report), compliance(&report)), ("review_required", "VIOLATED"), "{report:#}");
    assert_eq!(times(&report, "OVERLAP_DETECTED"), 1);
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
}

/// On the guides' surface an older version stays where it is, and may be what the new one is said to overlap with.
#[tokio::test]
async fn an_older_version_of_ours_in_the_way_is_named_as_such_and_is_not_taken_for_the_new_one() {
    let world = world(Surface::Guide).await;
    assert_eq!(status(&report(&world, &calls(90)).await), "created");
    world.genesys.policies_go(PolicyCourse::always_conflicts());

    let reviewed = report(&world, &calls(100)).await;
    assert_eq!(status(&reviewed), "review_required", "{reviewed:#}");
    assert_eq!(error(&reviewed), "it overlaps with an older version of itself (90 days)");
    let before = asked_for(&world);
    let merged = report(&world, &merging(calls(100))).await;

    assert_eq!(status(&merged), "review_required", "{merged:#}");
    assert_eq!(asked_for(&world) - before, 2, "once, and once resolved");
    assert_eq!(times(&merged, "OVERLAP_DETECTED"), 1, "{merged:#}");
    assert_eq!(periods(&world), [named("Calls", 90)]);
}

/// It was registered after all, and the repeat is told that it overlaps with it.
#[tokio::test]
async fn an_overlap_with_what_a_lost_request_has_made_is_no_overlap() {
    let world = World::with(Surface::Guide, &[AUDIT, ("RETENTION_POLL_ATTEMPTS", "2")]).await;
    world.genesys.policies_go(PolicyCourse::job().never_ends());
    world.genesys.fault(Operation::CreatePolicy, Fault::effect_then_drop());
    world.genesys.fault(Operation::CreatePolicy, Fault::stall_before_effect());

    let order = calls(90);
    let (found, ()) = tokio::join!(report(&world, &order), async {
        world.genesys.wait_for_stalled(1).await;
        world.genesys.finish_jobs();
        world.genesys.policies_go(PolicyCourse::always_conflicts());
        world.genesys.release_stalled();
    });

    assert_eq!((status(&found), compliance(&found)), ("created", "VERIFIED"), "{found:#}");
    assert_eq!(times(&found, "OVERLAP_DETECTED"), 0, "{found:#}");
    assert_eq!(periods(&world), [named("Calls", 90)]);
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2);
}

/// What is off is not switched on by a merge, nor changed by it.
#[tokio::test]
async fn an_overlap_is_not_resolved_into_a_policy_that_is_off() {
    let world = world(Surface::Platform).await;
    world.genesys.policy("old", Policy::new("Others", "call", 99).member("enabled", false));
    world.genesys.policies_go(PolicyCourse::job().conflicts_first(1));

    let report = report(&world, &merging(calls(90))).await;

    assert_eq!((status(&report), compliance(&report)), ("merged", "VERIFIED"), "{report:#}");
    assert_eq!(periods(&world), [named("Others", 99), named("Calls", 90)]);
    assert_eq!(world.genesys.request_count(Operation::UpdatePolicy), 0);
}
