//! The compiled retention function: what it is asked, how long it takes, and what it counts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use harness::events;
use harness::runtime_api::{Answer, Deadline, Invocation, Lambda, binary};
use harness::store::StoreFault;
use harness::world::World;
use serde_json::{Value, json};
use simulator::{Fault, Operation, PolicyCourse, Surface};

use super::last_words;
use crate::retention::recovery::{self, NAMES, asked, assert_deployed_once, assert_well, whole_order};

/// So many worlds at once: most of the time they wait.
const AT_ONCE: usize = 4;

/// So long a wait for a job that there is no time for it in one invocation.
const SLOW_POLLS: (&str, &str) = ("RETENTION_POLL_BASE_MS", "60000");

pub(super) async fn retention(world: &World, variables: &[(&str, &str)]) -> Lambda {
    let audit = [crate::retention::AUDIT];
    Lambda::start(&binary("retention"), &world.variables(&[&audit, variables].concat())).await
}

pub(super) fn resume() -> String {
    json!({"run": "resume"}).to_string()
}

/// Lets the lease lapse, if there is one.
pub(super) fn let_lease_lapse(world: &World) {
    for item in ["lease", "claim"] {
        if !world.items(item).is_empty() {
            world.meddle(item, |item| item["lease_until"] = json!({"N": "1"}));
        }
    }
}

fn statuses(report: &Value) -> BTreeSet<&str> {
    let policies = report["policies"].as_array().expect("policies").iter();
    policies.map(|policy| policy["status"].as_str().expect("a status")).collect()
}

/// The names of the metrics in what a process has said.
fn metrics(output: &str) -> Vec<String> {
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let metrics = lines.filter(|line| line.get("_aws").is_some());
    let name = |line: Value| {
        let name = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"];
        name.as_str().expect("a metric has a name").to_owned()
    };
    metrics.map(name).collect()
}

#[tokio::test]
async fn what_is_no_order_is_refused_in_words_and_the_process_goes_on() {
    let world = recovery::world(Surface::Guide).await;
    let lambda = retention(&world, &[]).await;
    let order = whole_order().to_string();
    let deep = |levels: usize| {
        let nested = "[".repeat(levels) + &"]".repeat(levels);
        format!(r#"{{"run":"run","licenseTier":"ENTERPRISE","policies":{nested}}}"#)
    };
    let scheduled = json!({"version": "0", "id": "e-1", "detail-type": "Scheduled Event", "source": "aws.events",
        "account": "123456789012", "time": "2026-11-23T00:00:00Z", "region": "us-east-1", "resources": [],
        "detail": {}});
    let payloads: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"no JSON".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"[{\"run\":\"resume\"}]".to_vec(),
        b"\"resume\"".to_vec(),
        b"{}".to_vec(),
        b"{\"run\":\"\xff\"}".to_vec(),
        br#"{"run":"resume","run":"plan"}"#.to_vec(),
        br#"{"run":7}"#.to_vec(),
        br#"{"run":"Run"}"#.to_vec(),
        br#"{"run":"run"}"#.to_vec(),
        br#"{"run":"run","licenseTier":"GOLD","policies":[]}"#.to_vec(),
        br#"{"run":"run","licenseTier":"STANDARD","policies":[]}"#.to_vec(),
        br#"{"run":"run","licenseTier":"STANDARD","policies":{}}"#.to_vec(),
        br#"{"run":"plan","licenseTier":"STANDARD","runId":"","policies":[{}]}"#.to_vec(),
        deep(150).into_bytes(),
        deep(100_000).into_bytes(),
        scheduled.to_string().into_bytes(),
        events::sqs_batch(&[("m-1", &order)]).to_string().into_bytes(),
    ];

    for payload in payloads {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(200)]).into_owned();
        let answer = lambda.invoke(payload).await;
        let Answer::Error { error_type_header, .. } = &answer else { panic!("{shown}: {answer:?}") };
        assert_eq!(error_type_header.as_deref(), Some("InvalidRequest"), "{shown}");
        assert_eq!(answer.error_type(), "InvalidRequest", "{shown}");
        assert!(!answer.error_message().is_empty(), "{shown}");
        assert!(lambda.is_running(), "{shown}");
    }
    assert_eq!((asked(&world), world.items("").len()), (0, 0));
    assert_well(&lambda.invoke(order).await.json(), "afterwards");
}

