//! Who may deliver: signatures of two kinds, tokens, rotation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::secrets_manager::SecretsManager;
use harness::world::{Response, WEBHOOK_SECRET, World};
use hmac::{Hmac, KeyInit as _, Mac as _};
use local::{Gateway, hub_signature};
use sha2::Sha256;
use simulator::Surface;

use super::EVENT;

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Delivers as Standard Webhooks describes it, `seconds` away from the functions' clock.
async fn deliver_by_standard(world: &World, key: &[u8], seconds: i64) -> Response {
    let timestamp = (world.clock.clock().now().as_second() + seconds).to_string();
    let signature = STANDARD.encode(hmac(key, format!("msg_1.{timestamp}.{EVENT}").as_bytes()));
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", timestamp.as_str()),
        ("webhook-signature", &format!("v1a,AAAA v1,{signature}")),
    ];
    world.deliver_with(&headers, EVENT).await
}

/// Refused, nothing stored, and the store not even asked.
fn assert_turned_away(world: &World, answer: &Response) {
    assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthenticated"));
    assert!(world.items("").is_empty());
    assert_eq!(world.store.total(), 0);
}

#[tokio::test]
async fn a_delivery_with_a_bad_signature_or_none_leaves_nothing_behind() {
    let world = World::start(Surface::Platform).await;
    let forged = hub_signature("another-secret-altogether", EVENT.as_bytes());
    let of_another_body = hub_signature(WEBHOOK_SECRET, b"{}");
    let cut = hub_signature(WEBHOOK_SECRET, EVENT.as_bytes());
    let cut = &cut[..cut.len() - 8];

    for signature in [forged.as_str(), of_another_body.as_str(), cut, "sha256=", "nonsense", ""] {
        let answer = world.deliver_with(&[("x-hub-signature-256", signature)], EVENT).await;
        assert_turned_away(&world, &answer);
    }
    assert_turned_away(&world, &world.deliver_with(&[], EVENT).await);
    // What a stranger sends is not kept as a curiosity either.
    assert_turned_away(&world, &world.deliver_with(&[], "not an event").await);
}

#[tokio::test]
async fn a_hub_signature_is_accepted_in_base64_and_in_hex() {
    for encode in [|mac: &[u8]| STANDARD.encode(mac), |mac: &[u8]| hex::encode(mac)] {
        let world = World::start(Surface::Platform).await;
        let signature = encode(&hmac(WEBHOOK_SECRET.as_bytes(), EVENT.as_bytes()));

        let answer =
            world.deliver_with(&[("x-hub-signature-256", &format!("sha256={signature}"))], EVENT).await;

        assert_eq!(answer.json()["status"], "ACKNOWLEDGED");
    }
}

#[tokio::test]
async fn a_standard_signature_is_accepted_up_to_five_minutes_from_the_clock() {
    for seconds in [0, -300, 300] {
        let world = World::start(Surface::Platform).await;
        let answer = deliver_by_standard(&world, WEBHOOK_SECRET.as_bytes(), seconds).await;
        assert_eq!(answer.json()["status"], "ACKNOWLEDGED", "{seconds}");
    }
    let world = World::start(Surface::Platform).await;
    for seconds in [-301, 301, -86_400] {
        let answer = deliver_by_standard(&world, WEBHOOK_SECRET.as_bytes(), seconds).await;
        assert_turned_away(&world, &answer);
    }
    let answer = deliver_by_standard(&world, b"another-secret-altogether", 0).await;
    assert_turned_away(&world, &answer);
}

#[tokio::test]
async fn a_standard_secret_is_used_as_its_prefix_says() {
    let key = b"0123456789abcdef01234567";
    let secret = format!("whsec_{}", STANDARD.encode(key));
    let world = World::with(Surface::Platform, &[("WEBHOOK_SECRETS", &secret)]).await;

    assert_turned_away(&world, &deliver_by_standard(&world, secret.as_bytes(), 0).await);
    assert_eq!(deliver_by_standard(&world, key, 0).await.json()["status"], "ACKNOWLEDGED");
}

