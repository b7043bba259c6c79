//! The compiled functions: what Lambda, its clients and its queues say of a trace, and what the logs do.

use harness::events;
use harness::runtime_api::{Invocation, Lambda, binary};

use super::*;

async fn lambda(world: &World, name: &str) -> Lambda {
    Lambda::start(&binary(name), &world.variables(&[])).await
}

fn request(key: &str) -> String {
    json!({"dataActionId": "a", "input": {"k": key}, "idempotencyKey": key}).to_string()
}

/// The trace of the request with this key that Genesys Cloud saw.
fn told_with_key(world: &World, key: &str) -> Option<String> {
    let requests = world.genesys.requests();
    let request = requests.iter().find(|request| request.header("idempotency-key") == Some(key));
    request.expect("it was called").header("traceparent").map(str::to_owned)
}

/// The lines that are not metrics, after the end of the process.
async fn lines(lambda: &Lambda) -> Vec<Value> {
    lambda.kill().await;
    let output = lambda.output();
    let lines = output.lines().map(|line| serde_json::from_str::<Value>(line).expect("every line is JSON"));
    lines.filter(|line| line.get("_aws").is_none()).collect()
}

#[tokio::test]
async fn a_direct_invocation_is_within_the_trace_that_lambda_tells() {
    let (world, _) = world(Surface::Platform).await;
    let lambda = lambda(&world, "data-actions").await;

    let traced = Invocation::new(request("k")).trace(format!("{TRACE_AS_X_RAY};Lineage=1:a87bd80c:0"));
    assert_eq!(lambda.invoke_with(traced).await.json()["statusCode"], 200);

    assert!(all_within(&world, Some(TRACE)), "{:?}", told_upstream(&world));
    let lines = lines(&lambda).await;
    let of_invocation: Vec<_> = lines.iter().filter(|line| line["aws.request_id"].is_string()).collect();
    assert!(of_invocation.len() >= 2, "{lines:?}");
    for line in of_invocation {
        assert_eq!(line["trace.id"], "0af7651916cd43dd8448eb211c80319c", "{line}");
    }
}

#[tokio::test]
async fn without_a_trace_of_lambdas_there_is_none_and_the_logs_name_none() {
    let (world, _) = world(Surface::Platform).await;
    let lambda = lambda(&world, "data-actions").await;

    let odd = Invocation::new(request("k-1")).trace("Root=1-67891233-abcdef012345678912345678");
    for invocation in [odd, Invocation::new(request("k-2")).without_trace()] {
        assert_eq!(lambda.invoke_with(invocation).await.json()["statusCode"], 200);
    }

    assert!(all_within(&world, None), "{:?}", told_upstream(&world));
    let lines = lines(&lambda).await;
    assert!(!lines.is_empty() && lines.iter().all(|line| line.get("trace.id").is_none()), "{lines:?}");
}

