//! What a look at conversations shows, and when.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, ask};
use crate::published::check_answer;
use crate::{Conversation, Course, Destination, Fault, Operation, Participant, Surface, TransferState};

impl Client {
    /// Transfers it blind to an address, the surface's way.
    pub(crate) async fn transfer(&self, id: &str, address: &str) -> StatusCode {
        self.blind_to_address(id, address).send().await.unwrap().status()
    }

    pub(crate) fn look_path(&self) -> &'static str {
        match self.simulator.surface() {
            Surface::Platform => "/api/v2/conversations/calls/c",
            Surface::Guide => "/api/v2/conversations",
        }
    }

    /// One conversation as it is shown.
    pub(crate) async fn look(&self, id: &str) -> Value {
        match self.simulator.surface() {
            Surface::Platform => {
                let (status, shown) = ask(self.get(&format!("/api/v2/conversations/calls/{id}"))).await;
                assert_eq!(status, StatusCode::OK, "{shown}");
                check_answer("CallConversation", &shown);
                shown
            }
            Surface::Guide => {
                let (_, page) = ask(self.get("/api/v2/conversations")).await;
                page["entities"].as_array().unwrap().iter().find(|it| it["id"] == id).unwrap().clone()
            }
        }
    }

    /// The states of its recent transfers.
    pub(crate) async fn states(&self, id: &str) -> Vec<String> {
        let shown = self.look(id).await;
        let recent = shown["recentTransfers"].as_array().unwrap().iter();
        recent.map(|it| it["state"].as_str().unwrap().to_owned()).collect()
    }

    /// The purpose and state of each participant, and where it leads.
    pub(crate) async fn legs(&self, id: &str) -> Vec<String> {
        let shown = self.look(id).await;
        let legs = shown["participants"].as_array().unwrap().iter().map(|it| {
            let target = [&it["user"]["id"], &it["queue"]["id"], &it["address"]];
            let target = target.into_iter().find_map(Value::as_str).unwrap_or_default();
            let [purpose, state] = ["purpose", "state"].map(|name| it[name].as_str().unwrap());
            format!("{purpose} {state} {target}")
        });
        legs.collect()
    }
}

#[tokio::test]
async fn participants_are_shown_as_they_were_declared() {
    for surface in [Surface::Platform, Surface::Guide] {
        let client = Client::start(surface).await;
        client.simulator.conversation("c", Conversation::with_agent("u"));
        client.simulator.conversation("w", Conversation::waiting_in("q"));
        client.simulator.conversation("e", Conversation::ended());
        let odd = Participant::new("second", "external").address("sip:x@example.org").state("alerting");
        client.simulator.conversation("o", Conversation::empty().participant(odd));

        let customer = "tel:+4930123456";
        let connected = format!("customer connected {customer}");
        assert_eq!(client.legs("c").await, [connected.as_str(), "agent connected u"]);
        assert_eq!(client.legs("w").await, [connected.as_str(), "acd connected q"]);
        let hung_up = format!("customer disconnected {customer}");
        assert_eq!(client.legs("e").await, [hung_up.as_str(), "agent disconnected former-agent"]);
        assert_eq!(client.legs("o").await, ["external alerting sip:x@example.org"]);
        assert_eq!(client.look("o").await["participants"][0]["id"], "o-second");
        assert_eq!(client.simulator.participants("c")[1].id, "c-agent");
        assert_eq!(client.simulator.participants("nobody"), []);
    }
}

#[tokio::test]
async fn a_conversation_nobody_declared_is_not_found() {
    let client = Client::start(Surface::Platform).await;
    let (status, body) = ask(client.get("/api/v2/conversations/calls/c")).await;
    let code = json!("conversation.error.conversation.not.found");
    assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &code));
    assert_eq!(client.simulator.anomalies(), []);
}

#[tokio::test]
async fn a_transfer_of_before_is_shown_and_is_no_effect() {
    let user = || Destination::User("v".to_owned());
    let queue = || Destination::Queue("q".to_owned());
    for (surface, to_user, to_queue) in [
        (Surface::Platform, json!({ "userId": "v" }), json!({})),
        (Surface::Guide, json!({ "userId": "v", "id": "v" }), json!({ "id": "q" })),
    ] {
        let client = Client::start(surface).await;
        let conversation = Conversation::with_agent("u")
            .recent_transfer("t1", TransferState::Unknown, user())
            .recent_transfer("t2", TransferState::Complete, queue());
        client.simulator.conversation("c", conversation);
        let shown = client.look("c").await;
        let issued = &shown["recentTransfers"][0]["dateIssued"];
        assert!(issued.as_str().unwrap().starts_with("2026-01-01T00:"), "{issued}");
        let expected = json!([
            {
                "id": "t1", "state": "Unknown", "dateIssued": issued, "initiator": { "userId": "u" },
                "destination": to_user, "transferType": "Unattended",
            },
            {
                "id": "t2", "state": "Complete", "dateIssued": issued, "initiator": { "userId": "u" },
                "destination": to_queue, "transferType": "Unattended",
            },
        ]);
        assert_eq!(shown["recentTransfers"], expected);
        assert_eq!(client.simulator.transfer_count(), 0);
    }
}

