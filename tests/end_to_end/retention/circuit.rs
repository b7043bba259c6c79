//! Genesys Cloud in trouble is left alone for half a minute; what was begun is not lost meanwhile.

use std::time::Duration;

use harness::world::World;
use serde_json::{Value, json};
use simulator::{Fault, Operation, PolicyCourse, Surface};

use super::recovery::{asked, assert_deployed_once, assert_well};
use super::{AUDIT, SLOW_POLLS, SURFACES, compliance, order, policy, report, reported, statuses};

/// How long Genesys Cloud is left alone, but for a moment.
const ALMOST: Duration = Duration::from_millis(29_999);

const A_MOMENT: Duration = Duration::from_millis(1);

fn two() -> Value {
    order("run", &[policy("Calls", "call", 90), policy("Chats", "chat", 60)])
}

fn resume() -> Value {
    json!({"run": "resume"})
}

#[track_caller]
fn assert_all(report: &Value, status: &str) {
    let statuses = statuses(report);
    assert!(!statuses.is_empty() && statuses.iter().all(|(_, it)| it == status), "{report:#}");
}

/// A world in which two policies are in jobs, and a look at one of them met nothing but server errors.
async fn broken_on_a_job() -> World {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    assert_all(&report(&world, &two()).await, "pending");
    world.genesys.fault(Operation::ReadJob, Fault::status(503).times(4));
    let resumed = report(&world, &resume()).await;
    assert_all(&resumed, "pending");
    assert!(
        resumed["policies"].as_array().expect("policies").iter().all(|it| it["jobId"].is_string()),
        "{resumed:#}"
    );
    world
}

#[tokio::test]
async fn after_server_errors_for_a_job_nobody_is_asked_for_half_a_minute_and_no_job_is_lost() {
    let world = broken_on_a_job().await;
    let (calls, jobs) = (asked(&world), world.genesys.jobs());
    let cold = world.another_instance(&[AUDIT]).await;

    for pause in [Duration::ZERO, ALMOST] {
        world.let_pass(pause);
        for gateway in [&world.gateway, &cold] {
            let resumed = reported(&world.retention_at(gateway, &resume()).await);
            assert_all(&resumed, "pending");
            assert_eq!(compliance(&resumed), "PENDING");
            assert_all(&reported(&world.retention_at(gateway, &two()).await), "pending");
        }
    }
    let other = order("run", &[policy("Emails", "email", 30)]);
    let refused = report(&world, &other).await;
    let of_other = statuses(&refused).into_iter().find(|(name, _)| name == "Emails");
    assert_eq!(of_other.map(|(_, status)| status).as_deref(), Some("failed"), "{refused:#}");
    assert_eq!(asked(&world), calls);
    assert_eq!(world.genesys.jobs(), jobs);

    world.let_pass(A_MOMENT);
    let resumed = reported(&world.retention_at(&cold, &resume()).await);
    for (name, status) in statuses(&resumed).into_iter().filter(|(name, _)| name != "Emails") {
        assert_eq!(status, "created", "{name}: {resumed:#}");
    }
    assert_all(&reported(&world.retention_at(&cold, &other).await), "created");
    assert_deployed_once(&world, &["Calls", "Chats", "Emails"], "afterwards");
}

#[tokio::test]
async fn a_breaker_that_opens_again_stays_open_for_another_half_a_minute() {
    let world = broken_on_a_job().await;
    let quick = world.another_instance(&[AUDIT]).await;

    for _ in 0..3 {
        world.let_pass(Duration::from_secs(30));
        let calls = asked(&world);
        world.genesys.fault(Operation::ReadJob, Fault::status(500).times(4));
        assert_all(&reported(&world.retention_at(&quick, &resume()).await), "pending");
        let tried = asked(&world);
        assert!(tried - calls <= 5, "a token, and one look in four attempts: {}", tried - calls);
        world.let_pass(ALMOST);
        assert_all(&reported(&world.retention_at(&quick, &resume()).await), "pending");
        assert_eq!(asked(&world), tried);
    }

    world.let_pass(A_MOMENT);
    assert_all(&reported(&world.retention_at(&quick, &resume()).await), "created");
    assert_deployed_once(&world, &["Calls", "Chats"], "afterwards");
}

