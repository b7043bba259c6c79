//! HTTP, in every envelope that AWS puts around it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::events;
use harness::runtime_api::{Answer, Deadline, HttpAnswer, Invocation, binary, fleet};
use harness::world::{WEBHOOK_SECRET, World};
use local::hub_signature;
use serde_json::{Value, json};
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{RESOURCE, data_actions, state, webhook_intake};

/// Which problem an answer is.
fn slug(answer: &HttpAnswer) -> String {
    let kind = answer.json()["type"].as_str().unwrap_or_default().to_owned();
    kind.strip_prefix("urn:patchbay:problem:").unwrap_or_else(|| panic!("no problem: {answer:?}")).to_owned()
}

const PATH: &str = "/data-actions/a/invocations";

/// The same request as each of AWS's front doors hands it over, with stages and base paths before it.
fn envelopes(resource: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<Value> {
    let mut behind_a_stage = events::http_v2("POST", &format!("/live{path}"), headers, body);
    behind_a_stage["requestContext"]["stage"] = json!("live");
    let mut behind_a_route = behind_a_stage.clone();
    behind_a_route["routeKey"] = json!(format!("POST {resource}"));
    let mut behind_a_base_path = events::http_v1("POST", resource, path, headers, body);
    behind_a_base_path["path"] = json!(format!("/telephony{path}"));
    vec![
        events::http_v2("POST", path, headers, body),
        events::http_v2_base64("POST", path, headers, body),
        behind_a_stage,
        behind_a_route,
        events::http_v1("POST", resource, path, headers, body),
        behind_a_base_path,
        events::function_url("POST", path, headers, body),
    ]
}

#[tokio::test]
async fn a_data_action_is_the_same_through_every_gateway() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::json(json!({"ticket": "grün"})));
    let lambda = data_actions(&world, &[]).await;
    let headers = [("Idempotency-Key", "k"), ("Content-Type", "application/json")];

    for (nth, event) in envelopes(RESOURCE, PATH, &headers, br#"{"n":1}"#).iter().enumerate() {
        let answer = lambda.invoke_with(event.into()).await.http();

        assert_eq!((answer.status, answer.text()), (200, r#"{"ticket":"grün"}"#), "{event}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("idempotency-key"), Some("k"));
        assert_eq!(answer.header("idempotent-replayed"), (nth > 0).then_some("true"), "{event}");
    }
    assert_eq!(world.genesys.effects("a").len(), 1);
}

#[tokio::test]
async fn a_webhook_is_the_same_through_every_gateway() {
    let world = World::start(Surface::Platform).await;
    let lambda = webhook_intake(&world, &[]).await;
    let body = "{\"id\":\"evt-1\",\"type\":\"t\", \"data\":{\"note\":\"grün\"}}";
    let signature = hub_signature(WEBHOOK_SECRET, body.as_bytes());
    let headers = [("X-Hub-Signature-256", signature.as_str())];

    let route = "/webhooks/genesys";
    for (nth, event) in envelopes(route, route, &headers, body.as_bytes()).iter().enumerate() {
        let answer = lambda.invoke_with(event.into()).await.http();
        let status = if nth == 0 { "ACKNOWLEDGED" } else { "DUPLICATE" };
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some(status)), "{event}");
    }
    assert_eq!(world.items("event")[0]["body"]["S"], body);
}

#[tokio::test]
async fn a_webhook_with_a_bad_signature_or_a_bad_body_is_told_so() {
    let world = World::start(Surface::Platform).await;
    let lambda = webhook_intake(&world, &[]).await;
    let body = b"\xff no event";
    let signature = hub_signature(WEBHOOK_SECRET, body);
    let deliver = |signature| {
        let headers = [("x-hub-signature-256", signature)];
        lambda.invoke_with((&events::function_url("POST", "/webhooks/genesys", &headers, body)).into())
    };

    assert_eq!(deliver("sha256=forged").await.http().status, 401);
    assert!(world.items("").is_empty());
    assert_eq!(deliver(&signature).await.http().status, 400);
    assert_eq!(world.items("quarantine").len(), 1);
}

