//! The six operations, and what each refuses.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, ask};
use crate::published::check_answer;
use crate::{
    Conversation, Course, Destination, Participant, Queue, Surface, TransferKind, User, UserContext,
};

impl Client {
    async fn with_call() -> Self {
        let client = Self::start(Surface::Platform).await;
        client.simulator.queue("q", Queue::open());
        client.simulator.user("u", User::available());
        client.simulator.user("v", User::available());
        client.simulator.conversation("c", Conversation::with_agent("u"));
        client
    }

    /// The status of a blind transfer of a participant and the code of its error.
    async fn blind(&self, participant: &str, operation: &str, destination: Value) -> (u16, String) {
        let mut body = json!({ "transferType": "Unattended" });
        body.as_object_mut().unwrap().extend(destination.as_object().unwrap().clone());
        let path = format!("/api/v2/conversations/c/participants/{participant}/{operation}");
        let answer = self.post(&path, &body.to_string()).send().await.unwrap();
        let status = answer.status();
        let body = answer.text().await.unwrap();
        assert_eq!(body.is_empty(), status == StatusCode::ACCEPTED);
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn consult(&self, participant: &str, operation: &str, details: Value) -> (StatusCode, Value) {
        let mut body = json!({ "speakTo": "DESTINATION" });
        body.as_object_mut().unwrap().extend(details.as_object().unwrap().clone());
        let path = format!("/api/v2/conversations/calls/c/participants/{participant}/{operation}");
        ask(self.post(&path, &body.to_string())).await
    }
}

#[tokio::test]
async fn a_blind_transfer_puts_its_destination_in_the_place_of_the_agent() {
    let moves = [
        ("replace/agent", json!({ "userId": "v" }), Destination::User("v".to_owned()), "user connected v"),
        ("replace/queue", json!({ "queueId": "q" }), Destination::Queue("q".to_owned()), "acd connected q"),
        (
            "transfer",
            json!({ "address": "+49301" }),
            Destination::Address("+49301".to_owned()),
            "external connected +49301",
        ),
    ];
    for (operation, body, destination, leg) in moves {
        let client = Client::with_call().await;
        assert_eq!(client.blind("c-agent", operation, body).await, (202, String::new()));
        assert_eq!(client.legs("c").await[1..], ["agent disconnected u", leg]);
        let transfers = client.simulator.transfers("c");
        assert_eq!((transfers[0].kind, &transfers[0].destination), (TransferKind::Blind, &destination));
        assert_eq!(transfers[0].transfer_type.as_deref(), Some("Unattended"));
        let recent = &client.look("c").await["recentTransfers"][0];
        assert_eq!((&recent["id"], &recent["initiator"]["userId"]), (&json!(transfers[0].id), &json!("u")));
        let named = json!(match destination {
            Destination::User(user) => json!({ "userId": user }),
            Destination::Queue(_) => json!({}),
            Destination::Address(address) => json!({ "address": address }),
        });
        assert_eq!((&recent["destination"], &recent["transferType"]), (&named, &json!("Unattended")));
        assert_eq!(client.simulator.anomalies(), []);
    }
}

#[tokio::test]
async fn what_waits_in_a_queue_can_be_transferred_blind() {
    let client = Client::with_call().await;
    client.simulator.conversation("c", Conversation::waiting_in("q"));
    assert_eq!(client.blind("c-acd", "replace/agent", json!({ "userId": "v" })).await.0, 202);
    assert_eq!(client.legs("c").await[1..], ["acd disconnected q", "user connected v"]);
    assert_eq!(client.look("c").await["recentTransfers"][0]["initiator"], json!({}));
}

#[tokio::test]
async fn a_consult_adds_its_destination_and_the_agent_names_it() {
    let moves = [
        ("consult/agent", json!({ "userId": "v" }), "user connected v"),
        ("consult/queue", json!({ "queueId": "q" }), "acd connected q"),
        ("voice/consult", json!({ "address": "+49301" }), "external connected +49301"),
    ];
    for (operation, mut body, leg) in moves {
        let client = Client::with_call().await;
        body["consultingUserId"] = json!("u");
        let (status, answer) = client.consult("c-customer", operation, body).await;
        assert_eq!(status, StatusCode::OK);
        check_answer("ConsultTransferResponse", &answer);
        let shown = client.look("c").await;
        assert_eq!(shown["participants"][1]["consultParticipantId"], answer["destinationParticipantId"]);
        assert_eq!(shown["participants"][2]["id"], answer["destinationParticipantId"]);
        assert_eq!(shown["participants"][0]["held"], true);
        assert_eq!(shown["recentTransfers"][0]["transferType"], "Attended");
        assert_eq!(client.legs("c").await[1..], ["agent connected u", leg]);
        let transfer = &client.simulator.transfers("c")[0];
        assert_eq!((transfer.kind, transfer.participant.as_str()), (TransferKind::Consult, "c-customer"));
        assert_eq!(transfer.consulting_user.as_deref(), Some("u"));
        assert_eq!(transfer.speak_to.as_deref(), Some("DESTINATION"));
    }
}

#[tokio::test]
async fn a_consult_under_way_is_active() {
    let client = Client::with_call().await;
    client.simulator.transfers_go("c", Course::stays_pending());
    client.consult("c-customer", "consult/queue", json!({ "queueId": "q" })).await;
    assert_eq!(client.states("c").await, ["Active"]);
    assert_eq!(client.legs("c").await.len(), 2);
}

#[tokio::test]
async fn a_blind_transfer_against_the_rules_is_refused_and_is_no_effect() {
    let client = Client::with_call().await;
    let refused = [
        ("replace/agent", json!({ "userId": "u" }), 400, "conversations.error.transfer.same.party"),
        ("replace/agent", json!({ "userId": "nobody" }), 404, "not.found"),
        ("replace/agent", json!({}), 400, "conversations.error.transfer.destination.required"),
        ("replace/queue", json!({ "queueId": "none" }), 400, "conversations.error.queue.not.found"),
        ("transfer", json!({ "address": "" }), 400, "conversations.error.transfer.destination.required"),
    ];
    for (operation, body, status, code) in refused {
        assert_eq!(client.blind("c-agent", operation, body).await, (status, code.to_owned()));
    }
    let to_queue = || json!({ "queueId": "q" });
    assert_eq!(client.blind("c-x", "replace/queue", to_queue()).await, (404, "not.found".to_owned()));

    client.simulator.conversation("c", Conversation::with_agent("u").refuses_unattended());
    let code = "conversations.error.transfer.acd.call.unattended";
    assert_eq!(client.blind("c-agent", "replace/queue", to_queue()).await, (400, code.to_owned()));
    let attended = json!({ "queueId": "q", "transferType": "Attended" });
    assert_eq!(client.blind("c-agent", "replace/queue", attended).await.0, 202);

    client.simulator.conversation("c", Conversation::with_agent("u").refuses_outsiders());
    let code = "conversation.error.forbidden.not.active.participant";
    assert_eq!(client.blind("c-agent", "replace/queue", to_queue()).await, (403, code.to_owned()));

    client.simulator.conversation("c", Conversation::ended());
    let code = "conversations.error.transfer.not.connected";
    assert_eq!(client.blind("c-agent", "replace/queue", to_queue()).await, (400, code.to_owned()));
    assert_eq!((client.simulator.transfer_count(), client.simulator.anomalies()), (1, Vec::new()));

    let path = "/api/v2/conversations/none/participants/p/replace/queue";
    let body = r#"{"transferType":"Unattended","queueId":"q"}"#;
    assert_eq!(ask(client.post(path, body)).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_consult_against_the_rules_is_refused_and_is_no_effect() {
    let client = Client::with_call().await;
    let refused = [
        (json!({}), "conversation.error.consult.transfer.no.destination"),
        (json!({ "userId": "u" }), "conversation.error.cannot.transfer.to.self"),
        (
            json!({ "userId": "v", "consultingUserId": "v" }),
            "conversation.error.consult.transfer.no.initiator",
        ),
    ];
    for (body, code) in refused {
        let (status, answer) = client.consult("c-customer", "consult/agent", body).await;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!(code)));
    }
    client.simulator.conversation("c", Conversation::waiting_in("q"));
    let (_, answer) = client.consult("c-customer", "consult/agent", json!({ "userId": "v" })).await;
    assert_eq!(answer["code"], "conversation.error.consult.transfer.no.initiator");
    assert_eq!((client.simulator.transfer_count(), client.simulator.anomalies()), (0, Vec::new()));
}

#[tokio::test]
async fn a_consult_may_need_a_user() {
    let client = Client::with_call().await;
    client.simulator.transfers_go("c", Course::fails());
    let named = json!({ "userId": "v", "consultingUserId": "u" });
    let unnamed = json!({ "userId": "v" });
    for (context, with_name, without) in
        [(UserContext::NotNeeded, 200, 200), (UserContext::Named, 200, 400), (UserContext::OfToken, 400, 400)]
    {
        client.simulator.consult_needs(context);
        for (body, expected) in [(&named, with_name), (&unnamed, without)] {
            let (status, answer) = client.consult("c-customer", "consult/agent", body.clone()).await;
            assert_eq!(status.as_u16(), expected, "{context:?}");
            assert_eq!(answer["code"] == "not.a.user", expected == 400);
        }
    }
    assert_eq!(client.blind("c-agent", "replace/agent", unnamed).await.0, 202);
}

#[tokio::test]
async fn mixing_up_the_participants_is_the_clients_mistake() {
    let client = Client::with_call().await;
    assert_eq!(client.blind("c-customer", "replace/queue", json!({ "queueId": "q" })).await.0, 400);
    let (status, _) = client.consult("c-agent", "consult/queue", json!({ "queueId": "q" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(client.simulator.anomalies().len(), 2);

    let external = Participant::new("caller", "external").address("+49302");
    let agent = Participant::new("agent", "user").user("u");
    let conversation = Conversation::empty().participant(external).participant(agent);
    client.simulator.conversation("c", conversation);
    assert_eq!(
        client.consult("c-caller", "consult/queue", json!({ "queueId": "q" })).await.0,
        StatusCode::OK
    );
    assert_eq!(client.blind("c-agent", "replace/queue", json!({ "queueId": "q" })).await.0, 202);
    assert_eq!(client.simulator.anomalies().len(), 2);
}

#[tokio::test]
async fn deprecated_operations_and_a_missing_transfer_type_are_the_clients_mistake() {
    let client = Client::with_call().await;
    let calls = "/api/v2/conversations/calls/c/participants";
    let replace = client.post(&format!("{calls}/c-agent/replace"), r#"{"queueId":"q"}"#);
    assert_eq!(ask(replace).await.0, StatusCode::NOT_FOUND);
    let consult = r#"{"speakTo":"BOTH","destination":{"queueId":"q"}}"#;
    let consult = client.post(&format!("{calls}/c-customer/consult"), consult);
    assert_eq!(ask(consult).await.0, StatusCode::NOT_FOUND);
    let typeless =
        client.post("/api/v2/conversations/c/participants/c-agent/replace/queue", r#"{"queueId":"q"}"#);
    assert_eq!(ask(typeless).await.0, StatusCode::BAD_REQUEST);
    assert_eq!((client.simulator.anomalies().len(), client.simulator.transfer_count()), (3, 0));
}

#[tokio::test]
async fn a_key_is_recorded_and_otherwise_ignored() {
    let client = Client::with_call().await;
    client.simulator.transfers_go("c", Course::cancels());
    for _ in 0..2 {
        let request = client.blind_to_address("c", "+49301").header("idempotency-key", "k");
        assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
    }
    let transfers = client.simulator.transfers("c");
    assert_eq!((transfers.len(), transfers[1].idempotency_key.as_deref()), (2, Some("k")));
}
