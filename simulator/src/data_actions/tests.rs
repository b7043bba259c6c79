//! What executions leave behind, and what a key binds.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::client::{Client, ask};
use crate::{Behaviour, Surface};

#[tokio::test]
async fn on_platform_every_execution_is_an_effect_whatever_its_key() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.data_action("custom_-_a", Behaviour::echo());
    for n in 1..=2 {
        let request = client.execute("custom_-_a", r#"{"amount": 12345678901234567890123}"#);
        let answer = request.header("idempotency-key", "k").send().await.unwrap();
        assert_eq!(answer.headers()["inin-ratelimit-count"], n.to_string());
        let expected = format!(r#"{{"echo":{{"amount": 12345678901234567890123}},"execution":{n}}}"#);
        assert_eq!(answer.text().await.unwrap(), expected);
    }
    let effects = client.simulator.effects("custom_-_a");
    assert_eq!(effects.iter().map(|effect| effect.execution).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(effects[1].idempotency_key.as_deref(), Some("k"));
    assert_eq!(client.simulator.effects("another"), []);
}

#[tokio::test]
async fn a_declared_error_is_an_execution_without_effect() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.data_action("a", Behaviour::status(422, "text/plain", "no"));
    let answer = client.execute("a", "{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.headers()["content-type"], "text/plain");
    assert_eq!(answer.text().await.unwrap(), "no");
    assert_eq!(client.simulator.effects("a"), []);
    assert!(!client.simulator.executions("a")[0].performed);

    client.simulator.data_action("a", Behaviour::status(204, None, ""));
    let answer = client.execute("a", "{}").send().await.unwrap();
    assert!(answer.headers().get("content-type").is_none());
    assert_eq!(client.simulator.effects("a")[0].execution, 2);
}

#[tokio::test]
async fn an_action_nobody_declared_is_not_found() {
    let client = Client::start(Surface::Platform).await;
    let (status, body) = ask(client.execute("a", "{}")).await;
    assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("not.found")));
    assert_eq!(client.simulator.anomalies(), []);
}

#[tokio::test]
async fn on_guide_a_key_gets_its_first_answer_again_without_a_second_effect() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.data_action("a", Behaviour::echo());
    client.simulator.data_action("b", Behaviour::echo());
    let keyed = |action, input| ask(client.execute(action, input).header("idempotency-key", "k"));

    let (_, first) = keyed("a", "[1]").await;
    assert_eq!(keyed("a", "[2]").await.1, first);
    assert_eq!(keyed("b", "[1]").await.1["execution"], 1);
    assert_eq!(client.simulator.effects("a").len(), 1);
    assert_eq!(client.simulator.effect_count(), 2);

    ask(client.execute("a", "[1]")).await;
    assert_eq!(client.simulator.effects("a").len(), 2, "without a key every execution is its own");
}

#[tokio::test]
async fn on_guide_a_key_bound_to_a_failed_run_is_a_conflict() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.data_action("a", Behaviour::status(500, None, ""));
    let keyed = || client.execute("a", "{}").header("idempotency-key", "k");
    assert_eq!(keyed().send().await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);

    client.simulator.data_action("a", Behaviour::echo());
    let (status, body) = ask(keyed()).await;
    assert_eq!((status, &body["status"]), (StatusCode::CONFLICT, &json!(409)));
    assert_eq!(client.simulator.effect_count(), 0);
}

#[tokio::test]
async fn on_guide_one_key_at_the_same_instant_has_one_effect() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.data_action("a", Behaviour::echo().delayed(Duration::from_millis(20)));
    let keyed = || ask(client.execute("a", "{}").header("idempotency-key", "k"));
    let (first, second, third) = tokio::join!(keyed(), keyed(), keyed());
    assert_eq!(first, second);
    assert_eq!(first, third);
    assert_eq!(client.simulator.effect_count(), 1);
}

#[tokio::test]
async fn an_invocation_wraps_its_input_and_nothing_else() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.data_action("a", Behaviour::json(json!({ "status": "ok" })));
    let invoke = |body| ask(client.post("/api/v2/dataactions/actions/a/invoke", body));

    let (status, body) = invoke(r#"{"input":{"n":1}}"#).await;
    assert_eq!((status, body), (StatusCode::OK, json!({ "status": "ok" })));
    assert_eq!(client.simulator.effects("a")[0].input, json!({ "n": 1 }));

    for (n, body) in ["{}", r#"{"input":1,"more":2}"#, "[]", r#"{"input":1} x"#].into_iter().enumerate() {
        assert_eq!(invoke(body).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(client.simulator.anomalies().len(), n + 1);
    }
    assert_eq!(client.simulator.effect_count(), 1);
}
