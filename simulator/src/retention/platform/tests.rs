//! Policies of the published API, from their beginning to their end.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, ask};
use crate::published::check_answer;
use crate::retention::tests::{PLATFORM, asked_of_platform};
use crate::{Change, Fault, Operation, PolicyCourse, Surface};

impl Client {
    fn change(&self, method: &str, id: &str, body: &Value) -> reqwest::RequestBuilder {
        // Its method is the only thing that tells a change from a POST.
        let (client, request) = self.post(&format!("{PLATFORM}/{id}"), &body.to_string()).build_split();
        let mut request = request.unwrap();
        *request.method_mut() = method.parse().unwrap();
        reqwest::RequestBuilder::from_parts(client, request)
    }
}

async fn created(client: &Client, name: &str, days: i64) -> String {
    let (status, policy) = ask(client.register(PLATFORM, &asked_of_platform(name, days))).await;
    assert_eq!(status, StatusCode::OK);
    check_answer("Policy", &policy);
    policy["id"].as_str().unwrap().to_owned()
}

const DAYS: &str = "/mediaPolicies/callPolicy/actions/retentionDuration/deleteRetention/days";

#[tokio::test]
async fn a_policy_is_read_back_as_asked_with_what_the_server_adds() {
    let client = Client::start(Surface::Platform).await;
    let id = created(&client, "Calls", 90).await;
    let (status, policy) = ask(client.get(&format!("{PLATFORM}/{id}"))).await;
    assert_eq!((status, policy.pointer(DAYS)), (StatusCode::OK, Some(&json!(90))));
    check_answer("Policy", &policy);
    let asked = asked_of_platform("Calls", 90);
    let call = &policy["mediaPolicies"]["callPolicy"];
    assert_eq!(call["conditions"], asked["mediaPolicies"]["callPolicy"]["conditions"]);
    assert_eq!((&call["actions"]["alwaysDelete"], &policy["order"]), (&json!(false), &json!(0)));
    assert_eq!(policy["selfUri"], format!("{PLATFORM}/{id}"));
}

#[tokio::test]
async fn a_policy_is_replaced_switched_and_deleted() {
    let client = Client::start(Surface::Platform).await;
    let id = created(&client, "Calls", 90).await;
    let (_, mut policy) = ask(client.get(&format!("{PLATFORM}/{id}"))).await;
    *policy.pointer_mut(DAYS).unwrap() = json!(120);
    policy["description"] = json!("longer");
    let (status, replaced) = ask(client.change("PUT", &id, &policy)).await;
    assert_eq!((status, replaced.pointer(DAYS)), (StatusCode::OK, Some(&json!(120))));
    assert_eq!(replaced["createdDate"], policy["createdDate"]);
    let (_, replaced) = ask(client.change("PUT", &id, &asked_of_platform("Calls", 120))).await;
    assert_eq!(replaced["description"], json!(null), "what is not in a PUT is gone");

    let (status, switched) = ask(client.change("PATCH", &id, &json!({ "enabled": false }))).await;
    assert_eq!((status, &switched["enabled"]), (StatusCode::OK, &json!(false)));
    assert!(!client.simulator.policies()[0].is_enabled);
    let gone = client.request("DELETE", &format!("{PLATFORM}/{id}"));
    assert_eq!(ask(gone).await.0, StatusCode::UNAUTHORIZED);
    let mut gone = client.get(&format!("{PLATFORM}/{id}")).build().unwrap();
    *gone.method_mut() = http::Method::DELETE;
    assert_eq!(reqwest::Client::new().execute(gone).await.unwrap().status(), StatusCode::OK);

    assert!(client.simulator.policies().is_empty());
    let changes: Vec<_> = client.simulator.policy_writes().into_iter().map(|it| it.change).collect();
    let expected = [Change::Created, Change::Replaced, Change::Replaced, Change::Switched, Change::Deleted];
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn a_policy_that_is_gone_is_not_found() {
    let client = Client::start(Surface::Platform).await;
    let id = created(&client, "Calls", 90).await;
    client.simulator.remove_policy(&id);
    assert_eq!(ask(client.get(&format!("{PLATFORM}/{id}"))).await.0, StatusCode::NOT_FOUND);
    for (method, body) in [("PUT", asked_of_platform("Calls", 90)), ("PATCH", json!({ "enabled": true }))] {
        let (status, body) = ask(client.change(method, &id, &body)).await;
        assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("not.found")));
    }
    assert_eq!((client.simulator.policy_writes().len(), client.simulator.anomalies()), (1, vec![]));
}

