//! Jobs: each is kept before it is looked at, and is looked at until it ends, or for as long as it may take.

use std::time::Duration;

use simulator::{Fault, JobState, PolicyCourse};

use super::*;

/// How long Genesys Cloud is left alone when it has been in trouble, and a moment more.
const PAST_THE_TROUBLE: Duration = Duration::from_secs(31);

fn polls(world: &World) -> u32 {
    world.genesys.jobs().iter().map(|job| job.polls).sum()
}

#[tokio::test]
async fn a_job_may_be_named_in_a_header_or_in_the_body() {
    for course in [PolicyCourse::job(), PolicyCourse::job_in_body()] {
        let world = world(Surface::Guide).await;
        world.genesys.policies_go(course.after_polls(2));

        let report = report(&world, &calls(90)).await;

        assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{report:#}");
        assert_eq!(events(&report), ["POLICY_REGISTRATION_INITIATED", "JOB_COMPLETED", "POLICY_CREATED"]);
        assert_eq!(report["events"][0]["jobId"], world.genesys.jobs()[0].id.as_str());
        assert_eq!(polls(&world), 3);
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
    }
}

#[tokio::test]
async fn a_job_that_fails_is_told_with_its_reason_and_the_policy_may_be_ordered_again() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1).fails("the repository is locked"));

    let failed = report(&world, &calls(90)).await;
    world.genesys.policies_go(PolicyCourse::job());
    let again = report(&world, &calls(90)).await;

    assert_eq!((status(&failed), compliance(&failed)), ("failed", "VIOLATED"), "{failed:#}");
    assert!(error(&failed).contains("the repository is locked"), "{failed:#}");
    assert_eq!(only(&failed)["jobId"], world.genesys.jobs()[0].id.as_str());
    assert_eq!(times(&failed, "JOB_FAILED"), 1);
    assert_eq!(status(&again), "created", "{again:#}");
    assert_eq!(actions(&world, "Calls")[..2], ["policy-intended", "policy-failed"]);
    assert_eq!(periods(&world), [named("Calls", 90)]);
}