#[tokio::test]
async fn an_http_event_is_answered_as_one_and_the_process_goes_on() {
    let world = recovery::world(Surface::Platform).await;
    let lambda = retention(&world, &[]).await;

    for event in [
        events::http_v2("POST", "/transfers", &[], b"{}"),
        events::function_url("GET", "/retention", &[], b""),
        events::http_v2("POST", "/retention", &[], b"no order"),
    ] {
        let answer = lambda.invoke_with((&event).into()).await.http();
        assert!((400..500).contains(&answer.status), "{event}: {answer:?}");
    }
    assert_eq!((asked(&world), world.items("").len()), (0, 0));
    assert_well(&lambda.invoke(whole_order().to_string()).await.json(), "afterwards");
}

/// Invokes with so much time, and insists on an answer before it is over.
async fn in_time(lambda: &Lambda, payload: String, time: Duration, case: &str) -> Answer {
    lambda.ready().await.expect("it starts");
    let started = Instant::now();
    let answer = lambda.invoke_with(Invocation::new(payload).deadline(Deadline::In(time))).await;
    assert!(started.elapsed() < time, "{case}: {:?} of {time:?}", started.elapsed());
    assert_ne!(answer, Answer::Died, "{case}");
    answer
}

#[tokio::test]
async fn a_job_that_takes_longer_than_there_is_time_is_pending_and_carried_on() {
    let times = [1, 3, 10].map(Duration::from_secs);
    let worlds = times.map(|time| async move {
        let case = format!("{time:?}");
        let world = World::start(Surface::Guide).await;
        world.genesys.policies_go(PolicyCourse::job().never_ends());
        let patient = [("RETENTION_POLL_BASE_MS", "20"), ("RETENTION_POLL_ATTEMPTS", "1000")];
        let lambda = retention(&world, &patient).await;

        let first = in_time(&lambda, whole_order().to_string(), time, &case).await.json();
        let second = in_time(&lambda, resume(), time, &case).await.json();
        // Of a second nobody knows what there is time for.
        if time > times[0] {
            assert_eq!(
                (statuses(&first), statuses(&second)),
                (["pending"].into(), ["pending"].into()),
                "{case}"
            );
        }
        world.genesys.finish_jobs();
        let mut last = second;
        for _ in 0..40 {
            if !statuses(&last).contains("pending") {
                break;
            }
            last = in_time(&lambda, resume(), time, &case).await.json();
        }

        assert!(!statuses(&last).contains("pending"), "{case}: {last:#}");
        let last = lambda.invoke(whole_order().to_string()).await.json();
        assert_well(&last, &case);
        assert_eq!(lambda.invoke(resume()).await.json()["policies"], json!([]), "{case}");
        assert_deployed_once(&world, &NAMES, &case);
    });
    futures_util::future::join_all(worlds).await;
}

#[tokio::test]
async fn a_deadline_in_the_past_or_none_at_all_is_no_reason_not_to_do_the_work() {
    for surface in [Surface::Platform, Surface::Guide] {
        for deadline in [Deadline::At(0), Deadline::At(1_700_000_000_000), Deadline::Missing] {
            let world = recovery::world(surface).await;
            let lambda = retention(&world, &[]).await;
            let order = Invocation::new(whole_order().to_string()).deadline(deadline);

            let case = format!("{surface} {deadline:?}");
            assert_well(&lambda.invoke_with(order).await.json(), &case);
            assert_deployed_once(&world, &NAMES, &case);
        }
    }
}

