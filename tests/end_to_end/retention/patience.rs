//! Patience: Genesys Cloud is asked again no sooner than it wants to be, and others have their turn meanwhile.

use std::time::{Duration, Instant};

use simulator::{Fault, PolicyCourse};

use super::*;

/// The trap: `Retry-After` is read and ignored.
#[tokio::test]
async fn a_throttled_look_at_a_job_is_put_off_for_as_long_as_is_asked() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    world.genesys.fault(Operation::ReadJob, Fault::status(429).retry_after("3600"));
    let two = order("run", &[policy("Calls", "call", 90), policy("Chats", "chat", 60)]);

    let first = report(&world, &two).await;
    let asked = world.genesys.request_count(Operation::ReadJob);
    let resumed = report(&world, &json!({"run": "resume"})).await;

    assert!(statuses(&first).iter().all(|(_, status)| status == "pending"), "{first:#}");
    assert_eq!(asked, 1, "the wish counts for all that bear the token");
    assert!(statuses(&resumed).iter().all(|(_, status)| status == "created"), "{resumed:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2);
}

#[tokio::test]
async fn a_short_wish_is_granted_within_the_run() {
    for (surface, reading) in
        [(Surface::Guide, Operation::ReadJob), (Surface::Platform, Operation::ReadPolicy)]
    {
        let world = world(surface).await;
        world.genesys.fault(reading, Fault::status(429).retry_after("1"));
        let begun = Instant::now();

        let report = report(&world, &calls(90)).await;

        assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{surface}: {report:#}");
        assert!(begun.elapsed() >= Duration::from_secs(1), "{surface}: {:?}", begun.elapsed());
        assert_eq!(asked_for(&world), 1);
    }
}

#[tokio::test]
async fn a_long_wish_before_anything_is_asked_for_leaves_it_all_to_the_next_resume() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::CreatePolicy, Fault::status(429).retry_after("300"));
        let two = order("run", &[policy("Calls", "call", 90), policy("Chats", "chat", 60)]);

        let first = report(&world, &two).await;
        let asked = world.genesys.request_count(Operation::CreatePolicy);
        let resumed = report(&world, &json!({"run": "resume"})).await;

        assert!(statuses(&first).iter().all(|(_, status)| status == "pending"), "{surface}: {first:#}");
        assert_eq!(asked, 1, "{surface}");
        assert!(statuses(&resumed).iter().all(|(_, status)| status == "created"), "{surface}: {resumed:#}");
        assert_eq!(world.genesys.policies().len(), 2, "{surface}");
    }
}

/// A 202 that names no job: nobody can be asked how it goes, so it is looked for; and asked for again it never is.
#[tokio::test]
async fn an_acceptance_that_names_no_job_is_looked_for_and_never_asked_for_again() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::nameless_job().after_lists(4));
    let found = report(&world, &calls(90)).await;
    assert_eq!((status(&found), compliance(&found)), ("created", "VERIFIED"), "{found:#}");
    assert_eq!(periods(&world), [named("Calls", 90)]);
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);

    let world = World::with(Surface::Guide, &[AUDIT, ("RETENTION_POLL_ATTEMPTS", "3")]).await;
    world.genesys.policies_go(PolicyCourse::nameless_job().never_ends());
    let lost = report(&world, &calls(90)).await;
    assert_eq!((status(&lost), compliance(&lost)), ("failed", "VIOLATED"), "{lost:#}");
    assert!(error(&lost).contains("could not be found out"), "{lost:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
}
