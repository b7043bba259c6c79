//! The moves: each is the operation that Genesys Cloud has for it, asked of the right leg, with the caller's key.

use harness::world::World;
use serde_json::{Value, json};
use simulator::{Behaviour, Conversation, Operation, Participant, SeenRequest, Surface, UserContext};

use super::{
    CRM, KEY, SURFACES, blind, completed, consult, notices, posts, refused, state, to_support, told, world,
    world_with,
};

/// The one transfer that was asked for upstream.
fn asked(world: &World) -> SeenRequest {
    let requests = world.genesys.requests().into_iter();
    let mut transfers: Vec<_> =
        requests.filter(|request| request.operation == Some(Operation::Transfer)).collect();
    assert_eq!(transfers.len(), 1, "{transfers:?}");
    transfers.remove(0)
}

/// The path, decoded as far as anybody had a reason to encode it.
fn path_of(request: &SeenRequest) -> String {
    request.path.replace("%2D", "-")
}

fn body(request: &SeenRequest) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

const CALLS: &str = "/api/v2/conversations/calls/c/participants/c-customer";
const LEGS: &str = "/api/v2/conversations/c/participants/c-agent";

#[tokio::test]
async fn each_of_the_six_published_operations_is_asked_for_by_its_own_move() {
    for (request, path, expected) in [
        (
            blind("user", "bob"),
            format!("{LEGS}/replace/agent"),
            json!({"transferType": "Unattended", "userId": "bob"}),
        ),
        (
            blind("queue", "support"),
            format!("{LEGS}/replace/queue"),
            json!({"transferType": "Unattended", "queueId": "support"}),
        ),
        (
            blind("external", "+4930654321"),
            format!("{LEGS}/transfer"),
            json!({"transferType": "Unattended", "address": "+4930654321"}),
        ),
        (
            consult("user", "bob"),
            format!("{CALLS}/consult/agent"),
            json!({"speakTo": "DESTINATION", "consultingUserId": "alice", "userId": "bob"}),
        ),
        (
            consult("queue", "support"),
            format!("{CALLS}/consult/queue"),
            json!({"speakTo": "DESTINATION", "consultingUserId": "alice", "queueId": "support"}),
        ),
        (
            consult("external", "+4930654321"),
            format!("{CALLS}/voice/consult"),
            json!({"speakTo": "DESTINATION", "consultingUserId": "alice", "address": "+4930654321"}),
        ),
    ] {
        let world = world(Surface::Platform).await;

        let response = world.transfer(&KEY, &request).await;

        assert_eq!(told(&response), completed(), "{request}: {response:?}");
        let asked = asked(&world);
        assert_eq!((asked.method.as_str(), path_of(&asked), asked.query.as_str()), ("POST", path, ""));
        assert_eq!(body(&asked), expected);
        assert_eq!(asked.header("idempotency-key"), Some("k"));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        let answer = response.json();
        assert_eq!(answer["transferType"], request["transferType"]);
        assert_eq!(answer["destination"], request["destination"]);
        let transfer = &world.genesys.transfers("c")[0];
        assert_eq!(answer["transferId"], transfer.id);
        assert_eq!(answer["destinationParticipantId"], transfer.destination_participant);
        let path = path_of(&asked);
        let moved = path.split('/').find(|part| part.starts_with("c-")).unwrap();
        assert_eq!(world.trail("conversation:c")[0]["movedParticipantId"], moved);
    }
}

#[tokio::test]
async fn the_guides_operation_is_one_for_every_move_and_says_no_where_no_is_meant() {
    let preserving = |preserve: Value, mut request: Value| {
        request["preserveCallerId"] = preserve;
        request
    };
    for (request, id, kind, preserve) in [
        (preserving(json!(true), to_support()), "support", "blind", true),
        (preserving(json!(false), to_support()), "support", "blind", false),
        (preserving(Value::Null, to_support()), "support", "blind", false),
        (blind("user", "bob"), "bob", "blind", false),
        (preserving(json!(true), blind("external", "+4930654321")), "+4930654321", "blind", true),
        (consult("user", "bob"), "bob", "consult", false),
        (preserving(json!(true), consult("queue", "support")), "support", "consult", true),
    ] {
        let world = world(Surface::Guide).await;

        let response = world.transfer(&KEY, &request).await;

        assert_eq!(told(&response), completed(), "{request}: {response:?}");
        let asked = asked(&world);
        let path = "/api/v2/interactions/events/conversations";
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", path));
        assert_eq!(
            body(&asked),
            json!({"type": "transfer", "from": {"id": "c"}, "to": {"id": id},
                "attributes": {"transfer": {"type": kind, "preserveCallerId": preserve}}})
        );
        assert_eq!(asked.header("idempotency-key"), Some("k"));
        assert_eq!(world.genesys.transfers("c")[0].preserve_caller_id, Some(preserve));
    }
}

#[tokio::test]
async fn to_whom_is_spoken_first_is_passed_on_in_any_case() {
    for (said, sent) in
        [("destination", "DESTINATION"), ("OBJECT", "OBJECT"), ("Both", "BOTH"), ("conference", "CONFERENCE")]
    {
        let world = world(Surface::Platform).await;
        let mut request = consult("user", "bob");
        request["consult"]["speakTo"] = json!(said);

        assert_eq!(told(&world.transfer(&KEY, &request).await), completed(), "{said}");
        assert_eq!(world.genesys.transfers("c")[0].speak_to.as_deref(), Some(sent));
    }
}

