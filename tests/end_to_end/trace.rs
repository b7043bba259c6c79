//! Trace context: a caller's trace goes along with all that its request causes, and nobody else's does.

mod binaries;

use std::time::Duration;

use harness::outbox::SIGNING_SECRET;
use harness::world::{Response, WEBHOOK_SECRET, World, hub_signature};
use local::{Bus, Clock, Inbox};
use serde_json::{Value, json};
use simulator::{Behaviour, Conversation, Fault, Operation, PolicyCourse, Queue, Surface};

const SURFACES: [Surface; 2] = [Surface::Platform, Surface::Guide];

/// A caller's trace, in both spellings.
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_AS_X_RAY: &str = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1";

/// Another's.
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-00";
const OTHER_AS_X_RAY: &str = "Root=1-11111111-111111111111111111111111;Parent=2222222222222222;Sampled=0";

/// A world with a conversation, a queue, and a subscriber of all notices.
async fn world(surface: Surface) -> (World, Inbox) {
    let inbox = Inbox::start(SIGNING_SECRET, Clock::system()).await.expect("loopback has a free port");
    let url = inbox.url();
    let world = World::with(surface, &[("CRM_WEBHOOK_URL", &url), ("AUDIT_WEBHOOK_URL", &url)]).await;
    world.genesys.conversation("c", Conversation::with_agent("alice"));
    world.genesys.queue("support", Queue::open().joined(3));
    world.genesys.data_action("a", Behaviour::echo());
    (world, inbox)
}

/// A blind transfer of `c` to the queue `support`.
fn to_support() -> Value {
    json!({"conversationId": "c", "transferType": "blind", "destination": {"type": "queue", "id": "support"}})
}

/// The trace of each request that Genesys Cloud saw.
fn told_upstream(world: &World) -> Vec<Option<String>> {
    let requests = world.genesys.requests();
    requests.iter().map(|request| request.header("traceparent").map(str::to_owned)).collect()
}

/// Whether Genesys Cloud was called, and every time within this trace, or within none.
fn all_within(world: &World, trace: Option<&str>) -> bool {
    let told = told_upstream(world);
    !told.is_empty() && told.iter().all(|told| told.as_deref() == trace)
}

/// The traces of the notices that arrived.
fn told_subscriber(inbox: &Inbox) -> Vec<Option<String>> {
    let trace = |notice: &local::Received| {
        let header = notice.headers.iter().find(|(name, _)| name == "traceparent");
        header.map(|(_, value)| value.clone())
    };
    inbox.received().iter().map(trace).collect()
}

/// The traces of the events that were published.
fn told_bus(bus: &Bus) -> Vec<Option<String>> {
    bus.published().into_iter().map(|event| event.trace_header).collect()
}

async fn deliver(world: &World, headers: &[(&str, &str)], event: &str) -> Response {
    let signature = hub_signature(WEBHOOK_SECRET, event.as_bytes());
    let signed = [("x-hub-signature-256", signature.as_str())];
    world.deliver_with(&[&signed, headers].concat(), event.to_owned()).await
}

