//! A store that is away, stumbles, loses its answers, or holds what nobody can read: what is said is true, and no policy is
//! made twice.

use futures_util::stream::{self, StreamExt};
use harness::store::StoreFault;
use harness::world::{Response, World};
use serde_json::{Value, json};
use simulator::{Fault, Operation, Surface};

use super::recovery::{
    At, NAMES, PAST_THE_LEASE, asked, assert_deployed_once, assert_settled, assert_well, carry_on, doomed,
    whole_order, world,
};
use super::{AUDIT, SURFACES, actions, only, order, policy, report, reported, with};

/// No run of the story that has a name needs more requests to the store.
fn most_requests(surface: Surface) -> usize {
    match surface {
        Surface::Platform => 12,
        Surface::Guide => 18,
    }
}

/// So many worlds are in trouble at once: most of the time they wait.
const AT_ONCE: usize = 8;

#[track_caller]
fn assert_refused(response: &Response, status: u16, problem: &str, case: &str) {
    assert_eq!((response.status, response.problem().as_str()), (status, problem), "{case}: {response:?}");
}

#[tokio::test]
async fn without_the_store_nothing_is_asked_for() {
    for surface in SURFACES {
        let world = world(surface).await;
        let orders = [
            whole_order(),
            with(whole_order(), "runId", "r-1"),
            json!({"run": "resume"}),
            with(whole_order(), "run", "plan"),
        ];

        world.store.down();
        for order in &orders {
            assert_refused(&world.retention(order).await, 503, "store-unavailable", &order.to_string());
        }
        world.store.up();

        assert_eq!((asked(&world), world.items("").len()), (0, 0), "{surface}");
        let report = report(&world, &with(whole_order(), "runId", "r-1")).await;
        assert_well(&report, &surface.to_string());
        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}

#[tokio::test]
async fn a_store_that_throttles_for_good_is_unavailable_and_nothing_is_asked_for() {
    let world = world(Surface::Guide).await;
    world.store.fault_times("*", StoreFault::Throttle, 100);

    let response = world.retention(&whole_order()).await;
    world.store.clear_faults();

    assert_refused(&response, 503, "store-unavailable", "throttled");
    assert_eq!((asked(&world), world.items("").len()), (0, 0));
}

/// What is said of each policy is so, as far as it can be seen upstream.
#[track_caller]
fn assert_honest(world: &World, response: &Response, case: &str) {
    let posts = world.genesys.request_count(Operation::CreatePolicy);
    if response.status != 200 {
        assert_refused(response, 503, "store-unavailable", case);
        assert_eq!(posts, 0, "{case}: it says that nothing was asked for");
        return;
    }
    let report = response.json();
    let there = world.genesys.policies();
    for policy in report["policies"].as_array().expect("policies") {
        let count = there.iter().filter(|it| policy["name"] == it.name.as_str()).count();
        match policy["status"].as_str().expect("a status") {
            "created" | "unchanged" => assert_eq!(count, 1, "{case}: {policy:#}"),
            "pending" => {}
            "failed" => assert_eq!(count, 0, "{case}: {policy:#}"),
            other => panic!("{case}: {other}: {policy:#}"),
        }
    }
}

/// Runs with this trouble from its nth request to the store on; false, if it needs fewer.
async fn is_troubled(surface: Surface, nth: usize, fault: StoreFault, times: usize) -> bool {
    let case = format!("{surface}: {fault:?} {times} times from {nth} on");
    let world = world(surface).await;
    let order = with(whole_order(), "runId", "r-1");
    world.store.fault_times("*", StoreFault::Pass, nth - 1);
    world.store.fault_times("*", fault, times);

    let response = world.retention(&order).await;
    let has_struck = world.store.faults_left().len() < times;
    world.store.clear_faults();

    assert_honest(&world, &response, &case);
    let fresh = world.another_instance(&[AUDIT]).await;
    for report in carry_on(&world, &fresh).await {
        assert_well(&report, &case);
    }
    let last = reported(&world.retention_at(&fresh, &whole_order()).await);
    assert_well(&last, &case);
    assert_deployed_once(&world, &NAMES, &case);
    has_struck
}

/// The same at each of the requests of a run; how many there are.
async fn troubled_everywhere(fault: StoreFault, times: usize) -> usize {
    let requests = |surface| (1..=most_requests(surface)).map(move |nth| (surface, nth));
    let worlds = SURFACES.into_iter().flat_map(requests);
    let worlds = worlds.map(|(surface, nth)| is_troubled(surface, nth, fault, times));
    let struck: Vec<bool> = stream::iter(worlds).buffer_unordered(AT_ONCE).collect().await;
    struck.into_iter().filter(|has_struck| *has_struck).count()
}

/// The same at each of the requests of a run, on either surface in turn.
async fn troubled_in_turn(fault: StoreFault, times: usize) {
    let worlds =
        (1..=most_requests(Surface::Guide)).map(|nth| is_troubled(SURFACES[nth % 2], nth, fault, times));
    let struck: Vec<bool> = stream::iter(worlds).buffer_unordered(AT_ONCE).collect().await;
    assert!(struck.into_iter().filter(|has_struck| *has_struck).count() >= 10);
}

#[tokio::test]
async fn a_store_that_goes_away_at_any_request_costs_no_policy_and_makes_none_twice() {
    let requests = troubled_everywhere(StoreFault::Refuse, 200).await;
    assert!(requests >= 20, "{requests}");
}

#[tokio::test]
async fn a_request_that_was_applied_and_never_answered_costs_no_policy_and_makes_none_twice() {
    // As often as the SDK asks.
    troubled_in_turn(StoreFault::ApplyThenDrop, 4).await;
}

#[tokio::test]
async fn a_garbled_answer_costs_no_policy_and_makes_none_twice() {
    troubled_in_turn(StoreFault::Garble, 1).await;
}

#[tokio::test]
async fn a_store_that_stumbles_or_loses_an_answer_is_asked_again_and_nobody_notices() {
    let faults = [
        (StoreFault::ApplyThenDrop, 1),
        (StoreFault::Throttle, 1),
        (StoreFault::InternalError, 2),
        (StoreFault::Conflict, 3),
    ];
    let cases = (1..=16).map(|nth| (SURFACES[nth % 2], faults[nth / 2 % faults.len()], nth));
    let worlds = cases.map(|(surface, (fault, times), nth)| async move {
        let case = format!("{surface}: {fault:?} at {nth}");
        let world = world(surface).await;
        world.store.fault_times("*", StoreFault::Pass, nth - 1);
        // Only transactions and writes meet others.
        let fault = if nth == 2 && fault == StoreFault::Conflict { StoreFault::Throttle } else { fault };
        world.store.fault_times("*", fault, times);

        let first = report(&world, &whole_order()).await;
        world.store.clear_faults();

        assert_well(&first, &case);
        assert_deployed_once(&world, &NAMES, &case);
    });
    stream::iter(worlds).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// What nobody can read, where a policy, the lease, an order or a run is on record.
fn garbled() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("policy#", "v", json!({"N": "2"})),
        ("policy#", "v", json!({"S": "1"})),
        ("policy#", "known", json!({"S": "{"})),
        (
            "policy#",
            "known",
            json!({"S": r#"{"name":"Calls","mark":null,"work":{"phase":"dreaming"},"last":null}"#}),
        ),
        ("policy#", "known", json!({"N": "1"})),
        ("policy#", "written_by", json!({"N": "-1"})),
        ("lease", "v", json!({"N": "2"})),
        ("order#", "v", json!({"N": "2"})),
    ]
}

#[tokio::test]
async fn a_record_nobody_can_read_is_an_error_and_no_reason_to_ask_for_anything() {
    for (surface, (sort_key, name, value)) in SURFACES.into_iter().cycle().zip(garbled()) {
        let case = format!("{surface}: {sort_key} {name} {value}");
        let world = world(surface).await;
        report(&world, &order("run", &[policy("Calls", "call", 90)])).await;
        let mut good = Value::Null;
        world.meddle(sort_key, |item| {
            good = item.clone();
            item[name] = value.clone();
        });
        let before = (asked(&world), world.items("policy#"), world.genesys.policies());

        let cold = world.another_instance(&[AUDIT]).await;
        let changed = order("run", &[policy("Calls", "call", 120)]);
        for order in [&changed, &json!({"run": "resume"}), &with(changed.clone(), "run", "plan")] {
            let response = world.retention_at(&cold, order).await;
            assert_refused(&response, 500, "internal-error", &case);
        }

        assert_eq!((asked(&world), world.items("policy#"), world.genesys.policies()), before, "{case}");
        world.meddle(good["sk"]["S"].as_str().expect("a sort key"), |item| *item = good.clone());
        world.let_pass(PAST_THE_LEASE);
        assert_eq!(
            only(&report(&world, &order("run", &[policy("Calls", "call", 90)])).await)["status"],
            "unchanged"
        );
    }
}

#[tokio::test]
async fn a_run_whose_record_nobody_can_read_is_an_error_and_asks_for_nothing() {
    let garbled = [
        ("v", json!({"N": "2"})),
        ("state", json!({"S": "PAUSED"})),
        ("epoch", json!({"N": "-1"})),
        ("answer", json!({"S": "elsewhere"})),
    ];
    for (surface, (name, value)) in SURFACES.into_iter().cycle().zip(garbled) {
        let case = format!("{surface}: {name} {value}");
        let world = world(surface).await;
        let order = with(whole_order(), "runId", "r-1");
        report(&world, &order).await;
        world.meddle("claim", |claim| claim[name] = value.clone());
        let before = (asked(&world), world.items(""));

        let cold = world.another_instance(&[AUDIT]).await;
        let response = world.retention_at(&cold, &order).await;

        assert_refused(&response, 500, "internal-error", &case);
        assert_eq!((asked(&world), world.items("")), before, "{case}");
    }
}

#[tokio::test]
async fn a_trail_whose_head_nobody_can_read_keeps_a_policy_from_being_asked_for() {
    for surface in SURFACES {
        let world = world(surface).await;
        report(&world, &order("run", &[policy("Chats", "chat", 90)])).await;
        let mut good = Value::Null;
        world.meddle("head", |head| {
            good = head.clone();
            head["v"] = json!({"N": "2"});
        });
        let posts = world.genesys.policy_writes().len();

        let changed = with(order("run", &[policy("Chats", "chat", 120)]), "onDrift", "apply");
        let failed = report(&world, &changed).await;

        assert_eq!(only(&failed)["status"], "failed", "{surface}: {failed:#}");
        assert_eq!(world.genesys.policy_writes().len(), posts, "{surface}");
        world.meddle("head", |head| *head = good);
        let done = report(&world, &changed).await;
        assert_eq!(only(&done)["status"], "updated", "{surface}: {done:#}");
        assert_eq!(
            actions(&world, "Chats"),
            ["policy-intended", "policy-created", "policy-intended", "policy-updated"]
        );
        assert_settled(&world, &surface.to_string());
    }
}

/// Who was told that nothing was done need not expect that something is done five minutes later.
#[tokio::test]
async fn an_order_that_was_refused_is_not_carried_out_behind_its_back() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.fault("TransactWriteItems", StoreFault::Pass);
        world.store.fault_times("Query", StoreFault::Refuse, 4);

        let refused = world.retention(&whole_order()).await;
        world.store.clear_faults();
        let resumed = carry_on(&world, &world.gateway).await;

        assert_refused(&refused, 503, "store-unavailable", &surface.to_string());
        assert_eq!(world.genesys.policies(), [], "{surface}: {resumed:#?}");
    }
}