#[tokio::test]
async fn who_consults_is_named_only_if_the_request_names_them() {
    for (particulars, sent) in [
        (Value::Null, json!({"speakTo": "DESTINATION", "userId": "bob"})),
        (json!({}), json!({"speakTo": "DESTINATION", "userId": "bob"})),
        (json!({"speakTo": "both", "consultingUserId": null}), json!({"speakTo": "BOTH", "userId": "bob"})),
    ] {
        let world = world(Surface::Platform).await;
        let mut request = consult("user", "bob");
        request["consult"] = particulars;

        assert_eq!(told(&world.transfer(&KEY, &request).await), completed(), "{request}");
        assert_eq!(body(&asked(&world)), sent);
    }
}

#[tokio::test]
async fn a_consult_that_wants_a_user_says_what_to_do_about_it() {
    let unnamed = |mut request: Value| {
        request["consult"] = json!({"speakTo": "destination"});
        request
    };
    for (needs, request, word) in [
        (UserContext::Named, unnamed(consult("user", "bob")), "consult.consultingUserId"),
        (UserContext::OfToken, unnamed(consult("queue", "support")), "client credentials"),
        (UserContext::OfToken, consult("external", "+4930654321"), "a token of the user's own"),
    ] {
        let world = world(Surface::Platform).await;
        world.genesys.consult_needs(needs);

        let response = world.transfer(&KEY, &request).await;

        assert_eq!(told(&response), refused(422, "unsupported"), "{request}");
        assert!(response.json()["detail"].as_str().unwrap().contains(word), "{response:?}");
        assert_eq!(response.json()["upstreamCode"], "not.a.user");
        assert_eq!((state(&world).as_str(), world.genesys.transfer_count()), ("FREE", 0));
        world.genesys.consult_needs(UserContext::NotNeeded);
        assert_eq!(told(&world.transfer(&KEY, &request).await), completed());
    }
    let world = world(Surface::Platform).await;
    world.genesys.consult_needs(UserContext::Named);
    assert_eq!(told(&world.transfer(&KEY, &consult("user", "bob")).await), completed());
}

#[tokio::test]
async fn a_named_leg_is_the_one_that_is_moved() {
    let world = world(Surface::Platform).await;
    let external = Participant::new("other", "external").address("tel:+4930777777");
    world.genesys.conversation("c", Conversation::with_agent("alice").participant(external));
    let mut request = consult("user", "bob");
    request["participantId"] = json!("c-other");

    assert_eq!(told(&world.transfer(&KEY, &request).await), completed());

    let path = "/api/v2/conversations/calls/c/participants/c-other/consult/agent";
    assert_eq!(path_of(&asked(&world)), path);
    assert_eq!(world.trail("conversation:c")[0]["participantId"], "c-other");
}

#[tokio::test]
async fn whatever_the_body_of_a_success_looks_like_it_is_a_success() {
    let odd = [
        (200, Some("text/html"), "<b>ok</b>"),
        (200, Some("application/json"), ""),
        (202, Some("application/json"), "{\"status\":"),
        (201, Some("application/json"), "[]"),
        (200, Some("application/json"), r#"{"status":7}"#),
        (204, None, ""),
    ];
    for (surface, (status, content_type, text)) in SURFACES.into_iter().cycle().zip(odd) {
        let world = world(surface).await;
        let answering = Behaviour::status(status, content_type, text);
        let conversation = Conversation::with_agent("alice").answers_transfers(answering);
        world.genesys.conversation("c", conversation);

        let response = world.transfer(&KEY, &to_support()).await;

        assert_eq!(told(&response), completed(), "{surface} {status} {text}: {response:?}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
    }
}

#[tokio::test]
async fn an_id_with_every_character_it_may_have_reaches_its_path_unharmed() {
    let odd = "custom_-_a.b~C9";
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.conversation(odd, Conversation::with_agent("alice"));
        world.genesys.queue(odd, simulator::Queue::open());
        let mut request = blind("queue", odd);
        request["conversationId"] = json!(odd);

        assert_eq!(told(&world.transfer(&KEY, &request).await), completed(), "{surface}");
        assert_eq!(world.genesys.transfers(odd).len(), 1);
    }
}

#[tokio::test]
async fn a_notice_says_what_was_asked_how_it_ended_and_that_it_is_one() {
    for surface in SURFACES {
        let world = world(surface).await;
        let response = world.transfer(&KEY, &to_support()).await.json();
        let refusal = world.transfer(&[("idempotency-key", "other")], &blind("queue", "nowhere")).await;

        let mut notices = notices(&world);
        notices.sort_by_key(|notice| notice["status"].to_string());

        let (done, failed) = (notices.remove(0), notices.remove(0));
        assert_eq!(
            done,
            json!({"action": "transfer_initiated", "conversation": "c", "destination": "support",
                "transferType": "blind", "status": "completed", "latencyMs": done["latencyMs"],
                "timestamp": response["timestamp"]})
        );
        assert!(done["latencyMs"].is_u64(), "{done}");
        assert_eq!((refusal.status, &failed["status"]), (404, &json!("refused")));
        assert!(failed["error"].as_str().unwrap().starts_with("destination-not-found"), "{failed}");
        for item in world.items("notice") {
            assert!(item.to_string().contains(CRM.1), "{item}");
            assert!(item.to_string().to_lowercase().contains("x-transfer-event"), "{item}");
        }
    }
}

#[tokio::test]
async fn without_a_subscriber_there_is_no_notice() {
    for surface in SURFACES {
        let world = world_with(surface, &[]).await;
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed());
        assert_eq!(world.items("notice").len(), 0);
        assert_eq!(world.trail("conversation:c").len(), 2);
    }
}
