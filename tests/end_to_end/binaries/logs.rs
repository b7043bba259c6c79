//! What the binaries say: JSON lines, metrics that CloudWatch reads, and nothing that is secret.

use harness::events;
use harness::runtime_api::Lambda;
use harness::store::StoreFault;
use harness::world::{WEBHOOK_SECRET, World};
use local::hub_signature;
use serde_json::{Value, json};
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{data_actions, last_words, request, webhook_intake};

/// What the callers of the story say, and nobody may find in a log.
const PRIVATE: &str = "+49 30 1234567";

/// A story with a success, a refusal, an unclear end and a store that fails.
async fn run_data_actions(world: &World, variables: &[(&str, &str)]) -> Lambda {
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(world, variables).await;
    let input = json!({"phone": PRIVATE});
    assert_eq!(lambda.invoke(request("k-1", &input)).await.json()["statusCode"], 200);
    let other = request("k-1", &json!({"other": PRIVATE}));
    assert_eq!(lambda.invoke(other).await.error_type(), "KeyReused");
    world.genesys.expire_tokens();
    assert_eq!(lambda.invoke(request("k-2", &input)).await.json()["statusCode"], 200);
    world.genesys.fault(Operation::ExecuteDataAction, Fault::cut_body());
    assert_eq!(lambda.invoke(request("k-3", &input)).await.error_type(), "OutcomeUnknown");
    let malformed = format!("{{\"dataActionId\":\"a\",\"input\":\"{PRIVATE}\"");
    assert_eq!(lambda.invoke(malformed).await.error_type(), "InvalidRequest");
    world.store.down();
    assert_eq!(lambda.invoke(request("k-4", &input)).await.error_type(), "StoreUnavailable");
    world.store.up();
    lambda
}

async fn run_webhook_intake(world: &World, variables: &[(&str, &str)]) -> Lambda {
    let lambda = webhook_intake(world, variables).await;
    let event = |text: &str| json!({"id": "evt-1", "type": "t", "data": {"text": text}}).to_string();
    let bodies = [event(PRIVATE), event(PRIVATE), event(&format!("not {PRIVATE}")), PRIVATE.to_owned()];
    for body in bodies {
        for secret in [WEBHOOK_SECRET, "the-wrong-secret"] {
            let signature = hub_signature(secret, body.as_bytes());
            let headers = [("x-hub-signature-256", signature.as_str())];
            let event = events::http_v2("POST", "/webhooks/genesys", &headers, body.as_bytes());
            let status = lambda.invoke_with((&event).into()).await.http().status;
            assert_eq!(status == 401, secret != WEBHOOK_SECRET);
        }
    }
    lambda
}

/// The lines, each of them JSON, the metrics apart from the rest.
fn read(output: &str) -> (Vec<Value>, Vec<Value>) {
    let lines = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("a line that is no JSON: {line}")));
    lines.partition(|line: &Value| line.get("_aws").is_some())
}

/// The names of the metrics, after checking that each is whole.
fn names(metrics: &[Value], function: &str) -> Vec<String> {
    let name = |line: &Value| {
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Patchbay", "{line}");
        assert_eq!(directive["Dimensions"], json!([["function"]]), "{line}");
        assert_eq!(line["function"], function, "{line}");
        assert!(line["_aws"]["Timestamp"].as_i64().is_some_and(|millis| millis > 1_700_000_000_000));
        let name = directive["Metrics"][0]["Name"].as_str().expect("a metric has a name").to_owned();
        assert!(line[&name].is_number(), "{line}");
        name
    };
    metrics.iter().map(name).collect()
}

