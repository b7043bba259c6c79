//! What a trail says of an external number: that it can be proved, and nothing that gives it away.

use harness::secrets_manager::SecretsManager;
use harness::world::World;
use hmac::{Hmac, KeyInit, Mac};
use local::Gateway;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simulator::{Conversation, Fault, Operation, Surface};

use super::{BRIEF, CRM, KEY, SURFACES, blind, completed, consult, to_support, told, world_with};

const NUMBER: &str = "+4930987654";
const PII_KEY: (&str, &str) = ("AUDIT_PII_KEY", "a-key-that-commits");

fn commitment(key: &str, address: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(address.as_bytes());
    format!("hmac-sha256:{}", hex::encode(mac.finalize().into_bytes()))
}

/// Everything on trails, as it lies in the table.
fn told_on_trails(world: &World) -> String {
    world.items("entry#").iter().map(Value::to_string).collect()
}

/// Everything that can become of a transfer to a number, each with a key and without.
async fn every_ending(surface: Surface, variables: &[(&str, &str)]) -> World {
    let world = world_with(surface, variables).await;
    let brief = world.another_instance(&[variables, &[BRIEF]].concat()).await;
    let faults =
        [None, Some(Fault::effect_then_drop()), Some(Fault::status(403)), Some(Fault::drop_before_effect())];
    for (nth, key) in ["", "k"].into_iter().flat_map(|key| (0..5).map(move |nth| (nth, key))) {
        let key = format!("{key}{nth}");
        let headers = [("idempotency-key", key.as_str())];
        let headers = if key.len() == 1 { &[][..] } else { &headers[..] };
        let number = format!("{}{nth}{nth}", &NUMBER[..9]);
        let conversation = if nth == 4 { Conversation::ended() } else { Conversation::with_agent("alice") };
        world.genesys.conversation("c", conversation);
        world.let_pass(std::time::Duration::from_mins(6));
        if let Some(Some(fault)) = faults.get(nth) {
            world.genesys.fault(Operation::Transfer, fault.clone());
        }
        // Only what is never found takes long, and so it is asked of who has little time; under its derived key it
        // stays unknown.
        let gateway = if nth == 3 { &brief } else { &world.gateway };
        world.transfer_at(gateway, headers, &blind("external", &number)).await;
    }
    let mut malformed = blind("external", NUMBER);
    malformed["transferType"] = json!(NUMBER);
    world.transfer(&[], &malformed).await;
    world
}

#[tokio::test]
async fn whatever_becomes_of_it_no_number_is_on_a_trail() {
    for (surface, variables) in [(Surface::Platform, &[CRM, PII_KEY][..]), (Surface::Guide, &[CRM])] {
        let world = every_ending(surface, variables).await;

        let told = told_on_trails(&world);
        assert!(world.trail("conversation:c").len() >= 15, "{told}");
        for part in ["+4930987", "4930987"] {
            assert!(!told.contains(part), "{part}: {told}");
        }
        // Nor a bare hash of it, which trying all numbers would undo.
        let bare = hex::encode(Sha256::digest(NUMBER));
        assert!(!told.contains(&bare) && !told.contains("a-key-that-commits"), "{told}");
    }
}

#[tokio::test]
async fn with_a_key_a_trail_commits_to_the_number() {
    for surface in SURFACES {
        for (address, digits) in [
            (NUMBER, json!("54")),
            ("sip:+4930123478@trunk9.example", json!("78")),
            ("sip:agent@example.com", Value::Null),
        ] {
            for request in [blind("external", address), consult("external", address)] {
                let world = world_with(surface, &[CRM, PII_KEY]).await;
                assert_eq!(told(&world.transfer(&KEY, &request).await), completed(), "{surface} {request}");

                for entry in world.trail("conversation:c") {
                    let destination = &entry["destination"];
                    assert_eq!(destination["type"], "external");
                    assert_eq!(destination["commitment"], commitment(PII_KEY.1, address));
                    assert_eq!(destination["lastTwoDigits"], digits);
                    assert_eq!(destination["id"], Value::Null);
                }
            }
        }
    }
}