#[tokio::test]
async fn after_server_errors_for_the_list_nobody_is_asked_for_half_a_minute_and_the_report_says_so() {
    for surface in SURFACES {
        let world = World::with(surface, &[AUDIT]).await;
        world.genesys.fault(Operation::ListPolicies, Fault::status(502).times(4));

        let first = report(&world, &two()).await;
        assert_all(&first, "failed");
        assert!(first["policies"].as_array().unwrap().iter().all(|it| it["error"].is_string()), "{first:#}");
        assert_eq!(compliance(&first), "VIOLATED");
        let calls = asked(&world);
        world.let_pass(ALMOST);
        assert_all(&report(&world, &two()).await, "failed");
        assert_eq!(report(&world, &resume()).await["policies"], json!([]));
        assert_eq!(asked(&world), calls, "{surface}");

        world.let_pass(A_MOMENT);
        assert_well(&report(&world, &two()).await, &surface.to_string());
        assert_deployed_once(&world, &["Calls", "Chats"], &surface.to_string());
    }
}

#[tokio::test]
async fn a_few_server_errors_between_good_answers_open_nothing() {
    for surface in SURFACES {
        let world = World::with(surface, &[AUDIT]).await;
        world.genesys.fault(Operation::ListPolicies, Fault::status(500).times(2));
        let reading = if surface == Surface::Guide { Operation::ReadJob } else { Operation::ReadPolicy };
        world.genesys.fault(reading, Fault::drop_before_effect().times(2));

        assert_all(&report(&world, &two()).await, "created");
        assert_deployed_once(&world, &["Calls", "Chats"], &surface.to_string());
    }
}

/// What was asked for and not answered is not lost either: it is looked for when the breaker closes.
#[tokio::test]
async fn an_unclear_registration_waits_for_the_breaker_to_close_and_is_found() {
    for surface in SURFACES {
        for fault in [Fault::effect_then_drop(), Fault::drop_before_effect()] {
            let case = format!("{surface} {fault}");
            let world = World::with(surface, &[AUDIT]).await;
            world.genesys.policies_go(PolicyCourse::created());
            world.genesys.fault(Operation::CreatePolicy, fault);
            world.genesys.fault(Operation::ListPolicies, super::recovery::unharmed());
            world.genesys.fault(Operation::ListPolicies, Fault::status(503).times(4));

            let first = report(&world, &order("run", &[policy("Calls", "call", 90)])).await;
            let calls = asked(&world);
            world.let_pass(ALMOST);
            let left_alone = report(&world, &resume()).await;
            assert_eq!(asked(&world), calls, "{case}");
            world.let_pass(A_MOMENT);
            let resumed = report(&world, &resume()).await;

            assert_all(&first, "pending");
            assert_all(&left_alone, "pending");
            assert_all(&resumed, "created");
            assert_deployed_once(&world, &["Calls"], &case);
        }
    }
}

/// Nobody can be asked without a token: each of many policies need not find that out anew.
#[tokio::test]
async fn a_login_in_trouble_is_not_asked_anew_for_each_policy() {
    for surface in SURFACES {
        let world = World::with(surface, &[AUDIT]).await;
        world.genesys.fault(Operation::Token, Fault::status(503).times(1000));

        let failed = report(&world, &order("run", &super::load::many()[..30])).await;
        world.genesys.clear_faults();

        assert_all(&failed, "failed");
        let tokens = world.genesys.request_count(Operation::Token);
        assert!(tokens <= 12, "{surface}: {tokens} requests for a token");
    }
}
