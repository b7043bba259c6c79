//! What comes of an accepted transfer, and what a fault makes of it, on both surfaces.

use http::StatusCode;
use reqwest::RequestBuilder;
use serde_json::json;

use crate::client::{Client, ask};
use crate::{
    Behaviour, Conversation, Course, Destination, Fault, Operation, Surface, TransferKind, TransferState,
};

impl Client {
    /// Transfers blind to an address, the surface's way, under a key of its own on `guide`.
    pub(crate) fn blind_to_address(&self, id: &str, address: &str) -> RequestBuilder {
        match self.simulator.surface() {
            Surface::Platform => {
                let body = json!({ "transferType": "Unattended", "address": address });
                self.post(
                    &format!("/api/v2/conversations/{id}/participants/{id}-agent/transfer"),
                    &body.to_string(),
                )
            }
            Surface::Guide => {
                let key = self.simulator.requests().len().to_string();
                self.event(id, address, "blind").header("idempotency-key", key)
            }
        }
    }

    /// The event of `guide` that transfers, without its key.
    pub(crate) fn event(&self, from: &str, to: &str, kind: &str) -> RequestBuilder {
        let body = json!({
            "type": "transfer",
            "from": { "id": from },
            "to": { "id": to },
            "attributes": { "transfer": { "type": kind, "preserveCallerId": false } },
        });
        self.post("/api/v2/interactions/events/conversations", &body.to_string())
    }

    async fn with_conversation(surface: Surface, course: Course) -> Self {
        let client = Self::start(surface).await;
        client.simulator.conversation("c", Conversation::with_agent("u").transfers_go(course));
        client
    }
}

const SURFACES: [Surface; 2] = [Surface::Platform, Surface::Guide];

#[tokio::test]
async fn a_transfer_ends_as_its_course_says_and_only_a_complete_one_changes_the_legs() {
    let courses = [
        (Course::completes(), TransferState::Complete, "Complete"),
        (Course::stays_pending(), TransferState::Pending, "Pending"),
        (Course::fails(), TransferState::Failed, "Failed"),
        (Course::cancels(), TransferState::Canceled, "Canceled"),
        (Course::times_out(), TransferState::Timeout, "Timeout"),
    ];
    for surface in SURFACES {
        for (course, state, name) in courses {
            let client = Client::with_conversation(surface, course).await;
            assert!(client.transfer("c", "+49301").await.is_success());
            assert_eq!(client.states("c").await, [name]);
            let transfers = client.simulator.transfers("c");
            let [transfer] = transfers.as_slice() else { panic!("{transfers:?}") };
            assert_eq!((transfer.state, transfer.kind), (state, TransferKind::Blind));
            assert_eq!(transfer.destination, Destination::Address("+49301".to_owned()));
            assert_eq!(transfer.participant, "c-agent");
            let legs = client.simulator.participants("c");
            let is_done = state == TransferState::Complete;
            assert_eq!((legs.len(), legs[1].is_connected()), if is_done { (3, false) } else { (2, true) });
            if is_done {
                assert_eq!(legs[2].id, transfer.destination_participant);
            }
        }
    }
}

#[tokio::test]
async fn what_is_under_way_is_in_the_way_of_a_second_transfer_until_it_ends() {
    for surface in SURFACES {
        let course = Course::fails().after_reads(1);
        let client = Client::with_conversation(surface, course).await;
        assert!(client.transfer("c", "+49301").await.is_success());
        let (status, body) = ask(client.blind_to_address("c", "+49302")).await;
        assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!("conflict")));
        client.look("c").await;
        assert!(client.transfer("c", "+49303").await.is_success());
        assert_eq!(client.simulator.transfer_count(), 2);
    }
}

#[tokio::test]
async fn a_transfer_takes_effect_only_if_its_fault_says_so() {
    let faults = [
        (Fault::status(503), 0),
        (Fault::drop_before_effect(), 0),
        (Fault::redirect("https://elsewhere.invalid/"), 0),
        (Fault::effect_then_drop(), 1),
        (Fault::effect_then_status(504), 1),
        (Fault::cut_body(), 1),
    ];
    for surface in SURFACES {
        for (fault, effects) in &faults {
            let client = Client::with_conversation(surface, Course::completes()).await;
            client.simulator.fault(Operation::Transfer, fault.clone());
            let answer = client.blind_to_address("c", "+49301").send().await;
            if let Ok(answer) = answer {
                // The body of an accepted transfer may be cut off.
                let _ = answer.bytes().await;
            }
            assert_eq!(client.simulator.transfer_count(), *effects, "{surface} {fault}");
            assert_eq!(client.states("c").await.len(), *effects);
            assert!(client.simulator.faults_left().is_empty());
        }
    }
}

