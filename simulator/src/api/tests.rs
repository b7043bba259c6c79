//! What is recorded of a request, and what becomes an anomaly.

use http::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;

use crate::client::{Client, ask};
use crate::{Anomaly, Behaviour, Operation, Surface};

#[tokio::test]
async fn a_path_or_method_of_nobody_is_recorded() {
    for surface in [Surface::Platform, Surface::Guide] {
        let client = Client::start(surface).await;
        let (status, body) = ask(client.post("/api/v2/nothing", "{}")).await;
        assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("not.found")));
        let (status, _) = ask(client.request("GET", "/oauth/token")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);

        let seen = client.simulator.anomalies();
        let seen: Vec<_> =
            seen.iter().map(|Anomaly { method, path, .. }| (method.as_str(), path.as_str())).collect();
        assert_eq!(seen, [("POST", "/api/v2/nothing"), ("GET", "/oauth/token")]);
    }
}

#[tokio::test]
async fn a_surface_does_not_know_the_paths_of_the_other() {
    let platform = Client::start(Surface::Platform).await;
    platform.simulator.data_action("a", Behaviour::echo());
    for path in ["/api/v2/integrations/dataactions/a/execute", "/api/v2/dataactions/actions/a/invoke"] {
        assert_eq!(ask(platform.post(path, "{}")).await.0, StatusCode::NOT_FOUND);
    }
    let guide = Client::start(Surface::Guide).await;
    guide.simulator.data_action("a", Behaviour::echo());
    assert_eq!(
        ask(guide.post("/api/v2/integrations/actions/a/execute", "{}")).await.0,
        StatusCode::NOT_FOUND
    );

    assert_eq!((platform.simulator.anomalies().len(), guide.simulator.anomalies().len()), (2, 1));
    assert_eq!(platform.simulator.effect_count() + guide.simulator.effect_count(), 0);
}

#[tokio::test]
async fn a_published_operation_that_is_not_simulated_is_recorded() {
    let client = Client::start(Surface::Platform).await;
    assert_eq!(ask(client.get("/api/v2/recording/jobs/j")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(client.simulator.anomalies().len(), 1);
}

#[tokio::test]
async fn a_request_that_breaks_the_published_shape_is_refused_and_recorded() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.data_action("a", Behaviour::echo());
    let execute = "/api/v2/integrations/actions/a/execute";
    let broken = [
        (client.post(execute, "[]"), "invalid.schema"),
        (client.post(execute, "{} {}"), "bad.request"),
        (client.post(execute, ""), "bad.request"),
        (client.post("/api/v2/integrations/actions//execute", "{}"), "bad.request"),
        (client.post(&format!("{execute}?deep=true"), "{}"), "bad.request"),
        (client.post(&format!("{execute}?flatten=maybe"), "{}"), "invalid.value"),
        (client.anonymous(execute).body("{}").header(CONTENT_TYPE, "text/plain"), "bad.request"),
    ];
    for (n, (request, code)) in broken.into_iter().enumerate() {
        let (status, body) = ask(request).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!(code)), "{body}");
        assert_eq!(client.simulator.anomalies().len(), n + 1);
    }
    assert_eq!(client.simulator.effect_count(), 0);
    assert_eq!(ask(client.post(&format!("{execute}?flatten=true"), "{}")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn every_request_is_seen_as_it_came() {
    let client = Client::start(Surface::Platform).await;
    let arrived = client.simulator.wait_for_requests(Operation::ExecuteDataAction, 1);
    let request = client.post("/api/v2/integrations/actions/a%2Eb/execute?flatten=true", r#"{"n": 1}"#);
    let ((status, _), ()) = tokio::join!(ask(request.header("idempotency-key", "k")), arrived);
    assert_eq!(status, StatusCode::NOT_FOUND);

    let requests = client.simulator.requests();
    let [token, execute] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(token.operation, Some(Operation::Token));
    assert_eq!(execute.operation, Some(Operation::ExecuteDataAction));
    assert_eq!((execute.method.as_str(), execute.query.as_str()), ("POST", "flatten=true"));
    assert_eq!(execute.path, "/api/v2/integrations/actions/a%2Eb/execute");
    assert_eq!(execute.header("Idempotency-Key"), Some("k"));
    assert_eq!(execute.body, r#"{"n": 1}"#);
    assert!(token.when <= execute.when);
}