#[tokio::test]
async fn during_a_rotation_either_secret_is_accepted() {
    let secrets = [("WEBHOOK_SECRETS", "the-new-secret-16, the-old-secret-16")];
    for (secret, status) in [("the-new-secret-16", 200), ("the-old-secret-16", 200), (WEBHOOK_SECRET, 401)] {
        let world = World::with(Surface::Platform, &secrets).await;
        let signature = hub_signature(secret, EVENT.as_bytes());

        let answer = world.deliver_with(&[("x-hub-signature-256", &signature)], EVENT).await;

        assert_eq!(answer.status, status, "{secret}");
        assert_eq!(deliver_by_standard(&world, secret.as_bytes(), 0).await.status, status, "{secret}");
    }
}

#[tokio::test]
async fn a_token_is_accepted_where_tokens_are_asked_for() {
    let world = World::with(Surface::Platform, &[("WEBHOOK_AUTH", "token")]).await;
    let signature = hub_signature(WEBHOOK_SECRET, EVENT.as_bytes());

    // A signature is no token.
    for (name, value) in [
        ("authorization", "Bearer another-secret"),
        ("authorization", WEBHOOK_SECRET),
        ("authorization", "Bearer "),
        ("x-hub-signature-256", &signature),
    ] {
        assert_turned_away(&world, &world.deliver_with(&[(name, value)], EVENT).await);
    }
    let bearer = format!("Bearer {WEBHOOK_SECRET}");
    let answer = world.deliver_with(&[("authorization", &bearer)], EVENT).await;
    assert_eq!(answer.json()["status"], "ACKNOWLEDGED");
}

#[tokio::test]
async fn anybody_may_deliver_where_nobody_is_asked() {
    let open = [("WEBHOOK_AUTH", "none"), ("WEBHOOK_SECRETS", "")];
    let world = World::with(Surface::Platform, &open).await;

    assert_eq!(world.deliver_with(&[], EVENT).await.json()["status"], "ACKNOWLEDGED");
}

/// A gateway whose webhook secrets are in Secrets Manager.
async fn with_a_vault(world: &World) -> (SecretsManager, Gateway) {
    let vault = SecretsManager::in_front_of(&world.store.url()).await;
    vault.set("the-webhook-secrets", "the-old-secret-16");
    let variables = world.variables(&[("WEBHOOK_SECRETS_SECRET_ID", "the-webhook-secrets")]);
    let gateway = Gateway::start(&variables, &vault.url(), world.clock.clock(), 0).await;
    (vault, gateway.expect("the functions start"))
}

async fn deliver_signed_with(world: &World, gateway: &Gateway, secret: &str) -> u16 {
    let signature = hub_signature(secret, EVENT.as_bytes());
    let url = format!("{}/webhooks/genesys", gateway.url());
    world.post(&url, &[("x-hub-signature-256", &signature)], EVENT).await.status
}

#[tokio::test]
async fn a_failed_signature_has_the_secrets_read_again_at_most_once_a_minute() {
    let world = World::start(Surface::Platform).await;
    let (vault, gateway) = with_a_vault(&world).await;
    assert_eq!(deliver_signed_with(&world, &gateway, "the-old-secret-16").await, 200);
    assert_eq!(vault.reads(), 1);
    world.let_pass(std::time::Duration::from_mins(1));

    vault.set("the-webhook-secrets", "the-new-secret-16");
    assert_eq!(deliver_signed_with(&world, &gateway, "the-new-secret-16").await, 200);
    assert_eq!(vault.reads(), 2);
    for _ in 0..3 {
        assert_eq!(deliver_signed_with(&world, &gateway, "the-old-secret-16").await, 401);
    }
    assert_eq!(vault.reads(), 2);
    world.let_pass(std::time::Duration::from_mins(1));
    assert_eq!(deliver_signed_with(&world, &gateway, "the-old-secret-16").await, 401);
    assert_eq!(vault.reads(), 3);
}

#[tokio::test]
async fn a_secret_rotated_out_is_refused_five_minutes_later_at_the_latest() {
    let world = World::start(Surface::Platform).await;
    let (vault, gateway) = with_a_vault(&world).await;

    vault.set("the-webhook-secrets", "the-new-secret-16");
    assert_eq!(deliver_signed_with(&world, &gateway, "the-old-secret-16").await, 200);
    world.let_pass(std::time::Duration::from_mins(5));
    assert_eq!(deliver_signed_with(&world, &gateway, "the-old-secret-16").await, 401);
    assert_eq!(deliver_signed_with(&world, &gateway, "the-new-secret-16").await, 200);
    assert_eq!(vault.reads(), 2);
}
