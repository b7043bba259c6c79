//! The compiled function: bare JSON in and out, failures by name, short of time, and killed at each of its steps.

use std::time::Duration;

use harness::runtime_api::{Answer, Deadline, Invocation, Lambda, binary};
use simulator::{Fault, PolicyCourse};

use super::*;

async fn start(world: &World, variables: &[(&str, &str)]) -> Lambda {
    let variables: Vec<_> = [AUDIT].iter().chain(variables).copied().collect();
    Lambda::start(&binary("retention"), &world.variables(&variables)).await
}

/// A world in which a process was killed where this request to Genesys Cloud got stuck, and its lease has lapsed.
async fn killed(surface: Surface, course: PolicyCourse, operation: Operation, fault: Fault) -> World {
    let world = world(surface).await;
    world.genesys.policies_go(course);
    world.genesys.fault(operation, fault);
    let lambda = start(&world, &[]).await;
    let running = lambda.begin(Invocation::new(calls(90).to_string()));
    world.genesys.wait_for_stalled(1).await;
    lambda.kill().await;
    assert_eq!(running.await, Answer::Died);
    world.meddle("lease", |lease| lease["lease_until"] = json!({"N": "1"}));
    world
}

#[tokio::test]
async fn an_order_is_bare_json_and_so_is_its_report() {
    for surface in SURFACES {
        let world = world(surface).await;
        let lambda = start(&world, &[]).await;

        let report = lambda.invoke(calls(90).to_string()).await.json();

        assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{surface}: {report:#}");
    }
}

#[tokio::test]
async fn a_refusal_is_a_function_error_by_its_name() {
    let world = world(Surface::Platform).await;
    let lambda = start(&world, &[]).await;
    let scheduled = |days: u64| with(calls(days), "runId", "exec-1").to_string();

    assert_eq!(lambda.invoke("{}").await.error_type(), "InvalidRequest");
    assert_eq!(status(&lambda.invoke(scheduled(90)).await.json()), "created");
    assert_eq!(lambda.invoke(scheduled(200)).await.error_type(), "KeyReused");
    world.store.down();
    assert_eq!(lambda.invoke(calls(90).to_string()).await.error_type(), "StoreUnavailable");
}

#[tokio::test]
async fn an_invocation_that_is_short_of_time_reports_what_is_pending_and_the_next_one_carries_on() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    let lambda = start(&world, &[("RETENTION_POLL_BASE_MS", "2000")]).await;
    let short = Invocation::new(calls(90).to_string()).deadline(Deadline::In(Duration::from_secs(2)));

    let first = lambda.invoke_with(short).await.json();
    let resumed = lambda.invoke(r#"{"run":"resume"}"#).await.json();

    assert_eq!((status(&first), compliance(&first)), ("pending", "PENDING"), "{first:#}");
    assert_eq!((status(&resumed), compliance(&resumed)), ("created", "VERIFIED"), "{resumed:#}");
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
}

#[tokio::test]
async fn a_run_that_was_killed_at_any_step_is_carried_on_by_resume_and_makes_one_policy() {
    let (job, slow) = (PolicyCourse::job, || PolicyCourse::job().after_polls(2));
    let both = [
        (job(), Operation::ListPolicies, Fault::stall_before_effect(), 1),
        (job(), Operation::CreatePolicy, Fault::stall_before_effect(), 2),
        (job(), Operation::CreatePolicy, Fault::stall_after_effect(), 1),
    ];
    let guide = [
        (slow(), Operation::ReadJob, Fault::stall_before_effect(), 1),
        (slow(), Operation::ReadJob, Fault::stall_after_effect(), 1),
        (PolicyCourse::job().after_lists(3), Operation::CreatePolicy, Fault::stall_after_effect(), 1),
    ];
    let platform = [(job(), Operation::ReadPolicy, Fault::stall_before_effect(), 1)];
    let both = SURFACES.into_iter().flat_map(|surface| both.clone().map(|step| (surface, step)));
    let guide = guide.map(|step| (Surface::Guide, step));
    let platform = platform.map(|step| (Surface::Platform, step));
    for (surface, (course, operation, fault, posts)) in both.chain(guide).chain(platform) {
        let name = format!("{surface} {operation} {fault}");
        let world = killed(surface, course, operation, fault).await;

        let resumed = start(&world, &[]).await.invoke(r#"{"run":"resume"}"#).await.json();
        let again = start(&world, &[]).await.invoke(calls(90).to_string()).await.json();

        assert_eq!((status(&resumed), compliance(&resumed)), ("created", "VERIFIED"), "{name}: {resumed:#}");
        assert_eq!(status(&again), "unchanged", "{name}: {again:#}");
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), posts, "{name}");
        assert_eq!(periods(&world), [named("Calls", 90)], "{name}");
        assert_eq!(actions(&world, "Calls").last().map(String::as_str), Some("policy-created"), "{name}");
    }
}

/// A scheduler delivers again what was cut off: what was done is told again, and not done again.
#[tokio::test]
async fn a_scheduled_run_that_was_killed_half_way_is_ended_by_its_second_delivery() {
    let world = world(Surface::Platform).await;
    world.genesys.fault_every(Operation::CreatePolicy, 2, Fault::stall_after_effect());
    let order = order("run", &[policy("Calls", "call", 90), policy("Chats", "chat", 60)]);
    let order = with(order, "runId", "exec-1").to_string();
    let lambda = start(&world, &[]).await;
    let running = lambda.begin(Invocation::new(order.clone()));
    world.genesys.wait_for_stalled(1).await;
    lambda.kill().await;
    assert_eq!(running.await, Answer::Died);
    world.genesys.clear_faults();
    let second = start(&world, &[]).await;
    assert_eq!(second.invoke(order.clone()).await.error_type(), "InProgress");
    for lease in ["lease", "claim"] {
        world.meddle(lease, |item| item["lease_until"] = json!({"N": "1"}));
    }

    let ended = second.invoke(order.clone()).await.json();
    let again = second.invoke(order).await.json();

    let became: Vec<_> = statuses(&ended).into_iter().map(|(_, status)| status).collect();
    assert_eq!((became, compliance(&ended)), (vec!["created".to_owned(); 2], "VERIFIED"), "{ended:#}");
    assert_eq!(again, ended);
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2);
    assert_eq!((world.genesys.policies().len(), notices(&world).len()), (2, 2));
}

#[tokio::test]
async fn a_run_that_was_killed_holds_its_lease_for_as_long_as_it_might_have_lived() {
    let world = world(Surface::Platform).await;
    world.genesys.fault(Operation::CreatePolicy, Fault::stall_after_effect());
    let lambda = start(&world, &[]).await;
    let running = lambda.begin(Invocation::new(calls(90).to_string()));
    world.genesys.wait_for_stalled(1).await;
    lambda.kill().await;
    assert_eq!(running.await, Answer::Died);

    let meanwhile = start(&world, &[]).await.invoke(calls(90).to_string()).await;

    assert_eq!(meanwhile.error_type(), "InProgress");
    assert_eq!(world.genesys.policies().len(), 1);
}