#[tokio::test]
async fn what_is_no_route_is_a_problem() {
    let world = World::start(Surface::Platform).await;
    let lambda = data_actions(&world, &[]).await;

    for (method, path, status) in [("POST", "/nowhere", 404), ("GET", PATH, 405)] {
        let answer = lambda.invoke_with((&events::http_v2(method, path, &[], b"")).into()).await.http();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
}

#[tokio::test]
async fn of_fifty_identical_invocations_on_ten_instances_one_takes_effect() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::json(json!({"ticket": 1})));
    let fleet = fleet(&binary("data-actions"), &world.variables(&[]), 10).await;
    let event = events::http_v2("POST", PATH, &[("idempotency-key", "k")], br#"{"n":1}"#);

    let answers = join_all((0..50).map(|n| fleet[n % 10].begin((&event).into()))).await;

    let mut performed = 0;
    for answer in answers.iter().map(Answer::http) {
        let replayed = answer.header("idempotent-replayed").is_some();
        match answer.status {
            200 => assert_eq!(answer.text(), r#"{"ticket":1}"#),
            _ => assert_eq!(slug(&answer), "in-progress"),
        }
        performed += usize::from(answer.status == 200 && !replayed);
    }
    assert_eq!((performed, world.genesys.effects("a").len()), (1, 1));
}

#[tokio::test]
async fn an_http_answer_is_out_before_lambda_ends_the_function() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_before_effect());
    let lambda = data_actions(&world, &[]).await;
    lambda.ready().await.unwrap();
    let event = events::http_v2("POST", PATH, &[("idempotency-key", "k")], b"{}");

    let begun = Instant::now();
    let invocation = Invocation::from(&event).deadline(Deadline::In(Duration::from_secs(3)));
    let answer = lambda.invoke_with(invocation).await.http();

    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!((answer.status, slug(&answer)), (504, "outcome-unknown".to_owned()));
    assert_eq!(state(&world), "UNKNOWN");
    let again = lambda.invoke_with((&event).into()).await.http();
    assert_eq!((again.status, slug(&again)), (409, "outcome-unknown".to_owned()));
    assert_eq!(world.genesys.request_count(Operation::ExecuteDataAction), 1);
}

#[tokio::test]
async fn callers_never_see_each_others_answers() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;
    let headers = [("idempotency-key", "k")];
    let v1 = || events::http_v1("POST", RESOURCE, PATH, &headers, b"{}");
    let v2 = || events::http_v2("POST", PATH, &headers, b"{}");
    let arn = "arn:aws:iam::123456789012:user/crm";
    // Each caller by both of the ways that name it; nobody in particular is a caller, too.
    let callers = [
        vec![v2(), v1(), events::function_url("POST", PATH, &headers, b"{}")],
        vec![events::with_caller_jwt(v2(), "alice"), events::with_caller_jwt(v1(), "alice")],
        vec![events::with_caller_jwt(v2(), "bob"), events::with_caller_jwt(v1(), "bob")],
        vec![events::with_caller_iam(v2(), arn), events::with_caller_iam(v1(), arn)],
        vec![events::with_caller_iam(v2(), "arn:aws:iam::123456789012:user/erp")],
        vec![events::with_api_key(v1(), "key-1")],
        vec![events::with_api_key(v1(), "alice")],
    ];

    let mut answers = BTreeSet::new();
    for caller in &callers {
        let mut of_this_caller = BTreeSet::new();
        for event in caller {
            let answer = lambda.invoke_with(event.into()).await.http();
            of_this_caller.insert(answer.text().to_owned());
        }
        assert_eq!(of_this_caller.len(), 1, "{caller:?}");
        answers.extend(of_this_caller);
    }
    assert_eq!((answers.len(), world.genesys.effects("a").len()), (callers.len(), callers.len()));
}

#[tokio::test]
async fn a_header_that_is_none_is_refused_and_the_process_lives_on() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let lambda = data_actions(&world, &[]).await;
    let odd = [("idempotency-key", "k"), ("x-odd", "one\u{1}two\nthree")];

    for event in [
        events::http_v2("POST", PATH, &odd, b"{}"),
        events::http_v1("POST", RESOURCE, PATH, &odd, b"{}"),
        events::function_url("POST", PATH, &odd, b"{}"),
    ] {
        let answer = lambda.invoke_with((&event).into()).await.http();
        assert_eq!((answer.status, slug(&answer)), (400, "invalid-request".to_owned()));
    }
    assert_eq!((world.genesys.effect_count(), world.items("").len()), (0, 0));
    let event = events::http_v2("POST", PATH, &odd[..1], b"{}");
    assert_eq!(lambda.invoke_with((&event).into()).await.http().status, 200);
}

#[tokio::test]
async fn the_largest_answers_fit_through_a_gateway() {
    let world = World::start(Surface::Platform).await;
    let lambda = data_actions(&world, &[]).await;
    let largest = [("text/plain", vec![b'x'; 5 * 1024 * 1024]), ("audio/wav", vec![0xff; 4 * 1024 * 1024])];
    for (content_type, body) in largest {
        world.genesys.data_action("a", Behaviour::status(200, content_type, &body));
        let event = events::http_v2("POST", PATH, &[("idempotency-key", content_type)], b"{}");

        let answer = lambda.invoke_with((&event).into()).await.http();

        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
        assert!(answer.body == body, "{} bytes came back", answer.body.len());
    }
}

#[tokio::test]
async fn a_text_that_grows_too_large_when_it_is_escaped_is_a_problem() {
    let world = World::start(Surface::Platform).await;
    let quotes = "\"".repeat(5 * 1024 * 1024);
    world.genesys.data_action("a", Behaviour::status(200, "text/plain", &quotes));
    let lambda = data_actions(&world, &[]).await;
    let event = events::http_v2("POST", PATH, &[("idempotency-key", "k-1")], b"{}");

    let answer = lambda.invoke_with((&event).into()).await.http();
    assert_eq!((answer.status, slug(&answer)), (502, "answer-too-large".to_owned()));
    let direct = lambda.invoke(super::request("k-2", &json!({}))).await;
    assert_eq!(direct.error_type(), "AnswerTooLarge");
}
