//! Secrets in Secrets Manager, and their rotation under a running process.

use harness::events;
use harness::runtime_api::{Lambda, binary};
use harness::secrets_manager::SecretsManager;
use harness::world::World;
use local::hub_signature;
use serde_json::json;
use simulator::{Behaviour, Surface};

use super::request;

/// The binary with this secret's id in its environment, and without any secret in it.
async fn start(world: &World, function: &str, vault: &SecretsManager, variable: &str) -> Lambda {
    const INLINE: [&str; 3] = ["GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET", "WEBHOOK_SECRETS"];
    let url = vault.url();
    let mut variables =
        world.variables(&[(variable, "the-secret"), ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url)]);
    variables.retain(|(name, _)| !INLINE.contains(&name.as_str()));
    Lambda::start(&binary(function), &variables).await
}

fn credentials(id: &str, secret: &str) -> String {
    json!({"client_id": id, "client_secret": secret}).to_string()
}

#[tokio::test]
async fn rotated_genesys_credentials_are_found_without_a_restart() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let vault = SecretsManager::in_front_of(&world.store.url()).await;
    let (id, secret) = world.genesys.credentials();
    vault.set("the-secret", credentials(&id, &secret));
    let lambda = start(&world, "data-actions", &vault, "GENESYS_CREDENTIALS_SECRET_ID").await;
    for key in ["k-1", "k-2"] {
        assert_eq!(lambda.invoke(request(key, &json!({}))).await.json()["statusCode"], 200);
    }
    assert_eq!(vault.reads(), 1);

    world.genesys.set_credentials("another-client", "another-secret");
    vault.set("the-secret", credentials("another-client", "another-secret"));
    world.genesys.expire_tokens();

    assert_eq!(lambda.invoke(request("k-3", &json!({}))).await.json()["statusCode"], 200);
    assert_eq!(vault.reads(), 2);
    assert_eq!(world.genesys.effects("a").len(), 3);
}

#[tokio::test]
async fn credentials_that_genesys_refuses_are_told_and_what_ran_before_is_still_replayed() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::echo());
    let vault = SecretsManager::in_front_of(&world.store.url()).await;
    let (id, secret) = world.genesys.credentials();
    vault.set("the-secret", credentials(&id, &secret));
    let lambda = start(&world, "data-actions", &vault, "GENESYS_CREDENTIALS_SECRET_ID").await;
    assert_eq!(lambda.invoke(request("k-1", &json!({}))).await.json()["replayed"], false);

    world.genesys.set_credentials("another-client", "another-secret");
    world.genesys.expire_tokens();
    assert_eq!(lambda.invoke(request("k-2", &json!({}))).await.error_type(), "UpstreamRejected");
    let cold = start(&world, "data-actions", &vault, "GENESYS_CREDENTIALS_SECRET_ID").await;
    assert_eq!(cold.invoke(request("k-1", &json!({}))).await.json()["replayed"], true);

    vault.set("the-secret", credentials("another-client", "another-secret"));
    for lambda in [&lambda, &cold] {
        assert_eq!(lambda.invoke(request("k-2", &json!({}))).await.json()["statusCode"], 200);
    }
    assert_eq!(world.genesys.effects("a").len(), 2);
}

#[tokio::test]
async fn webhook_secrets_are_found_in_secrets_manager() {
    let world = World::start(Surface::Platform).await;
    let vault = SecretsManager::in_front_of(&world.store.url()).await;
    vault.set("the-secret", "the-new-secret-16, the-old-secret-16\n");
    let lambda = start(&world, "webhook-intake", &vault, "WEBHOOK_SECRETS_SECRET_ID").await;

    let body = br#"{"id":"evt-1","type":"t"}"#;
    for (secret, status) in
        [("the-old-secret-16", 200), ("the-new-secret-16", 200), ("another-secret-of-16", 401)]
    {
        let signature = hub_signature(secret, body);
        let headers = [("x-hub-signature-256", signature.as_str())];
        let event = events::http_v2("POST", "/webhooks/genesys", &headers, body);
        assert_eq!(lambda.invoke_with((&event).into()).await.http().status, status, "{secret}");
    }
}
