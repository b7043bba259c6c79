//! The life of a token, as a client sees it.

use http::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;

use crate::client::{Client, ask};
use crate::{Behaviour, Operation, Surface};

#[tokio::test]
async fn a_token_opens_the_api_until_it_expires() {
    let mut client = Client::start(Surface::Platform).await;
    client.simulator.data_action("a", Behaviour::echo());
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::OK);

    client.simulator.expire_tokens();
    let (status, body) = ask(client.execute("a", "{}")).await;
    assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("bad.credentials")));

    client.renew().await;
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::OK);
    assert_eq!(client.simulator.effect_count(), 2);
    assert_eq!(client.simulator.request_count(Operation::Token), 2);
    assert_eq!(client.simulator.anomalies(), []);
}

#[tokio::test]
async fn a_token_answer_has_its_three_members_and_the_life_it_was_told() {
    let mut client = Client::start(Surface::Guide).await;
    let (status, body) = ask(client.token_request()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body.as_object().unwrap().len(), 3);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(86_400)));

    client.simulator.token_lifetime(0);
    client.renew().await;
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_request_without_a_token_is_told_so() {
    let client = Client::start(Surface::Guide).await;
    let path = "/api/v2/integrations/dataactions/a/execute";
    let (status, body) = ask(client.anonymous(path).json(&json!({}))).await;
    assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("authentication.required")));
}

#[tokio::test]
async fn rotated_credentials_are_the_only_ones_accepted() {
    let client = Client::start(Surface::Platform).await;
    let (id, old) = client.simulator.credentials();
    client.simulator.set_credentials(&id, "new: with a colon");

    let (status, body) = ask(client.token_request_as(&id, &old)).await;
    assert_eq!((status, &body["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")));
    assert!(body["description"] == body["error_description"] && body["description"].is_string());

    let (status, body) = ask(client.token_request_as("somebody", &old)).await;
    assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_client")));
    assert_eq!(ask(client.token_request()).await.0, StatusCode::OK);
    assert_eq!(client.simulator.anomalies(), []);
}

#[tokio::test]
async fn a_token_request_of_another_form_is_an_anomaly() {
    let client = Client::start(Surface::Platform).await;
    let forms = [
        client.token_request().body("grant_type=client_credentials&client_id=a&client_secret=b"),
        client.token_request().body("grant_type=password"),
        client.token_request().body(""),
        client.anonymous("/oauth/token").json(&json!({ "grant_type": "client_credentials" })),
        client.anonymous("/oauth/token?grant_type=client_credentials"),
    ];
    for (n, form) in forms.into_iter().enumerate() {
        let (status, body) = ask(form).await;
        assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
        assert_eq!(client.simulator.anomalies().len(), n + 1);
    }

    let unreadable = client.anonymous("/oauth/token").header(AUTHORIZATION, "Basic ?");
    let unreadable = unreadable.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let (status, _) = ask(unreadable.body("grant_type=client_credentials")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.simulator.anomalies().len(), 6);
}

#[tokio::test]
async fn what_is_forbidden_to_the_role_is_refused_until_it_is_permitted_again() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.data_action("a", Behaviour::echo());
    client.simulator.forbid(Operation::Token);
    client.simulator.forbid(Operation::ExecuteDataAction);
    let (status, body) = ask(client.token_request()).await;
    assert_eq!((status, &body["error"]), (StatusCode::FORBIDDEN, &json!("unauthorized_client")));
    let (status, body) = ask(client.execute("a", "{}")).await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("missing.permissions")));

    client.simulator.permit(Operation::Token);
    client.simulator.permit(Operation::ExecuteDataAction);
    assert_eq!(ask(client.token_request()).await.0, StatusCode::OK);
    assert_eq!(ask(client.execute("a", "{}")).await.0, StatusCode::OK);
    assert_eq!(client.simulator.effect_count(), 1);
}
