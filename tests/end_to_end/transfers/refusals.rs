//! What Genesys Cloud refuses, at once or after it had taken it on: told by its own code, and the key is free.

use serde_json::json;
use simulator::{Behaviour, Conversation, Course, Fault, Operation, Surface, User};

use super::{
    KEY, SURFACES, actions, blind, completed, consult, posts, refused, state, statuses, to_support, told,
    world,
};

/// Refusals as Genesys Cloud gives them: status, code, and what they amount to.
const REFUSALS: [(u16, &str, (u16, &str)); 14] = [
    (400, "conversations.error.transfer.acd.call.unattended", (422, "transfer-refused")),
    (400, "conversations.error.transfer.same.party", (422, "transfer-refused")),
    (400, "conversations.error.transfer.destination.required", (422, "transfer-refused")),
    (400, "conversation.error.consult.transfer.no.initiator", (422, "transfer-refused")),
    (400, "conversation.error.cannot.transfer.to.self", (422, "transfer-refused")),
    (400, "bad.request", (422, "transfer-refused")),
    (422, "unprocessable", (422, "transfer-refused")),
    (400, "conversations.error.transfer.not.connected", (409, "conversation-conflict")),
    (409, "conflict", (409, "conversation-conflict")),
    (400, "conversations.error.queue.not.found", (404, "destination-not-found")),
    (404, "conversations.error.queue.not.found", (404, "destination-not-found")),
    (404, "conversation.error.conversation.not.found", (404, "conversation-not-found")),
    (410, "gone", (404, "conversation-not-found")),
    (400, "not.a.user", (422, "unsupported")),
];

#[tokio::test]
async fn a_refusal_is_told_by_its_code_and_frees_the_key() {
    let on_platform = REFUSALS.into_iter().map(|refusal| (Surface::Platform, refusal));
    let on_guide = REFUSALS.into_iter().rev().step_by(3).map(|refusal| (Surface::Guide, refusal));
    for (surface, (status, code, (told_status, slug))) in on_platform.chain(on_guide) {
        let world = world(surface).await;
        let body = json!({"code": code, "message": "a secret of theirs", "status": status}).to_string();
        let refusing = Behaviour::status(status, "application/json", body);
        world.genesys.conversation("c", Conversation::with_agent("alice").answers_transfers(refusing));

        let response = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&response), refused(told_status, slug), "{surface} {status} {code}");
        let document = response.json();
        assert_eq!((&document["upstreamCode"], &document["idempotencyKey"]), (&json!(code), &json!("k")));
        assert!(!document.to_string().contains("secret"), "{document}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 0), "{code}");
        assert_eq!(
            (state(&world).as_str(), actions(&world)),
            ("FREE", vec!["transfer-intended".to_owned(), "transfer-refused".to_owned()])
        );
        assert_eq!(statuses(&world), ["refused"]);

        world.genesys.conversation("c", Conversation::with_agent("alice"));
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{code}");
        assert_eq!(world.genesys.transfer_count(), 1);
    }
}

#[tokio::test]
async fn a_refusal_without_a_code_or_with_an_odd_one_is_told_by_its_status() {
    let odd = ["", "<html>", "[]", r#"{"code":7}"#, r#"{"code":"<b>\n"}"#, r#"{"code":""}"#];
    for (surface, body) in SURFACES.into_iter().cycle().zip(odd) {
        let world = world(surface).await;
        let refusing = Behaviour::status(400, "application/json", body);
        world.genesys.conversation("c", Conversation::with_agent("alice").answers_transfers(refusing));

        let response = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&response), refused(422, "transfer-refused"), "{body}");
        assert_eq!(response.json()["upstreamCode"], "http.400", "{body}");
    }
}

#[tokio::test]
async fn what_the_simulated_organisation_refuses_by_itself_is_told_too() {
    let world = world(Surface::Platform).await;
    world.genesys.conversation("acd", Conversation::with_agent("alice").refuses_unattended());
    let of = |mut request: serde_json::Value, conversation: &str| {
        request["conversationId"] = json!(conversation);
        request
    };
    for (nth, (request, code)) in [
        (of(to_support(), "acd"), "conversations.error.transfer.acd.call.unattended"),
        (blind("user", "alice"), "conversations.error.transfer.same.party"),
        (consult("user", "alice"), "conversation.error.cannot.transfer.to.self"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("k-{nth}");
        let response = world.transfer(&super::keyed(&key), &request).await;
        assert_eq!(told(&response), refused(422, "transfer-refused"), "{code}");
        assert_eq!(response.json()["upstreamCode"], code);
    }
    assert_eq!(world.genesys.transfer_count(), 0);
}

#[tokio::test]
async fn a_client_that_may_not_transfer_is_told_so_and_the_key_is_free() {
    for surface in SURFACES {
        for outsiders in [false, true] {
            let world = world(surface).await;
            if outsiders {
                world.genesys.conversation("c", Conversation::with_agent("alice").refuses_outsiders());
            } else {
                world.genesys.forbid(Operation::Transfer);
            }
            let response = world.transfer(&KEY, &to_support()).await;
            assert_eq!(told(&response), refused(502, "upstream-rejected"), "{surface}");
            assert_eq!((posts(&world), state(&world).as_str()), (1, "FREE"));
            assert_eq!(actions(&world), ["transfer-intended", "transfer-not-performed"]);
            assert_eq!(statuses(&world), ["failed"]);

            world.genesys.permit(Operation::Transfer);
            world.genesys.conversation("c", Conversation::with_agent("alice"));
            assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed());
        }
    }
}