#[tokio::test]
async fn a_transfer_is_within_its_callers_trace_up_to_the_subscriber() {
    for surface in SURFACES {
        let (world, inbox) = world(surface).await;
        let relay = world.relay(&[]).await;

        let answer = world.transfer(&[("idempotency-key", "k"), ("traceparent", TRACE)], &to_support()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(world.store.total(), 3, "the trace costs no request: {:?}", world.store.counts());
        relay.feed_stream().await.unwrap();

        assert!(all_within(&world, Some(TRACE)), "{surface}: {:?}", told_upstream(&world));
        let operations: Vec<_> = world.genesys.requests().iter().map(|request| request.operation).collect();
        for operation in [Operation::Token, Operation::GetConversation, Operation::Transfer] {
            assert!(operations.contains(&Some(operation)), "{surface}: {operation}");
        }
        assert_eq!(told_subscriber(&inbox), [Some(TRACE.to_owned())]);
        let headers = &inbox.received()[0].headers;
        assert!(headers.contains(&("x-transfer-event".to_owned(), "true".to_owned())), "{headers:?}");
    }
}

#[tokio::test]
async fn every_attempt_at_a_data_action_is_within_its_callers_trace() {
    for surface in SURFACES {
        let (world, _) = world(surface).await;
        world.genesys.fault(Operation::ExecuteDataAction, Fault::status(429).times(2));
        world.genesys.fault(Operation::Token, Fault::status(503));

        let answer = world.invoke("a", &[("traceparent", TRACE)], "{}").await;

        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(told_upstream(&world), vec![Some(TRACE.to_owned()); 5], "{surface}");
    }
}

#[tokio::test]
async fn retention_is_within_its_callers_trace() {
    for surface in SURFACES {
        let (world, inbox) = world(surface).await;
        world.genesys.policies_go(PolicyCourse::created());
        let relay = world.relay(&[]).await;
        let policy = json!({"name": "Calls", "objectType": "call", "retentionPeriod": 90,
            "schedule": {"frequency": "DAILY"}});
        let order = json!({"run": "run", "licenseTier": "ENTERPRISE", "policies": [policy]});

        let url = format!("{}/retention", world.gateway.url());
        let answer = world.post(&url, &[("traceparent", TRACE)], order.to_string()).await;
        relay.feed_stream().await.unwrap();

        assert_eq!(answer.json()["policies"][0]["status"], "created", "{answer:?}");
        assert!(all_within(&world, Some(TRACE)), "{surface}: {:?}", told_upstream(&world));
        assert_eq!(told_subscriber(&inbox), [Some(TRACE.to_owned())]);
    }
}

#[tokio::test]
async fn an_event_is_published_within_the_trace_of_the_delivery_that_was_kept() {
    let (world, _) = world(Surface::Platform).await;
    let bus = Bus::start().await.unwrap();
    let relay = world.relay_with_bus(&bus, &[]).await;
    let event = r#"{"id":"evt-1","type":"t","data":{}}"#;
    bus.throttle(true);

    assert_eq!(deliver(&world, &[("traceparent", TRACE)], event).await.json()["status"], "ACKNOWLEDGED");
    let kept = world.items("event");
    let repeat = deliver(&world, &[("traceparent", OTHER)], event).await;

    assert_eq!(repeat.json()["status"], "DUPLICATE");
    assert_eq!(kept[0]["traceparent"]["S"], TRACE);
    assert_eq!(world.items("event"), kept, "a repeat's trace changes nothing");
    assert_eq!(world.store.total(), 2, "the trace costs no request: {:?}", world.store.counts());
    // The stream's attempt fails; the schedule reads the event from the table.
    relay.feed_stream().await.unwrap();
    bus.throttle(false);
    world.let_pass(Duration::from_secs(7));
    assert_eq!(relay.sweep().await.unwrap()["published"], 1);
    assert_eq!(told_bus(&bus), [Some(TRACE_AS_X_RAY.to_owned())]);
}

#[tokio::test]
async fn a_repeat_within_another_trace_changes_nothing_on_record() {
    let (world, _) = world(Surface::Platform).await;
    let ask = async |trace: &str| {
        world.transfer(&[("idempotency-key", "k"), ("traceparent", trace)], &to_support()).await
    };
    assert_eq!(ask(TRACE).await.status, 200);
    let on_record = world.items("");

    assert!(ask(OTHER).await.is_replay());

    assert_eq!(world.items(""), on_record);
    assert!(all_within(&world, Some(TRACE)), "{:?}", told_upstream(&world));
}

#[tokio::test]
async fn who_dies_in_the_act_is_told_of_within_its_own_trace() {
    let (world, inbox) = world(Surface::Platform).await;
    let (url, relay) = (inbox.url(), world.relay(&[]).await);
    world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());
    let dying = world.another_instance(&[("CRM_WEBHOOK_URL", &url)]).await;
    let request = to_support();
    let headers = [("idempotency-key", "k"), ("traceparent", TRACE)];
    let stuck = world.transfer_at(&dying, &headers, &request);
    tokio::select! {
        answer = stuck => panic!("it was to be stuck: {answer:?}"),
        () = world.genesys.wait_for_stalled(1) => {}
    }
    drop(dying);
    world.let_pass(Duration::from_millis(60_001));

    assert_eq!(relay.sweep().await.unwrap()["unknown"], 1);
    relay.feed_stream().await.unwrap();

    assert_eq!(told_subscriber(&inbox), [Some(TRACE.to_owned())]);
    assert!(inbox.received()[0].body.contains("unknown"));
}