#[tokio::test]
async fn a_direct_caller_may_name_its_trace_in_the_client_context() {
    let (world, _) = world(Surface::Platform).await;
    let lambda = lambda(&world, "data-actions").await;

    let context = json!({"custom": {"traceparent": TRACE, "ININ-Correlation-Id": "c-1"}}).to_string();
    let both = Invocation::new(request("k")).trace(OTHER_AS_X_RAY).client_context(context);
    assert_eq!(lambda.invoke_with(both).await.json()["statusCode"], 200);
    let odd = Invocation::new(request("l")).trace(OTHER_AS_X_RAY).client_context(r#"{"traceparent":7}"#);
    assert_eq!(lambda.invoke_with(odd).await.json()["statusCode"], 200);

    assert_eq!(told_with_key(&world, "k").as_deref(), Some(TRACE));
    assert_eq!(told_with_key(&world, "l").as_deref(), Some(OTHER));
    let lines = lines(&lambda).await;
    let called = lines.iter().find(|line| line["message"] == "data action").expect("a line");
    assert_eq!(called["genesys.caller_correlation_id"], "c-1", "{called}");
}

#[tokio::test]
async fn over_http_the_callers_own_header_comes_before_lambdas_trace() {
    let (world, _) = world(Surface::Platform).await;
    let lambda = lambda(&world, "data-actions").await;
    let invoke = async |key: &str, headers: &[(&str, &str)]| {
        let keyed = [("Idempotency-Key", key), ("ININ-Correlation-Id", "c-1")];
        let event =
            events::http_v2("POST", "/data-actions/a/invocations", &[&keyed, headers].concat(), b"{}");
        let invocation = Invocation::from(&event).trace(OTHER_AS_X_RAY);
        assert_eq!(lambda.invoke_with(invocation).await.http().status, 200);
    };

    invoke("k-1", &[("traceparent", TRACE)]).await;
    invoke("k-2", &[("X-Amzn-Trace-Id", TRACE_AS_X_RAY)]).await;
    // A gateway's own header names no parent.
    invoke("k-3", &[]).await;
    invoke("k-4", &[("traceparent", "malformed")]).await;

    for (key, trace) in [("k-1", TRACE), ("k-2", TRACE), ("k-3", OTHER), ("k-4", OTHER)] {
        assert_eq!(told_with_key(&world, key).as_deref(), Some(trace), "{key}");
    }
    let lines = lines(&lambda).await;
    let ran: Vec<_> = lines.iter().filter(|line| line["message"] == "data action").collect();
    let ids: Vec<_> = ran.iter().map(|line| line["trace.id"].as_str().expect("a trace")).collect();
    let (trace, other) = (&TRACE[3..35], &OTHER[3..35]);
    assert_eq!(ids, [trace, trace, other, other]);
    assert!(ran.iter().all(|line| line["genesys.caller_correlation_id"] == "c-1"), "{ran:?}");
}

#[tokio::test]
async fn each_message_of_a_batch_is_within_its_senders_trace() {
    let (world, _) = world(Surface::Platform).await;
    let lambda = lambda(&world, "data-actions").await;
    let (sdk, otel, none, odd) = (request("sdk"), request("otel"), request("none"), request("odd"));
    let messages = [("1", &*sdk), ("2", &*otel), ("3", &*none), ("4", &*odd)];
    let mut batch = events::sqs_batch(&messages);
    let third = "00-33333333333333333333333333333333-4444444444444444-01";
    batch["Records"][0]["attributes"]["AWSTraceHeader"] = json!(TRACE_AS_X_RAY);
    batch["Records"][1]["attributes"]["AWSTraceHeader"] = json!(TRACE_AS_X_RAY);
    batch["Records"][1]["messageAttributes"]["traceparent"] =
        json!({"stringValue": third, "stringListValues": [], "binaryListValues": [], "dataType": "String"});
    batch["Records"][3]["attributes"]["AWSTraceHeader"] = json!("odd");
    batch["Records"][3]["messageAttributes"]["traceparent"] =
        json!({"stringValue": "odd", "dataType": "String"});

    let invocation = Invocation::from(&batch).trace(OTHER_AS_X_RAY);
    assert_eq!(lambda.invoke_with(invocation).await.json(), json!({"batchItemFailures": []}));

    let expected = [("sdk", TRACE), ("otel", third), ("none", OTHER), ("odd", OTHER)];
    for (key, trace) in expected {
        assert_eq!(told_with_key(&world, key).as_deref(), Some(trace), "{key}");
    }
    let lines = lines(&lambda).await;
    let ran = lines.iter().filter(|line| line["message"] == "data action");
    let mut ids: Vec<_> = ran.map(|line| line["trace.id"].as_str().expect("a trace")).collect();
    ids.sort_unstable();
    assert_eq!(ids, [&TRACE[3..35], &OTHER[3..35], &OTHER[3..35], &third[3..35]]);
}

#[tokio::test]
async fn an_event_of_event_bridge_is_kept_within_lambdas_trace_and_a_notice_is_logged_within_its_own() {
    let (world, inbox) = world(Surface::Platform).await;
    let intake = lambda(&world, "webhook-intake").await;
    let envelope = include_str!("../fixtures/eventbridge-customer-end.json");
    let answer = intake.invoke_with(Invocation::new(envelope).trace(TRACE_AS_X_RAY)).await;
    assert_eq!(answer.json()["status"], "ACKNOWLEDGED");
    world.transfer(&[("traceparent", TRACE)], &to_support()).await;
    for sort_key in ["event", "notice"] {
        world.meddle(sort_key, |item| item["due_at"] = json!({"N": "1"}));
    }
    let bus = Bus::start().await.unwrap();
    let variables = [
        ("EVENT_BUS_NAME", "events"),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", &bus.url()),
        ("NOTICE_ALLOW_PRIVATE", "true"),
    ];
    let relay = Lambda::start(&binary("relay"), &world.variables(&variables)).await;

    let answer = relay.invoke_with(Invocation::new("{}").trace(OTHER_AS_X_RAY)).await.json();

    assert_eq!((&answer["delivered"], &answer["published"]), (&json!(1), &json!(1)));
    assert_eq!(told_bus(&bus), [Some(TRACE_AS_X_RAY.to_owned())]);
    assert_eq!(told_subscriber(&inbox), [Some(TRACE.to_owned())]);
    for line in lines(&relay).await {
        let expected = match line["message"].as_str() {
            Some("notice attempted" | "event attempted") => json!(TRACE[3..35]),
            Some("swept") => json!(OTHER[3..35]),
            _ => continue,
        };
        assert_eq!(line["trace.id"], expected, "{line}");
    }
}
