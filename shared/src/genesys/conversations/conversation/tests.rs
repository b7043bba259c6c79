use serde_json::{Value, json};

use super::*;
use crate::genesys::Id;
use crate::genesys::conversations::{Address, Consult, SpeakTo};

fn conversation(value: Value) -> Conversation {
    serde_json::from_value(value).unwrap()
}

fn blind(destination: Destination) -> Transfer {
    Transfer {
        conversation: Id::parse("c").unwrap(),
        kind: Kind::Blind,
        destination,
        preserve_caller_id: None,
        participant: None,
        allow_unstaffed: false,
    }
}

fn queue() -> Destination {
    Destination::Queue(Id::parse("q").unwrap())
}

fn user() -> Destination {
    Destination::User(Id::parse("u").unwrap())
}

fn consult() -> Transfer {
    let consult = Consult { speak_to: SpeakTo::Destination, consulting_user: None };
    Transfer { kind: Kind::Consult(consult), ..blind(user()) }
}

fn talking() -> Value {
    json!({"id": "c", "participants": [
        {"id": "ivr", "purpose": "ivr", "state": "disconnected"},
        {"id": "customer", "purpose": "customer", "state": "connected"},
        {"id": "acd", "purpose": "acd", "state": "disconnected", "queue": {"id": "q"}},
        {"id": "agent", "purpose": "agent", "state": "connected", "user": {"id": "a"}, "queue": {"id": "q"}},
    ]})
}

fn leg(conversation: Value, transfer: &Transfer) -> Result<String, Conflict> {
    self::conversation(conversation).leg_to_move(transfer).map(|id| id.as_str().to_owned())
}

#[test]
fn a_blind_transfer_replaces_the_agent_and_a_consult_transfer_moves_the_customer() {
    assert_eq!(leg(talking(), &blind(queue())).as_deref(), Ok("agent"));
    assert_eq!(leg(talking(), &consult()).as_deref(), Ok("customer"));
}

#[test]
fn a_call_that_waits_is_taken_from_its_queue() {
    let waiting = json!({"participants": [
        {"id": "customer", "purpose": "customer", "state": "connected"},
        {"id": "acd", "purpose": "acd", "state": "connected"},
    ]});
    assert_eq!(leg(waiting, &blind(queue())).as_deref(), Ok("acd"));
}

#[test]
fn a_named_leg_is_taken_if_it_is_connected() {
    let name = |id: &str| Transfer { participant: Some(Id::parse(id).unwrap()), ..blind(queue()) };
    assert_eq!(leg(talking(), &name("agent")).as_deref(), Ok("agent"));
    assert_eq!(leg(talking(), &name("customer")), Err(Conflict::ParticipantUnfit));
    assert_eq!(leg(talking(), &name("ivr")), Err(Conflict::ParticipantNotConnected));
    assert_eq!(leg(talking(), &name("nobody")), Err(Conflict::ParticipantNotConnected));
}

#[test]
fn what_cannot_be_transferred_says_why() {
    let mut over = talking();
    over["participants"].as_array_mut().unwrap().retain(|leg| leg["state"] != "connected");
    assert_eq!(leg(over.clone(), &blind(queue())), Err(Conflict::NobodyConnected));
    assert_eq!(conversation(over).is_movable(), Err(Conflict::NobodyConnected));

    let mut pending = talking();
    pending["recentTransfers"] = json!([{"id": "t", "state": "Pending"}]);
    assert_eq!(leg(pending.clone(), &consult()), Err(Conflict::InTransfer));
    assert_eq!(conversation(pending).is_movable(), Err(Conflict::InTransfer));

    let mut consulting = talking();
    consulting["participants"][3]["consultParticipantId"] = json!("bob");
    assert_eq!(leg(consulting.clone(), &blind(queue())), Err(Conflict::InTransfer));
    let bob = json!({"id": "bob", "purpose": "user", "state": "disconnected"});
    consulting["participants"].as_array_mut().unwrap().push(bob);
    assert_eq!(leg(consulting, &blind(queue())).as_deref(), Ok("agent"), "the consult is over");

    let mut two = talking();
    two["participants"][0] = json!({"id": "agent-2", "purpose": "user", "state": "connected"});
    assert_eq!(leg(two, &blind(queue())), Err(Conflict::SeveralAgents));
}

