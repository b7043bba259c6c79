//! The compiled relay, as Lambda runs it.

use harness::outbox::SIGNING_SECRET;
use harness::runtime_api::{Lambda, binary};
use harness::world::World;
use local::{Bus, Clock, Inbox};
use serde_json::{Value, json};
use simulator::Surface;

use super::{number, text, world};

async fn relay(world: &World, variables: &[(&str, &str)]) -> Lambda {
    let usual = [("NOTICE_SIGNING_SECRETS", SIGNING_SECRET), ("NOTICE_ALLOW_PRIVATE", "true")];
    let all: Vec<_> = usual.iter().chain(variables).copied().collect();
    Lambda::start(&binary("relay"), &world.variables(&all)).await
}

/// A subscriber on the machine's own clock, which is the binary's.
async fn inbox() -> Inbox {
    Inbox::start(SIGNING_SECRET, Clock::system()).await.expect("loopback has a free port")
}

/// Makes a notice due by any clock.
fn make_due(world: &World, id: &str) {
    let mut notice = world.notice(id);
    notice["due_at"] = json!({"N": "1"});
    world.engine.put(&notice).expect("it is still an item");
}

/// The lines that the process wrote, after its end.
async fn lines(lambda: &Lambda) -> Vec<Value> {
    lambda.kill().await;
    lambda.output().lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

/// How often each metric was counted.
fn counted(lines: &[Value], metric: &str) -> usize {
    lines.iter().filter(|line| !line[metric].is_null()).count()
}

#[tokio::test]
async fn it_names_every_bad_setting_in_one_line() {
    let world = world().await;
    let bad = [
        ("TABLE_NAME", ""),
        ("NOTICE_SIGNING_SECRETS", "whsec_%hush-hush%"),
        ("NOTICE_RETRY_SECONDS", "5,never"),
        ("NOTICE_ALLOW_PRIVATE", "1"),
        ("EVENT_BUS_NAME", "the bus"),
        ("LOG_LEVEL", "loud"),
    ];
    let lambda = relay(&world, &bad).await;

    assert!(!lambda.exit().await.success());
    let output = lambda.output();
    let report = lambda.init_error().expect("Lambda was told");
    for (name, _) in bad {
        assert!(
            output.contains(name) && report["errorMessage"].as_str().unwrap().contains(name),
            "{name}: {output}"
        );
    }
    assert_eq!(output.lines().count(), 1, "{output}");
    assert!(!output.contains("hush-hush"));
}

#[tokio::test]
async fn a_stream_batch_and_the_schedule_are_answered_and_every_decision_logged() {
    let (world, inbox, bus) = (world().await, inbox().await, Bus::start().await.unwrap());
    let variables = [("EVENT_BUS_NAME", "events"), ("AWS_ENDPOINT_URL_EVENTBRIDGE", &bus.url())];
    let lambda = relay(&world, &variables).await;
    let hook = format!("{}?token=hush-hush", inbox.url());
    world.put_notice("msg_1", &hook);
    make_due(&world, "msg_1");
    world.put_notice("msg_2", &hook);
    let records = world.stream();
    // The world's clock may be ahead of the machine's.
    let due: Vec<_> =
        records.into_iter().filter(|it| it["dynamodb"]["NewImage"]["due_at"]["N"] == "1").collect();

    let answer = lambda.invoke(json!({"Records": due}).to_string()).await.json();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(inbox.received()[0].id.as_deref(), Some("msg_1"));
    make_due(&world, "msg_2");
    world.deliver(r#"{"id":"evt-1","type":"t","data":{}}"#).await;
    world.meddle("event", |event| event["due_at"] = json!({"N": "1"}));
    let answer =
        lambda.invoke(json!({"time": "2026-11-22T12:00:00Z", "source": "aws.scheduler"}).to_string()).await;

    assert_eq!(
        (answer.json()["delivered"].as_i64(), answer.json()["published"].as_i64()),
        (Some(1), Some(1))
    );
    assert!(inbox.received().iter().all(|notice| notice.is_verified));
    assert_eq!(bus.published()[0].detail_type, "t");
    let lines = lines(&lambda).await;
    for (metric, times) in
        [("NoticesDelivered", 2), ("NoticeLatency", 2), ("EventsPublished", 1), ("NoticesFailed", 0)]
    {
        assert_eq!(counted(&lines, metric), times, "{metric}");
    }
    let told = lines.iter().find(|line| line["message"] == "notice attempted").expect("a line");
    assert_eq!(
        (&told["notice.id"], &told["attempt"], &told["outcome"]),
        (&json!("msg_1"), &json!(1), &json!("delivered"))
    );
    assert_eq!(told["subscriber"], format!("{}…", inbox.url()));
    let all = Value::from(lines).to_string();
    for secret in ["hush-hush", SIGNING_SECRET, "completed"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

#[tokio::test]
async fn a_sweep_tells_how_much_was_due_and_for_how_long_unless_it_cannot_read_the_list() {
    let (world, inbox) = (world().await, inbox().await);
    for nth in 0..200 {
        let id = format!("msg_{nth}");
        world.put_notice(&id, &inbox.url());
        make_due(&world, &id);
    }
    put_lapsed_claim(&world, true);
    let relay = relay(&world, &[]).await;

    world.store.down();
    assert_eq!(relay.invoke("{}").await.error_type(), "StoreUnavailable");
    world.store.up();
    assert_eq!(relay.invoke("{}").await.json()["delivered"], 200);
    assert_eq!(relay.invoke("{}").await.json()["delivered"], 0);

    let lines = lines(&relay).await;
    let told = |metric: &str| -> Vec<(f64, Value)> {
        let lines = lines.iter().filter(|line| !line[metric].is_null());
        let unit = |line: &Value| line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"].clone();
        lines.map(|line| (line[metric].as_f64().expect("a number"), unit(line))).collect()
    };
    assert_eq!(told("NoticesPending"), [(200.0, json!("Count")), (0.0, json!("Count"))]);
    let ages = told("OldestDueAge");
    // Due since the first millisecond of 1970.
    assert!(ages.len() == 2 && ages[0].0 > 1_700_000_000.0 && ages[0].0 < 17_000_000_000.0, "{ages:?}");
    assert_eq!((ages[1].0, &ages[0].1), (0.0, &json!("Seconds")));
}

#[tokio::test]
async fn a_lapsed_claim_is_counted_as_unknown_unless_it_is_retry_safe() {
    for (is_safe, counts) in [(false, 1), (true, 0)] {
        let world = world().await;
        put_lapsed_claim(&world, is_safe);
        let lambda = relay(&world, &[]).await;

        let answer = lambda.invoke("{}").await.json();

        assert_eq!(answer["unknown"], 1);
        assert_eq!(text(&world.items("claim")[0], "state"), "UNKNOWN");
        assert_eq!(counted(&lines(&lambda).await, "OutcomeUnknown"), counts);
    }
}

#[tokio::test]
async fn an_http_request_and_a_store_that_is_down_are_function_errors() {
    let world = world().await;
    let lambda = relay(&world, &[]).await;
    let request = harness::events::http_v2("POST", "/anything", &[], b"{}");
    assert_eq!(lambda.invoke(request.to_string()).await.error_type(), "NotFound");

    world.store.down();
    assert_eq!(lambda.invoke("{}").await.error_type(), "StoreUnavailable");
    world.store.up();
    assert_eq!(lambda.invoke("not json").await.json()["leftOver"], false);
}

#[tokio::test]
async fn killed_while_it_delivers_it_delivers_again_under_the_same_name() {
    let (world, inbox) = (world().await, inbox().await);
    world.put_notice("msg_1", &inbox.url());
    make_due(&world, "msg_1");
    inbox.hang();
    let dying = relay(&world, &[]).await;
    let invocation = dying.begin(harness::runtime_api::Invocation::new("{}"));
    world.store.wait_for("UpdateItem", 1).await;
    dying.kill().await;
    assert!(matches!(invocation.await, harness::runtime_api::Answer::Died));
    let claimed = world.notice("msg_1");
    assert_eq!((text(&claimed, "state"), number(&claimed, "attempts")), ("PENDING", 1));
    inbox.answer_with(axum::http::StatusCode::OK);
    make_due(&world, "msg_1");

    assert_eq!(relay(&world, &[]).await.invoke("{}").await.json()["delivered"], 1);

    assert_eq!(inbox.received().last().unwrap().id.as_deref(), Some("msg_1"));
    assert_eq!(number(&world.notice("msg_1"), "attempts"), 2);
}

/// A claim of a data action that acted and was never heard of again.
fn put_lapsed_claim(world: &World, is_safe: bool) {
    let account =
        json!({"trail": "key:k", "entry": {"action": "data-action-unknown", "facts": {}}, "notice": null});
    let pk = "claim#k";
    let item = json!({
        "pk": {"S": pk}, "sk": {"S": "claim"}, "v": {"N": "1"}, "state": {"S": "ACTING"}, "owner": {"S": "o"},
        "epoch": {"N": "1"}, "fingerprint": {"S": "f"}, "lease_until": {"N": "1"}, "expires_at": {"N": "9999999999"},
        "retry_safe": {"BOOL": is_safe}, "if_lapsed": {"S": account.to_string()}, "due_at": {"N": "1"},
        "due_shard": {"S": harness::outbox::due_shard(pk)},
    });
    world.engine.put(&item).expect("the claim is an item");
    assert_eq!(world.genesys.surface(), Surface::Platform);
}