#[tokio::test]
async fn on_guide_conversations_come_in_pages() {
    let client = Client::start(Surface::Guide).await;
    for n in 0..51 {
        client.simulator.conversation(&format!("c{n:02}"), Conversation::with_agent("u"));
    }
    let mut next = "/api/v2/conversations".to_owned();
    let mut sizes = Vec::new();
    let mut last = Value::Null;
    for _ in 0..3 {
        let (status, page) = ask(client.get(&next)).await;
        assert_eq!(status, StatusCode::OK);
        sizes.push(page["entities"].as_array().unwrap().len());
        last = page["entities"][0]["id"].clone();
        next = page["nextUri"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((sizes, last, next.as_str()), (vec![25, 25, 1], json!("c50"), ""));

    let (_, beyond) = ask(client.get("/api/v2/conversations?pageNumber=4")).await;
    assert_eq!((&beyond["entities"], &beyond["nextUri"]), (&json!([]), &Value::Null));
    for query in ["pageNumber=0", "pageNumber=x", "page=1", "pageNumber=1&pageNumber=2"] {
        let (status, _) = ask(client.get(&format!("/api/v2/conversations?{query}"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(client.simulator.anomalies().len(), 4);
}

#[tokio::test]
async fn a_transfer_ends_after_so_many_looks() {
    for surface in [Surface::Platform, Surface::Guide] {
        let client = Client::start(surface).await;
        client.simulator.conversation(
            "c",
            Conversation::with_agent("u").transfers_go(Course::completes().after_reads(2)),
        );
        client.transfer("c", "+49301").await;
        assert_eq!(client.states("c").await, ["Pending"]);
        client.simulator.fault(Operation::GetConversation, Fault::status(500));
        client.simulator.fault(Operation::GetConversation, Fault::drop_before_effect());
        ask(client.get(client.look_path())).await;
        client.get(client.look_path()).send().await.unwrap_err();
        assert_eq!(client.states("c").await, ["Pending"], "a look that was not answered does not count");
        assert_eq!(client.states("c").await, ["Complete"]);
        assert_eq!(client.simulator.transfers("c")[0].state, TransferState::Complete);
    }
}

#[tokio::test]
async fn a_hidden_transfer_shows_after_so_many_looks_and_is_in_the_way_at_once() {
    let client = Client::start(Surface::Platform).await;
    let course = Course::stays_pending().hidden_for_reads(2);
    client.simulator.conversation("c", Conversation::with_agent("u").transfers_go(course));
    assert_eq!(client.transfer("c", "+49301").await, StatusCode::ACCEPTED);
    assert_eq!(client.transfer("c", "+49301").await, StatusCode::CONFLICT);
    for expected in [0, 0, 1, 1] {
        assert_eq!(client.states("c").await.len(), expected);
    }
    assert_eq!(client.simulator.transfer_count(), 1);
}

#[tokio::test]
async fn hidden_legs_show_together_with_their_transfer() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.conversation("c", Conversation::with_agent("u"));
    client.simulator.transfers_go("c", Course::completes().hidden_for_reads(1));
    client.transfer("c", "+49301").await;
    assert_eq!(client.simulator.participants("c")[1].state, "disconnected");
    assert_eq!(client.legs("c").await[1..], ["agent connected u"]);
    assert_eq!(client.legs("c").await[1..], ["agent disconnected u", "external connected +49301"]);
}

#[tokio::test]
async fn the_latest_twenty_transfers_are_shown() {
    let client = Client::start(Surface::Platform).await;
    let mut conversation = Conversation::with_agent("u");
    for n in 0..20 {
        let to = Destination::Address("+49302".to_owned());
        conversation = conversation.recent_transfer(&format!("t{n}"), TransferState::Failed, to);
    }
    client.simulator.conversation("c", conversation);
    client.transfer("c", "+49301").await;
    let shown = client.look("c").await;
    let recent = shown["recentTransfers"].as_array().unwrap();
    assert_eq!((recent.len(), &recent[0]["id"]), (20, &json!("t1")));
    assert_eq!(recent[19]["id"], client.simulator.transfers("c")[0].id);
}
