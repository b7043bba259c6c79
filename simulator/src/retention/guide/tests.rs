//! How a policy is made on `guide`, and why not.

use http::StatusCode;
use serde_json::json;

use crate::client::{Client, ask};
use crate::retention::tests::{GUIDE, asked_of_guide};
use crate::{Fault, Operation, Policy, PolicyCourse, Surface};

#[tokio::test]
async fn a_job_makes_the_policy_that_was_asked_with_an_id_of_its_own() {
    let client = Client::start(Surface::Guide).await;
    let asked = asked_of_guide("Calls", 90);
    let answer = client.register(GUIDE, &asked).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let job = answer.headers()["x-job-id"].to_str().unwrap().to_owned();
    assert_eq!(answer.bytes().await.unwrap(), "");

    let (_, shown) = ask(client.get(&format!("/api/v2/datamanagement/jobs/{job}"))).await;
    let [policy] = client.simulator.policies().try_into().unwrap();
    assert_eq!(shown, json!({ "status": "COMPLETED", "result": { "policyId": policy.id } }));
    for (member, value) in asked.as_object().unwrap() {
        assert_eq!(policy.stored[member], *value);
    }
    let [job] = client.simulator.jobs().try_into().unwrap();
    assert_eq!((job.policy, job.request_id.as_deref()), (Some(policy.id), Some("r-1")));
}

#[tokio::test]
async fn the_answer_can_name_the_job_in_its_body_or_be_the_policy() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.policies_go(PolicyCourse::job_in_body());
    client.simulator.policy_goes("B", PolicyCourse::created());
    let (status, answer) = ask(client.register(GUIDE, &asked_of_guide("A", 90))).await;
    assert_eq!((status, &answer["jobId"]), (StatusCode::ACCEPTED, &json!(client.simulator.jobs()[0].id)));
    let (status, answer) = ask(client.register(GUIDE, &asked_of_guide("B", 30))).await;
    assert_eq!((status, &answer["name"]), (StatusCode::CREATED, &json!("B")));
    assert_eq!((client.simulator.jobs().len(), client.names()), (1, vec!["A".to_owned(), "B".to_owned()]));
}

#[tokio::test]
async fn the_same_name_again_makes_another_policy() {
    let client = Client::start(Surface::Guide).await;
    for _ in 0..2 {
        let answer = client.register(GUIDE, &asked_of_guide("Calls", 90)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }
    assert_eq!(client.names(), ["Calls", "Calls"]);
    assert_eq!(client.simulator.policy_writes().len(), 2);
}

#[tokio::test]
async fn a_policy_close_to_another_is_refused_unless_overlaps_are_allowed() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.policy("there", Policy::new("There", "call", 90));
    client.simulator.policy("mails", Policy::new("Mails", "email", 30));
    for (name, days, expected) in [("A", 76, 409), ("A", 104, 409), ("There", 91, 202), ("A", 30, 202)] {
        let answer = client.register(GUIDE, &asked_of_guide(name, days)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{name} {days}");
    }
    assert_eq!(client.simulator.policies().len(), 4);
    client.simulator.allow_overlaps();
    let answer = client.register(GUIDE, &asked_of_guide("B", 90)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    client.simulator.refuse_overlaps();
    assert_eq!(ask(client.register(GUIDE, &asked_of_guide("C", 90))).await.0, StatusCode::CONFLICT);
    assert_eq!(client.simulator.anomalies(), []);
}

#[tokio::test]
async fn a_refusal_can_be_ordered_for_ever_or_for_so_many_posts() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.policies_go(PolicyCourse::always_conflicts());
    client.simulator.policy_goes("B", PolicyCourse::created().conflicts_first(2));
    client.simulator.policy_goes("C", PolicyCourse::refuses());
    let mut statuses = Vec::new();
    for name in ["A", "A", "B", "B", "B", "C"] {
        let days = 100;
        statuses.push(ask(client.register(GUIDE, &asked_of_guide(name, days))).await.0.as_u16());
    }
    assert_eq!(statuses, [409, 409, 409, 409, 201, 400]);
    assert_eq!(client.names(), ["B"]);
}

#[tokio::test]
async fn another_period_than_the_one_asked_can_be_kept() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.policies_go(PolicyCourse::job().keeps_days(30));
    client.register(GUIDE, &asked_of_guide("A", 90)).send().await.unwrap();
    let (_, listed) = ask(client.get(GUIDE)).await;
    assert_eq!(listed["entities"][0]["retentionPeriod"], 30);
    assert_eq!(client.simulator.policy_writes()[0].asked["retentionPeriod"], 90);
}

#[tokio::test]
async fn a_body_that_is_not_to_the_letter_is_refused_and_recorded() {
    let client = Client::start(Surface::Guide).await;
    let changes = [
        ("/name", json!("")),
        ("/description", json!(null)),
        ("/objectType", json!("fax")),
        ("/retentionPeriod", json!("90")),
        ("/retentionPeriod", json!(1.5)),
        ("/retentionPeriod", json!(0)),
        ("/schedule/frequency", json!("HOURLY")),
        ("/schedule/frequency", json!("MONTHLY")),
        ("/schedule/dayOfWeek", json!(null)),
        ("/schedule/dayOfWeek", json!(7)),
        ("/schedule", json!({ "frequency": "DAILY" })),
        ("/filters/0", json!({ "attribute": "direction" })),
        ("/metadata/tags", json!(null)),
        ("/metadata", json!({ "createdBy": "a", "version": "1", "tags": [], "more": 1 })),
    ];
    for (n, (place, value)) in changes.into_iter().enumerate() {
        let mut body = asked_of_guide("A", 90);
        *body.pointer_mut(place).unwrap() = value;
        assert_eq!(ask(client.register(GUIDE, &body)).await.0, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(client.simulator.anomalies().len(), n + 1, "{place}");
    }
    assert!(client.simulator.policies().is_empty() && client.simulator.jobs().is_empty());
}

#[tokio::test]
async fn a_request_without_an_id_is_refused_and_a_policy_cannot_be_changed() {
    let client = Client::start(Surface::Guide).await;
    let body = asked_of_guide("A", 90).to_string();
    assert_eq!(ask(client.post(GUIDE, &body)).await.0, StatusCode::BAD_REQUEST);
    client.simulator.policy("p", Policy::new("A", "call", 90));
    for method in ["PUT", "PATCH", "DELETE", "GET"] {
        let request = client.request(method, &format!("{GUIDE}/p"));
        assert_eq!(ask(request).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(ask(client.request("PUT", GUIDE)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(client.simulator.anomalies().len(), 6);
}

#[tokio::test]
async fn a_lost_answer_leaves_a_policy_and_a_dropped_request_none() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.fault(Operation::CreatePolicy, Fault::drop_before_effect());
    client.simulator.fault(Operation::CreatePolicy, Fault::effect_then_drop());
    client.simulator.fault(Operation::CreatePolicy, Fault::status(429).retry_after("1"));
    for policies in [0, 1] {
        client.register(GUIDE, &asked_of_guide("A", 90)).send().await.unwrap_err();
        assert_eq!(client.simulator.policies().len(), policies);
    }
    let (status, _) = ask(client.register(GUIDE, &asked_of_guide("A", 90))).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(client.simulator.request_count(Operation::CreatePolicy), 3);
    assert_eq!(client.simulator.policies().len(), 1);
}
