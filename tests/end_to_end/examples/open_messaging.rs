//! Open Messaging: its webhook's deliveries, as the integration is set up.

use harness::world::{WEBHOOK_SECRET, hub_signature};
use serde_json::json;

use super::{file, json_file, text, world};

#[tokio::test]
async fn a_message_is_taken_once_and_only_with_the_integrations_secret() {
    let world = world().await;
    let message = file("examples/open-messaging/outbound-message.json");
    let forged = hub_signature("another secret", message.as_bytes());
    let signature = hub_signature(WEBHOOK_SECRET, message.as_bytes());
    // As the README computes it: base64 and no hex.
    assert!(signature.starts_with("sha256=") && signature.ends_with('='), "{signature}");

    let refused = world.deliver_with(&[("X-Hub-Signature-256", &forged)], message.clone()).await;
    let first = world.deliver_with(&[("X-Hub-Signature-256", &signature)], message.clone()).await;
    let again = world.deliver_with(&[("X-Hub-Signature-256", &signature)], message.clone()).await;

    assert_eq!(refused.problem(), "unauthenticated");
    let id = json_file("examples/open-messaging/outbound-message.json")["id"].clone();
    assert_eq!(first.json(), json!({"status": "ACKNOWLEDGED", "event_id": id}));
    assert_eq!(again.json(), json!({"status": "DUPLICATE", "processed_event_id": id}));
    let kept = world.items("event");
    assert_eq!((kept.len(), &kept[0]["type"]["S"]), (1, &json!("Text")));
}

#[tokio::test]
async fn what_bears_the_id_of_a_message_counts_as_that_message() {
    let world = world().await;
    let message = file("examples/open-messaging/outbound-message.json");
    assert_eq!(world.deliver(message.clone()).await.json()["status"], "ACKNOWLEDGED");

    let receipt = message.replace(r#""type": "Text""#, r#""type": "Receipt", "status": "Delivered""#);
    assert_ne!(receipt, message);

    assert_eq!(world.deliver(receipt).await.json()["status"], "DUPLICATE");
}

#[test]
fn the_readme_names_the_secret_of_the_stack_on_one_machine() {
    let readme = file("examples/open-messaging/README.md");
    assert!(readme.contains(&format!("`{}`", local::WEBHOOK_SECRET)));
}

#[test]
fn the_integration_points_at_the_route_of_the_webhook_intake() {
    let integration = json_file("examples/open-messaging/integration.json");
    let route = &local::template::read()["Resources"]["WebhookRoute"]["Properties"]["RouteKey"];
    let (_, path) = text(route).split_once(' ').expect("a method and a path");
    let url = text(&integration["outboundNotificationWebhookUrl"]);
    assert!(url.starts_with("https://") && url.ends_with(path), "{url}");
}