#[tokio::test]
async fn policies_may_overlap_and_share_a_name() {
    let client = Client::start(Surface::Platform).await;
    for _ in 0..2 {
        created(&client, "Calls", 90).await;
    }
    assert_eq!(client.names(), ["Calls", "Calls"]);
}

#[tokio::test]
async fn a_period_over_the_cap_is_refused_without_effect() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.retention_cap(60);
    let (_, settings) = ask(client.get("/api/v2/analytics/dataretention/settings")).await;
    assert_eq!(settings, json!({ "retentionDays": 60 }));
    check_answer("AnalyticsDataRetentionResponse", &settings);
    let (status, _) = ask(client.register(PLATFORM, &asked_of_platform("Calls", 61))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let id = created(&client, "Calls", 60).await;
    let (status, _) = ask(client.change("PUT", &id, &asked_of_platform("Calls", 61))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(client.simulator.policies()[0].retention_days, Some(60));
    assert_eq!((client.simulator.policy_writes().len(), client.simulator.anomalies()), (1, vec![]));
}

#[tokio::test]
async fn another_period_than_the_one_asked_can_be_kept_by_a_post_and_by_a_put() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.policy_goes("Calls", PolicyCourse::job().keeps_days(30));
    let id = created(&client, "Calls", 90).await;
    assert_eq!(client.simulator.policies()[0].retention_days, Some(30));
    client.simulator.policy_goes("Calls", PolicyCourse::job().keeps_days(31));
    let (_, replaced) = ask(client.change("PUT", &id, &asked_of_platform("Calls", 90))).await;
    assert_eq!(replaced.pointer(DAYS), Some(&json!(31)));
}

#[tokio::test]
async fn what_no_correct_client_would_ask_is_refused_and_recorded() {
    let client = Client::start(Surface::Platform).await;
    let id = created(&client, "Calls", 90).await;
    let mut of_another = asked_of_platform("Calls", 90);
    of_another["id"] = json!("another");
    let bad = [
        client.register(PLATFORM, &json!({ "enabled": true })),
        client.register(PLATFORM, &asked_of_platform("", 90)),
        client.register(PLATFORM, &asked_of_platform("Calls", 0)),
        client.register(PLATFORM, &asked_of_platform("Calls", -1)),
        client.change("PUT", &id, &of_another),
        client.change("PUT", &id, &json!({ "enabled": true })),
        client.change("PATCH", &id, &json!({})),
        client.change("PATCH", &id, &json!({ "enabled": true, "name": "Calls" })),
    ];
    for (n, request) in bad.into_iter().enumerate() {
        assert_eq!(ask(request).await.0, StatusCode::BAD_REQUEST, "{n}");
        assert_eq!(client.simulator.anomalies().len(), n + 1);
    }
    assert_eq!(client.simulator.policy_writes().len(), 1);
}

#[tokio::test]
async fn each_operation_has_faults_and_counts_of_its_own() {
    let client = Client::start(Surface::Platform).await;
    let id = created(&client, "Calls", 90).await;
    let asked = asked_of_platform("Calls", 100);
    let requests = [
        (Operation::CreatePolicy, client.register(PLATFORM, &asked)),
        (Operation::ListPolicies, client.get(PLATFORM)),
        (Operation::ReadPolicy, client.get(&format!("{PLATFORM}/{id}"))),
        (Operation::UpdatePolicy, client.change("PUT", &id, &asked)),
        (Operation::ReadRetentionSettings, client.get("/api/v2/analytics/dataretention/settings")),
    ];
    for (operation, request) in requests {
        let before = client.simulator.request_count(operation);
        client.simulator.fault(operation, Fault::effect_then_status(504));
        assert_eq!(ask(request).await.0, StatusCode::GATEWAY_TIMEOUT, "{operation}");
        assert_eq!(client.simulator.request_count(operation), before + 1);
    }
    assert_eq!(client.simulator.policy_writes().len(), 3);
    assert_eq!(client.simulator.faults_left().len(), 0);
}