fn assert_whole(lines: &[Value], function: &str) {
    assert!(!lines.is_empty());
    for line in lines {
        assert_eq!(line["function"], function, "{line}");
        for member in ["timestamp", "level", "message"] {
            assert!(line[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {line}");
        }
    }
}

#[tokio::test]
async fn every_line_of_data_actions_is_json_and_every_decision_a_metric() {
    let world = World::start(Surface::Platform).await;
    let lambda = run_data_actions(&world, &[]).await;

    let (metrics, lines) = read(&last_words(&lambda).await);

    assert_whole(&lines, "data-actions");
    let names = names(&metrics, "data-actions");
    for name in ["RunsPerformed", "KeysReused", "OutcomeUnknown", "StoreUnavailable", "UpstreamLatency"] {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    let attempt = lines.iter().find(|line| line["message"] == "Genesys Cloud called").unwrap();
    assert!(attempt["genesys.correlation_id"].is_string(), "{attempt}");
    assert!(attempt["aws.request_id"].is_string(), "{attempt}");
}

#[tokio::test]
async fn every_line_of_the_webhook_intake_is_json_and_every_decision_a_metric() {
    let world = World::start(Surface::Platform).await;
    let lambda = run_webhook_intake(&world, &[]).await;

    let (metrics, lines) = read(&last_words(&lambda).await);

    assert_whole(&lines, "webhook-intake");
    let names = names(&metrics, "webhook-intake");
    let expected = [
        ("EventsNew", 1),
        ("EventsDuplicate", 2),
        ("EventBodiesDiffering", 1),
        ("EventsQuarantined", 1),
        ("DeliveriesUnauthenticated", 4),
    ];
    for (name, times) in expected {
        assert_eq!(names.iter().filter(|it| *it == name).count(), times, "{name}: {names:?}");
    }
}

/// Everything that must not be said, of a world in which both stories were played.
fn secrets(world: &World) -> Vec<String> {
    let (_, client_secret) = world.genesys.credentials();
    let authorizations = world.genesys.requests();
    let authorizations = authorizations.iter().filter_map(|request| request.header("authorization"));
    let credentials = authorizations.filter_map(|value| value.split_once(' ')).map(|(_, it)| it.to_owned());
    let mut secrets: Vec<String> = credentials.collect();
    assert!(secrets.len() > 3, "the stories called nobody");
    secrets.extend([client_secret, WEBHOOK_SECRET.to_owned(), "no-secret-at-all".to_owned()]);
    secrets.extend([PRIVATE.to_owned(), PRIVATE.replace(' ', "")]);
    secrets.sort();
    secrets.dedup();
    secrets
}

async fn assert_discreet(level: &str) {
    let world = World::start(Surface::Platform).await;
    let variables = [("LOG_LEVEL", level)];
    let mut said = last_words(&run_data_actions(&world, &variables).await).await;
    said.push_str(&last_words(&run_webhook_intake(&world, &variables).await).await);

    let secrets = secrets(&world);
    let is_indiscreet = |line: &&str| secrets.iter().any(|secret| line.contains(secret));
    let message = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("the line is JSON");
        format!("{}: {} {}", line["function"], line["rpc.service"], line["message"])
    };
    let told: std::collections::BTreeSet<String> = said.lines().filter(is_indiscreet).map(message).collect();
    assert!(told.is_empty(), "at {level}, these lines tell what they must not: {told:#?}");
}

#[tokio::test]
async fn no_secret_no_token_and_no_body_is_said_at_the_usual_level() {
    assert_discreet("info").await;
}

#[tokio::test]
async fn no_secret_no_token_and_no_body_is_said_at_the_finest_level() {
    assert_discreet("trace").await;
}

#[tokio::test]
async fn a_store_that_throttles_is_counted_apart_from_one_that_is_away() {
    let world = World::start(Surface::Platform).await;
    let lambda = data_actions(&world, &[]).await;
    world.store.fault_times("UpdateItem", StoreFault::Throttle, 4);
    let throttled = lambda.invoke(request("k-1", &json!({}))).await;
    assert_eq!(throttled.error_type(), "StoreUnavailable");
    world.store.down();
    assert_eq!(lambda.invoke(request("k-1", &json!({}))).await.error_type(), "StoreUnavailable");
    world.store.up();

    let (metrics, _) = read(&last_words(&lambda).await);

    let names = names(&metrics, "data-actions");
    let times = |name: &str| names.iter().filter(|it| *it == name).count();
    assert_eq!((times("StoreThrottled"), times("StoreUnavailable")), (1, 2), "{names:?}");
}

#[tokio::test]
async fn a_quiet_function_still_counts() {
    let world = World::start(Surface::Platform).await;
    let lambda = run_webhook_intake(&world, &[("LOG_LEVEL", "off")]).await;

    let (metrics, lines) = read(&last_words(&lambda).await);

    assert_eq!(lines, Vec::<Value>::new());
    assert!(!metrics.is_empty());
}

#[tokio::test]
async fn where_nobody_is_asked_for_a_signature_a_warning_says_so_at_start() {
    let world = World::start(Surface::Platform).await;

    for (auth, is_warned) in [("none", true), ("signature", false)] {
        let lambda = webhook_intake(&world, &[("WEBHOOK_AUTH", auth)]).await;
        lambda.ready().await.expect("it starts");
        assert_eq!(last_words(&lambda).await.contains("WEBHOOK_AUTH is none"), is_warned, "{auth}");
    }
}
