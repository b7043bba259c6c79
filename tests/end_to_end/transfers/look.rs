//! The look before the act: whoever cannot be transferred, or reached, is left alone, and the key stays free.

use harness::world::World;
use serde_json::{Value, json};
use simulator::{Conversation, Destination, Participant, Queue, Surface, TransferState, User};

use super::{
    KEY, SURFACES, blind, completed, consult, notices, posts, refused, state, statuses, to_support, told,
    world,
};

/// The transfer is refused so, and nothing is sent; and once `cure` has been applied, the same request goes through.
async fn assert_refused_until(
    world: &World,
    request: &Value,
    (status, slug): (u16, &str),
    cure: impl FnOnce(&World),
) {
    let trail = format!("conversation:{}", request["conversationId"].as_str().expect("an id"));
    let actions = || {
        let trail = world.trail(&trail);
        trail.iter().map(|entry| entry["action"].as_str().expect("an action").to_owned()).collect::<Vec<_>>()
    };

    let response = world.transfer(&KEY, request).await;

    assert_eq!(told(&response), refused(status, slug), "{request}");
    assert_eq!(response.json()["idempotencyKey"], "k");
    assert_eq!((posts(world), world.genesys.transfer_count()), (0, 0), "{request}");
    assert_eq!((state(world).as_str(), actions()), ("FREE", vec!["transfer-refused".to_owned()]));
    let entry = world.trail(&trail)[0].clone();
    assert!(entry["reason"].as_str().expect("a reason").starts_with(&format!("{slug}: ")), "{entry}");
    assert!(entry["keyHash"].is_string() && entry["durationMs"].is_u64(), "{entry}");
    let notice = notices(world).remove(0);
    assert_eq!((&notice["status"], statuses(world).len()), (&json!("refused"), 1));
    assert!(notice["error"].as_str().expect("an error").starts_with(slug), "{notice}");

    cure(world);
    let again = world.transfer(&KEY, request).await;

    assert_eq!(told(&again), completed(), "{request}: {again:?}");
    assert!(!again.is_replay());
    assert_eq!((posts(world), world.genesys.transfer_count()), (1, 1), "{request}");
    assert_eq!(actions(), ["transfer-refused", "transfer-intended", "transfer-completed"]);
    assert_eq!(statuses(world), ["completed", "refused"]);
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_no_destination() {
    for surface in SURFACES {
        let world = world(surface).await;
        let cure = |world: &World| world.genesys.queue("new", Queue::open());
        assert_refused_until(&world, &blind("queue", "new"), (404, "destination-not-found"), cure).await;
    }
}

#[tokio::test]
async fn a_user_who_does_not_exist_is_no_destination() {
    let world = world(Surface::Platform).await;
    let cure = |world: &World| world.genesys.user("new", User::available());
    assert_refused_until(&world, &blind("user", "new"), (404, "destination-not-found"), cure).await;
}

#[tokio::test]
async fn a_conversation_that_does_not_exist_is_not_found() {
    for surface in SURFACES {
        let world = world(surface).await;
        let mut request = to_support();
        request["conversationId"] = json!("new");
        let cure = |world: &World| world.genesys.conversation("new", Conversation::with_agent("alice"));
        assert_refused_until(&world, &request, (404, "conversation-not-found"), cure).await;
    }
}

#[tokio::test]
async fn a_user_who_is_offline_or_gone_cannot_answer() {
    for user in [User::offline(), User::deleted()] {
        for request in [blind("user", "dave"), consult("user", "dave")] {
            let world = world(Surface::Platform).await;
            world.genesys.user("dave", user.clone());
            let cure = |world: &World| world.genesys.user("dave", User::with_presence("On Queue"));
            assert_refused_until(&world, &request, (409, "destination-unavailable"), cure).await;
        }
    }
}

#[tokio::test]
async fn at_a_queue_that_is_closed_or_that_nobody_has_joined_nobody_can_answer() {
    for surface in SURFACES {
        for request in [blind("queue", "closed"), consult("queue", "closed")] {
            let world = world(surface).await;
            let cure = |world: &World| world.genesys.queue("closed", Queue::open());
            assert_refused_until(&world, &request, (409, "destination-unavailable"), cure).await;
        }
    }
}

#[tokio::test]
async fn a_queue_that_nobody_has_joined_will_do_if_the_request_says_so() {
    let world = world(Surface::Platform).await;
    let mut request = blind("queue", "closed");
    request["allowUnstaffed"] = json!(true);

    assert_eq!(told(&world.transfer(&KEY, &request).await), completed());
    assert_eq!(told(&world.transfer(&KEY, &blind("queue", "closed")).await), refused(422, "key-reused"));
    assert_eq!(world.genesys.transfer_count(), 1);
}

#[tokio::test]
async fn a_conversation_that_has_ended_cannot_be_transferred() {
    for surface in SURFACES {
        for request in [to_support(), blind("external", "+4930123456")] {
            let world = world(surface).await;
            world.genesys.conversation("c", Conversation::ended());
            let cure = |world: &World| world.genesys.conversation("c", Conversation::with_agent("alice"));
            assert_refused_until(&world, &request, (409, "conversation-conflict"), cure).await;
        }
    }
}

#[tokio::test]
async fn a_conversation_that_is_in_a_transfer_already_is_left_alone() {
    let elsewhere = Destination::User("erin".to_owned());
    for surface in SURFACES {
        for under_way in [TransferState::Pending, TransferState::Active] {
            let world = world(surface).await;
            let busy = Conversation::with_agent("alice").recent_transfer("t", under_way, elsewhere.clone());
            world.genesys.conversation("c", busy);
            let over = Conversation::with_agent("alice").recent_transfer(
                "t",
                TransferState::Canceled,
                elsewhere.clone(),
            );
            let cure = |world: &World| world.genesys.conversation("c", over);
            assert_refused_until(&world, &to_support(), (409, "conversation-conflict"), cure).await;
        }
    }
}

#[tokio::test]
async fn a_conversation_whose_agent_consults_is_in_a_transfer() {
    for surface in SURFACES {
        let world = world(surface).await;
        let mut agent = Participant::new("agent", "agent").user("alice");
        agent.consult_participant = Some("c-expert".to_owned());
        let customer = Participant::new("customer", "customer").address("tel:+4930999999");
        world.genesys.conversation("c", Conversation::empty().participant(customer).participant(agent));
        let cure = |world: &World| world.genesys.conversation("c", Conversation::with_agent("alice"));
        assert_refused_until(&world, &to_support(), (409, "conversation-conflict"), cure).await;
    }
}

#[tokio::test]
async fn a_transfer_that_is_over_is_in_nobodys_way_and_not_taken_for_ours() {
    let over =
        [TransferState::Complete, TransferState::Canceled, TransferState::Failed, TransferState::Timeout];
    for surface in SURFACES {
        for state in over {
            let world = world(surface).await;
            let before = Destination::Queue("support".to_owned());
            let conversation = Conversation::with_agent("alice").recent_transfer("earlier", state, before);
            world.genesys.conversation("c", conversation);

            let response = world.transfer(&KEY, &to_support()).await;

            assert_eq!(told(&response), completed(), "{surface} {state:?}");
            assert_eq!(response.json()["transferId"], world.genesys.transfers("c")[0].id);
        }
    }
}

#[tokio::test]
async fn of_several_agents_the_request_must_say_which_to_replace() {
    let world = world(Surface::Platform).await;
    let two = Conversation::with_agent("alice").participant(Participant::new("second", "agent").user("bob"));
    world.genesys.conversation("c", two);
    let mut naming = to_support();
    naming["participantId"] = json!("c-second");

    let response = world.transfer(&KEY, &to_support()).await;
    assert_eq!(told(&response), refused(409, "conversation-conflict"));
    assert!(response.json()["detail"].as_str().unwrap().contains("participantId"), "{response:?}");
    assert_eq!((posts(&world), state(&world).as_str()), (0, "FREE"));

    assert_eq!(told(&world.transfer(&KEY, &naming).await), completed());
    assert_eq!(world.genesys.transfers("c")[0].participant, "c-second");
}

#[tokio::test]
async fn a_named_participant_must_be_connected() {
    for name in ["c-gone", "c-nobody"] {
        let world = world(Surface::Platform).await;
        let gone = Participant::new("gone", "agent").user("bob").state("disconnected");
        world.genesys.conversation("c", Conversation::with_agent("alice").participant(gone));
        let mut request = to_support();
        request["participantId"] = json!(name);
        let there = Conversation::with_agent("alice")
            .participant(Participant::new(name.trim_start_matches("c-"), "agent").user("bob"));
        let cure = |world: &World| world.genesys.conversation("c", there);
        assert_refused_until(&world, &request, (409, "conversation-conflict"), cure).await;
    }
}

#[tokio::test]
async fn agents_who_have_hung_up_or_only_ring_do_not_count() {
    let world = world(Surface::Platform).await;
    let conversation = Conversation::with_agent("alice")
        .participant(Participant::new("before", "agent").user("bob").state("disconnected"))
        .participant(Participant::new("ringing", "agent").user("carol").state("alerting"));
    world.genesys.conversation("c", conversation);

    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed());
    assert_eq!(world.genesys.transfers("c")[0].participant, "c-agent");
}

