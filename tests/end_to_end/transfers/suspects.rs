//! What should hold and does not yet.

use harness::world::World;
use serde_json::{Value, json};
use simulator::{Conversation, Course, Fault, Operation, Surface, User};

use super::{
    CRM, KEY, PAST_THE_LEASE, SURFACES, blind, completed, refused, to_support, told, while_stalled, world,
};

/// A repeat that finds out and the late holder say the same, byte for byte: the record has one answer.
#[tokio::test]
async fn a_late_holder_whose_transfer_a_repeat_has_found_gives_the_repeats_answer() {
    for surface in SURFACES {
        let world = world(surface).await;
        let other = world.another_instance(&[CRM]).await;
        world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());

        let (late, found) = while_stalled(&world, world.transfer(&KEY, &to_support()), async {
            world.let_pass(PAST_THE_LEASE);
            let found = world.transfer_at(&other, &KEY, &to_support()).await;
            world.let_pass(std::time::Duration::from_secs(1));
            found
        })
        .await;

        assert_eq!((told(&late), told(&found)), (completed(), completed()), "{surface}");
        assert_eq!(late.body, found.body, "{surface}");
        assert_eq!(world.transfer(&KEY, &to_support()).await.body, found.body, "{surface}");
    }
}

async fn once_more(world: &World) {
    let before = world.genesys.transfer_count();
    let again = world.transfer(&KEY, &to_support()).await;
    assert!(again.status >= 300 || world.genesys.transfer_count() == before + 1, "{again:?}");
}

/// On the guides' surface the key was bound upstream by the attempt that came to nothing.
#[tokio::test]
async fn a_transfer_that_failed_and_is_repeated_is_not_said_to_be_accepted_unless_it_is() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.transfers_go("c", Course::fails());
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), refused(422, "transfer-refused"));
        world.genesys.transfers_go("c", Course::completes());
        once_more(&world).await;
    }
}

#[tokio::test]
async fn a_transfer_whose_answer_expired_is_not_said_to_be_accepted_unless_it_is() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.transfer(&KEY, &to_support()).await;
        world.genesys.conversation("c", Conversation::with_agent("alice"));
        world.let_pass(std::time::Duration::from_hours(24));
        once_more(&world).await;
    }
}

#[tokio::test]
async fn a_user_whom_the_guides_surface_does_not_know_is_no_destination() {
    let world = world(Surface::Guide).await;
    let response = world.transfer(&KEY, &blind("user", "nobody")).await;
    assert_eq!(told(&response), refused(404, "destination-not-found"));
    world.genesys.user("nobody", User::available());
}

#[tokio::test]
async fn a_member_of_a_member_is_named_in_full() {
    let world = world(Surface::Platform).await;
    let mut by_id = to_support();
    by_id["destination"]["id"] = json!(7);
    let mut by_consult = to_support();
    by_consult["consult"] = json!({"consultingUserId": 7});
    for (request, name) in [(by_id, "destination.id"), (by_consult, "consult.consultingUserId")] {
        let response = world.transfer(&KEY, &request).await;
        let detail: Value = response.json()["detail"].clone();
        assert!(detail.as_str().unwrap().starts_with(name), "{name}: {detail}");
    }
}

#[tokio::test]
async fn a_number_in_the_name_of_a_member_that_is_given_twice_is_not_told_on_the_trail() {
    let world = world(Surface::Platform).await;
    let body = r#"{"conversationId":"c","+4930987654":1,"+4930987654":2}"#;
    world.post(&format!("{}/transfers", world.gateway.url()), &[], body).await;
    assert!(!world.trail("conversation:c")[0].to_string().contains("4930987654"));
}

/// The leg that is named must be one that such a transfer is for.
#[tokio::test]
async fn a_blind_transfer_does_not_replace_the_customer() {
    let world = world(Surface::Platform).await;
    let mut request = to_support();
    request["participantId"] = json!("c-customer");
    let response = world.transfer(&KEY, &request).await;
    assert!(response.status >= 400 && world.genesys.request_count(Operation::Transfer) == 0, "{response:?}");
}

#[tokio::test]
async fn who_consults_cannot_be_named_on_the_guides_surface_and_is_not_left_out_in_silence() {
    let world = world(Surface::Guide).await;
    let response = world.transfer(&KEY, &super::consult("user", "bob")).await;
    assert_eq!(told(&response), refused(422, "unsupported"));
}