#[tokio::test]
async fn without_a_key_a_trail_has_the_last_two_digits_only() {
    for surface in SURFACES {
        let world = world_with(surface, &[CRM]).await;
        world.transfer(&KEY, &blind("external", NUMBER)).await;

        let trail = world.trail("conversation:c");

        assert_eq!(trail.len(), 2);
        for entry in trail {
            assert_eq!(entry["destination"], json!({"type": "external", "lastTwoDigits": "54"}));
        }
    }
}

#[tokio::test]
async fn a_key_that_was_derived_from_a_number_is_not_hashed_onto_a_trail() {
    for surface in SURFACES {
        let world = world_with(surface, &[CRM, PII_KEY]).await;
        let derived = world.transfer(&[], &blind("external", NUMBER)).await;
        world.genesys.conversation("c", Conversation::with_agent("alice"));
        world.transfer(&KEY, &blind("external", NUMBER)).await;
        world.genesys.conversation("c", Conversation::with_agent("alice"));
        world.transfer(&[], &to_support()).await;

        let trail = world.trail("conversation:c");
        let has_hash: Vec<_> = trail.iter().map(|entry| entry["keyHash"].is_string()).collect();

        assert_eq!(has_hash, [false, false, true, true, true, true], "{surface}");
        let key = derived.header("idempotency-key").unwrap();
        assert!(!told_on_trails(&world).contains(key));
        let pks = world.items("claim");
        let of_the_derived = pks.iter().find(|claim| claim["idempotency_key"]["S"] == key).unwrap();
        let hash = of_the_derived["pk"]["S"].as_str().unwrap().trim_start_matches("claim#");
        assert!(!told_on_trails(&world).contains(hash));
    }
}

#[tokio::test]
async fn queues_and_users_are_named() {
    for surface in SURFACES {
        let world = world_with(surface, &[CRM, PII_KEY]).await;
        world.transfer(&KEY, &to_support()).await;
        for entry in world.trail("conversation:c") {
            assert_eq!(entry["destination"], json!({"type": "queue", "id": "support"}));
        }
    }
}

#[tokio::test]
async fn the_key_of_the_commitments_is_found_in_secrets_manager() {
    for surface in SURFACES {
        let world = world_with(surface, &[CRM]).await;
        let vault = SecretsManager::in_front_of(&world.store.url()).await;
        vault.set("the-pii-key", "a-key-from-the-vault");
        let variables = [CRM, ("AUDIT_PII_KEY_SECRET_ID", "the-pii-key")];
        let settings = world.variables(&variables);
        let gateway = Gateway::start(&settings, &vault.url(), world.clock.clock(), 0).await.unwrap();

        let response = world.transfer_at(&gateway, &KEY, &blind("external", NUMBER)).await;

        assert_eq!((told(&response), vault.reads()), (completed(), 1), "{surface}");
        let entry = world.trail("conversation:c")[1].clone();
        assert_eq!(entry["destination"]["commitment"], commitment("a-key-from-the-vault", NUMBER));
    }
}

#[tokio::test]
async fn the_crm_is_told_the_number_because_it_asked_for_it() {
    let world = world_with(Surface::Platform, &[CRM, PII_KEY]).await;
    let response = world.transfer(&KEY, &blind("external", NUMBER)).await;

    assert_eq!(response.json()["destination"]["id"], NUMBER);
    assert_eq!(super::notices(&world)[0]["destination"], NUMBER);
}

#[tokio::test]
async fn a_number_in_the_name_of_a_member_that_is_given_twice_is_not_told_on_the_trail() {
    let world = world_with(Surface::Platform, &[CRM]).await;
    let body = r#"{"conversationId":"c","+4930987654":1,"+4930987654":2}"#;
    world.post(&format!("{}/transfers", world.gateway.url()), &[], body).await;
    assert!(!world.trail("conversation:c")[0].to_string().contains("4930987654"));
}
