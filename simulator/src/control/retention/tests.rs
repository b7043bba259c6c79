//! Retention on the panel, by hand.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, ask};
use crate::retention::tests::{GUIDE, asked_of_guide};
use crate::{Operation, Surface};

async fn told(client: &Client, method: &str, page: &str, body: Value) -> StatusCode {
    let request = client.request(method, &format!("/_simulator{page}")).json(&body);
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn a_person_can_declare_policies_set_their_course_and_look() {
    let client = Client::start(Surface::Guide).await;
    let said = [
        ("PUT", "/policies/p", json!({ "name": "There", "retentionPeriod": 91, "description": "mine" })),
        ("PUT", "/policies/gone", json!({ "objectType": "chat" })),
        ("DELETE", "/policies/gone", json!(null)),
        ("PUT", "/policy-course", json!({ "answer": "job-in-body", "neverEnds": true, "keepsDays": 1 })),
        ("PUT", "/policy-course", json!({ "name": "B", "answer": "created", "conflictsFirst": 1 })),
        ("PUT", "/retention", json!({ "overlaps": "allowed", "pageSize": 1, "nextUri": "absolute" })),
    ];
    for (method, page, body) in said {
        assert_eq!(told(&client, method, page, body).await, StatusCode::NO_CONTENT, "{page}");
    }
    assert_eq!(told(&client, "DELETE", "/policies/gone", json!(null)).await, StatusCode::NOT_FOUND);
    let mut statuses = Vec::new();
    for name in ["A", "B", "B"] {
        statuses.push(ask(client.register(GUIDE, &asked_of_guide(name, 90))).await.0.as_u16());
    }
    assert_eq!(statuses, [202, 409, 201]);
    assert_eq!(told(&client, "POST", "/finish-jobs", json!(null)).await, StatusCode::NO_CONTENT);

    let (_, overview) = ask(client.request("GET", "/_simulator")).await;
    let retention = &overview["retention"];
    let names: Vec<_> = retention["policies"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["There", "B", "A"]);
    assert_eq!(retention["policies"][0]["stored"]["description"], "mine");
    assert_eq!(
        (&retention["policies"][0]["origin"], &retention["policies"][2]["retentionDays"]),
        (&json!("declared"), &json!(1))
    );
    assert_eq!(
        (&retention["jobs"][0]["state"], &retention["writes"][0]["change"]),
        (&json!("completed"), &json!("created"))
    );
    assert!(ask(client.get(GUIDE)).await.1["nextUri"].as_str().unwrap().starts_with("http://"));
    assert_eq!(client.simulator.request_count(Operation::CreatePolicy), 3);
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let client = Client::start(Surface::Platform).await;
    let bad = [
        ("PUT", "/policies/p", json!({ "retentionPeriod": -1 }), "retentionPeriod"),
        ("PUT", "/policy-course", json!({ "answer": "perhaps" }), "answer"),
        ("PUT", "/policy-course", json!({ "afterPoll": 1 }), "afterPoll"),
        ("PUT", "/retention", json!({ "overlaps": true }), "overlaps"),
        ("PUT", "/retention", json!({ "nextUri": "sideways" }), "nextUri"),
        ("POST", "/faults", json!({ "operation": "read-job", "fault": "status", "every": 0 }), "every"),
    ];
    for (method, page, body, field) in bad {
        let (status, answer) = ask(client.request(method, &format!("/_simulator{page}")).json(&body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer["message"].as_str().unwrap().contains(field), "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_share_of_the_requests_can_be_befallen() {
    let client = Client::start(Surface::Platform).await;
    let fault =
        json!({ "operation": "read-retention-settings", "fault": "status", "status": 429, "every": 2 });
    assert_eq!(told(&client, "POST", "/faults", fault).await, StatusCode::NO_CONTENT);
    for expected in [200, 429, 200, 429] {
        let (status, _) = ask(client.get("/api/v2/analytics/dataretention/settings")).await;
        assert_eq!(status.as_u16(), expected);
    }
}
