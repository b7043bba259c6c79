//! What is told about queues and users.

use http::StatusCode;
use serde_json::json;

use crate::client::{Client, ask};
use crate::published::check_answer;
use crate::{Fault, Operation, Queue, Surface, User};

#[tokio::test]
async fn on_platform_a_queue_says_who_has_joined_and_nothing_of_open_or_closed() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.queue("open", Queue::open().joined(3).name("Sales"));
    client.simulator.queue("closed", Queue::closed());
    for (id, name, joined) in [("open", "Sales", 3), ("closed", "closed", 0)] {
        let (status, queue) = ask(client.get(&format!("/api/v2/routing/queues/{id}"))).await;
        assert_eq!((status, &queue["name"]), (StatusCode::OK, &json!(name)));
        assert_eq!((&queue["joinedMemberCount"], &queue["status"]), (&json!(joined), &json!(null)));
        check_answer("Queue", &queue);
    }
}

#[tokio::test]
async fn on_guide_a_queue_says_open_or_closed_and_not_who_has_joined() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.queue("open", Queue::open().joined(0));
    client.simulator.queue("closed", Queue::closed());
    for status in ["open", "closed"] {
        let queue = ask(client.get(&format!("/api/v2/routing/queues/{status}"))).await;
        let expected =
            json!({ "id": status, "name": status, "status": status, "maxConcurrentTransfers": 10 });
        assert_eq!(queue, (StatusCode::OK, expected));
    }
}

#[tokio::test]
async fn a_user_is_found_by_its_id_and_so_is_its_presence() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.user("a", User::available().name("Ada"));
    client.simulator.user("o", User::offline());
    client.simulator.user("b", User::with_presence("Busy"));
    client.simulator.user("d", User::deleted());
    let users = [
        ("a", "Ada", "active", "Available"),
        ("o", "o", "active", "Offline"),
        ("b", "b", "active", "Busy"),
        ("d", "d", "deleted", "Offline"),
    ];
    for (id, name, state, presence) in users {
        let user = ask(client.get(&format!("/api/v2/users/{id}"))).await;
        assert_eq!(user, (StatusCode::OK, json!({ "id": id, "name": name, "state": state })));
        let (_, answer) = ask(client.get(&format!("/api/v2/users/{id}/presences/purecloud"))).await;
        assert_eq!(answer["presenceDefinition"]["systemPresence"], presence);
        check_answer("UserPresence", &answer);
    }
}

#[tokio::test]
async fn who_was_not_declared_is_not_found_and_still_off_queue() {
    let client = Client::start(Surface::Platform).await;
    for path in ["routing/queues/n", "users/n", "users/n/presences/purecloud"] {
        let (status, body) = ask(client.get(&format!("/api/v2/{path}"))).await;
        assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("not.found")));
    }
    let (status, routing) = ask(client.get("/api/v2/users/n/routingstatus")).await;
    assert_eq!((status, &routing["status"]), (StatusCode::OK, &json!("OFF_QUEUE")));
    check_answer("RoutingStatus", &routing);
    assert_eq!(client.simulator.anomalies(), []);
}

#[tokio::test]
async fn guide_has_no_users() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.user("u", User::available());
    assert_eq!(ask(client.get("/api/v2/users/u")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(client.simulator.anomalies().len(), 1);
}

#[tokio::test]
async fn each_look_has_faults_and_counts_of_its_own() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.queue("q", Queue::open());
    client.simulator.user("u", User::available());
    let looks = [
        (Operation::GetQueue, "/api/v2/routing/queues/q"),
        (Operation::GetUser, "/api/v2/users/u"),
        (Operation::GetPresence, "/api/v2/users/u/presences/purecloud"),
    ];
    for (operation, path) in looks {
        client.simulator.fault(operation, Fault::status(503));
        assert_eq!(ask(client.get(path)).await.0, StatusCode::SERVICE_UNAVAILABLE);
        client.simulator.forbid(operation);
        let (status, body) = ask(client.get(path)).await;
        assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("missing.permissions")));
        client.simulator.permit(operation);
        assert_eq!(ask(client.get(path)).await.0, StatusCode::OK);
        assert_eq!(client.simulator.request_count(operation), 3);
        assert_eq!(ask(client.request("GET", path)).await.0, StatusCode::UNAUTHORIZED);
    }
}