/// Everything may hang: whatever it is, the answer comes before the deadline, and later the work is done, once.
async fn hung(surface: Surface, prepare: impl Fn(&World), case: &str) {
    let world = recovery::world(surface).await;
    prepare(&world);
    let lambda = retention(&world, &[]).await;
    let answer = in_time(&lambda, whole_order().to_string(), Duration::from_secs(5), case).await;
    if let Answer::Error { .. } = &answer {
        assert_eq!(answer.error_type(), "StoreUnavailable", "{case}");
    }
    world.store.clear_faults();
    world.genesys.clear_faults();
    let_lease_lapse(&world);
    lambda.kill().await;
    world.genesys.wait_for_stalled(0).await;

    let heir = retention(&world, &[]).await;
    let resumed = heir.invoke(resume()).await.json();
    assert!(!statuses(&resumed).contains("pending"), "{case}: {resumed:#}");
    assert_well(&heir.invoke(whole_order().to_string()).await.json(), case);
    assert_eq!(heir.invoke(resume()).await.json()["policies"], json!([]), "{case}");
    assert_deployed_once(&world, &NAMES, case);
}

#[tokio::test]
async fn though_genesys_cloud_hangs_the_answer_comes_before_the_deadline() {
    let stalls = recovery::CALLS.map(|call| (call, Fault::stall_after_effect()));
    let stalls = stalls.into_iter().chain([(Operation::CreatePolicy, Fault::stall_before_effect())]);
    let worlds = stalls.map(|(call, fault)| async move {
        let surface = if call == Operation::ReadJob { Surface::Guide } else { Surface::Platform };
        let prepare = |world: &World| world.genesys.fault(call, fault.clone().times(50));
        Box::pin(hung(surface, prepare, &format!("{surface} {call} {fault}"))).await;
    });
    stream::iter(worlds).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn though_the_store_hangs_the_answer_comes_before_the_deadline() {
    let worlds = [1, 2, 3, 4, 6, 8, 11, 14].map(|nth| async move {
        let prepare = |world: &World| {
            world.store.fault_times("*", StoreFault::Pass, nth - 1);
            world.store.fault_times("*", StoreFault::Stall, 100);
        };
        Box::pin(hung(Surface::Guide, prepare, &format!("the store, from its request {nth} on"))).await;
    });
    stream::iter(worlds).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// There is time to look, and none to ask for anything after it: nobody was out of reach, and that is no end.
#[tokio::test]
async fn a_policy_that_there_was_no_time_to_ask_for_is_pending_and_not_failed() {
    for surface in [Surface::Platform, Surface::Guide] {
        let world = World::start(surface).await;
        let lambda = retention(&world, &[]).await;
        let policies = [&whole_order()["policies"][0]];
        let mut order = json!({"run": "plan", "licenseTier": "ENTERPRISE", "policies": policies});
        assert_eq!(lambda.invoke(order.to_string()).await.json()["policies"][0]["action"], "create");
        order["run"] = json!("run");
        // Eight pieces: the list is read when half of the time is over.
        world.genesys.fault(Operation::ListPolicies, Fault::slow_body(Duration::from_millis(55)));

        let hurried = in_time(&lambda, order.to_string(), Duration::from_secs(1), "run").await.json();
        assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 0, "{surface}");
        let resumed = lambda.invoke(resume()).await.json();

        assert_eq!(statuses(&hurried), ["pending"].into(), "{surface}: {hurried:#}");
        assert_eq!(statuses(&resumed), ["created"].into(), "{surface}: {resumed:#}");
        assert_deployed_once(&world, &["Calls"], &surface.to_string());
    }
}

/// Changes since when the one policy that is under way has been so.
fn make_older(world: &World, by: Duration) {
    world.meddle("policy#", |item| {
        let mut known: Value =
            serde_json::from_str(item["known"]["S"].as_str().expect("text")).expect("JSON");
        let since = known["work"]["since"].as_i64().expect("it is under way");
        let by = i64::try_from(by.as_millis()).expect("not that old");
        known["work"]["since"] = json!(since - by);
        item["known"]["S"] = json!(known.to_string());
    });
}

#[tokio::test]
async fn a_policy_that_is_pending_for_over_an_hour_raises_an_alarm() {
    let world = World::start(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::job().never_ends());
    let order =
        json!({"run": "run", "licenseTier": "ENTERPRISE", "policies": [whole_order()["policies"][0]]});
    let order = order.to_string();
    let lambda = retention(&world, &[SLOW_POLLS]).await;
    assert_eq!(statuses(&lambda.invoke(order.as_str()).await.json()), ["pending"].into());
    make_older(&world, Duration::from_mins(59));
    assert_eq!(statuses(&lambda.invoke(resume()).await.json()), ["pending"].into());
    assert_eq!(statuses(&lambda.invoke(order.as_str()).await.json()), ["pending"].into());
    let said = metrics(&last_words(&lambda).await);
    assert!(!said.iter().any(|name| name == "PoliciesStuck"), "{said:?}");
    assert!(said.iter().any(|name| name == "PoliciesPending"), "{said:?}");

    make_older(&world, Duration::from_mins(2));
    let lambda = retention(&world, &[SLOW_POLLS]).await;
    assert_eq!(statuses(&lambda.invoke(resume()).await.json()), ["pending"].into());
    let said = metrics(&last_words(&lambda).await);
    assert_eq!(said.iter().filter(|name| *name == "PoliciesStuck").count(), 1, "{said:?}");
}

#[tokio::test]
async fn a_breaker_that_opens_is_counted_and_a_policy_that_waits_for_it_is_stuck_too() {
    let world = World::start(Surface::Guide).await;
    world.genesys.policies_go(PolicyCourse::job().never_ends());
    let order =
        json!({"run": "run", "licenseTier": "ENTERPRISE", "policies": [whole_order()["policies"][0]]});
    let lambda = retention(&world, &[SLOW_POLLS]).await;
    assert_eq!(statuses(&lambda.invoke(order.to_string()).await.json()), ["pending"].into());
    make_older(&world, Duration::from_mins(61));
    world.genesys.fault(Operation::ReadJob, Fault::status(500).times(4));
    assert_eq!(statuses(&lambda.invoke(resume()).await.json()), ["pending"].into());
    let calls = asked(&world);
    assert_eq!(statuses(&lambda.invoke(resume()).await.json()), ["pending"].into());
    assert_eq!(asked(&world), calls, "Genesys Cloud is left alone");

    let said = metrics(&last_words(&lambda).await);
    let count = |metric: &str| said.iter().filter(|name| *name == metric).count();
    assert_eq!((count("RetentionBreakersOpened"), count("PoliciesStuck")), (1, 2), "{said:?}");
}

/// A hundred policies in invocations of a few seconds each, with a third of all calls throttled.
#[tokio::test]
async fn a_hundred_policies_are_deployed_by_as_many_short_invocations_as_it_takes() {
    let world = World::start(Surface::Platform).await;
    for call in [Operation::ListPolicies, Operation::CreatePolicy, Operation::ReadPolicy] {
        world.genesys.fault_every(call, 3, Fault::status(429));
    }
    let order =
        json!({"run": "run", "licenseTier": "ENTERPRISE", "policies": crate::retention::load::many()});
    let lambda = retention(&world, &[]).await;
    let time = Duration::from_secs(2);

    let mut reports = vec![in_time(&lambda, order.to_string(), time, "run").await.json()];
    while reports.last().is_some_and(|report| statuses(report).contains("pending")) {
        reports.push(in_time(&lambda, resume(), time, "resume").await.json());
        assert!(reports.len() < 40, "there is no end to it: {reports:#?}");
    }
    world.genesys.clear_faults();
    let last = lambda.invoke(order.to_string()).await.json();
    assert_eq!(lambda.invoke(resume()).await.json()["policies"], json!([]));

    for report in &reports {
        let policies = report["policies"].as_array().expect("policies").iter();
        let failed = policies.filter(|policy| policy["status"] == "failed").map(|policy| &policy["error"]);
        assert_eq!(failed.collect::<Vec<_>>(), Vec::<&Value>::new(), "nobody was out of reach");
    }
    assert_eq!(statuses(&last), ["unchanged"].into());
    let names: Vec<_> = (0..100).map(|nth| format!("policy {nth:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_deployed_once(&world, &names, "afterwards");
}