#[test]
fn a_surface_that_tells_of_no_legs_has_no_objection() {
    let stateless = json!({"id": "c", "participants": [{"id": null, "purpose": "agent"}]});
    assert_eq!(conversation(stateless).is_movable(), Ok(()));
    assert_eq!(conversation(json!({"id": "c"})).is_movable(), Ok(()));
    assert_eq!(
        conversation(json!({"id": "c", "participants": null, "recentTransfers": null})).is_movable(),
        Ok(())
    );
}

/// What a transfer has become, if these are the conversation's legs and transfers after it.
fn since(after: Value, transfer: &Transfer) -> Finding {
    let mut before = talking();
    before["recentTransfers"] = json!([{"id": "old", "state": "Complete", "destination": {"userId": "u"}}]);
    conversation(after).since(&conversation(before).seen(), transfer)
}

fn moved(progress: Progress, transfer: Option<&str>, leg: Option<&str>) -> Finding {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Finding::Moved(Moved { progress, transfer_id: owned(transfer), destination_participant: owned(leg) })
}

#[test]
fn a_transfer_that_was_there_before_is_not_found() {
    let after =
        json!({"recentTransfers": [{"id": "old", "state": "Complete", "destination": {"userId": "u"}}]});
    assert_eq!(since(after, &blind(user())), Finding::Nothing);
}

#[test]
fn a_new_transfer_to_the_destination_is_found_in_the_state_it_is_in() {
    for (state, expected) in [
        ("Complete", moved(Progress::Completed, Some("new"), None)),
        ("Pending", moved(Progress::Accepted, Some("new"), None)),
        ("Unknown", moved(Progress::Accepted, Some("new"), None)),
        ("Failed", Finding::Failed("Failed".to_owned())),
        ("Timeout", Finding::Failed("Timeout".to_owned())),
    ] {
        let after =
            json!({"recentTransfers": [{"id": "new", "state": state, "destination": {"userId": "u"}}]});
        assert_eq!(since(after, &blind(user())), expected);
    }
}

#[test]
fn a_new_transfer_to_somebody_else_is_somebody_elses() {
    let elsewhere = |destination: Value| json!({"recentTransfers": [{"id": "new", "state": "Complete", "destination": destination}]});
    assert_eq!(since(elsewhere(json!({"userId": "x"})), &blind(user())), Finding::Nothing);
    assert_eq!(since(elsewhere(json!({"userId": "x"})), &blind(queue())), Finding::Nothing);
    assert_eq!(since(elsewhere(json!({})), &blind(user())), Finding::Nothing);
    let number = Destination::External(Address::parse("+4930123456").unwrap());
    assert_eq!(since(elsewhere(json!({"address": "tel:+4930999"})), &blind(number)), Finding::Nothing);
}

#[test]
fn a_transfer_to_a_queue_is_known_by_its_new_id_alone() {
    let after = json!({"recentTransfers": [{"id": "new", "state": "Complete", "destination": {}}]});
    assert_eq!(since(after, &blind(queue())), moved(Progress::Completed, Some("new"), None));
}

#[test]
fn a_transfer_to_another_queue_is_told_by_that_queues_leg() {
    let after = |queue: &str| {
        json!({
            "participants": [{"id": "new", "purpose": "acd", "state": "connected", "queue": {"id": queue}}],
            "recentTransfers": [{"id": "new", "state": "Complete", "destination": {}}],
        })
    };
    assert_eq!(since(after("other"), &blind(queue())), Finding::Nothing);
    assert_eq!(since(after("q"), &blind(queue())), moved(Progress::Completed, Some("new"), Some("new")));
}

#[test]
fn a_new_leg_of_the_destination_tells_as_much() {
    let after = |state: &str| {
        json!({"participants": [
            {"id": "agent", "purpose": "agent", "state": "disconnected", "user": {"id": "a"}},
            {"id": "leg", "purpose": "agent", "state": state, "user": {"id": "u"}},
        ]})
    };
    assert_eq!(since(after("connected"), &blind(user())), moved(Progress::Completed, None, Some("leg")));
    assert_eq!(since(after("alerting"), &blind(user())), moved(Progress::Accepted, None, Some("leg")));
    assert_eq!(since(after("disconnected"), &blind(user())), Finding::Nothing);
}

#[test]
fn one_that_failed_does_not_hide_one_that_did_not() {
    let after = json!({"recentTransfers": [
        {"id": "one", "state": "Failed", "destination": {"userId": "u"}},
        {"id": "two", "state": "Complete", "destination": {"userId": "u"}},
    ]});
    assert_eq!(since(after, &blind(user())), moved(Progress::Completed, Some("two"), None));
}