#[tokio::test]
async fn who_hangs_up_between_the_look_and_the_act_is_not_connected() {
    let world = world(Surface::Platform).await;
    world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());

    let (response, ()) = world
        .while_stalled(world.transfer(&KEY, &to_support()), async {
            world.genesys.conversation("c", Conversation::ended());
        })
        .await;

    assert_eq!(told(&response), refused(409, "conversation-conflict"));
    assert_eq!(response.json()["upstreamCode"], "conversations.error.transfer.not.connected");
    assert_eq!((state(&world).as_str(), world.genesys.transfer_count()), ("FREE", 0));
}

/// The courses on which a transfer comes to nothing, and what they are called.
fn failures() -> [(Course, &'static str); 3] {
    [
        (Course::fails(), "transfer.failed"),
        (Course::cancels(), "transfer.canceled"),
        (Course::times_out(), "transfer.timeout"),
    ]
}

#[tokio::test]
async fn a_transfer_that_was_taken_on_and_came_to_nothing_is_refused_by_how_it_ended() {
    for (surface, (course, code)) in SURFACES.into_iter().cycle().zip(failures().into_iter().cycle().take(6))
    {
        for (reads, fault) in [
            (0, None),
            (1, None),
            (0, Some(Fault::effect_then_drop())),
            (1, Some(Fault::effect_then_status(503))),
        ] {
            let name = format!("{surface} {code} after {reads} looks: {fault:?}");
            let is_unclear = fault.is_some();
            let world = world(surface).await;
            world.genesys.transfers_go("c", course.after_reads(reads));
            if let Some(fault) = fault {
                world.genesys.fault(Operation::Transfer, fault);
            }

            let response = world.transfer(&KEY, &to_support()).await;

            if is_unclear && reads > 0 {
                // It was found while it was under way, and that is an end of the search.
                assert_eq!(told(&response), (202, "accepted".to_owned()), "{name}");
                continue;
            }
            assert_eq!(told(&response), refused(422, "transfer-refused"), "{name}: {response:?}");
            assert_eq!(response.json()["upstreamCode"], code, "{name}");
            assert_eq!((posts(&world), state(&world).as_str()), (1, "FREE"), "{name}");
            assert_eq!(actions(&world), ["transfer-intended", "transfer-refused"]);
            let entry = world.trail("conversation:c")[1].clone();
            assert_eq!(entry["foundBy"] == "reading the conversation", is_unclear, "{name}: {entry}");

            world.genesys.transfers_go("c", Course::completes());
            assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{name}");
            assert_eq!(posts(&world), 2);
        }
    }
}

#[tokio::test]
async fn a_transfer_that_shows_a_moment_late_is_confirmed() {
    for surface in SURFACES {
        for course in [Course::completes().hidden_for_reads(2), Course::completes().after_reads(1)] {
            let world = world(surface).await;
            world.genesys.transfers_go("c", course);

            let response = world.transfer(&KEY, &to_support()).await;

            assert_eq!(told(&response), completed(), "{surface} {course:?}: {response:?}");
            assert_eq!(response.json()["transferId"], world.genesys.transfers("c")[0].id);
        }
    }
}

#[tokio::test]
async fn a_transfer_that_does_not_show_has_been_taken_on_all_the_same_and_has_a_name() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.transfers_go("c", Course::completes().hidden_for_reads(99));

        let first = world.transfer(&KEY, &to_support()).await;
        let again = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&first), (202, "accepted".to_owned()), "{surface}: {first:?}");
        assert!(first.json()["transferId"].as_str().is_some_and(|id| !id.is_empty()), "{first:?}");
        assert_eq!(first.json()["transferId"], world.trail("conversation:c")[1]["transferId"]);
        assert_eq!((again.status, again.is_replay(), &again.body), (202, true, &first.body));
        assert_eq!(posts(&world), 1);
    }
}

#[tokio::test]
async fn a_user_whom_the_guides_surface_does_not_know_is_no_destination() {
    let world = world(Surface::Guide).await;
    let response = world.transfer(&KEY, &blind("user", "nobody")).await;
    assert_eq!(told(&response), refused(404, "destination-not-found"));
    world.genesys.user("nobody", User::available());
}