#[tokio::test]
async fn a_stalled_transfer_takes_effect_before_or_after_its_release() {
    for surface in SURFACES {
        let client = Client::with_conversation(surface, Course::fails()).await;
        client.simulator.fault(Operation::Transfer, Fault::stall_before_effect());
        client.simulator.fault(Operation::Transfer, Fault::stall_after_effect());
        for effects in [0, 2] {
            let stalled = async {
                client.simulator.wait_for_stalled(1).await;
                assert_eq!(client.simulator.transfer_count(), effects);
                client.simulator.release_stalled();
            };
            let (status, ()) = tokio::join!(client.transfer("c", "+49301"), stalled);
            assert!(status.is_success());
        }
    }
}

#[tokio::test]
async fn a_transfer_that_is_late_takes_effect_after_so_many_looks() {
    for surface in SURFACES {
        for reads in [0, 2] {
            let client = Client::with_conversation(surface, Course::completes()).await;
            client.simulator.fault(Operation::Transfer, Fault::drop_then_effect(reads));
            client.blind_to_address("c", "+49301").send().await.unwrap_err();
            for _ in 0..reads {
                assert_eq!(client.simulator.transfer_count(), 0);
                assert!(client.states("c").await.is_empty());
            }
            assert_eq!(client.simulator.transfer_count(), 1);
            assert_eq!(client.states("c").await, ["Complete"]);
            client.look("c").await;
            assert_eq!(client.simulator.transfer_count(), 1);
        }
    }
}

#[tokio::test]
async fn a_late_transfer_is_held_against_the_rules_of_its_time() {
    let client = Client::with_conversation(Surface::Platform, Course::completes()).await;
    client.simulator.fault(Operation::Transfer, Fault::drop_then_effect(1));
    client.blind_to_address("c", "+49301").send().await.unwrap_err();
    assert!(client.transfer("c", "+49302").await.is_success());
    client.look("c").await;
    let transfers = client.simulator.transfers("c");
    assert_eq!(transfers.len(), 1, "its leg is no longer connected: {transfers:?}");
    assert_eq!(transfers[0].destination, Destination::Address("+49302".to_owned()));
}

#[tokio::test]
async fn an_operation_that_cannot_be_late_has_no_effect() {
    let client = Client::start(Surface::Platform).await;
    client.simulator.data_action("a", Behaviour::echo());
    client.simulator.fault(Operation::ExecuteDataAction, Fault::drop_then_effect(0));
    client.execute("a", "{}").send().await.unwrap_err();
    assert_eq!(client.simulator.effect_count(), 0);
}

#[tokio::test]
async fn the_role_can_forbid_transfers() {
    for surface in SURFACES {
        let client = Client::with_conversation(surface, Course::completes()).await;
        client.simulator.forbid(Operation::Transfer);
        let (status, body) = ask(client.blind_to_address("c", "+49301")).await;
        assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("missing.permissions")));
        client.simulator.permit(Operation::Transfer);
        assert!(client.transfer("c", "+49301").await.is_success());
        assert_eq!(client.simulator.anomalies(), []);
    }
}

#[tokio::test]
async fn an_accepted_transfer_can_be_answered_with_anything() {
    for surface in SURFACES {
        let client = Client::start(surface).await;
        let answers = [
            (Behaviour::status(200, "text/html", "<p>done</p>"), 1),
            (Behaviour::status(202, None, ""), 2),
            (Behaviour::status(500, None, ""), 2),
        ];
        for (behaviour, effects) in answers {
            client.simulator.conversation("c", Conversation::with_agent("u").answers_transfers(behaviour));
            let answer = client.blind_to_address("c", "+49301").send().await.unwrap();
            let is_html = answer.headers().get("content-type").is_some_and(|it| it == "text/html");
            assert_eq!(is_html, answer.status() == StatusCode::OK);
            assert_eq!(client.simulator.transfer_count(), effects);
        }
    }
}