#[tokio::test]
async fn a_call_that_waits_in_a_queue_is_moved_by_the_leg_that_waits() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.conversation("c", Conversation::waiting_in("sales"));

        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed(), "{surface}");
        assert_eq!(world.genesys.transfers("c")[0].participant, "c-acd");
    }
}

#[tokio::test]
async fn a_consult_needs_a_customer_and_a_blind_transfer_somebody_to_replace() {
    let customer = Participant::new("customer", "customer").address("tel:+4930999999");
    for (request, conversation) in [
        (
            consult("user", "bob"),
            Conversation::empty().participant(Participant::new("agent", "agent").user("alice")),
        ),
        (blind("user", "bob"), Conversation::empty().participant(customer)),
        (blind("user", "bob"), Conversation::empty()),
    ] {
        let world = world(Surface::Platform).await;
        world.genesys.conversation("c", conversation);
        let response = world.transfer(&KEY, &request).await;
        assert_eq!(told(&response), refused(409, "conversation-conflict"), "{request}");
        assert_eq!((posts(&world), state(&world).as_str()), (0, "FREE"));
    }
}

#[tokio::test]
async fn a_conversation_far_down_the_list_is_found() {
    let world = world(Surface::Guide).await;
    // The list comes in pages of 25, in the order of the ids.
    for n in 0..60 {
        world.genesys.conversation(&format!("b-{n:02}"), Conversation::with_agent("erin"));
    }

    let response = world.transfer(&KEY, &to_support()).await;

    assert_eq!(told(&response), completed());
    assert_eq!(world.genesys.transfers("c").len(), 1);
}

/// The leg that is named must be one that such a transfer is for.
#[tokio::test]
async fn a_blind_transfer_does_not_replace_the_customer() {
    let world = world(Surface::Platform).await;
    let mut request = to_support();
    request["participantId"] = json!("c-customer");
    let response = world.transfer(&KEY, &request).await;
    assert!(response.status >= 400 && posts(&world) == 0, "{response:?}");
}