#[tokio::test]
async fn a_caller_may_spell_its_trace_as_x_ray_does() {
    let (world, _) = world(Surface::Platform).await;
    let headers = [("x-amzn-trace-id", TRACE_AS_X_RAY)];
    assert_eq!(world.invoke("a", &headers, "{}").await.status, 200);
    assert!(all_within(&world, Some(TRACE)), "{:?}", told_upstream(&world));

    let both = [("x-amzn-trace-id", OTHER_AS_X_RAY), ("traceparent", TRACE)];
    assert_eq!(world.invoke("a", &both, r#"{"n":1}"#).await.status, 200);
    assert!(all_within(&world, Some(TRACE)), "{:?}", told_upstream(&world));
}

#[tokio::test]
async fn without_a_trace_and_with_a_malformed_one_nobody_is_told_of_any() {
    let malformed: [&[(&str, &str)]; 7] = [
        &[],
        &[("traceparent", "")],
        &[("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")],
        &[("traceparent", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
        &[("traceparent", TRACE), ("traceparent", OTHER)],
        &[("traceparent", "\u{1f575}"), ("x-amzn-trace-id", "Root=1-0af76519-16cd43dd8448eb211c80319c")],
        &[("x-amzn-trace-id", "Root=;Parent=;Sampled="), ("tracestate", "a=b")],
    ];
    for headers in malformed {
        let (world, inbox) = world(Surface::Platform).await;
        let bus = Bus::start().await.unwrap();
        let relay = world.relay_with_bus(&bus, &[]).await;

        assert_eq!(world.transfer(headers, &to_support()).await.status, 200, "{headers:?}");
        assert_eq!(world.invoke("a", headers, "{}").await.status, 200, "{headers:?}");
        let event = r#"{"id":"evt-1","type":"t","data":{}}"#;
        assert_eq!(deliver(&world, headers, event).await.status, 200, "{headers:?}");
        relay.feed_stream().await.unwrap();

        assert!(all_within(&world, None), "{headers:?}: {:?}", told_upstream(&world));
        assert_eq!((told_subscriber(&inbox), told_bus(&bus)), (vec![None], vec![None]), "{headers:?}");
        assert!(!Value::from(world.items("")).to_string().contains("traceparent"), "{headers:?}");
    }
}

#[tokio::test]
async fn what_is_on_record_without_a_trace_or_with_an_odd_one_is_delivered_all_the_same() {
    let (world, inbox) = world(Surface::Platform).await;
    let bus = Bus::start().await.unwrap();
    let relay = world.relay_with_bus(&bus, &[]).await;
    world.put_notice("msg_1", &inbox.url());
    for id in ["evt-1", "evt-2"] {
        let event = json!({"id": id, "type": "t", "data": {}});
        assert_eq!(deliver(&world, &[("traceparent", TRACE)], &event.to_string()).await.status, 200);
    }
    for (mut event, odd) in world.items("event").into_iter().zip([json!(null), json!({"S": "odd"})]) {
        event["traceparent"] = odd;
        event.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        world.engine.put(&event).unwrap();
    }

    let summary = relay.sweep().await.unwrap();

    assert_eq!((&summary["delivered"], &summary["published"]), (&json!(1), &json!(2)));
    assert_eq!((told_subscriber(&inbox), told_bus(&bus)), (vec![None], vec![None, None]));
}
