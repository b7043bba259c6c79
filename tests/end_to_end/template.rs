//! `template.yaml` and the code say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::future::join;
use harness::events;
use harness::runtime_api::{Lambda, binary};
use harness::secrets_manager::SecretsManager;
use harness::world::World;
use local::{Gateway, template};
use serde_json::{Value, json};
use simulator::{Behaviour, Conversation, Fault, Operation, PolicyCourse, Queue, Surface};

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
        include_str!("../../README.md").split("\n## ").find(|section| section.starts_with("Settings"));
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

/// A file of the repository, by its path there.
fn source(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of environment variables that stand in `text` between two `quote`s.
fn variables_in(text: &str, quote: char) -> Vec<String> {
    let is_variable = |word: &&str| {
        word.contains('_') && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    text.split(quote).filter(is_variable).map(str::to_owned).collect()
}

/// The secret that stands in for both whole ARNs.
const SECRET: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:patchbay-a1B2c3";

/// The functions' properties by the name of their binary.
fn functions() -> BTreeMap<String, Value> {
    let resources = template::read()["Resources"].take();
    let resources = resources.as_object().expect("resources").values();
    let functions = resources.filter(|resource| resource["Type"] == "AWS::Serverless::Function");
    let named = |function: &Value| {
        let name = function["Metadata"]["BuildProperties"]["Binary"].as_str().expect("a binary");
        (name.to_owned(), function["Properties"].clone())
    };
    functions.map(named).collect()
}

/// What an expression of the template comes to with these parameters; nothing, where it is left out.
fn resolve(expression: &Value, parameters: &BTreeMap<String, String>) -> Option<String> {
    if let Some(text) = expression["Fn::Sub"].as_str() {
        // CloudFormation puts the secret itself in the place of a reference to one.
        return Some(
            if text.contains("{{resolve:secretsmanager:") { "whsec_c2VjcmV0" } else { text }.to_owned(),
        );
    }
    if let Some(name) = expression["Ref"].as_str() {
        return match name {
            "AWS::NoValue" => None,
            "Table" | "EventBus" => Some("patchbay".to_owned()),
            _ => Some(parameters.get(name).unwrap_or_else(|| panic!("no value for {name}")).clone()),
        };
    }
    let [condition, then, otherwise] = expression["Fn::If"].as_array().expect("Ref or If").as_slice() else {
        panic!("an If with other than three members: {expression}")
    };
    let condition = &template::read()["Conditions"][condition.as_str().expect("a name")];
    let equals = &condition["Fn::Not"][0]["Fn::Equals"];
    let is_equal = resolve(&equals[0], parameters).as_deref() == equals[1].as_str();
    resolve(if is_equal { otherwise } else { then }, parameters)
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The parameters as they are when only those are given that have no default.
fn defaults() -> BTreeMap<String, String> {
    let parameters = template::read()["Parameters"].take();
    let default = |(name, parameter): (&String, &Value)| {
        let given = match name.as_str() {
            "WebhookSecretsSecretArn" | "GenesysCredentialsSecretArn" => Some(SECRET.to_owned()),
            "GenesysRegion" => Some("mypurecloud.ie".to_owned()),
            _ => None,
        };
        let default = parameter.get("Default").map(as_text);
        (name.clone(), given.or(default).unwrap_or_else(|| panic!("{name} has no default")))
    };
    parameters.as_object().expect("parameters").iter().map(default).collect()
}

/// A function's environment under these parameters.
fn environment(function: &Value, parameters: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let variables = function["Environment"]["Variables"].as_object().expect("variables");
    let resolved = variables.iter().map(|(name, value)| Some((name.clone(), resolve(value, parameters)?)));
    resolved.flatten().collect()
}

#[tokio::test]
async fn every_route_of_the_template_is_served_and_with_its_method_only() {
    let world = World::start(Surface::Platform).await;
    let http = reqwest::Client::new();
    let mut served = BTreeSet::new();

    for function in functions().values() {
        let routes = function["Events"].as_object().unwrap().values();
        for route in routes.filter(|event| event["Type"] == "HttpApi").map(|event| &event["Properties"]) {
            let (method, path) = (route["Method"].as_str().unwrap(), route["Path"].as_str().unwrap());
            let url = format!("{}{}", world.gateway.url(), path.replace("{dataActionId}", "a"));
            for other in ["GET", "PUT", "DELETE", "POST", "PATCH"] {
                let request = http.request(other.parse().unwrap(), &url).send().await.unwrap();
                let status = request.status().as_u16();
                assert_eq!(status == 405, other != method, "{other} {path}: {status}");
                assert_ne!(status, 404, "{other} {path}");
            }
            assert_eq!(route["PayloadFormatVersion"], "2.0");
            served.insert(format!("{method} {path}"));
        }
    }
    let documented =
        ["POST /data-actions/{dataActionId}/invocations", "POST /transfers", "POST /webhooks/genesys"];
    assert_eq!(served, documented.map(str::to_owned).into());
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
    let parameters = template::read()["Parameters"].take();
    let mut all = vec![defaults()];
    for (name, parameter) in parameters.as_object().expect("parameters") {
        let allowed = parameter["AllowedValues"].as_array().into_iter().flatten();
        let bounds = [&parameter["MinValue"], &parameter["MaxValue"]].into_iter().filter(|it| !it.is_null());
        for value in allowed.chain(bounds) {
            let mut values = defaults();
            values.insert(name.clone(), as_text(value));
            all.push(values);
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
        let mut values = defaults();
        values.insert(name.to_owned(), value.to_owned());
        all.push(values);
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

#[test]
fn the_table_has_the_keys_and_the_time_to_live_that_the_code_uses() {
    let table = template::table();
    let key =
        json!([{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]);
    assert_eq!(table["KeySchema"], key);
    let due = json!([{
        "IndexName": "due",
        "KeySchema": [
            {"AttributeName": "due_shard", "KeyType": "HASH"},
            {"AttributeName": "due_at", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }]);
    assert_eq!(table["GlobalSecondaryIndexes"], due);
    let types = table["AttributeDefinitions"].as_array().expect("a list").iter();
    let types: Vec<_> = types
        .map(|it| {
            (
                it["AttributeName"].as_str().unwrap_or_default(),
                it["AttributeType"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(types, [("pk", "S"), ("sk", "S"), ("due_shard", "S"), ("due_at", "N")]);
    assert_eq!(table["TimeToLiveSpecification"], json!({"AttributeName": "expires_at", "Enabled": true}));
}

#[test]
fn directories_crates_and_binaries_have_one_name() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let directories = std::fs::read_dir(workspace.join("functions")).unwrap();
    let directories: BTreeSet<String> =
        directories.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let functions = functions();

    assert_eq!(directories, functions.keys().cloned().collect());
    for (name, function) in functions {
        assert_eq!(function["CodeUri"], format!("functions/{name}"));
        let manifest =
            std::fs::read_to_string(workspace.join(format!("functions/{name}/Cargo.toml"))).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{manifest}");
        assert!(binary(&name).is_file());
    }
}

/// The statements of a function's role.
fn statements(role: &str) -> Vec<Value> {
    let policies = template::read()["Resources"][role]["Properties"]["Policies"].take();
    let policies = policies.as_array().expect("policies").iter();
    policies
        .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().expect("a list"))
        .map(unconditional)
        .collect()
}

/// A statement that may be left out, as it is where it is not.
fn unconditional(statement: &Value) -> Value {
    statement.get("Fn::If").map_or(statement, |condition| &condition[1]).clone()
}

fn actions(statement: &Value) -> Vec<String> {
    match &statement["Action"] {
        Value::Array(actions) => actions.iter().map(as_text).collect(),
        action => vec![as_text(action)],
    }
}

/// What a role may do in DynamoDB.
fn granted(role: &str) -> BTreeSet<String> {
    let actions = statements(role).iter().flat_map(actions).collect::<Vec<_>>();
    actions.iter().filter_map(|action| action.strip_prefix("dynamodb:")).map(str::to_owned).collect()
}

/// The permissions that the requests seen so far needed.
fn needed(world: &World) -> BTreeSet<String> {
    let permission = |operation: &String| match operation.as_str() {
        // A transaction needs the permission for each of its parts, and here they are puts.
        "TransactWriteItems" => "PutItem".to_owned(),
        operation => operation.to_owned(),
    };
    world.store.counts().keys().map(permission).collect()
}

#[tokio::test]
async fn webhook_intake_may_do_what_it_does_and_no_more() {
    let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "1000000")]).await;

    world.deliver(r#"{"id":"small","type":"t"}"#).await;
    world.deliver(json!({"id": "large", "text": "x".repeat(600_000)}).to_string()).await;
    world.deliver("not an event").await;

    let operations: Vec<String> = world.store.counts().into_keys().collect();
    assert_eq!(operations, ["PutItem", "TransactWriteItems"]);
    assert_eq!(granted("WebhookIntakeRole"), needed(&world));
}

#[tokio::test]
async fn data_actions_may_do_what_it_does_and_no_more() {
    let world = World::start(Surface::Platform).await;
    let key = [("idempotency-key", "large")];
    world.genesys.data_action("large", Behaviour::status(200, "text/plain", "x".repeat(600_000)));
    world.invoke("large", &key, "{}").await;
    let cold = world.another_instance(&[]).await;
    assert!(world.invoke_at(&cold, "large", &key, "{}").await.is_replay());
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());
    let patient = [("idempotency-key", "k"), ("prefer", "wait=20")];
    let release = async {
        world.store.wait_for("GetItem", 1).await;
        world.genesys.release_stalled();
    };
    let running = join(world.invoke("a", &patient, "{}"), world.invoke_at(&cold, "a", &patient, "{}"));
    let ((one, other), ()) = join(running, release).await;

    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(granted("DataActionsRole"), needed(&world));
}

/// Every statement of every policy, wherever it hangs.
fn all_statements(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| all_statements(element, found)),
        Value::Object(members) => {
            let statements = members.get("Statement").and_then(Value::as_array).into_iter().flatten();
            found.extend(statements.map(unconditional));
            members.values().for_each(|member| all_statements(member, found));
        }
        _ => {}
    }
}

#[test]
fn no_policy_is_open_to_everything() {
    let mut found = Vec::new();
    all_statements(&template::read()["Resources"], &mut found);
    assert!(found.len() > 8, "{found:?}");

    for statement in found {
        assert!(actions(&statement).iter().all(|action| !action.contains('*')), "{statement}");
        let resources =
            statement["Resource"].as_array().cloned().unwrap_or(vec![statement["Resource"].clone()]);
        assert!(resources.iter().all(|resource| !resource.to_string().contains('*')), "{statement}");
        assert_ne!(statement["Principal"], "*", "{statement}");
    }
}

#[test]
fn every_queue_and_log_a_role_names_is_of_this_template() {
    let template = template::read();
    let roles = ["WebhookIntakeRole", "DataActionsRole", "TransfersRole", "RetentionRole", "RelayRole"];
    for role in roles {
        for statement in statements(role) {
            let named =
                ["Fn::GetAtt", "Ref", "Fn::Sub"].iter().find_map(|form| statement["Resource"][form].as_str());
            let named = named.unwrap_or_else(|| panic!("no one resource: {statement}"));
            let named = named.trim_start_matches("${");
            let name = named.split('.').next().unwrap();
            let is_known = ["Resources", "Parameters"].iter().any(|part| template[part].get(name).is_some());
            assert!(is_known, "{named}");
        }
    }
}

#[tokio::test]
async fn transfers_may_do_what_it_does_and_no_more() {
    let world = World::with(Surface::Platform, &[("CRM_WEBHOOK_URL", "https://crm.example")]).await;
    world.genesys.conversation("c", Conversation::with_agent("alice"));
    world.genesys.queue("q", Queue::open().joined(1));
    world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
    let order =
        json!({"conversationId": "c", "transferType": "blind", "destination": {"type": "queue", "id": "q"}});
    let patient = [("idempotency-key", "k"), ("prefer", "wait=20")];
    let cold = world.another_instance(&[]).await;
    let one = world.transfer(&patient, &order);
    let other = async {
        world.genesys.wait_for_stalled(1).await;
        world.transfer_at(&cold, &patient, &order).await
    };
    let release = async {
        world.store.wait_for("GetItem", 1).await;
        world.genesys.release_stalled();
    };
    let ((one, other), ()) = join(join(one, other), release).await;

    assert_eq!((one.status, other.status), (200, 200));
    // A transaction's parts: the claim is updated; entry, head and notice are put.
    assert_eq!(granted("TransfersRole"), needed(&world));
}

#[tokio::test]
async fn retention_may_do_what_it_does_and_no_more() {
    let world = World::with(Surface::Guide, &[("AUDIT_WEBHOOK_URL", "https://audit.example")]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    let policies: Vec<Value> = (0..20)
        .map(|number| {
            json!({"name": format!("p-{number}"), "objectType": "call", "retentionPeriod": 100 + number * 20,
                "schedule": {"frequency": "DAILY"}})
        })
        .collect();
    let order = json!({"run": "run", "runId": "r", "licenseTier": "STANDARD", "policies": policies});
    let cold = world.another_instance(&[]).await;

    let first = world.retention(&order).await;
    let again = world.retention_at(&cold, &order).await;

    assert_eq!(first.json(), again.json());
    // Where a trail ends is read only if a rival is seen halfway through.
    let mut granted = granted("RetentionRole");
    assert!(granted.remove("GetItem"));
    assert_eq!(granted, needed(&world));
}

#[test]
fn the_schedules_say_what_the_function_understands() {
    let events = functions()["retention"]["Events"].clone();
    let parameters = defaults();
    let input = events["Daily"]["Properties"]["Input"]["Fn::Sub"].as_str().expect("a text").to_owned();
    let input =
        parameters.iter().fold(input, |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
    let order: Value = serde_json::from_str(&input).expect("the daily order is JSON");
    assert_eq!(order["runId"], "<aws.scheduler.execution-id>");
    assert_eq!((&order["run"], &order["policies"]), (&json!("run"), &json!([])));
    let resume = events["Resume"]["Properties"]["Input"].as_str().expect("a text");
    assert_eq!(serde_json::from_str::<Value>(resume).expect("JSON"), json!({"run": "resume"}));
}

#[test]
fn every_alarm_watches_something_that_is_counted() {
    let resources = template::read()["Resources"].take();
    let metrics = source("shared/src/telemetry.rs");
    let functions = functions();
    let alarms = resources.as_object().expect("resources").values();
    let alarms: Vec<_> = alarms.filter(|it| it["Type"] == "AWS::CloudWatch::Alarm").collect();
    for alarm in alarms.iter().map(|alarm| &alarm["Properties"]) {
        let (metric, of) = (as_text(&alarm["MetricName"]), &alarm["Dimensions"][0]["Value"]);
        match alarm["Namespace"].as_str() {
            Some("Patchbay") => {
                assert!(metrics.contains(&format!("\n    {metric},\n")), "{metric} is not counted");
                assert!(functions.contains_key(&as_text(of)), "{metric} of {of}");
            }
            Some("AWS/SQS") => {
                let queue = as_text(&of["Fn::GetAtt"]);
                let queue = queue.strip_suffix(".QueueName").expect("a queue's name");
                assert_eq!(resources[queue]["Type"], "AWS::SQS::Queue", "{queue}");
            }
            other => panic!("{metric} is in {other:?}"),
        }
        assert!(!alarm["AlarmActions"].is_null() && alarm["AlarmDescription"].is_string(), "{metric}");
    }
    let watched: BTreeSet<_> = alarms.iter().map(|it| as_text(&it["Properties"]["MetricName"])).collect();
    for needed in ["PoliciesFailed", "PoliciesStuck"] {
        assert!(watched.contains(needed), "{needed}");
    }
}

/// The keys that a role may write to under an action, as patterns.
fn leading_keys(role: &str, action: &str) -> Vec<String> {
    let allowing =
        statements(role).into_iter().filter(|it| actions(it).contains(&format!("dynamodb:{action}")));
    allowing
        .filter_map(|it| {
            it["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"].as_array().cloned()
        })
        .flatten()
        .map(|pattern| as_text(&pattern))
        .collect()
}

#[test]
fn nobody_may_update_or_delete_an_entry_of_a_trail() {
    let roles = ["WebhookIntakeRole", "DataActionsRole", "TransfersRole", "RetentionRole", "RelayRole"];
    for role in roles {
        for action in ["UpdateItem", "BatchWriteItem"] {
            let patterns = leading_keys(role, action);
            assert!(patterns.iter().all(|it| it.ends_with("#*") && it != "trail#*"), "{role}: {patterns:?}");
            assert_eq!(patterns.is_empty(), !granted(role).contains(action), "{role}: {action}");
        }
        assert!(granted(role).iter().all(|action| !action.starts_with("Delete")), "{role}");
        assert!(!leading_keys(role, "PutItem").is_empty(), "{role} may put anywhere");
    }
}

#[tokio::test]
async fn the_templates_batches_are_answered_as_the_template_announces() {
    let queue = functions()["data-actions"]["Events"]["Queue"]["Properties"].clone();
    assert_eq!(queue["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    let world = World::start(Surface::Platform).await;
    let lambda = Lambda::start(&binary("data-actions"), &world.variables(&[])).await;

    let answer = lambda.invoke_with((&events::sqs_batch(&[("m-1", "poison")])).into()).await.json();

    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "m-1"}]}));
}
