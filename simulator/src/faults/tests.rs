//! Each fault, as a real client meets it.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::client::{Client, ask};
use crate::{Behaviour, Fault, Operation, Surface};

async fn client() -> Client {
    let client = Client::start(Surface::Platform).await;
    client.simulator.data_action("a", Behaviour::json(json!({ "text": "long enough to be cut in two" })));
    client
}

impl Client {
    fn fault(&self, fault: Fault) {
        self.simulator.fault(Operation::ExecuteDataAction, fault);
    }
}

#[tokio::test]
async fn a_status_befalls_as_many_requests_as_it_says_and_has_no_effect() {
    let client = client().await;
    client.fault(Fault::status(429).retry_after("0.5").times(2));
    client.fault(Fault::status(503));
    for expected in ["too.many.requests.retry.after", "too.many.requests.retry.after", "service.unavailable"]
    {
        let answer = client.execute("a", "{}").send().await.unwrap();
        let retry_after = answer.headers().get("retry-after").cloned();
        assert_eq!(retry_after.is_some_and(|it| it == "0.5"), expected != "service.unavailable");
        let correlation_id = answer.headers()["inin-correlation-id"].to_str().unwrap().to_owned();
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!((&body["code"], &body["contextId"]), (&json!(expected), &json!(correlation_id)));
    }
    assert_eq!(client.simulator.effect_count(), 0);
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_dropped_request_has_an_effect_only_if_the_fault_says_so() {
    let client = client().await;
    client.fault(Fault::drop_before_effect());
    client.fault(Fault::effect_then_drop());
    for effects in [0, 1] {
        let failure = client.execute("a", "{}").send().await.unwrap_err();
        assert!(failure.is_request() && !failure.is_connect(), "{failure:?}");
        assert_eq!(client.simulator.effect_count(), effects);
    }
    assert_eq!(client.simulator.request_count(Operation::ExecuteDataAction), 2);
}

#[tokio::test]
async fn an_error_after_the_effect_hides_it() {
    let client = client().await;
    client.fault(Fault::effect_then_status(504));
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(client.simulator.effect_count(), 1);
}

#[tokio::test]
async fn a_cut_body_begins_and_does_not_end() {
    let client = client().await;
    client.fault(Fault::cut_body());
    let mut answer = client.execute("a", "{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.chunk().await.unwrap().unwrap(), r#"{"text":"long enoug"#);
    answer.chunk().await.unwrap_err();
    assert_eq!(client.simulator.effect_count(), 1);

    client.simulator.data_action("a", Behaviour::status(200, None, ""));
    client.fault(Fault::cut_body());
    client.execute("a", "{}").send().await.unwrap().bytes().await.unwrap_err();
}

#[tokio::test]
async fn a_slow_body_comes_whole_in_pieces() {
    let client = client().await;
    client.fault(Fault::slow_body(Duration::from_millis(1)));
    let (status, body) = ask(client.execute("a", "{}")).await;
    assert_eq!((status, body), (StatusCode::OK, json!({ "text": "long enough to be cut in two" })));
    assert_eq!(client.simulator.effect_count(), 1);
}

#[tokio::test]
async fn a_redirect_says_where_to_and_does_nothing() {
    let client = client().await;
    client.fault(Fault::redirect("https://elsewhere.invalid/"));
    let answer = client.execute("a", "{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND);
    assert_eq!(answer.headers()["location"], "https://elsewhere.invalid/");
    assert_eq!(client.simulator.effect_count(), 0);
}

#[tokio::test]
async fn an_expired_token_stays_expired() {
    let mut client = client().await;
    client.fault(Fault::expired_token());
    for _ in 0..2 {
        let (status, body) = ask(client.execute("a", "{}")).await;
        assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("bad.credentials")));
    }
    client.renew().await;
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::OK);
    assert_eq!(client.simulator.effect_count(), 1);
}

#[tokio::test]
async fn a_stalled_request_goes_on_when_it_is_released() {
    let client = client().await;
    client.fault(Fault::stall_before_effect());
    client.fault(Fault::stall_after_effect());
    for effects in [0, 1 + 1] {
        let stalled = async {
            client.simulator.wait_for_stalled(1).await;
            assert_eq!(client.simulator.effect_count(), effects);
            client.simulator.release_stalled();
        };
        let ((status, _), ()) = tokio::join!(ask(client.execute("a", "{}")), stalled);
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!(client.simulator.effect_count(), 2);
}

#[tokio::test]
async fn a_stalled_client_that_left_takes_what_had_not_happened_with_it() {
    let client = client().await;
    for (fault, effects) in [(Fault::stall_before_effect(), 0), (Fault::stall_after_effect(), 1)] {
        client.fault(fault);
        tokio::select! {
            answer = client.execute("a", "{}").send() => panic!("nobody released {answer:?}"),
            () = client.simulator.wait_for_stalled(1) => {}
        }
        client.simulator.wait_for_stalled(0).await;
        client.simulator.release_stalled();
        assert_eq!(client.simulator.effect_count(), effects);
    }
}

#[tokio::test]
async fn a_fault_waits_for_its_operation_and_for_a_request_that_passes_the_door() {
    let mut client = client().await;
    client.simulator.fault(Operation::Token, Fault::status(429));
    client.simulator.expire_tokens();
    client.fault(Fault::status(503));

    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::UNAUTHORIZED);
    let (status, body) = ask(client.token_request()).await;
    assert_eq!((status, &body["error"]), (StatusCode::TOO_MANY_REQUESTS, &json!("temporarily_unavailable")));
    client.renew().await;
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::SERVICE_UNAVAILABLE);

    client.fault(Fault::status(503));
    client.simulator.clear_faults();
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn token_requests_stall_and_drop_too() {
    let client = client().await;
    client.simulator.fault(Operation::Token, Fault::drop_before_effect());
    client.token_request().send().await.unwrap_err();

    client.simulator.fault(Operation::Token, Fault::stall_before_effect());
    let released = async {
        client.simulator.wait_for_stalled(1).await;
        client.simulator.release_stalled();
    };
    let ((status, _), ()) = tokio::join!(ask(client.token_request()), released);
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_share_of_the_requests_is_befallen_until_it_is_cleared() {
    let client = client().await;
    client.simulator.fault_every(Operation::ExecuteDataAction, 3, Fault::status(429).retry_after("1"));
    assert_eq!(client.simulator.faults_left().len(), 1);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(ask(client.execute("a", "{}")).await.0.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429]);
    assert!(client.simulator.faults_left().is_empty(), "it has been met");

    client.fault(Fault::status(503));
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    client.simulator.clear_faults();
    for _ in 0..3 {
        assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::OK);
    }
}
