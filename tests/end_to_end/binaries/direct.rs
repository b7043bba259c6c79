//! Direct invocations: bare JSON in, bare JSON out, and errors that Step Functions can catch by name.

use harness::runtime_api::{Answer, Deadline, Invocation, Lambda};
use harness::world::World;
use serde_json::{Value, json};
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{data_actions, last_words, let_lease_lapse, request, webhook_intake};

#[tokio::test]
async fn a_direct_invocation_is_answered_with_one_object() {
    let world = World::start(Surface::Platform).await;
    let lambda = data_actions(&world, &[]).await;
    let bodies = [
        (Behaviour::json(json!({"ticket": 1})), json!({"ticket": 1}), Some("application/json")),
        (
            Behaviour::status(404, "application/json", r#"{"code":"x"}"#),
            json!({"code": "x"}),
            Some("application/json"),
        ),
        (Behaviour::status(200, "text/plain", "12"), json!("12"), Some("text/plain")),
        (Behaviour::status(204, None, ""), json!(""), None),
    ];

    for (nth, (behaviour, body, content_type)) in bodies.into_iter().enumerate() {
        world.genesys.data_action("a", behaviour);
        let key = format!("k-{nth}");
        let first = lambda.invoke(request(&key, &json!({}))).await.json();
        let mut expected = json!({"statusCode": first["statusCode"], "contentType": content_type, "body": body,
            "idempotencyKey": key, "replayed": false});
        assert_eq!(first, expected);
        expected["replayed"] = json!(true);
        assert_eq!(lambda.invoke(request(&key, &json!({}))).await.json(), expected);
    }
    assert_eq!(world.genesys.executions("a").len(), 4);
}

#[tokio::test]
async fn the_guides_names_mean_the_same_and_so_does_the_derived_key() {
    let world = World::start(Surface::Guide).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;

    for (members, key) in [
        (json!({"dataActionId": "a", "input": {"x": 1, "y": "z"}}), None),
        (json!({"data_action_id": "a", "payload": {"y": "z", "x": 1.0}}), None),
        (json!({"data_action_id": "a", "input_payload": {"x": 1, "y": "z"}}), None),
        (json!({"data_action_id": "a", "input_payload": {"x": 2}, "idempotency_key": "k"}), Some("k")),
        (json!({"dataActionId": "a", "input": {"x": 2}, "idempotencyKey": "k"}), Some("k")),
    ] {
        let answer = lambda.invoke(members.to_string()).await.json();
        // The digest of `a:{"x":1,"y":"z"}`, by another program.
        let derived = "f548b0dac2e6e31a72b7c1b26c4adb7bd06de397caafee9c811b431d6d1291b1";
        assert_eq!(answer["idempotencyKey"], key.unwrap_or(derived), "{members}");
    }
    assert_eq!(world.genesys.effects("a").len(), 2);
}

async fn error_type(lambda: &Lambda, payload: impl Into<Vec<u8>>) -> String {
    let answer = lambda.invoke(payload).await;
    assert!(!answer.error_message().is_empty());
    let Answer::Error { error_type_header, .. } = &answer else { panic!("no failure: {answer:?}") };
    assert_eq!(error_type_header.as_deref(), Some(answer.error_type().as_str()));
    answer.error_type()
}

#[tokio::test]
async fn what_is_no_request_is_an_invalid_request() {
    let world = World::start(Surface::Platform).await;
    let lambda = data_actions(&world, &[]).await;

    for payload in [
        &b""[..],
        b"no JSON",
        b"\"text\"",
        b"null",
        b"[]",
        b"{}",
        b"{\"dataActionId\":\"\xff\"}",
        br#"{"dataActionId":"../x","input":{}}"#,
        br#"{"dataActionId":"a","input":{"x":1,"x":2}}"#,
        br#"{"dataActionId":"a","input":{},"idempotencyKey":""}"#,
        br#"{"dataActionId":"a","input":{},"waitSeconds":"soon"}"#,
        br#"{"Records":[{"eventSource":"aws:s3"}]}"#,
    ] {
        let shown = String::from_utf8_lossy(payload);
        assert_eq!(error_type(&lambda, payload).await, "InvalidRequest", "{shown}");
    }
    assert_eq!((world.genesys.requests().len(), world.items("").len()), (0, 0));
}

#[tokio::test]
async fn an_http_event_that_cannot_be_read_is_refused_as_one_and_never_taken_for_anything_else() {
    let world = World::start(Surface::Platform).await;
    let (intake, actions) = (webhook_intake(&world, &[]).await, data_actions(&world, &[]).await);

    for event in [
        json!({"requestContext": {"http": {"method": 7}}}),
        json!({"httpMethod": "POST", "path": "/webhooks/genesys", "requestContext": {}, "body": {"id": "e"}}),
        json!({"httpMethod": [], "path": "/webhooks/genesys", "requestContext": {}, "body": "{\"id\":\"e\"}"}),
    ] {
        for lambda in [&intake, &actions] {
            let answer = lambda.invoke(event.to_string()).await.http();
            assert_eq!(answer.status, 400, "{event}");
        }
    }
    assert_eq!(world.items("").len(), 0);
}

#[tokio::test]
async fn a_payload_that_is_no_event_is_quarantined_by_the_webhook_intake() {
    let world = World::start(Surface::Platform).await;
    let lambda = webhook_intake(&world, &[]).await;

    for payload in [&b"no JSON"[..], b"\xff\xfe", b"[]", b"{\"detail-type\":\"t\"}"] {
        assert_eq!(lambda.invoke(payload).await.json()["status"], "QUARANTINED");
    }
    assert_eq!(world.items("quarantine").len(), 4);
}

#[tokio::test]
async fn an_event_bridge_event_reaches_the_webhook_intake_directly_and_through_a_queue() {
    let world = World::start(Surface::Platform).await;
    let lambda = webhook_intake(&world, &[]).await;
    let envelope = include_str!("../fixtures/eventbridge-customer-end.json");

    assert_eq!(lambda.invoke(envelope).await.json()["status"], "ACKNOWLEDGED");
    assert_eq!(lambda.invoke(envelope).await.json()["status"], "DUPLICATE");
    let batch = harness::events::sqs_batch(&[("m-1", envelope), ("m-2", "no event")]);
    let answer = lambda.invoke_with((&batch).into()).await.json();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!((world.items("event").len(), world.items("quarantine").len()), (1, 1));
    world.store.down();
    assert_eq!(error_type(&lambda, envelope).await, "StoreUnavailable");
    let answer = lambda.invoke_with((&batch).into()).await.json();
    let failed = answer["batchItemFailures"].as_array().unwrap();
    assert_eq!(failed.len(), 2, "{answer}");
}

#[tokio::test]
async fn a_refusal_is_a_function_error_by_the_name_of_its_problem() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;
    let execute = Operation::ExecuteDataAction;
    assert_eq!(lambda.invoke(request("used", &json!({"n": 1}))).await.json()["replayed"], false);

    assert_eq!(error_type(&lambda, request("used", &json!({"n": 2}))).await, "KeyReused");
    world.genesys.fault(execute, Fault::status(429).times(4));
    assert_eq!(error_type(&lambda, request("limited", &json!({}))).await, "UpstreamRateLimited");
    world.genesys.fault(execute, Fault::status(403));
    assert_eq!(error_type(&lambda, request("refused", &json!({}))).await, "UpstreamRejected");
    world.genesys.fault(execute, Fault::redirect("https://elsewhere.example/"));
    assert_eq!(error_type(&lambda, request("redirected", &json!({}))).await, "UpstreamRejected");
    world.genesys.fault(execute, Fault::effect_then_drop());
    assert_eq!(error_type(&lambda, request("cut", &json!({}))).await, "OutcomeUnknown");
    assert_eq!(error_type(&lambda, request("cut", &json!({}))).await, "OutcomeUnknown");
    assert_eq!(world.genesys.effects("a").len(), 2);
    // Nobody listens at this port: the key is free again.
    let cut_off = data_actions(&world, &[("GENESYS_API_URL", "http://127.0.0.1:1")]).await;
    assert_eq!(error_type(&cut_off, request("unreached", &json!({}))).await, "UpstreamUnavailable");
    assert_eq!(lambda.invoke(request("unreached", &json!({}))).await.json()["replayed"], false);
}

