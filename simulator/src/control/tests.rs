//! The panel, by hand.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, ask};
use crate::{Operation, Surface};

impl Client {
    async fn told(&self, method: &str, page: &str, body: Value) -> StatusCode {
        let request = self.request(method, &format!("/_simulator{page}")).json(&body);
        request.send().await.unwrap().status()
    }
}

#[tokio::test]
async fn a_person_can_declare_an_action_break_it_and_look() {
    let client = Client::start(Surface::Guide).await;
    let action = json!({ "status": 201, "body": { "ok": true }, "delayMs": 1 });
    assert_eq!(client.told("PUT", "/data-actions/a", action).await, StatusCode::NO_CONTENT);
    let fault = json!({
        "operation": "execute-data-action",
        "fault": "status",
        "status": 429,
        "retryAfter": "2",
        "times": 2,
    });
    assert_eq!(client.told("POST", "/faults", fault).await, StatusCode::NO_CONTENT);

    assert_eq!(ask(client.execute("a", "1")).await.0, StatusCode::TOO_MANY_REQUESTS);
    let (_, overview) = ask(client.request("GET", "/_simulator")).await;
    let pending = json!([{ "operation": "execute-data-action", "fault": "status 429", "times": 1 }]);
    assert_eq!(overview["pendingFaults"], pending);

    client.told("DELETE", "/faults", json!(null)).await;
    assert_eq!(ask(client.execute("a", "1")).await, (StatusCode::CREATED, json!({ "ok": true })));
    let (_, overview) = ask(client.request("GET", "/_simulator")).await;
    assert_eq!(overview["surface"], "guide");
    assert_eq!(overview["effects"]["a"]["count"], 1);
    assert_eq!(overview["effects"]["a"]["executions"][0]["input"], 1);
    let requests = &overview["requests"];
    assert_eq!((&requests["token"], &requests["execute-data-action"]), (&json!(1), &json!(2)));
    assert_eq!(requests["transfer"], 0);
    assert_eq!((&overview["anomalies"], &overview["pendingFaults"]), (&json!([]), &json!([])));
    assert_eq!(client.simulator.requests().len(), 3, "the panel's own requests are not recorded");
}

#[tokio::test]
async fn a_stall_is_released_from_the_panel() {
    let client = Client::start(Surface::Guide).await;
    client.told("PUT", "/data-actions/a", json!({ "contentType": "text/plain", "body": "\"done\"" })).await;
    client
        .told("POST", "/faults", json!({ "operation": "execute-data-action", "fault": "stall-after-effect" }))
        .await;
    let release = async {
        client.simulator.wait_for_stalled(1).await;
        client.told("POST", "/release", json!(null)).await;
    };
    let (answer, ()) = tokio::join!(ask(client.execute("a", "{}")), release);
    assert_eq!(answer, (StatusCode::OK, json!("done")));
    assert_eq!(client.simulator.request_count(Operation::ExecuteDataAction), 1);
}

