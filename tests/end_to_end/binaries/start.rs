//! A function that cannot work does not start, and says why, once.

use harness::runtime_api::{Lambda, binary};
use harness::world::World;
use serde_json::Value;
use simulator::Surface;

use super::{data_actions, webhook_intake};

/// The process has ended in failure with one line, which names all of these and goes to Lambda as well.
async fn assert_refused_to_start(lambda: &Lambda, named: &[&str]) {
    let status = lambda.exit().await;
    assert!(!status.success(), "{status}");
    let output = lambda.output();
    assert_eq!(output.lines().count(), 1, "{output}");
    let line: Value = serde_json::from_str(&output).expect("the line is JSON");
    assert_eq!(line["level"], "ERROR");
    let report = lambda.init_error().expect("Lambda was told");
    for message in [&line["message"], &report["errorMessage"]] {
        let message = message.as_str().expect("a message");
        for name in named {
            assert!(message.contains(name), "{name}: {message}");
        }
    }
    assert!(report["errorType"].as_str().is_some_and(|name| !name.is_empty()), "{report}");
    assert_eq!(lambda.first_poll_after(), None);
}

#[tokio::test]
async fn data_actions_names_every_bad_setting_in_one_line() {
    let world = World::start(Surface::Platform).await;
    let bad = [
        ("TABLE_NAME", ""),
        ("GENESYS_API", "both"),
        ("GENESYS_API_URL", "nowhere"),
        ("GENESYS_LOGIN_URL", ""),
        ("GENESYS_REGION", "example.com"),
        ("GENESYS_CLIENT_ID", ""),
        ("GENESYS_DATA_ACTION_ROUTE", "run"),
        ("RETRY_SAFE_DATA_ACTIONS", "a,../b"),
        ("IDEMPOTENCY_TTL_SECONDS", "-1"),
        ("LEASE_SECONDS", "0"),
        ("RETRY_ATTEMPTS", "many"),
        ("RETRY_BASE_MS", "1.5"),
        ("MAX_BODY_BYTES", "1e9"),
        ("HTTP_TIMEOUT_SECONDS", "0"),
        ("LOG_LEVEL", "loud"),
    ];

    let lambda = data_actions(&world, &bad).await;

    let names: Vec<&str> =
        bad.iter().map(|(name, _)| *name).filter(|name| *name != "GENESYS_LOGIN_URL").collect();
    assert_refused_to_start(&lambda, &names).await;
    let (_, client_secret) = world.genesys.credentials();
    assert!(!lambda.output().contains(&client_secret));
}

#[tokio::test]
async fn webhook_intake_names_every_bad_setting_in_one_line() {
    let world = World::start(Surface::Platform).await;
    let bad = [
        ("TABLE_NAME", "  "),
        ("WEBHOOK_SECRETS", "whsec_%hush-hush%"),
        ("EVENT_TTL_SECONDS", "soon"),
        ("MAX_BODY_BYTES", "0"),
        ("LOG_LEVEL", "loud"),
    ];

    let lambda = webhook_intake(&world, &bad).await;

    assert_refused_to_start(&lambda, &bad.map(|(name, _)| name)).await;
    assert!(!lambda.output().contains("hush-hush"));
}

#[tokio::test]
async fn nobody_starts_without_any_setting() {
    for (function, named) in [
        ("data-actions", &["TABLE_NAME", "GENESYS_REGION", "GENESYS_CLIENT_ID"][..]),
        ("webhook-intake", &["TABLE_NAME", "WEBHOOK_SECRETS"]),
    ] {
        let lambda = Lambda::start(&binary(function), &[]).await;
        assert_refused_to_start(&lambda, named).await;
    }
}

#[tokio::test]
async fn webhook_intake_does_not_start_without_its_secret() {
    let world = World::start(Surface::Platform).await;
    let vault = harness::secrets_manager::SecretsManager::in_front_of(&world.store.url()).await;
    vault.set("empty", "one,,two");
    let url = vault.url();

    for (id, named) in [("absent", "absent"), ("empty", "WEBHOOK_SECRETS_SECRET_ID")] {
        let variables = [("WEBHOOK_SECRETS_SECRET_ID", id), ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url)];
        assert_refused_to_start(&webhook_intake(&world, &variables).await, &[named]).await;
    }
}

#[tokio::test]
async fn a_binary_started_by_hand_says_what_it_is_for() {
    for function in ["data-actions", "webhook-intake"] {
        let mut command = std::process::Command::new(binary(function));
        let output = command.env_clear().output().expect("the binary can be run");

        assert!(!output.status.success());
        let said = String::from_utf8(output.stdout).expect("text");
        assert!(said.contains("AWS_LAMBDA_RUNTIME_API") && said.contains("patchbay"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