#[tokio::test]
async fn a_report_that_could_not_be_recorded_is_given_and_the_run_is_not_done_twice() {
    for surface in SURFACES {
        let world = world(surface).await;
        let order = with(whole_order(), "runId", "r-1");
        world.genesys.fault(Operation::CreatePolicy, super::recovery::unharmed().times(2));
        world.genesys.fault(Operation::CreatePolicy, Fault::stall_after_effect());

        let (first, ()) = futures_util::future::join(world.retention(&order), async {
            world.genesys.wait_for_stalled(1).await;
            world.store.down();
            world.genesys.release_stalled();
        })
        .await;
        world.store.up();
        let early = world.retention(&order).await;
        world.let_pass(PAST_THE_LEASE);
        let late = report(&world, &order).await;

        assert_honest(&world, &first, &surface.to_string());
        assert_refused(&early, 409, "in-progress", &surface.to_string());
        assert_well(&late, &surface.to_string());
        assert_eq!(report(&world, &order).await, late, "{surface}");
        assert_deployed_once(&world, &NAMES, &surface.to_string());
    }
}

#[tokio::test]
async fn an_order_on_record_that_nobody_can_parse_stops_nobody_else() {
    let world = world(Surface::Guide).await;
    let death = At::Genesys(Operation::ListPolicies, Fault::stall_before_effect()).nth(1);
    assert!(doomed(&world, &whole_order(), &death).await.is_none());
    world.meddle("order#", |order| order["order"] = json!({"S": "no order"}));

    carry_on(&world, &world.gateway).await;

    assert_well(&report(&world, &whole_order()).await, "afterwards");
    assert_deployed_once(&world, &NAMES, "afterwards");
}