#[tokio::test]
async fn every_fault_has_its_name_on_the_panel() {
    let client = Client::start(Surface::Platform).await;
    let names = [
        "status",
        "stall-before-effect",
        "stall-after-effect",
        "drop-before-effect",
        "effect-then-drop",
        "drop-then-effect",
        "effect-then-status",
        "cut-body",
        "slow-body",
        "expired-token",
    ];
    for name in names {
        let fault = json!({ "operation": "token", "fault": name });
        assert_eq!(client.told("POST", "/faults", fault).await, StatusCode::NO_CONTENT, "{name}");
    }
    let redirect = json!({ "operation": "token", "fault": "redirect", "location": "/elsewhere" });
    assert_eq!(client.told("POST", "/faults", redirect).await, StatusCode::NO_CONTENT);
    let (_, overview) = ask(client.request("GET", "/_simulator")).await;
    assert_eq!(overview["pendingFaults"].as_array().unwrap().len(), 11);
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let client = Client::start(Surface::Platform).await;
    let bad = [
        ("PUT", "/data-actions/a", json!({ "status": 1 }), "status"),
        ("PUT", "/data-actions/a", json!({ "contentType": "a\nb" }), "contentType"),
        ("PUT", "/data-actions/a", json!({ "delayMs": -1 }), "delayMs"),
        ("PUT", "/data-actions/a", json!({ "delay": 1 }), "delay"),
        ("PUT", "/data-actions/a", json!([]), "JSON object"),
        ("PUT", "/conversations/c", json!({}), "agent"),
        ("PUT", "/conversations/c", json!({ "agent": "u", "waitingIn": "q" }), "agent"),
        ("PUT", "/conversations/c", json!({ "ended": "yes" }), "ended"),
        ("PUT", "/conversations/c", json!({ "agent": "u", "transfers": "never" }), "transfers"),
        ("PUT", "/queues/q", json!({ "status": "full" }), "status"),
        ("PUT", "/users/u", json!({ "state": "gone" }), "state"),
        ("PUT", "/forbidden/flood", json!({}), "operation"),
        ("POST", "/faults", json!({ "fault": "cut-body" }), "operation"),
        ("POST", "/faults", json!({ "operation": "token", "fault": "flood" }), "fault"),
        ("POST", "/faults", json!({ "operation": "token", "fault": "status", "status": 200 }), "status"),
        ("POST", "/faults", json!({ "operation": "token", "fault": "cut-body", "status": 503 }), "status"),
        ("POST", "/faults", json!({ "operation": "token", "fault": "redirect" }), "location"),
        (
            "POST",
            "/faults",
            json!({ "operation": "token", "fault": "status", "retryAfter": 2 }),
            "retryAfter",
        ),
        ("POST", "/faults", json!({ "operation": "token", "fault": "status", "times": 0 }), "times"),
    ];
    for (method, page, body, field) in bad {
        let (status, answer) = ask(client.request(method, &format!("/_simulator{page}")).json(&body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer["message"].as_str().unwrap().contains(field), "{body}: {answer}");
    }
    let (status, _) = ask(client.request("GET", "/_simulator/fault")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(client.simulator.anomalies(), []);
}

#[tokio::test]
async fn a_person_can_declare_a_conversation_transfer_it_and_look() {
    let client = Client::start(Surface::Platform).await;
    let declared = [
        ("/queues/q", json!({ "status": "open", "joined": 2, "name": "Sales" })),
        ("/users/u", json!({ "presence": "Busy", "name": "Ada" })),
        (
            "/conversations/c",
            json!({ "agent": "u", "transfers": "fail", "afterReads": 1, "hiddenForReads": 0 }),
        ),
        ("/conversations/waiting", json!({ "waitingIn": "q", "refusesUnattended": true })),
        ("/conversations/ended", json!({ "ended": true })),
        ("/forbidden/get-user", json!({})),
    ];
    for (page, body) in declared {
        assert_eq!(client.told("PUT", page, body).await, StatusCode::NO_CONTENT, "{page}");
    }
    let transfer = "/api/v2/conversations/c/participants/c-agent/replace/queue";
    let body = r#"{"transferType":"Unattended","queueId":"q"}"#;
    let answer = client.post(transfer, body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(ask(client.get("/api/v2/users/u")).await.0, StatusCode::FORBIDDEN);
    client.told("DELETE", "/forbidden/get-user", json!(null)).await;
    assert_eq!(ask(client.get("/api/v2/users/u")).await.1["name"], "Ada");

    let (_, overview) = ask(client.request("GET", "/_simulator")).await;
    let transfer = &overview["transfers"][0];
    assert_eq!((&transfer["conversation"], &transfer["kind"]), (&json!("c"), &json!("blind")));
    assert_eq!((&transfer["destination"], &transfer["state"]), (&json!({ "queue": "q" }), &json!("Pending")));
    assert_eq!(overview["conversations"]["c"]["recentTransfers"][0]["state"], "Pending");
    assert_eq!(overview["conversations"]["ended"]["participants"][1]["state"], "disconnected");
    assert_eq!(overview["directory"]["queues"][0]["joinedMemberCount"], 2);
    assert_eq!(overview["directory"]["users"][0]["presence"], "Busy");
    assert_eq!(client.simulator.request_count(Operation::Transfer), 1);
}
