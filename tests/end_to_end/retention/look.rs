//! Looking first: what is there already is not asked for again, however long the list is and whatever was lost.

use simulator::{Fault, NextUri, Pages, Policy, PolicyCourse};

use super::*;

/// A policy that is there exactly as our order would have it, under another id.
async fn deployed_by_somebody(surface: Surface, order: &Value) -> Value {
    let world = world(surface).await;
    assert_eq!(status(&report(&world, order).await), "created");
    world.genesys.policies().remove(0).stored
}

/// Declares a policy with all these members.
fn declare(world: &World, id: &str, stored: &Value) {
    let mut policy = Policy::new("x", "call", 30);
    for (member, value) in stored.as_object().expect("a policy") {
        if member != "id" && member != "selfUri" {
            policy = policy.member(member, value.clone());
        }
    }
    world.genesys.policy(id, policy);
}

#[tokio::test]
async fn a_policy_that_is_there_as_it_is_written_is_adopted_without_a_write() {
    for surface in SURFACES {
        let stored = deployed_by_somebody(surface, &calls(90)).await;
        let world = world(surface).await;
        declare(&world, "theirs", &stored);

        let report = report(&world, &calls(90)).await;

        assert_eq!(status(&report), "unchanged", "{surface}: {report:#}");
        assert_eq!(only(&report)["policyId"], "theirs");
        assert_eq!(compliance(&report), "VERIFIED");
        assert_eq!(asked_for(&world), 0);
    }
}

/// The trap: only the first page of policies is read.
#[tokio::test]
async fn a_policy_on_the_last_of_many_pages_is_found() {
    for surface in SURFACES {
        let stored = deployed_by_somebody(surface, &calls(90)).await;
        for next in [NextUri::Relative, NextUri::Absolute] {
            let world = world(surface).await;
            for number in 0..7 {
                world.genesys.policy(&format!("p{number}"), Policy::new("Mails", "email", 40));
            }
            declare(&world, "last", &stored);
            world.genesys.policy_pages(Pages::of(2).next_uri(next.clone()));

            let report = report(&world, &calls(90)).await;

            assert_eq!(status(&report), "unchanged", "{surface} {next:?}: {report:#}");
            assert_eq!(only(&report)["policyId"], "last");
            assert_eq!(world.genesys.request_count(Operation::ListPolicies), 4);
            assert_eq!(asked_for(&world), 0);
        }
    }
}

#[tokio::test]
async fn pages_that_are_only_counted_are_all_read() {
    let stored = deployed_by_somebody(Surface::Platform, &calls(90)).await;
    let world = world(Surface::Platform).await;
    for number in 0..4 {
        world.genesys.policy(&format!("p{number}"), Policy::new("Mails", "email", 40));
    }
    declare(&world, "last", &stored);
    world.genesys.policy_pages(Pages::of(2).next_uri(NextUri::Missing));

    let report = report(&world, &calls(90)).await;

    assert_eq!((status(&report), &only(&report)["policyId"]), ("unchanged", &json!("last")), "{report:#}");
    assert_eq!(world.genesys.request_count(Operation::ListPolicies), 3);
}

#[tokio::test]
async fn a_list_that_cannot_be_read_to_its_end_is_no_reason_to_create() {
    for surface in SURFACES {
        let world = world(surface).await;
        for number in 0..3 {
            world.genesys.policy(&format!("p{number}"), Policy::new("Mails", "email", 40));
        }
        world.genesys.policy_pages(Pages::of(2).next_uri(NextUri::Itself));

        let report = report(&world, &calls(90)).await;

        assert_eq!(status(&report), "failed", "{surface}: {report:#}");
        assert!(error(&report).contains("list"), "{report:#}");
        assert_eq!(asked_for(&world), 0);
        assert!(world.genesys.request_count(Operation::ListPolicies) <= 3);
    }
}

/// A gateway may be known by another name than the pages bear.
#[tokio::test]
async fn a_list_that_names_another_host_is_read_on_at_our_own() {
    for surface in SURFACES {
        let stored = deployed_by_somebody(surface, &calls(90)).await;
        let elsewhere = simulator::Simulator::start(surface).await.unwrap();
        let world = world(surface).await;
        for number in 0..3 {
            world.genesys.policy(&format!("p{number}"), Policy::new("Mails", "email", 40));
        }
        declare(&world, "last", &stored);
        world.genesys.policy_pages(Pages::of(2).next_uri(NextUri::Elsewhere(elsewhere.url())));

        let report = report(&world, &calls(90)).await;

        assert_eq!(
            (status(&report), &only(&report)["policyId"]),
            ("unchanged", &json!("last")),
            "{report:#}"
        );
        assert_eq!(elsewhere.requests().len(), 0, "the token goes nowhere else");
    }
}

/// The trap: a lost 202 means a second policy.
#[tokio::test]
async fn a_policy_whose_answer_was_lost_is_found_and_not_made_again() {
    for surface in SURFACES {
        let faults = [
            Fault::effect_then_drop(),
            Fault::effect_then_status(500),
            Fault::effect_then_status(504),
            Fault::cut_body(),
        ];
        for fault in faults {
            // On the guides' surface an answer without a body cannot be cut; its job is told in the body.
            let world = world(surface).await;
            world.genesys.policies_go(PolicyCourse::job_in_body().after_lists(4));
            world.genesys.fault(Operation::CreatePolicy, fault.clone());

            let first = report(&world, &calls(90)).await;
            let again = report(&world, &calls(90)).await;

            assert_eq!(status(&first), "created", "{surface} {fault}: {first:#}");
            assert_eq!(status(&again), "unchanged", "{surface} {fault}: {again:#}");
            assert_eq!(compliance(&first), "VERIFIED");
            assert_eq!(periods(&world), [named("Calls", 90)], "{surface} {fault}");
            assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1, "{surface} {fault}");
            assert!(times(&first, "OUTCOME_UNCLEAR") > 0, "{first:#}");
        }
    }
}

