//! What is set: the README, the code and the template have the same settings, and the functions take what the template allows.

use std::collections::{BTreeMap, BTreeSet};

use harness::runtime_api::{Lambda, binary};
use harness::secrets_manager::SecretsManager;
use harness::world::World;
use local::Gateway;
use serde_json::Value;
use simulator::Surface;

use super::{SECRET, TEMPLATE, as_text, defaults, functions, resolved, source, with};

/// Settings that would hold a secret themselves, or let notices go anywhere: never in a template.
const FOR_ONE_MACHINE: [&str; 5] = [
    "WEBHOOK_SECRETS",
    "GENESYS_CLIENT_ID",
    "GENESYS_CLIENT_SECRET",
    "AUDIT_PII_KEY",
    "NOTICE_ALLOW_PRIVATE",
];

/// The settings of a function, as the README's table has them.
fn documented(function: &str) -> BTreeSet<String> {
    let section =
        include_str!("../../../README.md").split("\n## ").find(|section| section.starts_with("Settings"));
    let rows = section.expect("a section Settings").lines().filter(|line| line.starts_with("| `"));
    let is_of = |whose: &str| whose.split(',').any(|name| ["all", function].contains(&name.trim()));
    rows.filter(|row| row.split('|').nth(2).is_some_and(is_of))
        .flat_map(|row| variables_in(row.split('|').nth(1).unwrap_or_default(), '`'))
        .collect()
}

/// The settings of a function, as its code asks for them.
fn asked_for(function: &str) -> BTreeSet<String> {
    let mut files =
        vec![format!("functions/{function}/src/settings.rs"), "shared/src/telemetry.rs".to_owned()];
    if ["data-actions", "transfers", "retention"].contains(&function) {
        files.push("shared/src/genesys/settings.rs".to_owned());
    }
    files.iter().flat_map(|file| variables_in(&source(file), '"')).collect()
}

/// The names of environment variables that stand in `text` between two `quote`s.
fn variables_in(text: &str, quote: char) -> Vec<String> {
    let is_variable = |word: &&str| {
        word.contains('_') && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    text.split(quote).filter(is_variable).map(str::to_owned).collect()
}

/// A function's environment under these parameters.
fn environment(function: &Value, parameters: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let variables = function["Environment"]["Variables"].as_object().expect("variables");
    let value = |value: &Value| Some(plain(&resolved(value, parameters)?));
    variables.iter().filter_map(|(name, it)| Some((name.clone(), value(it)?))).collect()
}

/// What `CloudFormation` makes of a value: its own resources' names, and secrets in the place of references to them.
fn plain(value: &Value) -> String {
    match (value["Ref"].as_str(), value["Fn::Sub"].as_str()) {
        (Some("Table" | "EventBus"), _) => "patchbay".to_owned(),
        (_, Some(text)) if text.contains("{{resolve:secretsmanager:") => "whsec_c2VjcmV0".to_owned(),
        _ => value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned(),
    }
}

#[test]
fn the_readme_the_code_and_the_template_name_the_same_settings() {
    for (name, function) in functions() {
        let documented = documented(&name);
        assert_eq!(asked_for(&name), documented, "{name}: the code and the README");
        let given = function["Environment"]["Variables"].as_object().expect("variables");
        let given: BTreeSet<String> = given.keys().cloned().collect();
        let deployed = documented.into_iter().filter(|name| !FOR_ONE_MACHINE.contains(&name.as_str()));
        assert_eq!(given, deployed.collect(), "{name}: the template and the README");
    }
}

#[tokio::test]
async fn with_the_templates_defaults_each_binary_starts() {
    let world = World::start(Surface::Platform).await;
    let vault = SecretsManager::in_front_of(&world.store.url()).await;
    vault.set(SECRET, "a-secret-for-deliveries");

    for (name, function) in functions() {
        let mut variables = environment(&function, &defaults());
        variables.push(("AWS_ENDPOINT_URL_SECRETS_MANAGER".to_owned(), vault.url()));
        let lambda = Lambda::start(&binary(&name), &variables).await;
        assert!(lambda.ready().await.is_some(), "{name}: {}", lambda.output());
    }
}

/// Each parameter's own extremes, with the others at their defaults.
fn extremes() -> Vec<BTreeMap<String, String>> {
    let parameters = TEMPLATE["Parameters"].clone();
    let mut all = vec![defaults()];
    for (name, parameter) in parameters.as_object().expect("parameters") {
        let allowed = parameter["AllowedValues"].as_array().into_iter().flatten();
        let bounds = [&parameter["MinValue"], &parameter["MaxValue"]].into_iter().filter(|it| !it.is_null());
        for value in allowed.chain(bounds) {
            all.push(with(&[(name, &as_text(value))]));
        }
    }
    for (name, value) in [
        ("GenesysApiUrl", "https://gateway.example/genesys"),
        ("GenesysLoginUrl", "https://login.example"),
        ("RetrySafeDataActions", "*"),
        ("RetrySafeDataActions", "custom_-_1, b.c~d"),
        ("AuditPiiKeySecretArn", SECRET),
        ("CrmWebhookUrl", "https://crm.example/hooks?tenant=1"),
        ("NoticeSigningSecretsSecretArn", SECRET),
        ("NoticeRetrySeconds", "1"),
        ("AuditWebhookUrl", "https://audit.example/retention"),
    ] {
        all.push(with(&[(name, value)]));
    }
    all
}

#[tokio::test]
async fn whatever_the_template_allows_the_functions_accept() {
    let world = World::start(Surface::Platform).await;
    let vault = SecretsManager::in_front_of(&world.store.url()).await;
    vault.set(SECRET, "a-secret-for-deliveries");
    let functions = functions();

    let environment = |parameters| {
        functions.values().flat_map(|function| environment(function, parameters)).collect::<BTreeMap<_, _>>()
    };
    let environments: BTreeSet<_> = extremes().iter().map(environment).collect();

    assert!(environments.len() > 40, "{environments:#?}");
    for variables in environments {
        let variables: Vec<_> = variables.into_iter().collect();
        let started = Gateway::start(&variables, &vault.url(), world.clock.clock(), 0).await;
        assert!(started.is_ok(), "{variables:#?}: {started:?}");
    }
}
