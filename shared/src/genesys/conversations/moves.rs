//! The moves: what is asked for a transfer, as path and body.

use serde_json::{Value, json};

use super::{Destination, Kind, Transfer};
use crate::genesys::ids::ParticipantId;

/// Path and body of the published operation. The generic ones are deprecated since March 2026.
pub(super) fn platform(transfer: &Transfer, leg: &ParticipantId) -> (String, Value) {
    let conversation = transfer.conversation.as_str();
    let leg = leg.as_str();
    let (member, blind, consulting) = match &transfer.destination {
        Destination::User(_) => ("userId", "replace/agent", "consult/agent"),
        Destination::Queue(_) => ("queueId", "replace/queue", "consult/queue"),
        Destination::External(_) => ("address", "transfer", "voice/consult"),
    };
    let destination = transfer.destination.id();
    match &transfer.kind {
        Kind::Blind => (
            format!("/api/v2/conversations/{conversation}/participants/{leg}/{blind}"),
            json!({"transferType": "Unattended", member: destination}),
        ),
        Kind::Consult(consult) => {
            let mut body = json!({"speakTo": consult.speak_to.name(), member: destination});
            if let Some(user) = &consult.consulting_user {
                body["consultingUserId"] = json!(user.as_str());
            }
            (format!("/api/v2/conversations/calls/{conversation}/participants/{leg}/{consulting}"), body)
        }
    }
}

pub(super) fn guide(transfer: &Transfer) -> (String, Value) {
    let body = json!({
        "type": "transfer",
        "from": {"id": transfer.conversation.as_str()},
        "to": {"id": transfer.destination.id()},
        "attributes": {"transfer": {
            "type": transfer.kind.name(),
            "preserveCallerId": transfer.preserve_caller_id.unwrap_or(false),
        }},
    });
    ("/api/v2/interactions/events/conversations".to_owned(), body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genesys::Id;
    use crate::genesys::conversations::{Address, Consult, SpeakTo};

    fn transfer(kind: Kind, destination: Destination) -> Transfer {
        Transfer {
            conversation: Id::parse("c-1").unwrap(),
            kind,
            destination,
            preserve_caller_id: None,
            participant: None,
            allow_unstaffed: false,
        }
    }

    #[test]
    fn each_move_has_its_own_published_operation() {
        let consult = |user: Option<&str>| {
            let consulting_user = user.map(|id| Id::parse(id).unwrap());
            Kind::Consult(Consult { speak_to: SpeakTo::Both, consulting_user })
        };
        let queue = Destination::Queue(Id::parse("q").unwrap());
        let user = Destination::User(Id::parse("u").unwrap());
        let external = Destination::External(Address::parse("+4930123456").unwrap());
        let leg = Id::parse("p-1_2.3~4").unwrap();
        for (kind, destination, path, body) in [
            (
                Kind::Blind,
                &user,
                "conversations/c-1/participants/p-1_2.3~4/replace/agent",
                json!({"transferType": "Unattended", "userId": "u"}),
            ),
            (
                Kind::Blind,
                &queue,
                "conversations/c-1/participants/p-1_2.3~4/replace/queue",
                json!({"transferType": "Unattended", "queueId": "q"}),
            ),
            (
                Kind::Blind,
                &external,
                "conversations/c-1/participants/p-1_2.3~4/transfer",
                json!({"transferType": "Unattended", "address": "+4930123456"}),
            ),
            (
                consult(None),
                &user,
                "conversations/calls/c-1/participants/p-1_2.3~4/consult/agent",
                json!({"speakTo": "BOTH", "userId": "u"}),
            ),
            (
                consult(Some("me")),
                &queue,
                "conversations/calls/c-1/participants/p-1_2.3~4/consult/queue",
                json!({"speakTo": "BOTH", "queueId": "q", "consultingUserId": "me"}),
            ),
            (
                consult(None),
                &external,
                "conversations/calls/c-1/participants/p-1_2.3~4/voice/consult",
                json!({"speakTo": "BOTH", "address": "+4930123456"}),
            ),
        ] {
            let asked = platform(&transfer(kind, destination.clone()), &leg);
            assert_eq!(asked, (format!("/api/v2/{path}"), body));
        }
    }

    #[test]
    fn the_guides_request_says_whether_to_preserve_the_callers_number_even_if_not() {
        let (_, body) = guide(&transfer(Kind::Blind, Destination::Queue(Id::parse("q").unwrap())));
        assert_eq!(
            body,
            json!({"type": "transfer", "from": {"id": "c-1"}, "to": {"id": "q"},
                "attributes": {"transfer": {"type": "blind", "preserveCallerId": false}}})
        );
    }
}