#[tokio::test]
async fn a_repeat_of_a_running_request_is_told_so_or_waits_for_its_answer() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());
    let (first, second) = (data_actions(&world, &[]).await, data_actions(&world, &[]).await);
    let running = first.begin(Invocation::new(request("k", &json!({"n": 1}))));
    world.genesys.wait_for_stalled(1).await;

    assert_eq!(error_type(&second, request("k", &json!({"n": 1}))).await, "InProgress");
    assert_eq!(error_type(&second, request("k", &json!({"n": 2}))).await, "KeyReused");
    let patient = json!({"dataActionId": "a", "input": {"n": 1}, "idempotencyKey": "k", "waitSeconds": 25});
    let waiting = second.begin((&patient).into());
    // It has looked once, and will look again.
    world.store.wait_for("GetItem", 1).await;
    world.genesys.release_stalled();

    let (performed, mut replayed) = (running.await.json(), waiting.await.json());
    assert_eq!((&performed["replayed"], &replayed["replayed"]), (&json!(false), &json!(true)));
    replayed["replayed"] = json!(false);
    assert_eq!(replayed, performed);
    assert_eq!(world.genesys.effects("a").len(), 1);
}

#[tokio::test]
async fn a_deadline_that_has_passed_or_is_missing_gives_the_default_lease() {
    for deadline in [Deadline::At(0), Deadline::At(1_000), Deadline::Missing] {
        let world = World::start(Surface::Platform).await;
        world.genesys.data_action("a", Behaviour::echo());
        let lambda = data_actions(&world, &[]).await;
        let invocation = Invocation::new(request("k", &json!({}))).deadline(deadline);

        assert_eq!(lambda.invoke_with(invocation).await.json()["statusCode"], 200, "{deadline:?}");
        let claim = &world.items("claim")[0];
        let moment = |name: &str| claim[name]["N"].as_str().unwrap().parse::<i64>().unwrap();
        assert_eq!(moment("lease_until") - moment("claimed_at"), 60_000, "{deadline:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_told_and_nothing_is_done() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;
    world.store.down();

    assert_eq!(error_type(&lambda, request("k", &json!({}))).await, "StoreUnavailable");
    let event =
        harness::events::http_v2("POST", "/data-actions/a/invocations", &[("idempotency-key", "k")], b"{}");
    let answer = lambda.invoke_with((&event).into()).await.http();
    assert_eq!(
        (answer.status, &answer.json()["type"]),
        (503, &json!("urn:patchbay:problem:store-unavailable"))
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(world.genesys.request_count(Operation::ExecuteDataAction), 0);
    world.store.up();
    assert_eq!(lambda.invoke(request("k", &json!({}))).await.json()["replayed"], false);
}

#[tokio::test]
async fn an_odd_client_context_never_ends_the_process_and_a_correlation_id_reaches_the_log() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;

    for (nth, context) in [
        r#"{"ININ-Correlation-Id":"flat-1","ININ-Home-Organization-Id":"o"}"#,
        r#"{"custom":{"ININ-Correlation-Id":"custom-2"}}"#,
        r#"{"client":{"installation_id":"x"},"custom":{"inin-correlation-id":"partial-3"},"env":{}}"#,
        r#"{"client":{}}"#,
        "not JSON",
        "\"grüße\"",
        "{\"ININ-Correlation-Id\":7}",
        "null",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let invocation = Invocation::new(request(&format!("k-{nth}"), &json!({}))).client_context(context);
        assert_eq!(lambda.invoke_with(invocation).await.json()["statusCode"], 200, "{context}");
    }
    let lines = last_words(&lambda).await;
    for id in ["flat-1", "custom-2", "partial-3"] {
        let line = lines.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("{id}: {lines}"));
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["genesys.caller_correlation_id"], id);
    }
}

#[tokio::test]
async fn a_record_nobody_can_read_is_an_internal_error_and_no_reason_to_run() {
    let world = World::start(Surface::Guide).await;
    world.genesys.data_action("a", Behaviour::echo());
    let payload = request("k", &json!({}));
    let first = data_actions(&world, &[]).await.invoke(payload.clone()).await;
    assert_eq!(first.json()["statusCode"], 200);
    let_lease_lapse(&world);
    world.meddle("claim", |claim| claim["v"] = json!({"N": "2"}));

    assert_eq!(error_type(&data_actions(&world, &[]).await, payload).await, "InternalError");
    assert_eq!(world.genesys.effects("a").len(), 1);
}
