//! The event that transfers, to the letter, and what its key binds.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, ask};
use crate::{
    Behaviour, Conversation, Course, Destination, Fault, Operation, Queue, Surface, TransferKind, User,
};

impl Client {
    async fn with_conversation_on_guide() -> Self {
        let client = Self::start(Surface::Guide).await;
        client.simulator.queue("q", Queue::open());
        client.simulator.queue("closed", Queue::closed());
        client.simulator.user("v", User::available());
        client.simulator.user("gone", User::offline());
        client.simulator.conversation("c", Conversation::with_agent("u"));
        client
    }

    async fn keyed(&self, key: &str, to: &str, kind: &str) -> (StatusCode, Value) {
        ask(self.event("c", to, kind).header("idempotency-key", key)).await
    }
}

#[tokio::test]
async fn an_id_leads_to_a_queue_a_user_or_an_address() {
    let destinations = [
        ("q", Destination::Queue("q".to_owned()), "acd connected q"),
        ("v", Destination::User("v".to_owned()), "user connected v"),
        (
            "sip:x@example.org",
            Destination::Address("sip:x@example.org".to_owned()),
            "external connected sip:x@example.org",
        ),
    ];
    for (to, destination, leg) in destinations {
        for (kind, agent) in [("blind", "agent disconnected u"), ("consult", "agent connected u")] {
            let client = Client::with_conversation_on_guide().await;
            let (status, body) = client.keyed("k", to, kind).await;
            let expected = json!({ "conversationId": "c", "status": "accepted" });
            assert_eq!((status, body), (StatusCode::CREATED, expected));
            assert_eq!(client.legs("c").await[1..], [agent, leg]);
            let transfer = &client.simulator.transfers("c")[0];
            assert_eq!(transfer.destination, destination);
            assert_eq!((transfer.preserve_caller_id, transfer.transfer_type.as_ref()), (Some(false), None));
            let (kind, participant) = match kind {
                "blind" => (TransferKind::Blind, "c-agent"),
                _ => (TransferKind::Consult, "c-customer"),
            };
            assert_eq!((transfer.kind, transfer.participant.as_str()), (kind, participant));
            assert_eq!(client.look("c").await["recentTransfers"][0]["destination"]["id"], to);
        }
    }
}

#[tokio::test]
async fn a_transfer_against_the_rules_is_refused_and_its_key_stays_free() {
    let client = Client::with_conversation_on_guide().await;
    for (to, expected) in
        [("closed", StatusCode::CONFLICT), ("gone", StatusCode::CONFLICT), ("nobody", StatusCode::NOT_FOUND)]
    {
        assert_eq!(client.keyed("k", to, "blind").await.0, expected);
    }
    let elsewhere = client.event("none", "q", "blind").header("idempotency-key", "k");
    assert_eq!(ask(elsewhere).await.0, StatusCode::NOT_FOUND);
    client.simulator.conversation("c", Conversation::ended());
    let (status, body) = client.keyed("k", "q", "blind").await;
    let code = json!("conversations.error.transfer.not.connected");
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &code));

    client.simulator.conversation("c", Conversation::waiting_in("q"));
    assert_eq!(client.keyed("k", "v", "blind").await.0, StatusCode::CREATED);
    assert_eq!((client.simulator.transfer_count(), client.simulator.anomalies()), (1, Vec::new()));
}

#[tokio::test]
async fn a_key_gets_its_first_answer_again_without_a_second_effect() {
    let client = Client::with_conversation_on_guide().await;
    client.simulator.transfers_go("c", Course::stays_pending());
    let first = client.keyed("k", "q", "blind").await;
    assert_eq!(client.keyed("k", "q", "blind").await, first);
    assert_eq!(client.simulator.transfer_count(), 1);
    assert_eq!(client.simulator.anomalies(), []);

    assert_eq!(client.keyed("k", "v", "blind").await.0, StatusCode::CONFLICT);
    assert_eq!(client.simulator.anomalies().len(), 1, "a key with another body is a mistake");
    assert_eq!(client.keyed("l", "q", "blind").await.0, StatusCode::CONFLICT);
    assert_eq!((client.simulator.anomalies().len(), client.simulator.transfer_count()), (1, 1));
}

#[tokio::test]
async fn one_key_at_the_same_instant_has_one_effect() {
    let client = Client::with_conversation_on_guide().await;
    let keyed = || client.keyed("k", "q", "blind");
    let (first, second, third) = tokio::join!(keyed(), keyed(), keyed());
    assert_eq!((&first, &first), (&second, &third));
    assert_eq!(client.simulator.transfer_count(), 1);
}

#[tokio::test]
async fn a_key_bound_to_a_failed_run_is_a_conflict() {
    let client = Client::with_conversation_on_guide().await;
    let failing = Conversation::with_agent("u").answers_transfers(Behaviour::json(json!(null)));
    client
        .simulator
        .conversation("c", failing.answers_transfers(Behaviour::status(500, "application/json", "{}")));
    assert_eq!(client.keyed("k", "q", "blind").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    client.simulator.conversation("c", Conversation::with_agent("u"));
    assert_eq!(client.keyed("k", "q", "blind").await.0, StatusCode::CONFLICT);
    assert_eq!(client.simulator.transfer_count(), 0);
}

#[tokio::test]
async fn a_late_transfer_and_its_repeat_under_one_key_are_one_effect() {
    let client = Client::with_conversation_on_guide().await;
    client.simulator.fault(Operation::Transfer, Fault::drop_then_effect(1));
    client.event("c", "q", "blind").header("idempotency-key", "k").send().await.unwrap_err();
    assert_eq!(client.keyed("k", "q", "blind").await.0, StatusCode::CREATED);
    client.look("c").await;
    client.look("c").await;
    assert_eq!(client.simulator.transfer_count(), 1);
}

#[tokio::test]
async fn anything_but_the_exact_event_with_a_key_is_the_clients_mistake() {
    let client = Client::with_conversation_on_guide().await;
    let good = json!({
        "type": "transfer",
        "from": { "id": "c" },
        "to": { "id": "q" },
        "attributes": { "transfer": { "type": "blind", "preserveCallerId": true } },
    });
    let broken = [
        ("/type", json!("move")),
        ("/from", json!({ "id": "c", "kind": "conversation" })),
        ("/to/id", json!(7)),
        ("/attributes", json!({})),
        ("/attributes/transfer", json!({ "type": "blind" })),
        ("/attributes/transfer/type", json!("Blind")),
        ("/attributes/transfer/preserveCallerId", json!("true")),
    ];
    let path = "/api/v2/interactions/events/conversations";
    for (n, (pointer, value)) in broken.into_iter().enumerate() {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        let request = client.post(path, &body.to_string()).header("idempotency-key", "k");
        assert_eq!(ask(request).await.0, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(client.simulator.anomalies().len(), n + 1);
    }
    let mut more = good.clone();
    more["participant"] = json!("c-agent");
    let request = client.post(path, &more.to_string()).header("idempotency-key", "k");
    assert_eq!(ask(request).await.0, StatusCode::BAD_REQUEST);
    let keyless = client.post(path, &good.to_string());
    assert_eq!(ask(keyless).await.0, StatusCode::BAD_REQUEST);
    assert_eq!((client.simulator.anomalies().len(), client.simulator.transfer_count()), (9, 0));

    let request = client.post(path, &good.to_string()).header("idempotency-key", "k");
    assert_eq!(ask(request).await.0, StatusCode::CREATED);
    assert_eq!(client.simulator.transfers("c")[0].preserve_caller_id, Some(true));
}