#[tokio::test]
async fn a_job_that_nobody_knows_any_more_is_looked_for_by_its_policy() {
    let courses = [PolicyCourse::job().forgotten(), PolicyCourse::job().forgotten().after_lists(5)];
    for course in courses {
        let world = world(Surface::Guide).await;
        world.genesys.policies_go(course);

        let report = report(&world, &calls(90)).await;

        assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{report:#}");
        assert_eq!(periods(&world), [named("Calls", 90)]);
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
    }
}

#[tokio::test]
async fn a_job_that_never_ends_fails_after_so_many_looks_and_is_not_registered_again() {
    let world = World::with(Surface::Guide, &[AUDIT, ("RETENTION_POLL_ATTEMPTS", "4")]).await;
    world.genesys.policies_go(PolicyCourse::job().never_ends());

    let failed = report(&world, &calls(90)).await;
    assert_eq!((status(&failed), compliance(&failed)), ("failed", "VIOLATED"), "{failed:#}");
    assert_eq!(only(&failed)["jobId"], world.genesys.jobs()[0].id.as_str());
    assert_eq!(polls(&world), 4);

    let again = report(&world, &calls(90)).await;
    assert_eq!(status(&again), "failed", "{again:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1, "its job may still end");

    world.genesys.finish_jobs();
    let ended = report(&world, &calls(90)).await;
    assert_eq!((status(&ended), compliance(&ended)), ("created", "VERIFIED"), "{ended:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
    assert_eq!(periods(&world), [named("Calls", 90)]);
}

/// The attempts are counted across runs: a run that finds a job at its second look does not begin at its first.
#[tokio::test]
async fn looks_at_a_job_are_counted_across_runs() {
    let patience = [AUDIT, ("RETENTION_POLL_BASE_MS", "200"), ("RETENTION_POLL_ATTEMPTS", "4")];
    let world = World::with(Surface::Guide, &patience).await;
    world.genesys.policies_go(PolicyCourse::job().never_ends());
    let order = calls(90);

    let (first, ()) = tokio::join!(report(&world, &order), async {
        world.genesys.wait_for_requests(Operation::ReadJob, 2).await;
        world.genesys.forbid(Operation::ReadJob);
    });
    assert_eq!(status(&first), "pending", "{first:#}");
    assert_eq!(polls(&world), 2);
    world.genesys.permit(Operation::ReadJob);
    let resumed = report(&world, &json!({"run": "resume"})).await;

    assert_eq!(status(&resumed), "failed", "{resumed:#}");
    assert_eq!(polls(&world), 4, "two looks were left of four");
}

/// The trap: a poll's 5xx aborts the run and orphans the job.
#[tokio::test]
async fn a_look_that_fails_does_not_lose_the_job() {
    let faults = [
        Fault::status(429).retry_after("0").times(9),
        Fault::status(503),
        Fault::status(500).times(2),
        Fault::drop_before_effect(),
        Fault::effect_then_drop(),
        Fault::cut_body(),
    ];
    for fault in faults {
        let world = world(Surface::Guide).await;
        world.genesys.policies_go(PolicyCourse::job().after_polls(3));
        world.genesys.fault(Operation::ReadJob, fault.clone());

        let report = report(&world, &calls(90)).await;

        assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{fault}: {report:#}");
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1, "{fault}");
        assert_eq!(world.genesys.faults_left().len(), 0);
    }
}

/// The trap: a poll's 5xx orphans the job, also when they do not end in this invocation.
#[tokio::test]
async fn a_job_that_cannot_be_looked_at_for_long_is_pending_and_carried_on_later() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    world.genesys.fault(Operation::ReadJob, Fault::status(503).times(8));

    let first = report(&world, &calls(90)).await;
    assert_eq!((status(&first), compliance(&first)), ("pending", "PENDING"), "{first:#}");
    let job = world.genesys.jobs().remove(0);
    assert_eq!(only(&first)["jobId"], job.id.as_str());
    assert_eq!(job.state, JobState::Running);

    let meanwhile = report(&world, &json!({"run": "resume"})).await;
    assert_eq!(status(&meanwhile), "pending", "{meanwhile:#}");
    world.genesys.clear_faults();
    world.let_pass(PAST_THE_TROUBLE);
    let resumed = report(&world, &json!({"run": "resume"})).await;

    assert_eq!((status(&resumed), compliance(&resumed)), ("created", "VERIFIED"), "{resumed:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
    assert_eq!(actions(&world, "Calls"), ["policy-intended", "policy-pending", "policy-created"]);
}

#[tokio::test]
async fn the_same_order_again_carries_a_job_on_and_registers_nothing() {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(2));

    assert_eq!(status(&report(&world, &calls(90)).await), "pending");
    let planned = report(&world, &order("plan", &[policy("Calls", "call", 90)])).await;
    assert_eq!(status(&planned), "pending", "{planned:#}");
    let quick = world.another_instance(&[AUDIT]).await;
    let again = reported(&world.retention_at(&quick, &calls(90)).await);

    assert_eq!(status(&again), "created", "{again:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
    // The second order has replaced the first one.
    let idle = report(&world, &json!({"run": "resume"})).await;
    assert_eq!(idle["policies"], json!([]));
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
}

/// What was begun is ended first: the policy is then changed to what is written now.
#[tokio::test]
async fn an_order_that_changed_while_its_job_ran_is_deployed_as_it_is_written_now() {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    assert_eq!(status(&report(&world, &calls(90)).await), "pending");

    let quick = world.another_instance(&[AUDIT]).await;
    let changed = reported(&world.retention_at(&quick, &calls(200)).await);
    let again = reported(&world.retention_at(&quick, &calls(200)).await);

    assert!(["created", "updated"].contains(&status(&changed)), "{changed:#}");
    assert_eq!(compliance(&changed), "VERIFIED");
    assert_eq!(periods(&world), [named("Calls", 90), named("Calls", 200)]);
    assert_eq!(status(&again), "unchanged", "{again:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2);
}

/// The schedule of `resume` comes round every five minutes, whatever was ordered since.
#[tokio::test]
async fn resume_does_not_bring_back_an_order_that_a_later_one_has_replaced() {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    assert_eq!(status(&report(&world, &calls(90)).await), "pending");
    let quick = world.another_instance(&[AUDIT]).await;
    reported(&world.retention_at(&quick, &calls(200)).await);

    let resumed = reported(&world.retention_at(&quick, &json!({"run": "resume"})).await);

    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2, "{resumed:#}");
    assert_eq!(periods(&world), [named("Calls", 90), named("Calls", 200)]);
    assert_eq!(status(&reported(&world.retention_at(&quick, &calls(200)).await)), "unchanged");
}

#[tokio::test]
async fn resume_does_not_bring_back_a_throttled_order_that_a_later_one_has_replaced() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault(Operation::ListPolicies, Fault::status(429).retry_after("0").times(4));
        assert_eq!(status(&report(&world, &calls(90)).await), "pending");
        assert_eq!(status(&report(&world, &calls(200)).await), "created");

        let resumed = report(&world, &json!({"run": "resume"})).await;

        assert_eq!(periods(&world), [named("Calls", 200)], "{surface}: {resumed:#}");
        assert_eq!(asked_for(&world), 1);
    }
}

#[tokio::test]
async fn a_job_ends_also_when_its_policy_has_since_been_written_wrong() {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    assert_eq!(status(&report(&world, &calls(90)).await), "pending");
    assert_eq!(status(&report(&world, &calls(1)).await), "invalid");

    let quick = world.another_instance(&[AUDIT]).await;
    let resumed = reported(&world.retention_at(&quick, &json!({"run": "resume"})).await);

    assert_eq!((status(&resumed), compliance(&resumed)), ("created", "VERIFIED"), "{resumed:#}");
    assert_eq!(periods(&world), [named("Calls", 90)]);
}

#[tokio::test]
async fn many_jobs_are_waited_for_together() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(4));
    world.genesys.policy_goes("Mails", PolicyCourse::job().fails("no such archive"));
    world.genesys.policy_goes("Texts", PolicyCourse::created());
    let policies = [
        policy("Calls", "call", 90),
        policy("Mails", "email", 90),
        policy("Texts", "sms", 90),
        policy("Tasks", "task", 90),
    ];

    let report = report(&world, &order("run", &policies)).await;

    let ended: Vec<_> = statuses(&report).into_iter().map(|(_, status)| status).collect();
    assert_eq!(ended, ["created", "failed", "created", "created"], "{report:#}");
    assert_eq!(compliance(&report), "VIOLATED");
    let looks = world.genesys.requests();
    let looks = looks.iter().filter(|it| it.operation == Some(Operation::ReadJob));
    let mut turns: Vec<_> = looks.map(|look| look.path.as_str()).collect();
    turns.dedup();
    assert!(turns.len() > world.genesys.jobs().len(), "one job after the other was waited for: {turns:?}");
}