#[tokio::test]
async fn a_policy_that_was_asked_for_and_not_made_is_asked_for_again_after_a_look() {
    for surface in SURFACES {
        for fault in [Fault::drop_before_effect(), Fault::status(503)] {
            let world = world(surface).await;
            world.genesys.fault(Operation::CreatePolicy, fault.clone());

            let report = report(&world, &calls(90)).await;

            assert_eq!(status(&report), "created", "{surface} {fault}: {report:#}");
            assert_eq!(periods(&world), [named("Calls", 90)]);
            assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 2);
        }
    }
}

#[tokio::test]
async fn a_policy_whose_every_answer_is_unclear_is_asked_for_a_few_times_and_then_failed() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.fault_every(Operation::CreatePolicy, 1, Fault::status(503));

        let failed = report(&world, &calls(90)).await;
        assert_eq!((status(&failed), compliance(&failed)), ("failed", "VIOLATED"), "{surface}: {failed:#}");
        assert!(world.genesys.request_count(Operation::CreatePolicy) <= 4, "{surface}");
        assert_eq!(actions(&world, "Calls").last().map(String::as_str), Some("policy-failed"));

        world.genesys.clear_faults();
        assert_eq!(status(&report(&world, &calls(90)).await), "created", "{surface}");
        assert_eq!(periods(&world), [named("Calls", 90)]);
    }
}

/// The trap: a lost 202 means a second policy, also when another invocation has to find it.
#[tokio::test]
async fn a_policy_whose_answer_was_lost_when_time_ran_out_is_found_by_resume() {
    let world = World::with(Surface::Guide, &[AUDIT, SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_lists(3));
    world.genesys.fault(Operation::CreatePolicy, Fault::effect_then_drop());

    let first = report(&world, &calls(90)).await;
    assert_eq!(status(&first), "pending", "{first:#}");
    let quick = world.another_instance(&[AUDIT]).await;
    let resumed = reported(&world.retention_at(&quick, &json!({"run": "resume"})).await);

    assert_eq!(status(&resumed), "created", "{resumed:#}");
    assert_eq!(periods(&world), [named("Calls", 90)]);
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 1);
    assert_eq!(actions(&world, "Calls"), ["policy-intended", "policy-pending", "policy-created"]);
}

/// The trap: 201 without a job throws.
#[tokio::test]
async fn an_answer_without_a_job_is_success() {
    let world = world(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::created());

    let report = report(&world, &calls(90)).await;

    assert_eq!((status(&report), compliance(&report)), ("created", "VERIFIED"), "{report:#}");
    assert_eq!(only(&report)["policyId"], world.genesys.policies()[0].id.as_str());
    assert_eq!(world.genesys.request_count(Operation::ReadJob), 0);
}

#[tokio::test]
async fn a_replacement_whose_answer_was_lost_is_not_a_second_policy() {
    for fault in [Fault::effect_then_drop(), Fault::effect_then_status(504), Fault::drop_before_effect()] {
        let world = world(Surface::Platform).await;
        report(&world, &calls(90)).await;
        world.genesys.fault(Operation::UpdatePolicy, fault.clone());

        let updated = report(&world, &calls(200)).await;

        assert_eq!((status(&updated), compliance(&updated)), ("updated", "VERIFIED"), "{fault}: {updated:#}");
        assert_eq!(periods(&world), [named("Calls", 200)]);
    }
}

#[tokio::test]
async fn a_policy_that_is_gone_is_created_again() {
    for surface in SURFACES {
        let world = world(surface).await;
        let order = calls(90);
        let first = only(&report(&world, &order).await)["policyId"].as_str().unwrap().to_owned();
        world.genesys.remove_policy(&first);

        let again = report(&world, &order).await;

        assert_eq!((status(&again), compliance(&again)), ("created", "VERIFIED"), "{surface}: {again:#}");
        assert_ne!(only(&again)["policyId"], first.as_str());
        assert_eq!(periods(&world), [named("Calls", 90)]);
    }
}

#[tokio::test]
async fn what_is_known_is_known_of_one_surface_at_one_address() {
    for surface in SURFACES {
        let world = world(surface).await;
        report(&world, &calls(90)).await;
        let other = simulator::Simulator::start(surface).await.unwrap();
        let (url, (id, secret)) = (other.url(), other.credentials());
        let elsewhere = [
            AUDIT,
            ("GENESYS_API_URL", url.as_str()),
            ("GENESYS_LOGIN_URL", url.as_str()),
            ("GENESYS_CLIENT_ID", id.as_str()),
            ("GENESYS_CLIENT_SECRET", secret.as_str()),
        ];
        let gateway = world.another_instance(&elsewhere).await;

        let there = reported(&world.retention_at(&gateway, &calls(90)).await);
        let here = report(&world, &calls(90)).await;

        assert_eq!((status(&there), status(&here)), ("created", "unchanged"), "{surface}");
        assert_eq!((other.policies().len(), world.genesys.policies().len()), (1, 1));
        assert_eq!(world.trails().iter().filter(|trail| trail.starts_with("policy:")).count(), 2);
    }
}

#[tokio::test]
async fn a_token_that_expires_on_the_way_is_renewed() {
    for surface in SURFACES {
        let world = world(surface).await;
        for operation in [Operation::ListPolicies, Operation::CreatePolicy] {
            world.genesys.fault(operation, Fault::expired_token());
        }

        let report = report(&world, &calls(90)).await;

        assert_eq!(status(&report), "created", "{surface}: {report:#}");
        assert_eq!(periods(&world), [named("Calls", 90)]);
    }
}
